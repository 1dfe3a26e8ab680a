# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Predictions of runs in one form, packed: what is kept whole, what is shared, what is left out."""

import gzip
import json

import pytest

from flan_jax.core import errors
from flan_jax.scaling import predictions
from flan_jax.scaling.predictions import TaskKey
from tests.scaling import explored_study

OWN = TaskKey(task=explored_study.TASK)
TOY = TaskKey(benchmark="toy", asked="test.generate", task="sub")


@pytest.fixture
def folders(tmp_path):
    return [run.folder for run in explored_study.make(tmp_path).runs]


def unpacked(packed, key):
    return json.loads(gzip.decompress(packed.tasks[key]))


def test_tasks_and_benchmarks_of_a_run_are_found_and_read_alike(folders):
    found = predictions.find(folders[1])
    assert list(found) == [OWN, TOY]
    own, toy = (predictions.read(path) for path in found.values())
    assert [one.prompt for one in own] == list(explored_study.HOSTILE)
    assert own[0].references == (explored_study.HOSTILE[0], "other")
    assert own[3].scores == {"exact_match": 0.0, "rouge_l": 33.33333}
    assert (toy[7].id, toy[7].prompt, toy[7].prediction) == ("q7", "Question 7?", "(B)")
    assert (toy[7].answer, toy[7].references, toy[7].scores) == ("B", ("A",), {"exact_match": 100})


def test_samples_and_choices_are_readable(tmp_path):
    line = {"id": 1, "inputs": "Q", "references": ["A"], "accuracy": 100.0}
    voted = {**line, "predictions": ["one", "two"], "answer": None}
    ranked = {**line, "id": 2, "predictions": [], "ranked": "B", "accuracy/by_token": 0.0}
    explored_study.write(tmp_path / "t.jsonl", [voted, ranked])
    first, second = predictions.read(tmp_path / "t.jsonl")
    assert (first.prediction, first.answer) == ("[1 of 2] one\n\n[2 of 2] two", "")
    assert (second.prediction, second.answer) == ("B", "B")
    assert second.scores == {"accuracy": 100.0, "accuracy/by_token": 0.0}


def test_questions_are_packed_once_and_answers_refer_to_them(folders):
    packed = predictions.pack([folders[0], None, folders[1]], metric="exact_match")
    own = unpacked(packed, OWN)
    texts = [text.replace("\ud800", "?") for text in explored_study.HOSTILE]
    assert [question[:2] for question in own["questions"]] == [[str(i), t] for i, t in
                                                              enumerate(texts)]  # fmt: skip
    assert own["metric"] == "exact_match" and list(own["runs"]) == ["0", "2"]
    assert own["runs"]["2"]["q"] == [0, 1, 2, 3] and own["runs"]["2"]["s"] == [0, 100, 100, 0]
    assert own["runs"]["0"]["a"] == [None, *texts[1:]]  # the first is what the model said
    assert own["runs"]["0"]["p"] == [f"says {text}" for text in texts]
    assert packed.left_out == ()


def test_a_question_asked_by_another_prompt_is_kept_beside(folders):
    path = folders[1] / "benchmarks/predictions/toy/test.generate/sub.jsonl"
    path.write_text(path.read_text().replace("Question 3?", "Other question 3?"))
    toy = unpacked(predictions.pack(folders, metric="exact_match"), TOY)
    assert len(toy["questions"]) == 13 and toy["questions"][12] == [
        "q3", "Other question 3?", ["A"]]  # fmt: skip
    assert toy["runs"]["1"]["q"][2:5] == [2, 12, 4]


def test_a_task_without_the_metric_is_judged_by_its_first(folders):
    own = unpacked(predictions.pack(folders, metric="rouge_l"), OWN)
    assert (own["metric"], own["runs"]["0"]["s"][0]) == ("rouge_l", 33.3333)
    assert unpacked(predictions.pack(folders, metric="rouge_l"), TOY)["metric"] == "exact_match"


def test_the_same_files_give_the_same_bytes_without_a_date(folders):
    one, two = (predictions.pack(folders, metric="exact_match") for _ in range(2))
    assert one == two
    assert all(packed[4:8] == b"\0\0\0\0" for packed in one.tasks.values())  # gzip's date


def test_what_does_not_fit_is_left_out_evenly_and_whole(tmp_path):
    for number in range(8):
        lines = [{"id": 0, "inputs": "Q", "prediction": "P", "answer": "P", "references": ["P"],
                  "metrics": {}}]  # fmt: skip
        explored_study.write(tmp_path / "predictions" / f"t{number}.jsonl", lines)
    whole = predictions.pack([tmp_path], metric="exact_match")
    size = whole.num_bytes // 8
    packed = predictions.pack([tmp_path], metric="exact_match", limit_bytes=4 * size)
    assert [key.task for key in packed.tasks] == ["t0", "t2", "t4", "t6"]
    assert [key.task for key in packed.left_out] == ["t1", "t3", "t5", "t7"]
    assert packed.num_bytes == 4 * size
    assert predictions.pack([tmp_path], metric="exact_match", limit_bytes=size - 1).tasks == {}


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"id": 1}', '{"id": 1, "inputs": 3, "prediction": "", "answer": "", '
     '"references": [], "metrics": {}}'],
)  # fmt: skip
def test_a_faulty_line_is_named(tmp_path, text):
    path = tmp_path / "t.jsonl"
    path.write_text(text + "\n")
    with pytest.raises(errors.DataError, match=r"t\.jsonl:1: not a prediction"):
        predictions.read(path)


def test_two_answers_to_a_question_are_refused(tmp_path):
    line = {"id": 1, "inputs": "Q", "predictions": ["a"], "references": ["A"]}
    explored_study.write(tmp_path / "t.jsonl", [line, line])
    with pytest.raises(errors.DataError, match=r"t\.jsonl:2: a second line of question '1'"):
        predictions.read(tmp_path / "t.jsonl")
