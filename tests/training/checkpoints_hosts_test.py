# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that two real processes write together, and what one of them alone cannot read.

Run as a program this file is one such process.
"""

import shutil
import sys

import jax
import numpy as np
import pytest

from flan_jax.core import errors
from flan_jax.parallel import hosts
from flan_jax.parallel.mesh import make_mesh
from flan_jax.training import checkpoints
from flan_jax.training.checkpoints import Checkpoints
from flan_jax.training.state import TrainState
from tests import host_processes

STEPS = (1, 2, 3)
SHAPE = (64, 48)

# Two processes that import jax and orbax, twice: 15 s on two busy cores.
pytestmark = pytest.mark.slow


def kernel(step):
    return np.random.default_rng(step).normal(size=SHAPE).astype(np.float32)


def layout():
    """Returns the abstract state: the kernel's rows lie over the devices of both processes."""
    mesh = make_mesh()
    rows, whole = (jax.NamedSharding(mesh, jax.P(*axes)) for axes in (("data",), ()))
    count = jax.ShapeDtypeStruct((), np.int32, sharding=whole)
    leaf = jax.ShapeDtypeStruct(SHAPE, np.float32, sharding=rows)
    return TrainState(step=count, params={"kernel": leaf}, opt_state={"count": count})


def make_state(step):
    def put(leaf):
        value = kernel(step) if leaf.shape else np.int32(step)
        return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda index: value[index])

    return jax.tree.map(put, layout())


def mine(array):
    (shard,) = array.addressable_shards
    return np.asarray(shard.data), shard.index


def host(work, folder):
    """Saves checkpoints, or goes on from the newest as training would."""
    hosts.join()
    with Checkpoints(folder) as manager:
        if work == "save":
            for step in STEPS:
                manager.save(make_state(step), step=step, data={"row": step}, config={})
            return
        try:
            params = checkpoints.restore_params(folder, layout().params)
            found, index = mine(params["kernel"])
            np.testing.assert_array_equal(found, kernel(STEPS[-1])[index])
            print("params of the newest", file=sys.stderr)
        except errors.FlanError as error:
            print(f"params: {error}", file=sys.stderr)
        restored = manager.restore_latest(layout())
        assert restored.data == {"row": restored.step}
        found, index = mine(restored.state.params["kernel"])
        np.testing.assert_array_equal(found, kernel(restored.step)[index])
        print(f"going on from {restored.step}", file=sys.stderr)
        manager.save(make_state(9), step=9, data={}, config={})


def run(work, folder, code=errors.EXIT_OK):
    """Returns what each process said."""
    log = folder.with_suffix(".log")
    words = ["tests.training.checkpoints_hosts_test", work, str(folder)]
    host_processes.run(words, 2, log, code, timeout=100)
    return [log.with_name(f"{log.name}.{index}").read_text() for index in range(2)]


def damage(folder, step, index):
    """Cuts the half of the kernel that process `index` wrote, and that it alone will read."""
    files = (folder / f"checkpoint_{step}" / "state" / f"ocdbt.process_{index}" / "d").iterdir()
    path = max(files, key=lambda path: path.stat().st_size)
    assert path.stat().st_size > kernel(step).nbytes // 3
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "run"
    run("save", folder)
    return folder


def test_what_one_process_cannot_read_is_passed_over_by_all(saved, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(saved, folder)
    damage(folder, 3, index=1)
    first, second = run("restore", folder)
    newest = folder / "checkpoint_3"
    assert "params: process 1 of this job failed; its own message says why" in first
    assert f"params: checkpoint {newest} cannot be read" in second
    told = f"checkpoint {newest} cannot be read, trying the one before: "
    assert f"{told}process 1 cannot; its own message says why" in first
    assert told in second and '"params.kernel/1.0" in OCDBT database at local file' in second
    for said in (first, second):
        assert "going on from 2" in said and "Traceback" not in said
    names = {path.name for path in folder.iterdir()}
    assert names == {"checkpoint_1", "checkpoint_2", "checkpoint_9", "corrupt_checkpoint_3"}


@pytest.mark.large  # the same once more
def test_when_each_checkpoint_has_a_process_that_cannot_read_it_all_end(saved, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(saved, folder)
    for step, index in ((1, 1), (2, 1), (3, 0)):
        damage(folder, step, index)
    for said in run("restore", folder, errors.EXIT_FAILED):
        assert said.splitlines()[-1].startswith(
            f"error: none of the 3 checkpoint(s) in {folder} can be read, the newest, checkpoint_3"
        )
    assert {path.name for path in folder.iterdir()} == {f"checkpoint_{step}" for step in STEPS}


if __name__ == "__main__":
    try:
        host(*sys.argv[1:])
    except errors.FlanError as error:  # as the command line does
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
