# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`flan-jax eval --suite`: tiny models asked end to end, going on after a stop, several hosts."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gin
from flan_jax import asking, main, predicting
from flan_jax.core import files
from flan_jax.evals import answers
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.engine import Engine
from tests import host_processes, tiny_checkpoints, toy_benchmarks

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.slow  # models are compiled: some seconds each


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoints.ours(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(toy_benchmarks.write(tmp_path_factory.mktemp("data")))


def command(checkpoint, data, out, *argv, suite="toys"):
    return [
        "eval", "--suite", suite, "--checkpoint", checkpoint, "--data", data, "--out", str(out),
        "--module_import", "tests.toy_benchmarks", "--max_input_length", "64", *argv,
    ]  # fmt: skip


def table(out):
    with open(out / "scores.csv", newline="") as file:
        return list(csv.DictReader(file))


def predictions(out):
    paths = sorted((out / "predictions").rglob("*.jsonl"))
    return {
        str(p.relative_to(out / "predictions")): list(map(json.loads, p.read_text().splitlines()))
        for p in paths
    }


def contents(out):
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_a_suite_end_to_end(checkpoint, data, tmp_path, capsys):
    out = tmp_path / "out"
    assert main.main(command(checkpoint, data, out, "--answer_by", "both")) == 0
    shown = capsys.readouterr()
    found = predictions(out)
    assert list(found) == [
        f"{part}/{name}.jsonl"
        for part in ("toy/validation.generate", "toy/validation.rank",
                     "toy_vote/validation.generate")
        for name in ("one", "two")
    ]  # fmt: skip
    lines = found["toy/validation.generate/one.jsonl"]
    right = [answers.option_letter(x["predictions"][0], {"options": ["yes", "no"]}) in
             x["references"] for x in lines]  # fmt: skip
    rows = {(r["benchmark"], r["protocol"], r["subtask"], r["metric"]): r for r in table(out)}
    value = rows["toy", "2-shot; validation; generate", "one", "exact_match"]["value"]
    assert float(value) == pytest.approx(100 * sum(right) / 5)
    ranked = found["toy/validation.rank/one.jsonl"]
    for line in ranked:
        a, b = line["choice_logprobs"]
        assert line["ranked"] == ("A" if a >= b else "B") and a < 0 and b < 0
        assert line["accuracy"] == 100.0 * (line["ranked"] in line["references"])
    samples = found["toy_vote/validation.generate/two.jsonl"]
    assert all(len(line["predictions"]) == len(line["logprobs"]) == 3 for line in samples)
    # Of 64 tokens the exemplars take too many.
    assert "prompts lost their first exemplars" in shown.err
    assert any(line["num_dropped"] for line in lines)
    assert len([line for line in shown.out.splitlines() if line]) == 3
    assert "toy exact_match" in shown.out and "toy accuracy" in shown.out
    assert (out / "report.md").read_text().startswith("# ")
    assert {r["model"] for r in rows.values()} == {Path(checkpoint).name}
    assert {r["step"] for r in rows.values()} == {"5"}


def test_the_answers_are_the_engines(checkpoint, data, tmp_path):
    out = tmp_path / "out"
    assert main.main(command(checkpoint, data, out, suite="toy")) == 0
    predictor = predicting.load(checkpoint_path=checkpoint, max_input_length=64)
    for line in predictions(out)["toy/validation.generate/two.jsonl"]:
        config = DecodeConfig(max_length=4, stop=("\n\n",))
        [answer] = predictor.engine.generate([predictor.encode(line["inputs"])], config)
        assert line["predictions"] == [answer.texts[0]]


def test_a_decoder_reads_what_a_subtask_shares_once(data, tmp_path, monkeypatch):
    checkpoint = tiny_checkpoints.ours(tmp_path / "c", tiny_checkpoints.DECODER_CONFIG)
    asked = []
    stream = Engine.stream
    monkeypatch.setattr(
        Engine, "stream", lambda self, p, *a, **k: asked.append(len(p)) or stream(self, p, *a, **k)
    )
    out = tmp_path / "out"
    argv = ("--max_input_length", "200")
    assert main.main(command(checkpoint, data, out, *argv, suite="toy")) == 0
    assert asked == [5, 5]  # a subtask at a time


def test_it_goes_on_where_it_was_stopped(checkpoint, data, tmp_path, monkeypatch, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main.main(command(checkpoint, data, whole)) == 0
    stream = asking.answers

    def stops(*args, **kwargs):
        for count, each in enumerate(stream(*args, **kwargs)):
            if count == 4:
                raise KeyboardInterrupt
            yield each

    with monkeypatch.context() as patch:
        patch.setattr(asking, "answers", stops)
        assert main.main(command(checkpoint, data, cut)) == 130
    [journal] = (cut / "predictions").rglob("answers.jsonl")
    assert len(journal.read_text().splitlines()) == 4
    asked = []

    def counted(engine, prompts, *args, **kwargs):
        asked.append(len(prompts))
        return stream(engine, prompts, *args, **kwargs)

    monkeypatch.setattr(asking, "answers", counted)
    assert main.main(command(checkpoint, data, cut)) == 0
    assert asked == [6, 10]
    assert contents(cut) == contents(whole)
    # All is done: nothing is asked again, and the same comes out. A process may have been killed
    # after its mark and before the journal was gone.
    left = cut / "predictions/toy/.validation.generate.partial"
    left.mkdir()
    asked.clear()
    assert main.main(command(checkpoint, data, cut)) == 0
    assert asked == [] and contents(cut) == contents(whole)
    assert not left.exists()
    # Other settings are another job.
    capsys.readouterr()
    assert main.main(command(checkpoint, data, cut, "--seed", "3")) == 2
    assert "DecodeConfig.seed is 0 there, 3 here; give another --out" in capsys.readouterr().err
    assert contents(cut) == contents(whole)


def test_no_scores_are_lost_to_another_job_in_the_folder(checkpoint, data, tmp_path, capsys):
    out = tmp_path / "out"
    assert main.main(command(checkpoint, data, out)) == 0
    before = contents(out)
    for argv, text in [
        (command(checkpoint, data, out, suite="toy_vote"),
         "holds scores of toy.validation.generate too, which scores.csv would lose"),
        (command(checkpoint, data, out, "--split", "toy=test"), "of toy.validation.generate too"),
        (["eval", "--recipe", "mini", "--out", str(out)], "holds scores of --suite"),
        (command(checkpoint, data, out, "--num_examples", "2"), "num_examples is None there, 2"),
    ]:  # fmt: skip
        capsys.readouterr()
        assert main.main(argv) == 2
        assert text in capsys.readouterr().err
        assert contents(out) == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "scores.csv").write_text("theirs")
    assert main.main(command(checkpoint, data, other)) == 2
    assert "holds the scores.csv of another job" in capsys.readouterr().err
    # What is done may be asked for together with more.
    more = tmp_path / "more"
    assert main.main(command(checkpoint, data, more, suite="toy")) == 0
    assert main.main(command(checkpoint, data, more, suite="toy_vote,toy")) == 0
    assert table(more) == table(out)


def test_a_checkpoint_stays_what_it_is(data, tmp_path, capsys):
    checkpoint = tiny_checkpoints.hf(tmp_path / "hf")
    for out in (tmp_path / "hf", tmp_path / "hf" / "scores"):
        assert main.main(command(checkpoint, data, out)) == 2
        assert "is in the folder of the checkpoint" in capsys.readouterr().err
        assert not (out / ".done").exists()


def test_a_model_that_no_question_fits_is_refused(checkpoint, data, tmp_path, capsys):
    argv = command(checkpoint, data, tmp_path / "out", "--max_input_length", "3")
    assert main.main(argv) == 2
    assert "no question of toy fits into 3 tokens, not even alone" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.jsonl"))


def test_sigterm_ends_with_75_and_keeps_what_is_done(checkpoint, data, tmp_path):
    out = tmp_path / "out"
    argv = [sys.executable, "-m", "flan_jax", *command(checkpoint, data, out)]
    process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / ".done").is_dir() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode in (0, 75), err
    assert "Traceback" not in err
    assert main.main(command(checkpoint, data, out)) == 0
    assert (out / "report.md").is_file()


