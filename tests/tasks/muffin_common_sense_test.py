# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Common sense: what each mapping makes of its builder's rows."""

import pytest

from flan_jax.collection.spec import Drop
from tasks.muffin import common_sense
from tests.tasks import muffin_rendering, muffin_samples

TASKS = {task.name.removeprefix("muffin."): task for task in common_sense.TASKS}

WSC = {
    "text": "Ann told  Eve that she lost, and she (she!) wept.",
    "span1_text": "Eve",
    "span1_index": 2,
    "span2_text": "she",
    "span2_index": 7,
    "label": 1,
    "idx": 0,
}
STORY = {"context": "Ann fell. She got up.", "endings": ["She ran on.", "She slept."], "label": 1}
PRONOUN = {
    "sentence": "Ann told Eve that she lost.",
    "pronoun": "she",
    "candidates": ["Ann", "Eve"],
    "label": 1,
}
GAP = {"sentence": "Ann beat Eve since _ was fast.", "option1": "Ann", "option2": "Eve", "label": 0}
HELLASWAG = {
    "context": "[header] How to sleep [title] Lie down. [step] Close your eyes",
    "endings": ["[step] and rest", "and [title] Run", "and shout", "and sing [substeps] La."],
    "activity_label": "Sleeping",
    "label": 0,
    "source_id": "wikihow~1",
    "split_type": "indomain",
}
# Mocked rows have no word where they say, as many choices as chance gives, and no gap.
BY_HAND = {
    "wsc": [WSC, WSC | {"text": "Ann met Eve here and she wept.", "span2_index": 5}],
    "story_cloze": [
        STORY,
        {"context": "Ann ran.", "endings": ["She won.", "She ate."], "label": 2},
    ],
    "definite_pronoun_resolution": [PRONOUN, PRONOUN | {"sentence": "Ann saw Eve as she ran."}],
    "winogrande": [GAP, GAP | {"sentence": "Eve lost to Ann as _ was slow.", "label": 1}],
    "hellaswag": [HELLASWAG, HELLASWAG | {"context": "Ann lies down", "label": 2}],
}


@pytest.mark.parametrize("name", TASKS)
def test_every_template_renders_rows_of_the_builders_schema(name):
    words = {"wsc": ["text1"], "copa": ["question"]}
    muffin_rendering.assert_renders(
        TASKS[name], BY_HAND.get(name, ()), unpunctuated=words.get(name, ())
    )


def test_wsc_marks_the_pronoun_that_is_meant():
    fields = common_sense.wsc(WSC)
    assert fields["context"] == "Ann told  Eve that she lost, and *she* (she!) wept."
    assert (fields["text1"], fields["text2"], fields["answer"]) == ("Eve", "she", "yes")
    in_brackets = common_sense.wsc(WSC | {"span2_index": 8})
    assert in_brackets["context"] == "Ann told  Eve that she lost, and she (*she*!) wept."
    once = WSC | {"text": "Ann told Eve that she lost.", "span2_index": 5}
    assert common_sense.wsc(once)["context"] == "Ann told Eve that *she* lost."
    spans = ("span1_text", "span1_index", "span2_text", "span2_index")
    published = {"text": WSC["text"], "label": "true", "target": {k: WSC[k] for k in spans}}
    assert common_sense.wsc(published) == fields


@pytest.mark.parametrize("change", [{"span2_index": 0}, {"span2_index": 99}, {"span2_text": "sh"}])
def test_wsc_drops_rows_whose_pronoun_is_elsewhere(change):
    with pytest.raises(Drop, match="the pronoun is not where the row says"):
        common_sense.wsc(WSC | change)


def test_wic_labels():
    row = {"word": "bank", "sentence1": "A river bank.", "sentence2": "The bank is shut."}
    for label, answer in ((0, "different meanings"), ("True", "the same meaning"), (True, None)):
        fields = common_sense.wic(row | {"label": label})
        assert fields["answer"] == (answer or "the same meaning")


def test_story_cloze_counts_labels_from_one():
    assert common_sense.story_cloze(STORY)["answer"] == "She ran on."
    assert common_sense.story_cloze(STORY | {"label": 2})["answer"] == "She slept."
    for label in (-1, 0, 3):
        with pytest.raises(Drop, match="no label"):
            common_sense.story_cloze(STORY | {"label": label})


def test_copa_labels():
    row = {"premise": "It rained.", "question": "effect", "choice1": "Wet.", "choice2": "Dry."}
    for label in (0, "choice1"):
        fields = common_sense.copa(row | {"label": label})
        assert fields["options"] == ["Wet.", "Dry."] and fields["answer"] == "Wet."


def test_winogrande_splits_at_the_gap_and_shows_no_answer_before_it():
    fields = common_sense.winogrande(GAP)
    assert fields["context"] == "Ann beat Eve since"
    assert fields["options"] == ["Ann was fast.", "Eve was fast."]
    assert fields["answer"] == "Ann was fast."
    published = {k: v for k, v in GAP.items() if k != "label"} | {"answer": "1"}
    assert common_sense.winogrande(published) == fields
    for sentence, reason in (("_ was fast.", "starts with its gap"), ("Ann ran.", "no gap")):
        with pytest.raises(Drop, match=reason):
            common_sense.winogrande(GAP | {"sentence": sentence})


def test_cosmos_qa_drops_answers_about_other_answers():
    answers = {"answer0": "It rained.", "answer1": "None of the above choices .",
               "answer2": "It snowed.", "answer3": "It was hot."}  # fmt: skip
    row = {"context": "Ann took her umbrella.", "question": "Why?", **answers}
    fields = common_sense.cosmos_qa(row | {"label": 0})
    assert fields["options"] == list(answers.values()) and fields["answer"] == "It rained."
    with pytest.raises(Drop, match="answer speaks of the other options"):
        common_sense.cosmos_qa(row | {"label": "1"})


def test_piqa_drops_solutions_that_are_the_same():
    row = {"goal": "Open a jar.", "sol1": "Turn the lid.", "sol2": "Turn the lid. ", "label": 0}
    with pytest.raises(Drop, match="the same option twice"):
        common_sense.piqa(row)
    fields = common_sense.piqa(row | {"sol2": "Shout at it.", "label": 1})
    assert fields["answer"] == "Shout at it."


def test_hellaswag_has_sentences_for_section_marks():
    fields = common_sense.hellaswag(HELLASWAG)
    assert fields["context"] == "How to sleep. Lie down. Close your eyes"
    assert fields["options"] == ["and rest", "and. Run", "and shout", "and sing. La."]
    with pytest.raises(Drop, match="no label"):
        common_sense.hellaswag(HELLASWAG | {"label": -1})
    published = {k: v for k, v in HELLASWAG.items() if k != "context"}
    assert common_sense.hellaswag(published | {"ctx": HELLASWAG["context"]}) == fields


def test_lambada_asks_for_the_last_word_alone():
    fields = common_sense.lambada({"passage": "he saw Ann and then he called for ann\n"})
    assert fields == {"sentence": "he saw Ann and then he called for", "answer": "ann"}
    with pytest.raises(Drop, match="nothing before the last word"):
        common_sense.lambada({"passage": "ann\n"})


@pytest.mark.parametrize("name", ["wsc", "wic", "copa"])
def test_real_rows_all_give_a_prompt(name):
    rendered, dropped = muffin_samples.render_samples(TASKS[name])
    assert rendered and not dropped
