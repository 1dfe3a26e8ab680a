# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training batches: the same rows for any hosts, workers and restarts, and nothing lost."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest

from flan_jax.collection.store import Store
from flan_jax.core.errors import UsageError
from flan_jax.data import loader, packing
from flan_jax.data.loader import TrainInput, open_train
from flan_jax.data.mixture import MixtureState
from tests.data.batches import assert_equal

SIZES = {"a": 40, "b": 7, "c": 150, "d:x.1": 23}
RATES = {"a": 0.3, "b": 0.1, "c": 0.5, "d:x.1": 0.1}
BATCH = 12


@pytest.fixture
def store(make_store):
    return make_store(SIZES, rates=RATES, mixtures={"small": {"a": 0.25, "b": 0.75}})


def config(built, **changes):
    defaults = {"store": str(built.path), "batch_size": BATCH, "window_examples": 100}
    return TrainInput(**(defaults | changes))


def take(config, num, state=None, **hosts):
    """The first batches, and the state and report after them."""
    with open_train(config, state, **hosts) as batches:
        return [next(batches) for _ in range(num)], batches.state(), batches.report()


def decode(batch, names):
    """The (task, inputs, targets) of every segment of a batch."""
    found = []
    for r in range(len(batch["encoder_segment_ids"])):
        for segment in range(1, batch["encoder_segment_ids"][r].max() + 1):
            encoder = batch["encoder_segment_ids"][r] == segment
            decoder = batch["decoder_segment_ids"][r] == segment
            (task,) = set(batch["decoder_task_ids"][r][decoder])
            found.append(
                (
                    names[task],
                    tuple(batch["encoder_input_tokens"][r][encoder]),
                    tuple(batch["decoder_target_tokens"][r][decoder]),
                )
            )
    return found


def test_a_window_of_rows_decodes_to_its_examples_each_once(store):
    num = sum(SIZES.values())
    rates = {name: size / num for name, size in SIZES.items()}
    whole = config(store, rates=rates, window_examples=num, batch_size=1)
    with open_train(whole) as batches:
        found = []
        while batches.report()["examples"] != SIZES:
            found += decode(next(batches), batches.member_names)
    expected = []
    for name, size in SIZES.items():
        for index in range(size):
            inputs, targets = store.task(name, "train").example(index)
            expected.append((name, tuple(inputs), tuple(targets)))
    assert sorted(found) == sorted(expected)
    assert batches.report()["epochs"] == dict.fromkeys(SIZES, 1.0)


