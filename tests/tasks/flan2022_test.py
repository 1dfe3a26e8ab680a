# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The Flan 2022 collection: its counts, its proportions, and what it says where data is missing."""

import collections
import os
import subprocess
import sys
from pathlib import Path

import pytest
import seqio

import tasks.mixtures  # noqa: F401 - registers
from flan_jax.collection import build, counts, registry, subsets
from flan_jax.core.errors import UsageError
from tasks import paper
from tests.tasks import family_data

# Families that are a part of another one's mixture.
PART_OF = {"dialog": "muffin", "program_synthesis": "muffin"}


@pytest.fixture(autouse=True)
def no_data(monkeypatch, tmp_path):
    family_data.forget(monkeypatch, tmp_path / "tfds")


@pytest.fixture
def one_task_each(monkeypatch, tmp_path):
    """Data of one task of each family; of dialog, Taskmaster's."""
    for variable, place in family_data.write(tmp_path).items():
        monkeypatch.setenv(variable, place)


def by_family(name: str) -> dict[str, float]:
    shares = collections.Counter()
    for task, share in registry.mixture_members(name, skip_missing=True).items():
        spec = registry.get_spec(task)
        shares[PART_OF.get(spec.family, spec.family)] += share
    return dict(shares)


def test_counts_reconcile():
    rows = {row.mixture: row for row in counts.count()}
    for name, number in paper.NUM_RELEASED_TASKS.items():
        assert rows[name].num_tasks == rows[name].published["released"] == number
        assert rows[name].published["paper"] == paper.NUM_TASKS[name]
    assert rows["all"].num_tasks == 1_838 and rows["all"].published["paper"] == 1_836
    assert "not explained" in rows["niv2"].note
    names = {t.name for t in seqio.MixtureRegistry.get("flan2022").tasks}
    assert len(names) == 1_838 + rows["all"].num_twins
    assert len({t.name for t in seqio.MixtureRegistry.get("flan2021").tasks}) == 72


def test_every_task_declares_what_a_task_must():
    for name in (t.name for t in seqio.MixtureRegistry.get("flan2022").tasks):
        spec = registry.get_spec(name)
        assert spec.category and spec.metrics and spec.fields and spec.templates.load(), name
        assert spec.cap == paper.CAPS[PART_OF.get(spec.family, spec.family)], name
        assert spec.few_shot.policy == "exclude_self" and spec.few_shot.budget == 1_920, name


@pytest.mark.parametrize(
    ("name", "proportions"),
    [("flan2022", paper.PROPORTIONS_B), ("flan2022_scaling", paper.PROPORTIONS_A)],
)
def test_families_have_the_papers_proportions(one_task_each, name, proportions):
    total = sum(proportions.values())
    assert by_family(name) == pytest.approx({f: p / total for f, p in proportions.items()})


def test_public_rates_give_dialog_a_share_of_its_own(one_task_each):
    rates = dict(seqio.MixtureRegistry.get("flan2022_public").rate_per_task_name)
    assert rates == {"flan2021": 0.4, "t0_sf": 0.32, "cot": 0.05, "niv2": 0.2, "dialog": 0.03}
    # Dialog counts as Muffin's in `by_family`.
    expected = {"muffin": 0.43, "t0_sf": 0.32, "cot": 0.05, "niv2": 0.2}
    assert by_family("flan2022_public") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("point", "families"),
    [
        (9, ["cot"]),
        (89, ["cot", "muffin"]),
        (282, ["cot", "muffin", "t0_sf"]),
        (1_836, ["cot", "muffin", "t0_sf", "niv2"]),
    ],
)
def test_scaling_points_add_family_after_family(one_task_each, point, families):
    names = [t.name for t in seqio.MixtureRegistry.get(f"scaling_{point}").tasks]
    forward = [n for n in names if not n.endswith(counts.INVERTED)]
    surplus = 2 if "niv2" in families else 0
    assert len(forward) == point + surplus
    total = sum(paper.PROPORTIONS_A[f] for f in families)
    expected = {f: paper.PROPORTIONS_A[f] / total for f in families}
    assert by_family(f"scaling_{point}") == pytest.approx(expected)


def test_cot_and_the_rest_are_the_whole():
    cot, rest, whole = (
        {t.name for t in seqio.MixtureRegistry.get(name).tasks}
        for name in ("cot_only", "non_cot", "flan2022")
    )
    assert cot | rest == whole and not cot & rest


