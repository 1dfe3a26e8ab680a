# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`flan-jax rate`: sheets out, filled sheets in, and every mistake one line."""

import pytest

from flan_jax import main
from flan_jax.core import errors
from tests.evals import open_ended_folders


def rate(capsys, *words, code=0):
    assert main.main(["rate", *map(str, words)]) == code
    captured = capsys.readouterr()
    if code:
        assert captured.err.startswith("flan-jax: error: ") and captured.err.count("\n") == 1
    return captured


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def models(tmp_path):
    return open_ended_folders.two(tmp_path)


def test_sheets_are_made_filled_and_read(capsys, models, tmp_path):
    out = tmp_path / "out"
    said = rate(capsys, "sheet", *models, "--out", out).err
    assert "20 pairs\n" in said and f"{out}/key.csv is not" in said
    assert set(files_of(out)) == {"sheets/sheet.csv", "sheets/sheet.html", "key.csv"}
    # A rater who never prefers the first model's answers, which all end so.
    rows = open_ended_folders.fill(
        out / "sheets" / "sheet.csv",
        tmp_path / "filled.csv",
        lambda row: "right" if row["left"].endswith("A!") else "left",
    )
    assert len(rows) == 20
    said = rate(capsys, "result", tmp_path / "filled.csv", "--key", out / "key.csv").out
    line = next(line for line in said.splitlines() if line.startswith("all"))
    assert line.split()[:7] == ["all", "20", "0", "20", "0", "0", "0.0"]
    assert "aardvark" in said.splitlines()[0] and "20 of 20 rows have a choice" in said
    assert "on the left was preferred in 10 of 20" in said


def test_the_same_seed_gives_the_same_files_and_another_one_others(capsys, models, tmp_path):
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        rate(capsys, "sheet", *models, "--out", tmp_path / name, "--seed", seed)
    one, same, other = (files_of(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same and all(one[name] != other[name] for name in one)


def test_raters_share_the_pairs_and_their_agreement_is_said(capsys, models, tmp_path):
    out = tmp_path / "out"
    share = ("--raters", 3, "--raters_per_pair", 2)
    rate(capsys, "sheet", *models, "--out", out, *share)
    names = [f"sheet_{i}" for i in (1, 2, 3)]
    assert set(files_of(out)) == {
        "key.csv",
        *(f"sheets/{name}.{ending}" for name in names for ending in ("csv", "html")),
    }
    filled = []
    for name in names:
        filled.append(tmp_path / f"{name}_filled.csv")
        open_ended_folders.fill(out / "sheets" / f"{name}.csv", filled[-1], lambda row: "left")
    said = rate(capsys, "result", *filled, "--key", out / "key.csv").out
    assert "agree in 100.0 % (20 pairs have two or more); kappa (Fleiss) is 1.000" in said


def test_too_long_prompts_are_counted(capsys, tmp_path):
    rows = [open_ended_folders.row(str(i), "p", ["t"]) for i in range(3)]
    short = [*rows[:2], {**rows[2], "predictions": [], "logprobs": [], "too_long": True}]
    models = [
        open_ended_folders.write(tmp_path / name, {"planning": found})
        for name, found in (("a", rows), ("b", short))
    ]
    said = rate(capsys, "sheet", *models, "--out", tmp_path / "out").err
    assert "2 pairs; 1 prompts left out, too long for a model" in said


def test_folders_of_one_name_are_told_apart_by_their_paths(capsys, tmp_path):
    rows = [open_ended_folders.row("x", "p", ["t"])]
    models = [
        open_ended_folders.write(tmp_path / name / "scores", {"planning": rows})
        for name in ("a", "b")
    ]
    rate(capsys, "sheet", *models, "--out", tmp_path / "out")
    assert f",{models[0]},{models[1]}," in (tmp_path / "out" / "key.csv").read_text()


def test_mistakes_are_one_line_with_the_remedy(capsys, models, tmp_path):
    usage = errors.EXIT_USAGE

    def told(*words, code=usage):
        return rate(capsys, *words, code=code).err

    out = ("--out", tmp_path / "out")
    assert "required: ACTION (see flan-jax rate --help)" in told()
    assert "invalid choice: 'sheets'" in told("sheets", *models, *out)
    assert "did you mean --raters?" in told("sheet", *models, *out, "--rater", "2")
    assert "required: --out (see flan-jax rate sheet --help)" in told("sheet", *models)
    assert "A and B are the same folder" in told("sheet", models[0], models[0], *out)
    assert "--suite open_ended wrote" in told("sheet", tmp_path / "none", models[0], *out)
    assert "--raters_per_pair 2 is above --raters 1" in told(
        "sheet", *models, *out, "--raters_per_pair", "2"
    )
    assert "--raters 21 is above the number of pairs, 20" in told(
        "sheet", *models, *out, "--raters", "21"
    )
    assert "is not empty; give a new folder" in told("sheet", *models, "--out", models[0])
    assert "required: --key" in told("result", "sheet.csv")
    assert not (tmp_path / "out").exists()
    rate(capsys, "sheet", *models, *out)
    sheet, key = tmp_path / "out" / "sheets" / "sheet.csv", tmp_path / "out" / "key.csv"
    failed = errors.EXIT_FAILED
    assert "no row has a choice" in told("result", sheet, "--key", key, code=failed)
    assert "No such file" in told("result", sheet, "--key", tmp_path / "k.csv", code=failed)
    assert "name the key.csv of the sheets" in told("result", sheet, "--key", sheet, code=failed)
    assert "0 columns 'prompt'" in told("result", key, "--key", key, code=failed)
