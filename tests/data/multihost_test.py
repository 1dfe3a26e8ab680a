# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Real processes of one job make the global batches of one process, each reading its own rows.

Run as a program this file is one such process: it writes the shards it holds of each batch.
"""

import json
import sys

import jax
import numpy as np
import pytest

from flan_jax.collection.store import Store
from flan_jax.data import loader
from flan_jax.data.loader import TrainInput, open_train
from flan_jax.parallel import arrays, hosts
from flan_jax.parallel.mesh import make_mesh
from flan_jax.parallel.rules import preset
from tests import host_processes
from tests.data.batches import assert_equal

BATCH, STEPS = 8, 6


def count_tokens_read():
    """Makes this process count the tokens it reads of any store; returns the counter."""
    counted, gather = np.zeros((), np.int64), Store.gather

    def counting(*args):
        tokens = gather(*args)
        counted[...] += len(tokens)
        return tokens

    Store.gather = counting
    return counted


def settings(path):
    return TrainInput(store=str(path), batch_size=BATCH, window_examples=50)


def host(path, out, state_file, num_steps):
    """Writes this process's shards of each global batch, and how many tokens it read."""
    loader._POSITIONS = 0  # no rows ahead: what is read for a batch is then what it holds
    hosts.join()
    index, count = jax.process_index(), jax.process_count()
    state = None if state_file == "-" else json.loads(open(state_file).read())
    rules, mesh, num_tokens = preset("replicated"), make_mesh(), count_tokens_read()
    with open_train(settings(path), state, process_index=index, process_count=count) as batches:
        for step in range(int(num_steps)):
            num_tokens[...] = 0
            batch = arrays.global_batch(next(batches), rules, mesh)
            found = {"num_tokens": num_tokens}
            for name, array in batch.items():
                (shard,) = array.addressable_shards
                found[f"{name}.rows"] = np.arange(array.shape[0])[shard.index[0]]
                found[name] = np.asarray(shard.data)
            np.savez(f"{out}.{step}.{index}.npz", **found)
        if index == 0:
            with open(f"{out}.state", "w") as file:
                json.dump(batches.state(), file)


def global_batches(store, out, count, num_steps, state_file="-"):
    """Runs `count` processes; returns the batches that their shards make up."""
    words = ["tests.data.multihost_test", store.path, out, state_file, num_steps]
    host_processes.run([str(word) for word in words], count, out.with_suffix(".log"))
    batches = []
    for step in range(num_steps):
        shards = [dict(np.load(f"{out}.{step}.{index}.npz")) for index in range(count)]
        names = [name for name in shards[0] if f"{name}.rows" in shards[0]]
        batch = {}
        for name in names:
            rows = np.concatenate([shard[f"{name}.rows"] for shard in shards])
            assert sorted(rows) == list(range(BATCH))
            batch[name] = np.concatenate([shard[name] for shard in shards])[np.argsort(rows)]
        batches.append(batch)
        for shard in shards:
            assert len(shard["encoder_input_tokens"]) == BATCH // count
            # Everything a process read is in the rows it holds, and nothing was read twice.
            held = [shard[f"{side}_segment_ids"] > 0 for side in ("encoder", "decoder")]
            assert shard["num_tokens"] == sum(part.sum() for part in held)
    return batches


@pytest.fixture
def store(make_store):
    return make_store({"a": 40, "b": 7, "c": 150}, rates={"a": 0.3, "b": 0.1, "c": 0.6})


@pytest.fixture
def expected(store):
    """The batches of one process, without jax."""
    with open_train(settings(store.path)) as batches:
        return [next(batches) for _ in range(STEPS)]


@pytest.mark.slow  # four Python processes that import jax and grain: about 10 s on two cores
def test_four_processes_make_the_batches_of_one(store, expected, tmp_path):
    assert_equal(global_batches(store, tmp_path / "four", 4, STEPS), expected)


@pytest.mark.large
@pytest.mark.parametrize("count", [1, 2])
def test_one_and_two_processes_make_the_batches_of_one(store, expected, tmp_path, count):
    assert_equal(global_batches(store, tmp_path / "some", count, STEPS), expected)


@pytest.mark.large
def test_a_job_grows_and_shrinks_and_goes_on_with_the_same_batches(store, expected, tmp_path):
    found, state = [], "-"
    for number, (count, num_steps) in enumerate([(2, 1), (4, 2), (1, 1), (2, 2)]):
        out = tmp_path / f"part{number}"
        found += global_batches(store, out, count, num_steps, state)
        state = f"{out}.state"
    assert_equal(found, expected)


if __name__ == "__main__":
    host(*sys.argv[1:])
