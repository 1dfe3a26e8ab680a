# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Parameters read out of checkpoints one by one, and written so that training starts from them."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from flan_jax.convert.leaves import Arrays
from flan_jax.core.errors import FlanError, UsageError
from flan_jax.parallel.mesh import MeshShape, make_mesh
from flan_jax.training import checkpoints, params_files
from flan_jax.training.checkpoints import Checkpoints
from flan_jax.training.state import TrainState

P = jax.sharding.PartitionSpec


def make_arrays():
    rng = np.random.default_rng(0)
    return {
        "decoder/layers/kernel": rng.standard_normal((8, 3, 6)).astype(np.float32),
        "encoder/scale": rng.standard_normal(8).astype(ml_dtypes.bfloat16),
        "zeros": np.zeros((4, 4), np.float32),
    }


def assert_bit_equal(leaves, arrays):
    assert leaves.shapes.keys() == arrays.keys()
    for name, array in arrays.items():
        got = leaves.read(name)
        assert got.dtype == leaves.shapes[name].dtype == array.dtype
        np.testing.assert_array_equal(got.view(np.uint8), array.view(np.uint8))


def test_a_checkpoint_of_a_run_is_read_leaf_by_leaf(tmp_path):
    arrays = make_arrays()
    params = {
        "decoder": {"layers": {"kernel": jnp.asarray(arrays["decoder/layers/kernel"])}},
        "encoder": {"scale": jnp.asarray(arrays["encoder/scale"])},
        "zeros": jnp.asarray(arrays["zeros"]),
    }
    state = TrainState(step=jnp.int32(5), params=params, opt_state={"count": jnp.int32(5)})
    with Checkpoints(tmp_path) as manager:
        manager.save(state, step=5, data={}, config={})
    leaves = params_files.open_params(tmp_path)
    assert_bit_equal(leaves, arrays)
    part = (slice(2, 5), slice(1, 2), slice(0, 6))
    name = "decoder/layers/kernel"
    np.testing.assert_array_equal(leaves.read(name, part), arrays[name][part])
    with pytest.raises(UsageError, match="unknown parameter 'encoder/scales'; did you mean"):
        leaves.read("encoder/scales")


def test_what_is_written_is_restored_onto_a_mesh(tmp_path, monkeypatch):
    monkeypatch.setattr(params_files, "CHUNK_SIZE_BYTES", 128)
    arrays = make_arrays()
    path = tmp_path / "run" / "checkpoint_7"
    params_files.write_params(path, Arrays(arrays), {"origin": "a"})
    assert_bit_equal(params_files.open_params(path), arrays)
    mesh = make_mesh(MeshShape(data=4, model=2))
    layout = {
        "decoder": {"layers": {"kernel": jax.ShapeDtypeStruct((8, 3, 6), jnp.float32)}},
        "encoder": {"scale": jax.ShapeDtypeStruct((8,), jnp.bfloat16)},
        "zeros": jax.ShapeDtypeStruct((4, 4), jnp.float32),
    }
    layout = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=jax.sharding.NamedSharding(mesh, P("data"))
        ),
        layout,
    )
    restored = checkpoints.restore_params(tmp_path / "run", layout)
    kernel = restored["decoder"]["layers"]["kernel"]
    assert kernel.sharding == layout["decoder"]["layers"]["kernel"].sharding
    np.testing.assert_array_equal(kernel, arrays["decoder/layers/kernel"])
    assert checkpoints.read_config(path) == {"origin": "a"}


def test_a_failed_write_leaves_nothing_and_names_why(tmp_path):
    class Failing(Arrays):
        def read(self, name, index=None):
            if name == "zeros":
                raise FlanError("leaf 'zeros' is damaged")
            return super().read(name, index)

    path = tmp_path / "checkpoint_7"
    with pytest.raises(FlanError, match="leaf 'zeros' is damaged"):
        params_files.write_params(path, Failing(make_arrays()), {})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="is not named checkpoint_<step>"):
        params_files.write_params(tmp_path / "mine", Arrays(make_arrays()), {})
    params_files.write_params(path, Arrays(make_arrays()), {})
    with pytest.raises(UsageError, match="checkpoint_7 exists already"):
        params_files.write_params(path, Arrays(make_arrays()), {})


def test_damage_is_one_line(tmp_path):
    path = tmp_path / "checkpoint_7"
    params_files.write_params(path, Arrays(make_arrays()), {})
    for file in (path / "state").rglob("d/*"):
        file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(FlanError, match="checkpoint_7 cannot be read") as caught:
        leaves = params_files.open_params(path)
        for name in leaves.shapes:
            leaves.read(name)
    assert "\n" not in str(caught.value)


# Gives 201 MB of numbers that do not compress, then says how much more memory writing took.
PEAK = """
import resource, sys
import numpy as np
from flan_jax.convert.leaves import Arrays
from flan_jax.training import params_files

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

params_files.CHUNK_SIZE_BYTES = 4 << 20
params_files.write_params(sys.argv[1] + "/checkpoint_1", Arrays({"a": np.ones(3)}), {})
array = np.random.default_rng(0).standard_normal((1024, 24, 2048), dtype=np.float32)
before = peak_mb()
params_files.write_params(sys.argv[1] + "/checkpoint_2", Arrays({"a": array}), {})
print(round(peak_mb() - before))
"""


@pytest.mark.slow  # 200 MB in a process of its own
def test_writing_holds_no_second_copy_of_an_array(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 100
