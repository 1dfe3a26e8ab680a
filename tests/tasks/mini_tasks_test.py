# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the mini collection's registered tasks, mixtures, templates and vocabulary."""

import pickle
from pathlib import Path

import pytest
import seqio

from flan_jax.collection import prompts, registry, rendering, vocabularies
from tasks.mini import catalogue, mixtures, skills, tasks

SIZES = ("mini_4", "mini_8", "mini_16", "mini_32", "mini_64", "mini_all")
LENGTHS = {"inputs": 128, "targets": 32}
VOCABULARY = "package:tasks/mini/vocabulary/sentencepiece.model"
FAMILIES = ("muffin", "t0_sf", "niv2", "cot")
ASKED_OTHERWISE = {
    "mini_heldout_combinations_few_shot": "mini_heldout_combinations",
    "mini_heldout_skills_few_shot": "mini_heldout_skills",
    "mini_heldout_combinations_cot": "mini_heldout_combinations",
}


COT_TASK = next(e.name for e in catalogue.training() if e.family == "cot")


@pytest.fixture(scope="module")
def vocabulary():
    return vocabularies.load_vocabulary(VOCABULARY)


def rendered(name, split, limit=None, **options):
    examples = rendering.render_task(registry.get_spec(name), split, 0, limit=limit, **options)
    return [e for e in examples if isinstance(e, rendering.Rendered)]


def test_registered_once_and_again():
    assert set(mixtures.register()) >= {*SIZES, "mini_cot", "mini_non_cot", "mini_heldout"}
    assert isinstance(seqio.get_mixture_or_task("mini_all"), seqio.Mixture)


def test_mixtures_are_nested_and_complete():
    members = [set(registry.mixture_members(name)) for name in SIZES]
    assert [len(m) for m in members] == [4, 8, 16, 32, 64, len(catalogue.training())]
    for smaller, larger in zip(members, members[1:], strict=False):
        assert smaller < larger
    cot, rest = (set(registry.mixture_members(n)) for n in ("mini_cot", "mini_non_cot"))
    assert cot | rest == members[-1] and not cot & rest
    heldout = set(registry.mixture_members("mini_heldout"))
    groups = [registry.mixture_members(f"mini_heldout_{g}") for g in ("combinations", "skills")]
    assert heldout == {*groups[0], *groups[1]} and not heldout & members[-1]


def test_caps_decide_examples_and_rates():
    name = next(e.name for e in catalogue.training() if e.family == "muffin")
    cap = tasks.CAPS["muffin"]
    assert len(rendered(name, "train")) == cap < tasks.NUM_TRAIN_ROWS
    rates = registry.mixture_members("mini_4")
    by_family = {registry.get_spec(task).family: rate for task, rate in rates.items()}
    assert by_family["cot"] / by_family["muffin"] == pytest.approx(tasks.CAPS["cot"] / cap)


def test_heldout_tasks_cannot_be_trained_on():
    for mixture in ("mini_heldout", *ASKED_OTHERWISE):
        for name in registry.mixture_members(mixture):
            assert registry.get_spec(name).splits == ("validation",)


@pytest.mark.parametrize("mixture", ASKED_OTHERWISE)
def test_another_form_asks_the_same_questions_and_none_is_cut(mixture, vocabulary):
    plain = registry.mixture_members(ASKED_OTHERWISE[mixture])
    assert [name.rpartition(".")[0] for name in registry.mixture_members(mixture)] == [*plain]
    for name in registry.mixture_members(mixture):
        spec, of = registry.get_spec(name), registry.get_spec(name.rpartition(".")[0])
        rows = [row for _, row in of.source.rows("validation")]
        assert rows == [row for _, row in spec.source.rows("validation")]
        examples = rendered(
            name, "validation", feature_lengths=LENGTHS,
            count_tokens=lambda text: len(vocabulary.encode(text)),
        )  # fmt: skip
        assert len(examples) == len(rows) == tasks.NUM_HELDOUT_ROWS
        for example, row in zip(examples, rows, strict=True):
            assert row["text"] in example.inputs
            assert spec.postprocessor(example.targets) == row["reply"]
            assert not example.meta["num_shots_cut"] and not example.meta["trimmed"]


def test_exemplars_of_a_heldout_task_are_of_its_own_train_side():
    (name, *_) = registry.mixture_members("mini_heldout_skills_few_shot")
    spec = registry.get_spec(name)
    pool = dict(spec.source.rows("train"))
    asked = {row["text"] for _, row in spec.source.rows("validation")}
    assert not asked & {row["text"] for row in pool.values()}
    for example in rendered(name, "validation", limit=8):
        shown = [pool[index] for index in example.meta["exemplars"]]
        assert example.meta["setting"] == "fs_noopt" and len(shown) == 2
        for row in shown:
            assert row["text"] in example.inputs and row["reply"] in example.inputs


