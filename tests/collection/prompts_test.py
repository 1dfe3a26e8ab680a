# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Templates: the renderer reads no data as a pattern, files are checked, faults are found."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.collection import prompts
from flan_jax.core.errors import DataError, UsageError


def template(**changes):
    row = {"id": "t", "input": "{question}", "target": "{answer}"} | changes
    return prompts.parse_template(row, "file:1")


def faults(*rows, **options):
    templates = [template(id=f"t{i}", **row) for i, row in enumerate(rows)]
    return prompts.lint(templates, fields=["question", "answer", "title"], **options)


@given(st.text(), st.text())
def test_data_is_put_in_verbatim(question, answer):
    pattern = prompts.Pattern("Q: {question} -> {answer} {{kept}}")
    text = pattern.render({"question": question, "answer": answer})
    assert text == "Q: " + question + " -> " + answer + " {kept}"


@given(st.text())
def test_any_text_with_doubled_braces_is_a_literal_pattern(text):
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert prompts.Pattern(doubled).render({}) == text


@pytest.mark.parametrize("text", ["{", "a } b", "{no slot}", "{1}", "{}", "{a"])
def test_lone_brace_is_refused(text):
    with pytest.raises(UsageError, match="a literal brace is doubled"):
        prompts.Pattern(text)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("{question}\n\n{options}", "{question}"),
        ("{question}\n{options}\nAnswer:", "{question}\nAnswer:"),
        ("{question} ({options})\nGo", "{question}\nGo"),
        ("{question} [{options}] now", "{question} now"),
        ("{question} | {options}", "{question}"),
        ("{options}\n{question}", "{question}"),
        ("{question}{options}", "{question}"),
        ("No slot (here)", "No slot (here)"),
    ],
)
def test_options_slot_goes_with_what_leads_up_to_it(text, bare):
    fields = {"question": "why", "options": "OPTS"}
    got = prompts.Pattern(text).without("options").render(fields)
    assert got == prompts.Pattern(bare).render(fields)


def test_template_fits_by_kind_and_options():
    def fits(**changes):
        t = template(**changes)
        return [t.fits(few_shot=f, show_options=o) for f in (False, True) for o in (False, True)]

    # Zero-shot without and with options, few-shot without and with.
    assert fits() == [True] * 4
    assert fits(kind="zero_shot") == [True, True, False, False]
    assert fits(kind="few_shot", options="no") == [False, False, True, False]
    assert fits(input="{question} {options}", options="yes") == [False, True, False, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "one_shot"}, "kind 'one_shot' must be one of"),
        ({"options": "maybe"}, "options 'maybe' must be one of"),
        ({"options": "yes"}, r"options 'yes' but the slot \{options\} is nowhere"),
        ({"options": "no", "input": "{options}"}, r"slot \{options\} is there"),
        ({"target": 3}, "'target' must be a string, got 3"),
        ({"shots": -1}, "'shots' must be a count, got -1"),
        ({"inputt": "x"}, "unknown key 'inputt'; known: "),
        ({"input": "{question"}, "lone '{' at 0"),
    ],
)
def test_malformed_template_names_file_line_and_fault(tmp_path, changes, message):
    path = tmp_path / "t.jsonl"
    good = {"id": "a", "input": "{question}", "target": "{answer}"}
    rows = [good, good | {"id": "b"} | changes]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"t\.jsonl:2: .*" + message):
        prompts.TemplateGroup(str(path)).load()


def test_group_is_chosen_from_a_shared_file(tmp_path):
    path = tmp_path / "t.jsonl"
    rows = [{"id": i, "group": g, "input": "{q}", "target": "{a}"} for i, g in ("ax", "by", "cx")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [t.id for t in prompts.TemplateGroup(str(path), "x").load()] == ["a", "c"]
    with pytest.raises(UsageError, match="no template with group 'z'"):
        prompts.TemplateGroup(str(path), "z").load()
    everything, part = prompts.TemplateGroup(str(path)), prompts.TemplateGroup(str(path), "y")
    assert len({everything.fingerprint(), part.fingerprint()}) == 2


def test_repeated_id_and_missing_file_are_refused(tmp_path):
    line = json.dumps({"id": "a", "input": "{q}", "target": "{a}"})
    with pytest.raises(DataError, match="template 2: id 'a' is used twice"):
        prompts.TemplateGroup(inline=(line, line)).load()
    with pytest.raises(UsageError, match=r"no\.jsonl does not exist; correct"):
        prompts.TemplateGroup(str(tmp_path / "no.jsonl")).load()


def test_lint_passes_clean_templates():
    assert not faults(
        {},
        {"input": "{question}\n{options}", "options": "yes"},
        {"input": "{answer}", "target": "{question}", "direction": "question"},
    )


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"input": "{quest}"}, "unknown slot {quest}"),
        ({"input": "{question} {answer}"}, "{answer} stands in input and target"),
        ({"target": "yes"}, "the target holds no field"),
        ({"target": "{title}"}, "direction is forward but {answer} is no target"),
        ({"direction": "title"}, "so it is forward"),
        ({"input": "Q:{question}"}, "no blank between ':' and {question}"),
        ({"input": "{question}?"}, "'?' after {question} may double its own"),
        ({"input": "Use the options. {question}"}, "speaks of options where none are shown"),
    ],
)
def test_lint_finds_each_fault(row, fault):
    assert any(fault in line for line in faults(row))


def test_lint_finds_templates_that_are_the_same_without_options():
    shown, bare = {"input": "{question}\n{options}"}, {"input": "{question}"}
    assert faults(shown, bare) == ["t1: the same as t0 once options are removed"]
    assert not faults({"target": "{answer}."}, unpunctuated=["answer"])
