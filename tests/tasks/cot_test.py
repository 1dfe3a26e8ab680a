# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Chain of thought: rationale before answer, and the answer can be found again."""

import pytest
import seqio

from flan_jax.collection import prompts, registry, spec
from flan_jax.collection.rendering import Dropped, Rendered, render_task
from flan_jax.core.errors import UsageError
from flan_jax.evals import metrics
from tasks import cot, paper
from tests.tasks import family_data
from tests.tasks.family_rendering import assert_renders


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with one data set, named by the environment variable."""
    monkeypatch.setenv(cot.VARIABLE, str(tmp_path))
    rows = [f"How much is {i} + 1?\t{i + 1}\t{i} + 1\\nmakes {i + 1}." for i in range(300)]
    (tmp_path / "gsm8k_train.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path


def task(name="gsm8k"):
    return registry.get_spec(f"cot.{name}")


def test_nine_tasks_their_twins_and_the_mixtures_are_registered():
    assert len(cot.DATA_SETS) == paper.NUM_TASKS["cot"]
    names = [f"cot.{name}" for name in cot.DATA_SETS]
    twins = [f"{name}_input_inversion" for name in names]
    assert cot.register() == [*names, *twins]
    assert {t.name for t in seqio.get_mixture_or_task("cot_forward").tasks} == set(names)
    assert {t.name for t in seqio.get_mixture_or_task("cot").tasks} == {*names, *twins}
    assert {registry.get_spec(name).cap for name in (*names, *twins)} == {100_000}


def test_templates_have_no_fault_and_end_in_the_answer():
    templates = cot.TEMPLATES.load()
    slots = ("question", "answer", "rationale")
    assert prompts.lint(templates, fields=slots, unpunctuated=["answer"]) == []
    for kind in ("zero_shot", "few_shot"):
        assert sum(t.kind == kind for t in templates) >= 10
    assert all(t.target.slots == ("rationale", "answer") for t in templates)


@pytest.mark.parametrize("template", cot.TEMPLATES.load(), ids=lambda t: t.id)
@pytest.mark.parametrize("answer", ["(C)", "42", "yes", "bloody mess", "1,250.5", "Sentence A"])
def test_answer_is_found_in_every_target(template, answer):
    rationale = "First one thing.\nSo the answer is not 7 yet, since it is 3."
    target = template.target.render({"rationale": rationale, "answer": answer})
    assert target.startswith(rationale)
    assert task().postprocessor(target, is_target=True) == answer


def test_every_inverted_template_and_setting_renders(folder):
    slots = ("question", "answer", "rationale")
    rendered = assert_renders(task("gsm8k_input_inversion"), slots, unpunctuated=["answer"])
    directions = {r.meta["direction"] for r in rendered}
    assert directions == {"answer+question", "rationale", "question+rationale", "question"}
    for r in rendered:
        assert r.targets not in r.inputs and r.references == [r.targets]


def test_golden_inverted_prompt(folder):
    twin = task("gsm8k_input_inversion")
    r = next(render_task(twin, "validation", 0, setting=spec.ZS_OPT))
    assert r.inputs == "Question: How much is 5 + 1?\nAnswer: 6\n\nWhy is this the answer?"
    assert r.targets == "5 + 1\nmakes 6."


def test_twins_have_three_tenths_of_their_tasks_rate(folder):
    rates = registry.mixture_members("cot", skip_missing=True)
    twin = paper.INVERTED_RATE / (1 + paper.INVERTED_RATE)
    assert rates == pytest.approx({"cot.gsm8k": 1 - twin, "cot.gsm8k_input_inversion": twin})


def test_twins_are_scored_on_their_whole_text():
    twin = task("gsm8k_input_inversion")
    assert twin.metrics == (metrics.rouge_l,) and twin.postprocessor is None
    assert twin.source == task().source and twin.category == "Inverted chain_of_thought"


def test_every_row_gives_question_rationale_and_answer(folder):
    rows = dict(task().source.rows("train"))
    for r in render_task(task(), "train", 0):
        row = rows[r.index]
        assert row["question"] in r.inputs and "makes" in r.targets.splitlines()[1]
        assert task().postprocessor(r.targets) == row["answer"]
        assert row["rationale"] not in r.inputs


def test_zero_shot_and_few_shot_are_half_and_half(folder):
    few = [r.meta["num_shots"] > 0 for r in render_task(task(), "train", 0)]
    assert 100 < sum(few) < 170 and len(few) == 270


def test_validation_shares_no_question_with_train(folder):
    rows = [f"q{i % 200}\t{i}\treason {i}\n" for i in range(400)]
    (folder / "creak_train.tsv").write_text("".join(rows))
    for name, num in (("gsm8k", (270, 30)), ("creak", (180, 20))):
        sides = [{row["question"] for _, row in task(name).source.rows(s)} for s in spec.SPLITS]
        assert (len(sides[0]), len(sides[1])) == num and sides[0].isdisjoint(sides[1])


def test_empty_cells_are_dropped_and_counted(folder):
    rows = [f"q{i}\ta\tr\n" for i in range(10)] + ["q\t\tr\n", "q2\ta\t \n", " \ta\tr\n"]
    (folder / "creak_train.tsv").write_text("".join(rows))
    results = [r for s in spec.SPLITS for r in render_task(task("creak"), s, 0)]
    reasons = sorted(r.reason for r in results if isinstance(r, Dropped))
    assert reasons == ["empty answer", "empty question", "empty rationale"]


def test_without_the_folder_the_remedy_is_told(monkeypatch):
    monkeypatch.delenv(cot.VARIABLE, raising=False)
    with pytest.raises(UsageError, match="FLAN_JAX_COT_DIR.* not set; set it"):
        registry.mixture_members("cot_forward")
    with pytest.raises(UsageError, match="task 'cot.gsm8k': gsm8k_train.tsv is looked for"):
        list(render_task(task(), "train", 0))


def test_files_that_are_not_there_are_told_or_skipped(folder):
    for mixture, counts in (("cot_forward", "8 of the 9"), ("cot", "16 of the 18")):
        with pytest.raises(UsageError, match=f"(?s){counts} tasks of '{mixture}'.*aqua_train"):
            registry.mixture_members(mixture)
    assert registry.mixture_members("cot_forward", skip_missing=True) == {"cot.gsm8k": 1.0}


def test_a_users_own_file_is_a_task_too(tmp_path):
    path = tmp_path / "mine.tsv"
    path.write_text("".join(f"q{i}\ta{i}\tbecause {i}\n" for i in range(30)))
    mine = cot.task_spec("mine", str(path))
    assert mine.name == "cot.mine" and len(list(render_task(mine, "train", 0))) == 27
    twin = cot.twin_spec("mine", str(path))
    assert twin.name == "cot.mine_input_inversion" and twin.source == mine.source


def test_real_answers_are_found_again():
    for path in sorted((family_data.shared_folder() / "train/cot/flan_tsv").glob("*_train.tsv")):
        name = path.name.removesuffix("_train.tsv")
        demo = cot.task_spec(f"real_{name}", str(path))
        rows = dict(demo.source.rows("validation"))
        for r in render_task(demo, "validation", 0):
            assert isinstance(r, Rendered)
            answer = rows[r.index]["answer"].strip().rstrip(".")
            assert demo.postprocessor(r.targets) == answer
