# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Majority votes and their curve: hand-made values, and laws that any answers obey."""

import collections
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.core.errors import UsageError
from flan_jax.evals import answers as answers_lib
from flan_jax.evals.metrics import METRICS, mean_and_stderr
from flan_jax.inference import self_consistency
from flan_jax.inference.self_consistency import accuracy_by_k, vote

EXACT = METRICS["exact_match"]
ANSWERS = st.lists(st.sampled_from(["a", "b", "c", "", None]), max_size=12)
# Several prompts, each with as many answers.
RUNS = st.integers(1, 6).flatmap(
    lambda k: st.lists(
        st.lists(st.sampled_from(["a", "b", "", None]), min_size=k, max_size=k),
        min_size=1,
        max_size=5,
    )
)


def test_the_setting_is_the_cited_one():
    config = self_consistency.SELF_CONSISTENCY
    assert (config.num_samples, config.temperature, config.top_k) == (40, 0.7, 40)
    assert config.top_p == 1.0 and config.num_beams == 1


@pytest.mark.parametrize(
    ("answers", "winner", "counts"),
    [
        (["5", "7", "7"], "7", [("7", 2), ("5", 1)]),
        (["5", "7", "7", "5", "3"], "5", [("5", 2), ("7", 2), ("3", 1)]),
        (["3", "7", "5", "5", "7"], "7", [("7", 2), ("5", 2), ("3", 1)]),
        ([None, "", None, "9"], "9", [("9", 1)]),
        ([None, ""], None, []),
        ([], None, []),
    ],
)
def test_most_votes_win_and_among_equals_the_first(answers, winner, counts):
    got = vote(iter(answers))
    assert got.winner == winner
    assert list(got.counts.items()) == counts
    assert got.num_votes == sum(count for _, count in counts)
    assert got.num_unparsed == len(answers) - got.num_votes


def test_a_vote_on_texts_can_be_written_as_json():
    texts = ["2 + 3 = 5. The answer is 5.", "I do not know.", "The answer is 6.", "Answer: 5.0"]
    got = vote(map(answers_lib.number, texts))
    assert json.loads(json.dumps(dataclasses.asdict(got))) == {
        "winner": "5", "counts": {"5": 2, "6": 1}, "num_votes": 3, "num_unparsed": 1,
    }  # fmt: skip


@given(ANSWERS)
def test_counts_are_those_of_the_answers_and_the_winner_has_most(answers):
    got = vote(answers)
    assert got.counts == collections.Counter(a for a in answers if a)
    assert list(got.counts.values()) == sorted(got.counts.values(), reverse=True)
    assert (got.winner is None) == (not any(answers))
    if got.winner is not None:
        most = max(got.counts.values())
        assert got.winner == next(a for a in answers if a and answers.count(a) == most)


@given(ANSWERS, st.randoms(use_true_random=False))
def test_order_changes_no_count(answers, random):
    shuffled = random.sample(answers, len(answers))
    assert vote(shuffled).counts == vote(answers).counts
    assert vote(shuffled).num_unparsed == vote(answers).num_unparsed


@given(ANSWERS, st.data())
def test_samples_without_an_answer_change_only_their_own_count(answers, data):
    more = list(answers)
    added = data.draw(st.lists(st.sampled_from(["", None]), max_size=4))
    for unparsed in added:
        more.insert(data.draw(st.integers(0, len(more))), unparsed)
    got, want = vote(more), vote(answers)
    assert list(got.counts.items()) == list(want.counts.items()) and got.winner == want.winner
    assert got.num_unparsed == want.num_unparsed + len(added)


def test_the_curve_is_what_hand_counting_gives():
    answers = [
        ["1", "2", "2"],  # right alone; a tie keeps the first; then wrong
        [None, "4", "4"],  # no answer; then right
        ["9", "6", "6"],  # wrong; a tie keeps it wrong; then right
        ["", None, ""],  # never an answer
    ]
    curve = accuracy_by_k(answers, ["1", "4", "6", "0"], EXACT)
    assert [point.k for point in curve] == [1, 2, 3]
    assert [point.value for point in curve] == [25.0, 50.0, 50.0]
    assert [point.num_unanswered for point in curve] == [2, 1, 1]
    # Of 100, 0, 0, 0: variance 10000 (1 - 1/4) / 3 = 2500, over 4 prompts.
    assert curve[0].stderr == pytest.approx(25.0)
    assert json.dumps([dataclasses.asdict(point) for point in curve])


def test_no_answer_is_wrong_even_where_the_target_is_empty():
    assert accuracy_by_k([[None]], [""], EXACT)[0].value == 0.0


@given(RUNS)
def test_one_sample_scores_as_without_voting_and_all_as_the_whole_vote(answers):
    targets = ["a"] * len(answers)
    curve = accuracy_by_k(answers, targets, EXACT)
    single = [100.0 * (row[0] == "a") for row in answers]
    whole = [100.0 * (vote(row).winner == "a") for row in answers]
    assert (curve[0].value, curve[0].stderr) == mean_and_stderr(single)
    assert (curve[-1].value, curve[-1].stderr) == mean_and_stderr(whole)


@given(RUNS)
def test_a_run_of_fewer_samples_is_the_beginning_of_the_curve(answers):
    targets = ["a"] * len(answers)
    curve = accuracy_by_k(answers, targets, EXACT)
    for k in range(1, len(curve) + 1):
        assert accuracy_by_k([row[:k] for row in answers], targets, EXACT) == curve[:k]


def test_a_metric_may_give_a_part_and_take_several_targets():
    curve = accuracy_by_k([["the red fox", "a red"]], [["red fox", "blue"]], METRICS["token_f1"])
    assert [point.value for point in curve] == [100.0, 100.0]
    assert curve[0].stderr is None


def test_misuse_is_named():
    with pytest.raises(UsageError, match="2 prompts with answers but 1 targets; pass one"):
        accuracy_by_k([["a"], ["b"]], ["a"], EXACT)
    with pytest.raises(UsageError, match="0 prompts .* at least one"):
        accuracy_by_k([], [], EXACT)
    with pytest.raises(UsageError, match="prompt 1 has 1 answers, prompt 0 has 2; pass as many"):
        accuracy_by_k([["a", "b"], ["b"]], ["a", "b"], EXACT)
    with pytest.raises(UsageError, match="prompt 0 has 0 answers"):
        accuracy_by_k([[]], ["a"], EXACT)
