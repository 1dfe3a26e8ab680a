# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""T0-SF: 193 tasks of three kinds, from P3 templates over rows, or from rendered P3 rows."""

import collections
import dataclasses
import json
import re

import pytest
import seqio
import tensorflow_datasets as tfds

from flan_jax.collection import p3, p3_templates, prompts, registry, spec
from flan_jax.collection.rendering import Dropped, render_task
from flan_jax.collection.tfds_source import TfdsSource
from flan_jax.core.errors import UsageError
from flan_jax.core.rng import ExampleKey
from tasks import paper
from tasks.t0_sf import tasks as t0_sf

NAMES = t0_sf.register()
TASKS = {name.removeprefix("t0_sf."): registry.get_spec(name) for name in NAMES}

# One task of each kind, with a template of its name: (data set, template, Jinja, choices, row).
KINDS = {
    "question_answer": (
        "web_questions",
        "get_the_answer",
        "State a fact.\n{{ question }}|||{{ answers | choice }}",
        None,
        lambda i: {"question": f"Who won race {i}?", "answers": [f"Ann {i}\nof Oz"]},
    ),
    "multiple_choice": (
        "quarel",
        "choose_between",
        "{{ question }} It is {{ answer_choices | join(' or ') }}.|||"
        "{{ answer_choices[answer_index] }}",
        "{{ world_literals.world1[0] }} ||| {{ world_literals.world2[0] }}",
        lambda i: {
            "question": f"Which rubs more in test {i}?",
            "answer_index": 1,
            "world_literals": {"world1": [f"ice {i}"], "world2": [f"rug {i}"]},
        },
    ),
    "multiple_choice_separated_options": (
        "amazon_polarity",
        "Is_this_product_review_positive",
        "Is this kind?\n{{ title }}: {{ content }}|||{{ answer_choices[label] }}",
        "No ||| Yes",
        lambda i: {"title": f"Pan {i}", "content": f"It holds {i} eggs.", "label": i % 2},
    ),
}
# The prompt and the target of row 1 of each, by P3's template and the group's template `bare`.
GOLDEN = {
    "question_answer": ("State a fact.\nWho won race 1?", "Ann 1\nof Oz"),
    "multiple_choice": ("Which rubs more in test 1? It is ice 1 or rug 1.", "rug 1"),
    "multiple_choice_separated_options": ("Is this kind?\nPan 1: It holds 1 eggs.", "Yes"),
}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Templates and rows of one task of each kind."""
    monkeypatch.setenv(p3_templates.VARIABLE, str(tmp_path / "templates"))
    monkeypatch.setenv(p3.ROWS_VARIABLE, str(tmp_path / "rows"))
    monkeypatch.delenv(p3.RENDERED_VARIABLE, raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    for data_set, name, jinja, choices, row in KINDS.values():
        write_template(tmp_path / "templates" / data_set, name, jinja, choices)
        write_rows(tmp_path / "rows" / data_set, [row(i) for i in range(40)])
    return tmp_path


def write_template(folder, name, jinja, choices=None):
    folder.mkdir(parents=True)
    entry = {"name": name, "jinja": jinja, "answer_choices": choices}
    (folder / "templates.yaml").write_text(f"templates: {{1: !Template {json.dumps(entry)}}}\n")


def write_rows(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in rows))


def task_of(kind):
    return TASKS[f"{KINDS[kind][0]}_{KINDS[kind][1]}"]


def test_all_tasks_of_the_paper_are_registered():
    assert len(set(NAMES)) == len(TASKS) == paper.NUM_TASKS["t0_sf"] == 193
    assert set(NAMES) <= set(seqio.TaskRegistry.names())
    groups = collections.Counter(row["group"] for row in t0_sf.facts())
    assert groups == {
        "question_answer": 104,
        "multiple_choice": 70,
        "multiple_choice_separated_options": 19,
    }
    assert {task.cap for task in TASKS.values()} == {20_000}
    assert t0_sf.register() == NAMES, "the same again changes nothing"


def test_facts_reconcile_with_the_released_collection():
    facts = t0_sf.facts()
    assert {row["dataset"] for row in facts} == t0_sf.LICENCES.keys() and len(t0_sf.LICENCES) == 22
    # The mixture's weight by size: each task counts at most its cap.
    assert sum(min(int(row["num_train"]), paper.CAPS["t0_sf"]) for row in facts) == 2_725_276
    assert sum(int(row["num_train"]) > paper.CAPS["t0_sf"] for row in facts) == 89
    without = {r["dataset"] for r in facts if TASKS[r["p3_name"]].splits == (spec.TRAIN,)}
    assert without == {"amazon_polarity", "app_reviews", "dbpedia_14", "web_questions", "wiki_bio"}
    for row in facts:
        beginning = "_".join(filter(None, (row["dataset"], row["subset"])))
        assert row["p3_name"].startswith(f"{beginning}_")


@pytest.mark.parametrize("kind", KINDS)
def test_templates_have_no_fault(kind):
    templates = task_of(kind).templates.load()
    assert prompts.lint(templates, fields=["question", "answer"]) == []
    shows = kind == "multiple_choice_separated_options"
    for few_shot in (False, True):
        assert sum(t.fits(few_shot=few_shot, show_options=False) for t in templates) >= 10
        if shows:
            listing = [t for t in templates if "options" in t.slots]
            assert sum(t.fits(few_shot=few_shot, show_options=True) for t in listing) >= 10


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_template_gives_the_golden_prompt(data, kind):
    task = task_of(kind)
    rendered = list(render_task(task, "train", 0, setting=spec.ZS_NOOPT))
    assert rendered[1].targets == GOLDEN[kind][1]
    bare = [r for r in rendered if r.meta["template"] == "bare"]
    assert bare, "40 rows and 12 templates"
    for r in bare:
        assert r.inputs == re.sub(r"\b1\b", str(r.index), GOLDEN[kind][0])


def test_listed_options_stand_after_the_question_and_their_mark_is_the_target(data):
    task = task_of("multiple_choice_separated_options")
    task = dataclasses.replace(task, option_styles=("upper_round",))
    rendered = list(render_task(task, "train", 0, setting=spec.ZS_OPT))
    bare = [r for r in rendered if r.meta["template"] == "bare"]
    assert bare, "40 rows and 12 templates"
    for r in bare:
        question = f"Is this kind?\nPan {r.index}: It holds {r.index} eggs."
        assert re.fullmatch(rf"{re.escape(question)}\n(.+\n)?\(A\) No\n\(B\) Yes", r.inputs)
        assert r.targets == ("(B)" if r.index % 2 else "(A)")


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_and_template_renders(data, kind):
    task = task_of(kind)
    used = set()
    for setting, _ in task.settings:
        for seed in range(8):
            for r in render_task(task, "train", seed, setting=setting):
                used.add(r.meta["template"])
                assert r.inputs.strip() and r.targets.strip()
                assert not re.search(r"\{[a-z_]+\}", r.inputs + r.targets)
                assert (r.meta["num_shots"] > 0) == (setting in spec.FEW_SHOT_SETTINGS)
                listed = setting in spec.OPTION_SETTINGS
                assert bool(r.meta["option_style"]) == listed
    assert used == {t.id for t in task.templates.load()}


def test_rendered_rows_serve_as_well(data, monkeypatch):
    monkeypatch.setenv(p3.RENDERED_VARIABLE, str(data / "rendered"))
    task = task_of("multiple_choice_separated_options")
    raw = [(r.inputs, r.targets) for r in render_task(task, "train", 0)]
    rows = [row["unrendered"].render() for _, row in task.source.rows("train")]
    write_rows(data / "rendered/amazon_polarity_Is_this_product_review_positive", rows)
    assert [row for _, row in task.source.rows("train")] == rows
    assert [(r.inputs, r.targets) for r in render_task(task, "train", 0)] == raw


def test_bad_rows_are_counted_with_their_reasons(data):
    good = KINDS["multiple_choice"][-1](1)
    bad = [good | {"answer_index": 7}, good | {"question": None}, good, good]
    write_rows(data / "rows/quarel", bad)
    task = task_of("multiple_choice")
    results = list(render_task(task, "train", 0, setting=spec.ZS_NOOPT))
    reasons = [r.reason for r in results if isinstance(r, Dropped)]
    assert reasons == [p3_templates.LACKING, p3_templates.NULL]
    assert len(results) == 4


def test_missing_data_is_said_once_for_all(monkeypatch, tmp_path):
    for name in (p3_templates.VARIABLE, p3.ROWS_VARIABLE, p3.RENDERED_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    reasons = collections.Counter(task.source.missing() for task in TASKS.values())
    assert len(reasons) == 1 + 4, "one, and one for each TFDS builder"
    for reason in reasons:
        assert "FLAN_JAX_P3_TEMPLATES" in reason and "FLAN_JAX_T0_DIR" in reason
        assert "FLAN_JAX_P3_RENDERED_DIR" in reason and "promptsource==0.2.3" in reason
    with pytest.raises(UsageError, match="FLAN_JAX_P3_RENDERED_DIR"):
        list(render_task(TASKS["wiqa_effect_with_label_answer"], "train", 0))


# What the templates of each builder's tasks show of a row.
SHOWN = {
    "cos_e": "{{ question }} {{ choices | join(', ') }} {{ answer }} {{ abstractive_explanation }}",
    "qasc": "{{ question }} {{ combinedfact }} {{ fact1 }} {{ fact2 }} {{ answerKey }} "
    "{{ choices.text | join }} {{ choices.label | join }}",
    "web_questions": "{{ question | capitalize }} {{ answers | choice }}",
    "wiki_bio": "{{ target_text }} {{ input_text['context'] }} "
    "{{ input_text['table']['column_header'] | join }} {{ input_text['table']['content'] | join }}",
}


def test_builders_have_the_fields_that_templates_show(data, monkeypatch):
    root = data / "shown"
    monkeypatch.setenv(p3_templates.VARIABLE, str(root))
    builders = {row["dataset"]: row for row in t0_sf.facts() if row["tfds"]}
    assert builders.keys() == SHOWN.keys()
    for data_set, fact in builders.items():
        folder = root / data_set / fact["subset"]
        write_template(folder, fact["template"], f"{SHOWN[data_set]}|||x")
        with tfds.testing.mock_data(num_examples=3):
            rows = [row for _, row in TfdsSource(fact["tfds"], {"train": "train"}).rows("train")]
        template = p3_templates.load(data_set, fact["subset"], fact["template"])
        assert len(rows) == 3
        for row in rows:
            key = ExampleKey(0, "mock", 0)
            assert p3_templates.render(template, row, key, data_set)["inputs"]