@pytest.mark.parametrize("pack", [True, False])
def test_hosts_share_the_batch_of_one_host(store, pack):
    settings = config(store, pack=pack)
    expected, state, report = take(settings, 9)
    for process_count in (2, 4):
        shares = [
            take(settings, 9, process_index=index, process_count=process_count)
            for index in range(process_count)
        ]
        joined = [
            {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            for parts in zip(*(share[0] for share in shares), strict=True)
        ]
        assert_equal(joined, expected)
        assert all(share[1:] == (state, report) for share in shares)


@pytest.mark.parametrize("positions", [0, 300, 1 << 20])
def test_rows_made_ahead_are_those_of_the_batches(store, monkeypatch, positions):
    """One batch at a time, some, or all that the window still has; batches of two rows."""
    settings = config(store, batch_size=2)
    monkeypatch.setattr(loader, "_POSITIONS", 0)
    expected, state, report = take(settings, 40)
    monkeypatch.setattr(loader, "_POSITIONS", positions)
    assert state["window"] >= 2
    for after in (0, 7):
        _, middle, _ = take(settings, after)
        found, found_state, _ = take(settings, 40 - after, middle)
        assert_equal(found, expected[after:])
        assert found_state == state


def test_hosts_read_their_own_examples_once_however_far_ahead(store, monkeypatch):
    num = sum(SIZES.values())
    rates = {name: size / num for name, size in SIZES.items()}
    settings = config(store, rates=rates, window_examples=num, batch_size=4)
    read, gather = [], Store.gather

    def recording(self, split, names, tasks, starts, lengths):
        read.extend(zip(tasks.tolist(), starts.tolist(), strict=True))
        return gather(self, split, names, tasks, starts, lengths)

    monkeypatch.setattr(Store, "gather", recording)
    with open_train(settings) as batches:
        next(batches)
        rows = len(batches._current["splits"]) - 1
    assert len(read) == len(set(read)) == num  # all of the window, with its first batch
    read.clear()
    for index in (0, 1):
        take(settings, rows // 4, process_index=index, process_count=2)
    assert len(read) == len(set(read)) <= num


@pytest.mark.slow  # starts three worker processes, each importing grain: about 6 s
def test_workers_change_nothing(store):
    expected, _, _ = take(config(store), 9)
    _, state, report = take(config(store), 5)
    found, found_state, found_report = take(config(store, num_workers=2), 5)
    assert_equal(found, expected[:5])
    assert (found_state, found_report) == (state, report)
    found, _, _ = take(config(store, num_workers=1), 4, state)
    assert_equal(found, expected[5:])


WITH_A_WORKER = """
import multiprocessing, sys
from flan_jax.data.loader import TrainInput, open_train
if __name__ == "__main__":
    with open_train(TrainInput(store=sys.argv[1], batch_size=4, num_workers=1)) as batches:
        next(batches)
        print(multiprocessing.active_children()[0].pid, flush=True)
        sys.stdin.read()
"""


@pytest.mark.large  # two Python processes that import grain: about 6 s
def test_a_worker_ends_with_a_process_that_is_killed(store, tmp_path):
    (tmp_path / "program.py").write_text(WITH_A_WORKER)
    words = [sys.executable, str(tmp_path / "program.py"), str(store.path)]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, env=environment) as process:
        worker = int(process.stdout.readline())
        os.kill(worker, 0)
        process.kill()
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{worker}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("num_before", [0, 1, 5, 9])
def test_a_saved_state_goes_on_exactly(store, num_before):
    expected, end_state, end_report = take(config(store), 16)
    _, state, _ = take(config(store), num_before)
    state = json.loads(json.dumps(state))
    found, found_state, report = take(config(store), 16 - num_before, state)
    assert_equal(found, expected[num_before:])
    assert found_state == end_state and (state["step"], end_state["step"]) == (num_before, 16)
    assert report["examples"] == end_report["examples"]


def test_a_state_far_out_goes_on_at_once(store):
    """Reading or dealing up to there would take months."""
    window_examples, position = 128, 2**44  # where every task has had exactly its share
    settings = config(store, window_examples=window_examples)
    _, state, _ = take(settings, 1)
    schedule = settings.stream(store).schedule(store)
    counts = (position * schedule.rates).astype(np.int64)
    assert counts.sum() == position
    state |= {"step": 10**9, "window": position // window_examples, "row": 3}
    state["schedule"] = schedule.to_json(MixtureState(position, counts))
    batches, after, report = take(settings, 40, state)
    assert after["step"] == 10**9 + 40 and after["window"] > state["window"]
    seen = np.array(list(report["examples"].values()))
    assert np.abs(seen - seen.sum() * schedule.rates).max() < window_examples
    found = sum(len(decode(batch, list(SIZES))) for batch in batches)
    assert 0 < seen.sum() - position - found < window_examples  # less the three rows


def test_a_restart_on_other_hosts_goes_on_exactly(store):
    expected, _, _ = take(config(store), 8)
    _, state, _ = take(config(store), 5, process_index=1, process_count=4)
    found, _, _ = take(config(store), 3, state)
    assert_equal(found, expected[5:])


def test_batches_of_another_size_cut_the_same_rows(store):
    def rows(batch_size, num):
        batches, _, _ = take(config(store, batch_size=batch_size), num)
        return np.concatenate([batch["encoder_input_tokens"] for batch in batches])

    np.testing.assert_array_equal(rows(4, 15), rows(20, 3))


def test_a_batch_may_span_several_windows(store):
    batches, state, report = take(config(store, batch_size=60, window_examples=30), 3)
    assert all(len(batch["encoder_positions"]) == 60 for batch in batches)
    assert state["window"] > 12
    found = sum(len(decode(batch, "abcd")) for batch in batches)
    assert sum(report["examples"].values()) == found


def test_counts_follow_the_rates_and_passes_the_sizes(store):
    _, state, report = take(config(store), 20)
    total = sum(report["examples"].values())
    window = state["window"] * 100
    for name, rate in RATES.items():
        seen = report["examples"][name]
        assert window * rate - 1 < seen < (window + 100) * rate + 1
        assert report["epochs"][name] == seen / SIZES[name]
        assert report["shares"][name] == seen / total
    assert window <= total <= window + 100
    assert report["epochs"]["b"] > 1


def test_examples_seen_more_than_once_are_counted_and_said(store, capsys):
    settings = config(store, batch_size=2)
    with open_train(settings) as batches:
        seen, repeats, lines = Counter(), {}, []
        for step in range(1, 251):
            seen.update(found[0] for found in decode(next(batches), batches.member_names))
            said = capsys.readouterr().err
            before, repeats = repeats, batches.report()["repeats"]
            assert repeats == {n: seen[n] - SIZES[n] for n in SIZES if seen[n] > SIZES[n]}
            assert bool(said) == (bool(repeats) and not before)
            if said:
                lines.append(said)
                assert (
                    f"from step {step} on examples are seen more than once, first of 'b';" in said
                )
    assert len(lines) == 1 and len(repeats) == 4
    with open_train(settings, batches.state(), process_index=1, process_count=2) as other:
        next(other)
    assert capsys.readouterr().err == ""
    with open_train(settings, batches.state()) as again:
        next(again)
        next(again)
    assert capsys.readouterr().err == ""


def test_the_fill_counts_tokens_on_both_sides(store):
    batches, _, report = take(config(store), 6)
    inputs = np.mean([np.mean(batch["encoder_segment_ids"] > 0) for batch in batches])
    targets = np.mean([np.mean(batch["decoder_loss_weights"]) for batch in batches])
    assert report["fill"] == pytest.approx({"inputs": inputs, "targets": targets})
    assert max(report["fill"].values()) > 0.9


def test_seeds_give_other_rows(store):
    one, other = (take(config(store, seed=seed), 1)[0][0] for seed in (0, 1))
    assert (one["encoder_input_tokens"] != other["encoder_input_tokens"]).any()


def test_rows_may_be_longer_than_the_store_was_built_for(store):
    batches, _, _ = take(config(store, feature_lengths={"inputs": 100, "targets": 32}), 1)
    assert batches[0]["encoder_input_tokens"].shape == (BATCH, 100)
    assert batches[0]["decoder_target_tokens"].shape == (BATCH, 32)


def test_rows_shorter_than_an_example_are_refused(store):
    with pytest.raises(UsageError, match=r"example of \d+ tokens of inputs, a row holds 10; raise"):
        open_train(config(store, feature_lengths={"inputs": 10, "targets": 16}))


def test_a_mixture_of_the_manifest_and_a_task_can_be_trained_on(store):
    with open_train(config(store, mixture="small")) as batches:
        assert batches.member_names == ("a", "b")
    with open_train(config(store, mixture="d:x.1")) as batches:
        assert batches.member_names == ("d:x.1",)
    with pytest.raises(UsageError, match="unknown mixture or task 'smal'; did you mean 'small'"):
        open_train(config(store, mixture="smal"))
    with pytest.raises(UsageError, match="unknown task 'zz'"):
        open_train(config(store, rates={"a": 0.5, "zz": 0.5}))


def test_hosts_must_divide_the_batch(store):
    with pytest.raises(UsageError, match="batch_size 12 cannot be shared by 5 processes"):
        open_train(config(store), process_count=5)


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"seed": 3}, "made with seed 0, this run has 3"),
        ({"mixture": "small"}, "made with store"),
        ({"rates": {**RATES, "a": 0.31}}, "made with rates"),
        ({"window_examples": 50}, "window_examples 100, this run has 50"),
        ({"pack": False}, "pack True, this run has False"),
    ],
)
def test_a_state_of_another_input_is_refused(store, changes, message):
    _, state, _ = take(config(store), 1)
    with pytest.raises(UsageError, match=message):
        open_train(config(store, **changes), state)


