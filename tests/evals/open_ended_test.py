# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Open-ended answers: the ranking rule, what is said without an opinion, and blinded pairs."""

import collections
import dataclasses
import json
import random
import statistics

import pytest

from flan_jax.core import errors
from flan_jax.evals import open_ended
from flan_jax.evals.benchmark import Outcome, Question
from flan_jax.evals.open_ended import A, Answer, B, Ranking
from tests.evals import open_ended_folders


def test_the_rule_drops_what_is_better_than_half_of_the_median():
    # The paper's case: of a median of -20, a sample better than -10 is dropped.
    assert open_ended.rank([-24.0, -3.0, -20.0, -17.0, -31.0]) == Ranking(3, (1,))
    assert open_ended.rank([-20.0, -9.9, -10.0, -30.0, -40.0]) == Ranking(2, (1,))
    assert open_ended.rank([-20.0, -1.0, -2.0, -30.0, -40.0]) == Ranking(0, (1, 2))


def test_one_sample_equal_samples_and_none():
    assert open_ended.rank([-5.0]) == Ranking(0, ())
    assert open_ended.rank([-5.0, -5.0]) == Ranking(0, ())
    assert open_ended.rank([0.0, 0.0, 0.0]) == Ranking(0, ())
    assert open_ended.rank([-1.0, -30.0]) == Ranking(1, (0,))  # the median is between the two
    assert open_ended.rank([]) == Ranking(None, ())
    assert open_ended.rank([1e-7, 1e-7, 2e-7]) == Ranking(0, (2,))


