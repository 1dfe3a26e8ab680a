# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading comprehension: what each mapping makes of its builder's rows."""

import pytest

from flan_jax.collection import rendering
from flan_jax.collection.spec import Drop
from flan_jax.core.rng import ExampleKey
from tasks.muffin import reading
from tests.tasks import muffin_rendering, muffin_samples

TASKS = {task.name.removeprefix("muffin."): task for task in reading.TASKS}

RECORD = {
    "passage": "Ann met Bob in Rome.\n@highlight\nBob paid\n@highlight\nRome was hot",
    "query": "Later @placeholder said that @placeholder's wallet was gone.",
    "entities": ["Ann", "Bob", "Bobby", "Rome"],
    "answers": ["Bob", "Bobby"],
    "idx": {"passage": 1, "query": 2},
}
COQA = {
    "source": "wikipedia",
    "story": "Ann has a cat. It is grey.",
    "questions": ["What does Ann\nhave?", "Of which colour?"],
    "answers": {"input_text": ["a cat", "grey"], "answer_start": [0, 15], "answer_end": [14, 26]},
}
# Mocked text has no gap, and as many answers as questions only by chance.
BY_HAND = {
    "record": [RECORD, {**RECORD, "query": "In @placeholder it was hot.", "answers": ["Rome"]}],
    "coqa": [COQA, {**COQA, "story": "Ann has a dog. It is grey."}],
}
SQUAD = {
    "id": "1",
    "title": "Beyonc%C3%A9_Knowles",
    "context": "She was born in 1981 in Houston.",
    "question": " Where was she born?",
    "answers": {"text": ["Houston", "in Houston", "Houston"], "answer_start": [24, 21, 24]},
}
QUAC = {
    "title": "Ann",
    "background": "Ann sings.",
    "section_title": "Life",
    "context": "She sang in 1999. CANNOTANSWER",
    "question": "When did she sing?",
    "orig_answer": {"text": "in 1999", "answer_start": 9},
    "answers": {"text": ["in 1999", "CANNOTANSWER", "1999"], "answer_start": [9, 18, 12]},
}


@pytest.mark.parametrize("name", TASKS)
def test_every_template_renders_rows_of_the_builders_schema(name):
    answer = "numbered_answers" if name == "coqa" else "answer"
    muffin_rendering.assert_renders(
        TASKS[name], BY_HAND.get(name, ()), answer=answer, unpunctuated=["title"]
    )


def test_bool_q_takes_the_title_from_where_it_stands():
    apart = {"title": "Tea", "passage": "It -- is hot.", "question": "is tea hot", "answer": True}
    fields = reading.bool_q(apart)
    assert (fields["title"], fields["text"]) == ("Tea", "It -- is hot.")
    assert (fields["question"], fields["answer"]) == ("is tea hot?", "yes")
    joined = {"passage": "Tea -- It -- is hot.", "question": "is tea hot?", "label": "false"}
    assert reading.bool_q(joined) == fields | {"answer": "no"}
    assert reading.bool_q({**joined, "passage": "It is hot."})["title"] is None


def test_bool_q_without_a_title_uses_templates_without_one():
    row = {"passage": "It is hot.", "label": "true"}
    rows = [reading.bool_q({**row, "question": f"is tea {i} hot"}) for i in range(40)]
    for setting, _ in TASKS["bool_q"].settings:
        done = muffin_rendering.render_all(TASKS["bool_q"], rows, setting)
        assert len({r.meta["template"] for r in done}) > 1


def test_record_cuts_the_query_at_its_gap_and_leaves_one_right_option():
    fields = reading.record(RECORD)
    assert fields["passage"] == "Ann met Bob in Rome.\nBob paid\nRome was hot"
    assert fields["query"] == "Later"
    assert fields["options"] == [
        "Ann said that Ann's wallet was gone.",
        "Bob said that Bob's wallet was gone.",
        "Rome said that Rome's wallet was gone.",
    ]
    assert fields["answer"] == fields["options"][1] == fields["references"][0]
    assert fields["references"][1] == "Bobby said that Bobby's wallet was gone."


def test_record_drops_what_has_no_gap_to_fill_or_no_answer():
    for change, reason in (
        ({"query": "Nothing is missing."}, "no gap"),
        ({"query": " @placeholder was hot."}, "starts with its gap"),
        ({"answers": []}, "no label"),
    ):
        with pytest.raises(Drop, match=reason):
            reading.record({**RECORD, **change})


