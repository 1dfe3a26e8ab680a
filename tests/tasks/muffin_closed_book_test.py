# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Questions without a passage: what each mapping makes of its builder's rows."""

import csv

import pytest

from flan_jax.collection.spec import Drop
from tasks.muffin import closed_book
from tests.tasks import family_data, muffin_rendering, muffin_samples

TASKS = {task.name.removeprefix("muffin."): task for task in closed_book.TASKS}

TRIVIA = {
    "question": "Who wrote Emma?",
    "question_id": "1",
    "question_source": "quiz",
    "entity_pages": {"doc_source": [], "filename": [], "title": [], "wiki_context": []},
    "search_results": {
        "description": [], "filename": [], "rank": [], "title": [], "url": [],
        "search_context": [],
    },
    "answer": {
        "aliases": ["Jane Austen"], "normalized_aliases": ["jane austen", "austen"],
        "matched_wiki_entity_name": "", "normalized_matched_wiki_entity_name": "",
        "normalized_value": "jane austen", "type": "WikipediaEntity", "value": "Jane Austen",
    },
}  # fmt: skip
NUMBER = TRIVIA | {
    "question": "How many sonnets?",
    "answer": TRIVIA["answer"] | {"normalized_value": "154", "type": "Numerical"},
}
ARC = {
    "id": "1",
    "question": "Which one is hot?",
    "choices": {"text": ["ice", "fire", "snow", "rain"], "label": ["A", "B", "C", "D"]},
    "answerKey": "B",
}
SCIENCE = {
    "input": "Which one is (really) hot? \\n (A) ice (B) fire (C) snow, say (D) rain",
    "output": "fire",
}


def more(row, name, texts):
    return [row | {name: text} for text in texts]


# Mocked text has no marks to parse, mocked rows as many choices as chance gives.
BY_HAND = {
    "trivia_qa": more(TRIVIA, "question", ["Who wrote Emma?", "Who wrote Persuasion?"]),
    "trivia_qa_wiki_missing": more(NUMBER, "question", ["How many?", "How many sonnets?"]),
    "arc_challenge": [ARC, ARC | {"question": "Which one is white?", "answerKey": "C"}],
    "arc_easy": [ARC, ARC | {"question": "Which one is white?", "answerKey": "C"}],
    "unified_qa_science_inst": [
        SCIENCE,
        {"input": "Which falls? \\n (A) a (B) b (C) c (D) d", "output": "d"},
    ],
}


@pytest.mark.parametrize("name", TASKS)
def test_every_template_renders_rows_of_the_builders_schema(name):
    muffin_rendering.assert_renders(TASKS[name], BY_HAND.get(name, ()))


def test_natural_questions_end_in_a_question_mark():
    row = {"question": "who sang last ", "answer": ["Ann", " ", "Ann B.", "Ann"]}
    fields = closed_book.natural_questions(row)
    assert fields == {
        "question": "who sang last?",
        "answer": "Ann",
        "references": ["Ann", "Ann B."],
    }
    assert closed_book.natural_questions({**row, "question": "who?"})["question"] == "who?"
    with pytest.raises(Drop, match="no answer"):
        closed_book.natural_questions({**row, "answer": []})


def test_every_trivia_question_is_in_exactly_one_of_the_two_tasks():
    first, second = TASKS["trivia_qa"].source.keep, TASKS["trivia_qa_wiki_missing"].source.keep
    for kind, home, other in (
        ("WikipediaEntity", first, second),
        ("", first, second),
        ("Numerical", second, first),
        ("FreeForm", second, first),
    ):
        row = TRIVIA | {"answer": TRIVIA["answer"] | {"type": kind}}
        assert closed_book.trivia_qa(row)["references"] == ["jane austen", "austen"]
        assert home(row) and not other(row)
    builders = {TASKS[n].source.base.sources[0] for n in ("trivia_qa", "trivia_qa_wiki_missing")}
    assert len(builders) == 1


def test_trivia_rows_of_the_test_split_have_no_answer():
    row = TRIVIA | {"answer": TRIVIA["answer"] | {"normalized_value": "<unk>", "type": ""}}
    with pytest.raises(Drop, match="no answer"):
        closed_book.trivia_qa(row)


def test_arc_finds_the_answer_by_its_mark():
    fields = closed_book.arc(ARC)
    assert fields["options"] == ["ice", "fire", "snow", "rain"]
    assert (fields["question"], fields["answer"]) == ("Which one is hot?", "fire")
    choices = [{"text": t, "label": str(i)} for i, t in enumerate(fields["options"], start=1)]
    published = {"question": {"stem": "Which one is hot?", "choices": choices}, "answerKey": "2"}
    assert closed_book.arc(published) == fields
    for key, numbers in ((1, [0, 1, 2, 3]), (0, [1, 0, 2, 3])):  # as TFDS counts
        row = ARC | {"answerKey": key, "choices": ARC["choices"] | {"label": numbers}}
        assert closed_book.arc(row)["answer"] == "fire"