def test_two_processes_give_what_one_gives(checkpoint, data, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert main.main(command(checkpoint, data, alone, "--answer_by", "both")) == 0
    words = ["flan_jax", *command(checkpoint, data, together, "--answer_by", "both")]
    host_processes.run(words, 2, tmp_path / "log")
    assert table(together) == table(alone)
    assert predictions(together).keys() == predictions(alone).keys()
    for name, lines in predictions(alone).items():
        other = predictions(together)[name]
        assert [x["predictions"] for x in lines] == [x["predictions"] for x in other]
        assert [x.get("ranked") for x in lines] == [x.get("ranked") for x in other]


def test_a_folder_in_use_ends_each_of_two_processes(checkpoint, data, tmp_path):
    words = ["flan_jax", *command(checkpoint, data, tmp_path / "out")]
    codes = []
    with files.locked(tmp_path / "out", "evaluation"):
        with host_processes.started(words, 2, tmp_path / "log") as processes:
            codes = [process.wait(timeout=240) for process in processes]
    logs = [(tmp_path / f"log.{index}").read_text() for index in range(2)]
    assert codes == [2, 2], logs
    assert "is writing" in logs[0] and "process 0 of this job failed" in logs[1]


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (("--suite", "toyy"), "unknown benchmark 'toyy'"),
        (("--data", "nowhere"), "no folder 'nowhere'; --data names that of the benchmarks' files"),
        (("--split", "toy"), "--split 'toy'; give BENCHMARK=SPLIT, such as mmlu=test"),
        (("--split", "toy=test", "--split", "toy=validation"), "names a benchmark twice"),
        (("--split", "toy_vote=test"), "unknown split of toy_vote 'test'"),
        (("--suite", "toy,,toy_vote"), "has an empty name"),
        (("--paper_model", "Flan-T5-XXXL"), "unknown model of the paper 'Flan-T5-XXXL'.*XXL"),
        (("--module_import", "tests.toy_benchmark"), "no module 'tests.toy_benchmark'"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_before_a_model_is_loaded(argv, text, data, tmp_path, capsys):
    code = main.main(command("nowhere", data, tmp_path / "out", *argv))
    err = capsys.readouterr().err
    assert code == 2 and re.search(text, err.replace("\n", " "), re.IGNORECASE), err
    assert "Traceback" not in err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (("--recipe", "mini", "--raw", "--out", "x"), "--raw is for benchmarks; give --suite too"),
        (("--recipe", "mini", "--seed", "3", "--out", "x"), "--seed is for benchmarks"),
        (("--suite", "toy"), "no --out"),
    ],
)
def test_options_that_do_not_go_together(argv, text, capsys):
    assert main.main(["eval", *argv]) == 2
    assert text in capsys.readouterr().err


def test_the_list_names_all(capsys):
    assert main.main(["eval", "--list", "--module_import", "tests.toy_benchmarks"]) == 0
    out = capsys.readouterr().out
    # As wide as the longest name; other tests may have registered more.
    assert re.search(r"^toy +2-shot; validation/test; generate/rank\n +toy/: a \.tsv$", out, re.M)
    assert "suite toys: toy, toy_vote\n" in out