def test_the_rule_agrees_with_sorting_and_always_leaves_one():
    draw = random.Random(3)
    for _ in range(300):
        values = [-draw.expovariate(0.1) for _ in range(draw.randint(1, 7))]
        middle = sorted(values)
        median = (middle[(len(values) - 1) // 2] + middle[len(values) // 2]) / 2
        kept = [v for v in values if not v > median / 2]
        found = open_ended.rank(values)
        assert values[found.chosen] == max(kept)
        assert len(found.dropped) == len(values) - len(kept)


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_broken_log_probabilities_are_refused(bad):
    with pytest.raises(errors.DataError, match="must be finite, got"):
        open_ended.rank([-1.0, bad])


def outcome(texts, logprobs, **others):
    question = Question(id="q", text="?", target="", references=())
    return Outcome(question=question, texts=texts, logprobs=logprobs, **others)


def test_the_measure_says_which_sample_and_gives_no_opinion():
    measure = open_ended.Chosen()
    asked = outcome(("four", "rep rep rep", "", "abcdef"), (-25.0, -3.0, -30.0, -20.0))
    empty = outcome((" \n",), (-4.0,))
    unasked = outcome((), (), too_long=True)
    assert measure.judge(asked) == {"chosen": 3, "dropped": [1]}
    assert measure.judge(unasked) == {"chosen": None, "dropped": []}
    values = {v.metric: (v.value, v.n) for v in measure.values([asked, empty, unasked])}
    assert values == {
        "mean_num_characters": (2.0, 3),
        "dropped_samples": (pytest.approx(25 / 3), 3),
        "empty": (pytest.approx(200 / 3), 3),
    }
    with pytest.raises(ValueError, match="2 samples with 1 log-probabilities"):
        measure.judge(outcome(("a", "b"), (-1.0,)))


def answers(num, suffix, too_long=()):
    return {
        (category, f"{category}_{i}"): Answer(
            prompt=f"{i}?", text=None if (category, i) in too_long else f"{category} {i} {suffix}"
        )
        for category in ("c", "d", "e")
        for i in range(num)
    }


def test_every_pair_is_shown_once_and_each_side_is_balanced_in_each_category():
    lefts = set()
    for seed in range(20):
        shown, num_left_out = open_ended.pairs(answers(7, "A"), answers(7, "B"), seed)
        assert num_left_out == 0 and len({(p.category, p.id) for p in shown}) == len(shown) == 21
        for pair in shown:
            right = {A: "B", B: "A"}[pair.left_model]
            assert pair.left == f"{pair.category} {pair.id[2:]} {pair.left_model.upper()}"
            assert pair.right == f"{pair.category} {pair.id[2:]} {right}"
        by_category = collections.Counter((p.category, p.left_model) for p in shown)
        assert set(by_category.values()) <= {3, 4}
        lefts.add(tuple(p.left_model for p in sorted(shown, key=lambda p: (p.category, p.id))))
    assert len(lefts) == 20  # another seed, other sides


def test_order_and_sides_are_even_over_seeds():
    places, on_left = [], 0
    for seed in range(200):
        shown, _ = open_ended.pairs(answers(3, "A"), answers(3, "B"), seed)
        (place,) = [i for i, pair in enumerate(shown) if pair.id == "c_0"]
        places.append(place)
        on_left += shown[place].left_model == A
    # Of places 0 to 8: mean 4, deviation 2.58, so 0.18 for the mean of 200.
    assert abs(statistics.mean(places) - 4) < 0.73 and set(places) == set(range(9))
    assert abs(on_left - 100) < 29  # four deviations of 7.07


def test_the_same_seed_gives_the_same_pairs_whatever_the_order_of_the_files():
    a, b = answers(5, "A"), answers(5, "B")
    turned = dict(reversed(a.items()))
    assert open_ended.pairs(a, b, 4) == open_ended.pairs(turned, b, 4)
    assert open_ended.pairs(a, b, 4) != open_ended.pairs(a, b, 5)


def test_prompts_too_long_for_either_model_are_left_out_and_counted():
    a, b = answers(3, "A", {("c", 0), ("d", 1)}), answers(3, "B", {("c", 0), ("e", 2)})
    shown, num_left_out = open_ended.pairs(a, b, 0)
    assert num_left_out == 3
    assert {p.id for p in shown} == {"c_1", "c_2", "d_0", "d_2", "e_0", "e_1"}


def test_models_that_were_asked_other_things_are_not_compared():
    a, b = answers(3, "A"), answers(3, "B")
    fewer = {name: answer for name, answer in b.items() if name[1] != "d_1"}
    with pytest.raises(errors.DataError, match="1 prompts .* such as 'd_1' of 'd' of the first"):
        open_ended.pairs(a, fewer, 0)
    with pytest.raises(errors.DataError, match="of the second"):
        open_ended.pairs(fewer, b, 0)
    other = {**b, ("e", "e_2"): Answer(prompt="something else", text="x")}
    with pytest.raises(errors.DataError, match="different prompts as 'e_2' of 'e'"):
        open_ended.pairs(a, other, 0)


def test_a_digest_is_of_all_that_is_seen_but_for_line_ends():
    (pair, *_), _ = open_ended.pairs(answers(1, "A\nx"), answers(1, "B"), 0)
    digest = pair.digest()
    broken = {name: getattr(pair, name).replace("\n", "\r\n") for name in ("left", "right")}
    assert dataclasses.replace(pair, **broken).digest() == digest
    for name in ("category", "id", "prompt", "left", "right"):
        other = dataclasses.replace(pair, **{name: getattr(pair, name) + "."})
        assert other.digest() != digest, name
    swapped = dataclasses.replace(pair, left=pair.right, right=pair.left)
    assert swapped.digest() != digest


def test_the_chosen_answer_is_read_stripped_and_with_its_prompt(tmp_path):
    rows = [
        open_ended_folders.row("x", "Why?", [" one ", "rep", "\n two"], [-25.0, -3.0, -20.0]),
        open_ended_folders.row("y", "How?", [], too_long=True),
        {"id": "one", "inputs": "?", "predictions": ["only"]},
        open_ended_folders.row("z", "half \ud83d", ["a \udc00b\x00\tc\x1b[2J"]),
    ]
    folder = open_ended_folders.write(tmp_path, {"planning": rows})
    assert open_ended.read_answers(folder) == {
        ("planning", "x"): Answer(prompt="Why?", text="two"),
        ("planning", "y"): Answer(prompt="How?", text=None),
        ("planning", "one"): Answer(prompt="?", text="only"),
        ("planning", "z"): Answer(prompt="half \ufffd", text="a \ufffdb\ufffd\tc\ufffd[2J"),
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": 3}, "need a text 'id'"),
        ({"inputs": None}, "need a text 'inputs'"),
        ({"predictions": "one"}, "need 'predictions', a list of texts"),
        ({"logprobs": [-1.0, -2.0]}, "need 'logprobs', a number for each of 1 predictions"),
        ({"logprobs": ["-1"]}, "need 'logprobs'"),
        ({"predictions": ["a", "b"], "logprobs": None}, "a number for each of 2 predictions"),
        ({"logprobs": [True]}, "need 'logprobs'"),
        ({"logprobs": [float("nan")]}, "must be finite, got"),
        ({"id": "first"}, "the id 'first' is there twice"),
    ],
)
def test_malformed_predictions_are_named_by_line(tmp_path, change, said):
    first, second = (open_ended_folders.row(name, "p", ["t"]) for name in ("first", "second"))
    folder = open_ended_folders.write(tmp_path, {"planning": [first, {**second, **change}]})
    with pytest.raises(errors.DataError, match=said) as error:
        open_ended.read_answers(folder)
    assert "planning.jsonl:2" in str(error.value)


def test_a_folder_without_such_predictions_is_told(tmp_path):
    (tmp_path / "scores.csv").write_text(json.dumps({}))
    with pytest.raises(errors.UsageError, match="flan-jax eval --suite open_ended wrote"):
        open_ended.read_answers(tmp_path)