@pytest.mark.parametrize(
    ("texts", "key", "reason"),
    [
        (["ice", "fire", "snow"], "B", "not four choices"),
        (["ice", "fire", "snow", "rain", "hail"], "B", "not four choices"),
        (["ice", "fire", "snow", "rain"], "E", "no label"),
        (["ice", "fire", "fire", "rain"], "B", "the same option twice"),
        (["ice", "fire", " ", "rain"], "B", "empty option"),
        (["ice", "all of the above", "snow", "rain"], "B", "speaks of the other options"),
        (["ice", "Both A and C.", "snow", "rain"], "B", "speaks of the other options"),
    ],
)
def test_arc_drops_items_that_cannot_be_asked(texts, key, reason):
    labels = ["A", "B", "C", "D", "E"][: len(texts)]
    with pytest.raises(Drop, match=reason):
        closed_book.arc(ARC | {"choices": {"text": texts, "label": labels}, "answerKey": key})


def test_an_answer_may_name_two_things_and_a_wrong_one_may_speak_of_others():
    texts = ["none of the above", "both the sun and the air", "snow", "rain"]
    fields = closed_book.arc(ARC | {"choices": ARC["choices"] | {"text": texts}})
    assert fields["answer"] == "both the sun and the air"


def test_openbookqa_reads_both_layouts():
    texts = ["ice", "fire", "snow", "rain"]
    row = {"fact1": "fire is hot", "answerKey": 1, "question": {"stem": "Hot is"}}
    row["question"] |= dict(zip(["choice_A", "choice_B", "choice_C", "choice_D"], texts))  # noqa: B905
    fields = closed_book.openbookqa(row)
    assert fields["options"] == texts and fields["answer"] == "fire"
    assert (fields["question"], fields["fact"]) == ("Hot is", "fire is hot")
    choices = [{"text": t, "label": m} for t, m in zip(texts, "ABCD", strict=True)]
    published = {"question": {"stem": "Hot is", "choices": choices}, "answerKey": "B"}
    assert closed_book.openbookqa(published) == fields | {"fact": None}


def test_openbookqa_without_a_fact_uses_templates_without_one():
    texts = {f"choice_{mark}": f"thing {mark}" for mark in "ABCD"}
    rows = [
        closed_book.openbookqa({"question": {"stem": f"Hot {i} is", **texts}, "answerKey": 0})
        for i in range(40)
    ]
    for setting, _ in TASKS["openbookqa"].settings:
        done = muffin_rendering.render_all(TASKS["openbookqa"], rows, setting)
        assert {r.meta["direction"] for r in done} == {"forward"}


def test_science_questions_are_parsed_out_of_one_text():
    fields = closed_book.unified_qa_science_inst(SCIENCE)
    assert fields["question"] == "Which one is (really) hot?"
    assert fields["options"] == ["ice", "fire", "snow, say", "rain"]
    assert fields["answer"] == "fire"
    shouted = SCIENCE | {"output": "FIRE "}
    assert closed_book.unified_qa_science_inst(shouted) == fields
    with pytest.raises(Drop, match="answer is not among the choices"):
        closed_book.unified_qa_science_inst(SCIENCE | {"output": "coal"})
    for text in ("Hot? \\n (A) ice (B) fire (C) snow", "Hot? \\n (A) a (B) b (D) c (C) d", "Hot?"):
        with pytest.raises(Drop, match="not four choices"):
            closed_book.unified_qa_science_inst(SCIENCE | {"input": text})


@pytest.mark.parametrize("name", ["arc_challenge", "arc_easy"])
def test_real_rows_give_a_prompt_or_a_known_reason(name):
    rendered, dropped = muffin_samples.render_samples(TASKS[name])
    assert len(rendered) > 950
    assert set(dropped) <= {
        "not four choices",
        "answer speaks of the other options",
        "the same option twice",
    }


def test_real_openbookqa_rows_give_a_prompt():
    text = (family_data.shared_folder() / "train/muffin/openbookqa/train.tsv").read_text()
    num = 0
    for row in csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        stem, choices = row["Question Stem"], row["Choices"]
        as_science = {"input": f"{stem} \\n {choices}", "output": ""}
        texts = closed_book._LETTERED.split(as_science["input"])[2::2]
        layout = [{"text": t, "label": m} for t, m in zip(texts, "ABCD", strict=True)]
        question = {"stem": stem, "choices": layout}
        try:
            fields = closed_book.openbookqa({"question": question, "answerKey": row["Answer Key"]})
        except Drop:
            continue
        parsed = closed_book.unified_qa_science_inst(as_science | {"output": fields["answer"]})
        assert parsed["options"] == [" ".join(option.split()) for option in fields["options"]]
        num += 1
    assert num > 950