def test_record_lists_no_options_unless_the_answer_is_among_several():
    assert reading.record({**RECORD, "entities": ["Bob"]})["options"] == []
    assert reading.record({**RECORD, "entities": ["Ann", "Rome"]})["options"] == []


def test_squad_titles_are_words_and_all_answers_references():
    fields = reading.squad_v1(SQUAD)
    assert fields["title"] == "Beyoncé Knowles"
    assert (fields["question"], fields["answer"]) == ("Where was she born?", "Houston")
    assert fields["references"] == ["Houston", "in Houston"]
    published = [{"text": "Houston", "answer_start": 24}, {"text": "in Houston"}]
    assert reading.squad_v1({**SQUAD, "answers": published}) == fields
    with pytest.raises(Drop, match="no answer"):
        reading.squad_v1({**SQUAD, "answers": {"text": [], "answer_start": []}})


def test_squad_v2_says_that_a_question_cannot_be_answered():
    empty = {"text": [], "answer_start": []}
    for change in ({"is_impossible": True}, {"is_impossible": False, "answers": empty}):
        fields = reading.squad_v2({**SQUAD, **change})
        assert (fields["answer"], fields["references"]) == ("unanswerable", ["unanswerable"])
    assert reading.squad_v2({**SQUAD, "is_impossible": False}) == reading.squad_v1(SQUAD)


def test_drop_accepts_the_answers_of_validation():
    row = {"passage": "p", "question": "q", "answer": "3", "validated_answers": ["3", "three"]}
    assert reading.drop(row)["references"] == ["3", "three"]
    with pytest.raises(Drop, match="empty answer"):
        reading.drop({**row, "answer": ""})


def test_quac_never_trains_on_an_empty_answer():
    fields = reading.quac(QUAC)
    assert "CANNOTANSWER" not in str(fields)
    assert fields["context"] == "She sang in 1999."
    assert (fields["answer"], fields["references"]) == ("in 1999", ["in 1999", "1999"])
    nothing = {"text": "CANNOTANSWER", "answer_start": 18}
    with pytest.raises(Drop, match="no answer"):
        reading.quac({**QUAC, "orig_answer": nothing})
    with pytest.raises(Drop, match="empty background"):
        reading.quac({**QUAC, "background": ""})


def test_multirc_asks_whether_one_response_is_right():
    idx = {"paragraph": 3, "question": 4, "answer": 5}
    row = {"paragraph": "p", "question": "q?", "answer": "the candidate", "label": 1, "idx": idx}
    fields = reading.multirc(row)
    assert (fields["response"], fields["answer"]) == ("the candidate", "yes")
    assert reading.multirc({**row, "label": "False"})["answer"] == "no"
    assert fields["group"] == "3 4"
    [metric] = TASKS["multirc"].metrics
    key = ExampleKey(0, "multirc", 0)
    meta = rendering.render(TASKS["multirc"], fields, key=key, setting="zs_noopt").meta
    yes = TASKS["multirc"].postprocessor("yes", example=meta, is_target=True)
    no = TASKS["multirc"].postprocessor("no", example=meta, is_target=False)
    assert (yes, no) == (("3 4", "yes"), ("3 4", "no"))
    assert metric([yes, no], [yes, yes])["group_exact_match"] == 0.0
    assert metric([yes, no], [yes, no]) == {"f1": 100.0, "group_exact_match": 100.0}
    with pytest.raises(Drop, match="no label"):
        reading.multirc({**row, "label": -1})


def test_coqa_numbers_questions_and_answers_alike():
    fields = reading.coqa(COQA)
    assert fields["numbered_questions"] == "1. What does Ann have?\n2. Of which colour?"
    assert fields["numbered_answers"] == "1. a cat\n2. grey"
    published = {
        "story": COQA["story"],
        "questions": [{"input_text": q} for q in COQA["questions"]],
        "answers": [{"input_text": "a cat"}, {"input_text": "grey"}],
    }
    assert reading.coqa(published) == fields
    with pytest.raises(Drop, match="not one answer for each question"):
        reading.coqa({**COQA, "questions": ["What?"]})
    with pytest.raises(Drop, match="empty question or answer"):
        reading.coqa({**COQA, "questions": ["What?", " "]})


def test_only_a_passage_may_be_cut():
    trimmed = {name: task.trim_field for name, task in TASKS.items()}
    assert set(trimmed.values()) == {"text", "passage", "context", "paragraph"}


def test_real_rows_all_give_a_prompt():
    rendered, dropped = muffin_samples.render_samples(TASKS["bool_q"])
    assert rendered and not dropped