def test_a_state_of_another_packer_is_refused(store, monkeypatch):
    _, state, _ = take(config(store), 1)
    monkeypatch.setattr(packing, "VERSION", 1)
    with pytest.raises(UsageError, match="made with packer 2, this run has 1"):
        open_train(config(store), state)


def test_a_state_of_a_rebuilt_store_is_refused(store, make_store):
    _, state, _ = take(config(store), 1)
    other = make_store(SIZES, name="other", rates=RATES, seed=1)
    with pytest.raises(UsageError, match="made with store"):
        open_train(config(other), state)


def test_a_store_that_was_moved_is_the_same_input(store):
    expected, state, _ = take(config(store), 2)
    moved = store.path.rename(store.path.with_name("moved"))
    found, _, _ = take(config(store, store=str(moved)), 1, state)
    assert_equal(found, take(config(store, store=str(moved)), 3)[0][2:])


def test_the_configuration_is_hashable(store):
    dicts = {"rates": {"b": 0.5, "a": 0.5}, "feature_lengths": {"targets": 9, "inputs": 4}}
    pairs = {name: tuple(sorted(value.items())) for name, value in dicts.items()}
    assert config(store, **dicts) == config(store, **pairs)
    assert hash(config(store, **dicts)) == hash(config(store, **pairs))
    with pytest.raises(UsageError, match=r"must be of 'inputs' and 'targets', got \['input'\]"):
        config(store, feature_lengths={"input": 4})


def test_rows_of_a_decoder_hold_both_sides_and_go_on_exactly(make_store):
    store = make_store({"a": 60, "b": 40})
    config = TrainInput(store=str(store.path), batch_size=4, window_examples=50, layout="decoder")
    with open_train(config) as batches:
        first = [next(batches) for _ in range(20)]
        state, report, expected = batches.state(), batches.report(), next(batches)
    lengths = store.feature_lengths
    assert first[0]["decoder_target_tokens"].shape == (4, sum(lengths.values()))
    assert 0.8 < report["fill"]["rows"] <= 1 and list(report["fill"]) == ["rows"]
    for going_on in ({"state": state}, {"step": 20}):
        with open_train(config, **going_on) as batches:
            again = next(batches)
        assert again.keys() == expected.keys()
        for name in expected:
            np.testing.assert_array_equal(again[name], expected[name], err_msg=name)
    other = dataclasses.replace(config, layout="encoder_decoder")
    with pytest.raises(UsageError, match="feature_lengths"):
        open_train(other, state)
    with pytest.raises(UsageError, match="'decodr'; did you mean 'decoder'"):
        dataclasses.replace(config, layout="decodr")