def test_a_heldout_question_with_rationale_is_asked_as_the_family_asks():
    (name, *_) = registry.mixture_members("mini_heldout_combinations_cot")
    family = {t.id for t in registry.get_spec(COT_TASK).templates.load() if t.kind == "zero_shot"}
    rows = registry.get_spec(name).source.rows("validation")
    for (_, row), example in zip(rows, rendered(name, "validation"), strict=True):
        assert example.meta["template"] in family
        assert example.targets.startswith(row["rationale"])


def test_specs_can_be_sent_to_another_process():
    spec = registry.get_spec(catalogue.training()[3].name)
    copy = pickle.loads(pickle.dumps(spec))
    assert copy.fingerprint() == spec.fingerprint()
    assert next(iter(copy.source.rows("train"))) == next(iter(spec.source.rows("train")))


def test_no_heldout_input_nor_instruction_is_in_training():
    def instructions(entry, split, num):
        for index in range(num):
            row = skills.make_row(entry.skill, entry.name, split, index)
            # The order of its sentences is free.
            style = frozenset(row["style"].rstrip(".").split(". "))
            yield frozenset([row["fact"], *style])

    trained = {i for e in catalogue.training() for i in instructions(e, "train", 60)}
    heldout = (*catalogue.heldout_combinations(), *catalogue.heldout_skills())
    held = {i for e in heldout for i in instructions(e, "validation", 32)}
    assert len(held) > 300
    assert not trained & held
    inputs = {e.inputs for n in registry.mixture_members("mini_16") for e in rendered(n, "train")}
    for name in registry.mixture_members("mini_heldout"):
        assert not inputs & {e.inputs for e in rendered(name, "validation")}


def test_no_prompt_is_in_both_splits_of_a_task():
    for entry in catalogue.training()[:12]:
        train = {e.inputs for e in rendered(entry.name, "train")}
        assert not train & {e.inputs for e in rendered(entry.name, "validation")}


@pytest.mark.parametrize("family", FAMILIES)
def test_templates_are_sound_and_cover_the_settings(family):
    templates = prompts.TemplateGroup(f"package:tasks/mini/templates/{family}.jsonl").load()
    entry = next(e for e in catalogue.training() if e.family == family)
    row = skills.make_row(entry.skill, entry.name, "train", 0)
    formed = [t for t in templates if t.options == "no"]
    listed = [t for t in templates if t.options == "yes"]
    names = sorted(row)
    # A reply may end without a stop, and a note always has its own.
    assert prompts.lint(formed, fields=names, answer="reply") == []
    assert prompts.lint(listed, fields=names, answer="answer") == []
    assert len([t for t in formed if t.kind == "zero_shot"]) >= 5
    settings = dict(registry.get_spec(entry.name).settings)
    assert bool(listed) == ("zs_opt" in settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_setting_renders_and_fits(family, vocabulary):
    entry = next(e for e in catalogue.training() if e.family == family)
    for setting, _ in registry.get_spec(entry.name).settings:
        examples = rendered(
            entry.name, "train", limit=40, setting=setting,
            count_tokens=lambda text: len(vocabulary.encode(text)), feature_lengths=LENGTHS,
        )  # fmt: skip
        assert len(examples) == 40
        shown = [e for e in examples if e.meta["setting"] == setting]
        assert len(shown) > 30, f"{setting}: most prompts fell back to zero-shot"
        if setting.startswith("fs"):
            assert {e.meta["num_shots"] for e in shown} <= {1, 2}
        if setting.endswith("_opt"):
            marks = [e for e in shown if e.meta["option_style"] == "upper_round"]
            assert marks and all(e.targets in ("(A)", "(B)", "(C)") for e in marks)


def test_a_chain_of_thought_ends_in_the_scored_answer():
    entry = next(e for e in catalogue.training() if e.family == "cot")
    spec = registry.get_spec(entry.name)
    for index, example in enumerate(rendered(entry.name, "validation")):
        reply = skills.make_row(entry.skill, entry.name, "validation", index)["reply"]
        assert example.targets.endswith(f"nswer is {reply}")
        assert spec.postprocessor(example.targets) == reply


def test_seqio_reads_the_tasks(vocabulary):
    registry.use_vocabulary(VOCABULARY)
    name = catalogue.training()[0].name
    dataset = seqio.get_mixture_or_task(name).get_dataset(
        sequence_length=LENGTHS, split="validation", shuffle=False
    )
    got = [vocabulary.decode(e["targets"]) for e in dataset.as_numpy_iterator()]
    assert got == [e.targets for e in rendered(name, "validation")]


def test_vocabulary_is_small_and_has_whole_words(vocabulary):
    path = Path(tasks.__file__).parent / "vocabulary" / "sentencepiece.model"
    assert path.stat().st_size < 100_000
    assert vocabulary.padded_size <= 896
    words = "Anna and seven gray kites in Quito"
    assert len(vocabulary.encode(words)) == len(words.split())
    for text in ("a\nb {c} <d>", "Zürich 東京"):
        assert vocabulary.decode(vocabulary.encode(text)) == text