def test_without_cot_the_others_keep_their_proportions(one_task_each):
    names = {t.name for t in seqio.MixtureRegistry.get("flan2022_no_cot").tasks}
    whole = {t.name for t in seqio.MixtureRegistry.get("flan2022").tasks}
    assert whole - names == {t.name for t in seqio.MixtureRegistry.get("cot_only").tasks}
    # 46.0 + 27.9 + 24.2 of proportions B.
    shares = {"muffin": 46.0 / 98.1, "t0_sf": 27.9 / 98.1, "niv2": 24.2 / 98.1}
    assert by_family("flan2022_no_cot") == pytest.approx(shares)


# Rows that count below: 40 of 240 boolq's (200 are for validation), 40 of T0-SF's, 18 of 20 of the
# other four families' (a tenth is held out), of which CoT, dialog and code have a twin at 0.3.


def test_without_inversion_a_family_keeps_its_share_for_its_tasks(one_task_each):
    names = {t.name for t in seqio.MixtureRegistry.get("flan2022_no_inversion").tasks}
    whole = {t.name for t in seqio.MixtureRegistry.get("flan2022").tasks}
    assert names == {name for name in whole if not name.endswith(counts.INVERTED)}
    assert len(names) == 1_838 and len(whole - names) == 17
    shares = {"muffin": 46.0 / 99.9, "t0_sf": 27.9 / 99.9, "cot": 1.8 / 99.9, "niv2": 24.2 / 99.9}
    assert by_family("flan2022_no_inversion") == pytest.approx(shares)
    members = registry.mixture_members("flan2022_no_inversion", skip_missing=True)
    assert members["muffin.bool_q"] == pytest.approx(46.0 / 99.9 * 40 / (40 + 18 + 18))
    assert members["dialog.task_master"] == pytest.approx(46.0 / 99.9 * 18 / (40 + 18 + 18))
    assert members["cot.gsm8k"] == pytest.approx(1.8 / 99.9)


def test_without_balance_each_task_weighs_its_rows(one_task_each):
    members = registry.mixture_members("flan2022_unbalanced", skip_missing=True)
    total = 40 + 40 + 18 + 3 * (18 + 0.3 * 18)
    assert members["muffin.bool_q"] == pytest.approx(40 / total)
    assert members["cot.gsm8k"] == pytest.approx(18 / total)
    assert members["cot.gsm8k_input_inversion"] == pytest.approx(0.3 * 18 / total)
    names = {t.name for t in seqio.MixtureRegistry.get("flan2022_unbalanced").tasks}
    assert names == {t.name for t in seqio.MixtureRegistry.get("flan2022").tasks}


def test_weights_within_muffin_are_capped_sizes_and_twins_have_less(one_task_each):
    rates = registry.mixture_members("muffin", skip_missing=True)
    # 240 rows less 200 for validation; 18 of 20 less a tenth held out; the twin 0.3 of its task.
    plain = "program_synthesis.dr_repair_plain_code"
    assert rates["muffin.bool_q"] / rates[plain] == pytest.approx(40 / 18)
    assert rates[plain + counts.INVERTED] / rates[plain] == pytest.approx(0.3)


def test_what_is_missing_is_listed_whole(one_task_each):
    with pytest.raises(UsageError) as found:
        registry.mixture_members("flan2022")
    text = str(found.value)
    names = {t.name for t in seqio.MixtureRegistry.get("flan2022").tasks}
    gone = {n for n in names if not registry.is_readable(n)}
    # Three have their twins here: gsm8k, dr_repair and task_master.
    assert len(names) - len(gone) == 9
    assert text.startswith(f"{len(gone)} of the {len(names)} tasks of 'flan2022' cannot be read")
    listed = set(text.replace(",", " ").replace(":", " ").split())
    assert gone <= listed
    assert "--skip_unavailable" in text


@pytest.mark.parametrize("variant", ["zero_shot", "few_shot", "options", "no_options"])
def test_variants_of_the_whole_mixture(one_task_each, variant):
    # Chain of thought has no form with options.
    whole = f"scaling_9_{variant}" if variant != "options" else "flan2021_options"
    for name in (whole, f"muffin_{variant}"):
        subsets.ensure(name)
    names = [task.name for task in seqio.MixtureRegistry.get(whole).tasks]
    assert len(names) >= 18 and all(name.endswith(f".{variant}") for name in names)
    shares = registry.mixture_members(f"muffin_{variant}", skip_missing=True)
    assert f"muffin.bool_q.{variant}" in shares
    assert all(name.endswith(variant) for name in shares)


