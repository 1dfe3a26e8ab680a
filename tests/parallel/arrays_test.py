# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Parameter trees and batches land on the mesh where the rules say.

Run as a program this file is one process of a job: it puts its rows on meshes that reach over all
processes, and checks the batches that they make up.
"""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from flan_jax.core.errors import UsageError
from flan_jax.parallel import arrays, hosts, rules
from flan_jax.parallel.mesh import MeshShape, make_mesh
from tests import host_processes


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(MeshShape(data=4, model=2))


def test_params_sharding_follows_the_axes(mesh):
    tree = {"a": {"kernel": np.zeros((8, 4))}, "scale": np.zeros((8,))}
    names = {"a": {"kernel": ("embed", "mlp")}, "scale": ("embed",)}
    shardings = arrays.params_sharding(tree, names, rules.FSDP_TENSOR, mesh)
    assert shardings["a"]["kernel"].spec == PartitionSpec("data", "model")
    assert shardings["scale"].spec == PartitionSpec("data")
    placed = jax.device_put(tree, shardings)
    assert placed["a"]["kernel"].addressable_shards[0].data.shape == (2, 2)


def test_an_error_names_the_parameter(mesh):
    tree, names = {"a": {"kernel": np.zeros((8, 3))}}, {"a": {"kernel": ("embed", "mlp")}}
    with pytest.raises(UsageError, match="parameter 'a/kernel'.*'mlp' of 3"):
        arrays.params_sharding(tree, names, rules.TENSOR, mesh)


def test_different_trees_are_refused(mesh):
    with pytest.raises(UsageError, match="different trees, first at 'a'"):
        arrays.params_sharding({"a": np.zeros(1)}, {"b": ("embed",)}, rules.FSDP, mesh)


def test_global_batch_splits_rows_in_order(mesh):
    rows = np.arange(8 * 3, dtype=np.int32).reshape(8, 3)
    batch = arrays.global_batch({"tokens": rows}, rules.REPLICATED, mesh)
    assert batch["tokens"].sharding.spec == PartitionSpec("data", None)
    np.testing.assert_array_equal(batch["tokens"], rows)
    first = next(s for s in batch["tokens"].addressable_shards if s.index[0].start in (0, None))
    np.testing.assert_array_equal(first.data, rows[:2])


def test_global_batch_that_does_not_divide(mesh):
    with pytest.raises(UsageError, match="batch 'tokens'.*'batch' of 6 does not divide"):
        arrays.global_batch({"tokens": np.zeros((6, 3))}, rules.FSDP, mesh)


def test_global_batch_goes_to_slices_in_order():
    mesh = make_mesh(MeshShape(num_slices=2, data=2, model=2))
    rows = np.arange(8, dtype=np.int32).reshape(8, 1)
    batch = arrays.global_batch({"tokens": rows}, rules.FSDP_TENSOR, mesh)["tokens"]
    assert batch.sharding.spec == PartitionSpec(("slice", "data"), None)
    held = {shard.device: shard.data[:, 0].tolist() for shard in batch.addressable_shards}
    for at, pair in enumerate(mesh.devices.reshape(4, 2)):
        assert [held[device] for device in pair] == [[2 * at, 2 * at + 1]] * 2


def test_a_process_alone_reads_whole_batches(mesh):
    assert arrays.place(rules.FSDP, mesh) == {"process_index": 0, "process_count": 1}


@pytest.mark.parametrize(
    ("starts", "parts"),
    [
        ([{0, 1}, {2, 3}, {4, 5}, {6, 7}], [0, 1, 2, 3]),  # rows over all devices
        ([{0}, {0}, {1}, {1}], [0, 0, 1, 1]),  # `model` over two processes
        ([{0}, {0}, {0}, {0}], [0, 0, 0, 0]),  # over all
        ([{0, 2}, {0, 2}, {1, 3}, {1, 3}], [0, 0, 1, 1]),  # a torus that does not follow processes
        ([{4}, {6}, {0}, {2}], [2, 3, 0, 1]),
    ],
)
def test_each_process_reads_the_rows_that_its_devices_hold(starts, parts):
    starts = dict(enumerate(starts))
    got = [arrays.part_of_batch(starts, process, "here") for process in starts]
    assert got == [(part, len(set(parts))) for part in parts]


@pytest.mark.parametrize("starts", [[{0}, {0, 1}, {1}], [{0, 1}, {1, 2}, {2, 0}], [{0}, {1, 2}]])
def test_processes_that_share_a_part_of_their_rows_are_refused(starts):
    with pytest.raises(UsageError, match="mesh 2x3: some processes would hold .*axis 'model'"):
        arrays.part_of_batch(dict(enumerate(starts)), 0, "mesh 2x3")


def test_replicated_is_whole_everywhere(mesh):
    x = jax.device_put(np.arange(3), arrays.replicated(mesh))
    assert [s.data.shape for s in x.addressable_shards] == [(3,)] * 8


def one_process():
    """Makes one batch on several meshes, with two devices a process."""
    jax.config.update("jax_num_cpu_devices", 2)
    hosts.join()
    rows = np.arange(8, dtype=np.int32).reshape(8, 1)
    for shape, num_parts in (
        (MeshShape(), 2),
        (MeshShape(model=2), 2),
        (MeshShape(model=4), 1),  # both processes hold every row
        (MeshShape(num_slices=2), 2),
        (MeshShape(num_slices=2, model=2), 2),
    ):
        mesh = make_mesh(shape)
        place = arrays.place(rules.TENSOR, mesh)
        assert place["process_count"] == num_parts, (shape, place)
        mine = np.split(rows, num_parts)[place["process_index"]]
        batch = arrays.global_batch({"tokens": mine}, rules.TENSOR, mesh)["tokens"]
        whole = jax.jit(lambda x: x, out_shardings=arrays.replicated(mesh))(batch)
        np.testing.assert_array_equal(jax.device_get(whole), rows, err_msg=str(shape))


@pytest.mark.slow  # two Python processes that import jax: 8 s
def test_processes_make_up_the_same_batch_on_any_mesh(tmp_path):
    host_processes.run(["tests.parallel.arrays_test"], 2, tmp_path / "log")


if __name__ == "__main__":
    one_process()