def test_one_task_of_each_family_is_built_with_what_is_here(one_task_each, tmp_path, capsys):
    store = build.build(
        mixture="flan2022", out=tmp_path / "store", vocabulary="bytes", skip_unavailable=True,
        feature_lengths={"inputs": 2048, "targets": 512}, limit=4,
    )  # fmt: skip
    assert len(store.tasks("train")) == 9
    assert len(store.manifest["skipped"]) == 1_838 + 17 - 9
    because = store.manifest["skipped_because"]
    assert sorted(sum(because.values(), [])) == store.manifest["skipped"]
    assert any("FLAN_JAX_DIALOG_DIR" in reason for reason in because)
    said = " ".join(capsys.readouterr().err.split())
    # Of each family one task is here, so the declared proportions stay.
    assert "shares of flan2022 without them: muffin 46.0 to 46.0 %, t0_sf 27.9 to 27.9 %" in said
    entry = store.manifest["tasks"]["muffin.bool_q"]["train"]
    assert "TfdsSource(bool_q:1.0.0" in entry["source_name"]
    assert "ExportedSource($FLAN_JAX_MUFFIN_DIR/bool_q" in entry["source_name"]
    assert len(store.manifest["code"]) == 64
    total = sum(paper.PROPORTIONS_B.values())
    rate = store.manifest["rates"]["t0_sf.adversarial_qa_dbert_answer_the_following_q"]
    assert rate == pytest.approx(paper.PROPORTIONS_B["t0_sf"] / total)


# Two worker processes import SeqIO.
@pytest.mark.slow
def test_workers_register_a_variant_too(tmp_path):
    store = build.build(
        mixture="mini_heldout_skills_zero_shot", out=tmp_path / "store", vocabulary="bytes",
        feature_lengths={"inputs": 512, "targets": 256}, limit=3, num_workers=2,
        module_imports=["tasks.mini.mixtures"],
    )  # fmt: skip
    assert len(store.manifest["rates"]) == 8
    assert all(name.endswith(".zero_shot") for name in store.manifest["rates"])


def test_exemplar_policy_of_a_build_wins(one_task_each, tmp_path):
    def built(policy: str | None):
        store = build.build(
            mixture="cot.gsm8k", out=tmp_path / str(policy), vocabulary="bytes",
            feature_lengths={"inputs": 2048, "targets": 512}, exemplar_policy=policy,
        )  # fmt: skip
        assert store.manifest["exemplar_policy"] == policy
        examples = store.task("cot.gsm8k", "train")
        shown = {i for text in examples.texts() for i in text["meta"]["exemplars"]}
        return store.manifest["tasks"]["cot.gsm8k"]["train"], shown

    plain, _ = built(None)
    assert not plain["dropped"] and plain["num_examples"] == 18
    disjoint, shown = built("disjoint_pool")
    assert disjoint["dropped"] == {"set aside as an exemplar": 3} and len(shown) <= 3
    assert built("paper")[0]["num_examples"] == 18


def test_every_dropped_row_is_recorded_with_its_reason(one_task_each, tmp_path):
    file = Path(os.environ["FLAN_JAX_COT_DIR"], "gsm8k_train.tsv")
    lines = file.read_text().splitlines()
    lines[3], lines[7] = "no tabs", "\t1\tbecause"
    file.write_text("\n".join(lines) + "\n")
    parts = build.build(
        mixture="cot.gsm8k", out=tmp_path / "store", vocabulary="bytes",
        feature_lengths={"inputs": 2048, "targets": 512},
    ).manifest["tasks"]["cot.gsm8k"]  # fmt: skip
    dropped = collections.Counter()
    for entry in parts.values():
        assert entry["num_rows"] == entry["num_examples"] + sum(entry["dropped"].values())
        for reason, rows in entry.get("dropped_rows", {}).items():
            assert len(rows) == entry["dropped"][reason]
            dropped.update({(reason, row): 1 for row in rows})
    assert sum(entry["num_rows"] for entry in parts.values()) == 20
    assert dropped == {("malformed: need 3 columns between tabs", 3): 1, ("empty question", 7): 1}


# Python, SeqIO and TensorFlow start anew.
@pytest.mark.slow
def test_importing_opens_no_data():
    code = """
import os, sys
from flan_jax.core import modules
modules.import_tensorflow()
import seqio
from flan_jax.collection import registry
opened = []
sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" else None)
import tasks.mixtures
data = [p for p in opened if isinstance(p, str) and not p.endswith((".py", ".pyc"))]
print([p for p in data if "/tasks/" not in p and "site-packages" not in p and os.path.isfile(p)])
print([p for p in data if p.endswith((".jsonl", ".json", ".tsv"))])
"""
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["[]", "[]"]
