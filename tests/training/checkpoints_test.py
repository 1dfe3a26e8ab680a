# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints come back bit-equal, keep what they should, and refuse what does not fit."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.core.errors import FlanError, UsageError
from flan_jax.parallel.mesh import MeshShape, make_mesh
from flan_jax.training import checkpoints
from flan_jax.training.checkpoints import Checkpoints
from flan_jax.training.state import TrainState

P = jax.sharding.PartitionSpec


def make_state(step=0, shape=(8, 4), dtype=jnp.float32, axes=(), mesh=None):
    """Returns a small state; its numbers depend on the step."""
    mesh = mesh or make_mesh(MeshShape(data=1), jax.devices()[:1])
    sharding = jax.sharding.NamedSharding(mesh, P(*axes))
    everywhere = jax.sharding.NamedSharding(mesh, P())
    kernel = jax.random.normal(jax.random.key(step), shape).astype(dtype)
    return TrainState(
        step=jax.device_put(jnp.int32(step), everywhere),
        params={"encoder": {"kernel": jax.device_put(kernel, sharding)}},
        opt_state={"count": jax.device_put(jnp.int32(step), everywhere)},
    )


def abstract(state):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def save(folder, steps, metrics=(), **options):
    metrics = dict(metrics)
    with Checkpoints(folder, **options) as manager:
        for step in steps:
            manager.save(
                make_state(step),
                step=step,
                data={"row": step},
                config={"gin": "a = 1"},
                metrics=metrics.get(step),
            )
            manager.wait()


def assert_equal(got, want):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(got), jax.device_get(want))


def test_state_data_and_config_come_back(tmp_path):
    save(tmp_path, [10, 20])
    assert (tmp_path / "checkpoint_20" / "state").is_dir()
    with Checkpoints(tmp_path) as manager:
        assert manager.steps() == [10, 20]
        restored = manager.restore_latest(abstract(make_state()))
        assert restored.step == 20 and restored.data == {"row": 20}
        assert restored.config == {"gin": "a = 1"}
        assert_equal(restored.state, make_state(20))
        assert_equal(manager.restore(10, abstract(make_state())).state, make_state(10))


def test_an_empty_folder_has_nothing_to_restore(tmp_path):
    with Checkpoints(tmp_path / "new") as manager:
        assert manager.restore_latest(abstract(make_state())) is None


def test_saving_does_not_see_what_happens_to_the_state_afterwards(tmp_path):
    state = make_state(1, shape=(512, 512))
    want = jax.device_get(state)
    change = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    with Checkpoints(tmp_path) as manager:
        manager.save(state, step=1, data={}, config={})
        for _ in range(3):
            state = change(state)
        jax.block_until_ready(state)
        manager.wait()
        assert_equal(manager.restore(1, abstract(state)).state, want)


def test_the_latest_are_kept_and_the_best(tmp_path):
    scores = {1: 0.1, 2: 0.9, 3: 0.5, 4: float("nan"), 5: 0.4, 6: 0.3}
    options = {"keep": 2, "best_metric": "exact_match", "best_mode": "max"}
    metrics = [(step, {"exact_match": score, "loss": 1.0}) for step, score in scores.items()]
    save(tmp_path, scores, metrics, **options)
    with Checkpoints(tmp_path, **options) as manager:
        assert manager.steps() == [2, 5, 6]
        assert manager.best_step() == 2
    save(tmp_path, [7], **options)  # a later process, and no metric: the best stays known
    with Checkpoints(tmp_path, **options) as manager:
        assert manager.steps() == [2, 6, 7]


def test_checkpoints_move_between_meshes(tmp_path):
    save(tmp_path, [3])
    mesh = make_mesh(MeshShape(data=4, model=2))
    target = abstract(make_state(axes=("data", "model"), mesh=mesh))
    with Checkpoints(tmp_path) as manager:
        restored = manager.restore_latest(target)
    kernel = restored.state.params["encoder"]["kernel"]
    assert kernel.sharding == target.params["encoder"]["kernel"].sharding
    assert_equal(restored.state, make_state(3))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"shape": (8, 6)},
            r"params/encoder/kernel is float32\[8, 4\] there but float32\[8, 6\] in this run",
        ),
        (
            {"dtype": jnp.bfloat16},
            r"params/encoder/kernel is float32\[8, 4\] there but bfloat16\[8, 4\] in this run",
        ),
    ],
)
def test_another_shape_or_dtype_is_refused_by_name(tmp_path, change, text):
    save(tmp_path, [3])
    target = abstract(make_state(**change))
    with Checkpoints(tmp_path) as manager, pytest.raises(UsageError, match=text) as caught:
        manager.restore_latest(target)
    assert "\n" not in str(caught.value) and "nothing is cast" in str(caught.value)
    with pytest.raises(UsageError, match=text):
        checkpoints.restore_params(tmp_path, target.params)


def test_missing_and_unknown_leaves_are_refused(tmp_path):
    save(tmp_path, [3])
    state = make_state()
    more = state.replace(opt_state={**state.opt_state, "nu": jnp.zeros(2)})
    less = state.replace(opt_state={})
    with Checkpoints(tmp_path) as manager:
        with pytest.raises(UsageError, match=r"opt_state/nu is absent there but float32\[2\]"):
            manager.restore_latest(abstract(more))
        with pytest.raises(UsageError, match=r"opt_state/count is int32\[\] there but absent"):
            manager.restore_latest(abstract(less))


def test_parameters_alone_from_a_checkpoint_or_its_run(tmp_path):
    save(tmp_path, [9, 10])
    target = abstract(make_state()).params
    assert_equal(checkpoints.restore_params(tmp_path, target), make_state(10).params)
    one = tmp_path / "checkpoint_9"
    assert_equal(checkpoints.restore_params(one, target), make_state(9).params)
    assert checkpoints.step_of(checkpoints.find(tmp_path)) == 10
    with pytest.raises(UsageError, match=r"no checkpoint at .*nothing.*; give a checkpoint_<step>"):
        checkpoints.restore_params(tmp_path / "nothing", target)
    with pytest.raises(UsageError, match=r"'runs/xl' is not named checkpoint_<step>"):
        checkpoints.step_of("runs/xl")


@pytest.mark.parametrize(
    "victim", ["state/manifest.ocdbt", "state/d/*", "state/_METADATA", "data/metadata"]
)
def test_a_damaged_newest_checkpoint_is_passed_over_and_kept(tmp_path, capsys, victim):
    save(tmp_path, [1, 2, 3])
    (path,) = (tmp_path / "checkpoint_3").glob(victim)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Checkpoints(tmp_path) as manager:
        restored = manager.restore_latest(abstract(make_state()))
        assert restored.step == 2
        assert_equal(restored.state, make_state(2))
        assert list((tmp_path / "corrupt_checkpoint_3").glob(victim))
        manager.save(make_state(3), step=3, data={}, config={})
        manager.wait()
        assert manager.steps() == [1, 2, 3]
    said = capsys.readouterr().err
    assert "NoneType" not in said
    assert "checkpoint_3 cannot be read, trying the one before" in said
    assert "corrupt_checkpoint_3" in said


def test_when_no_checkpoint_can_be_read_that_is_an_error(tmp_path):
    save(tmp_path, [1])
    (tmp_path / "checkpoint_1" / "config" / "metadata").write_text("{")
    with Checkpoints(tmp_path) as manager:
        with pytest.raises(FlanError, match=r"none of the 1 checkpoint\(s\) .* can be read"):
            manager.restore_latest(abstract(make_state()))
        assert manager.steps() == [1]


def test_a_failed_process_of_several_does_not_wait_long_for_a_save(tmp_path, monkeypatch):
    waiting, over = threading.Event(), threading.Event()

    def wait():
        waiting.set()
        over.wait()

    monkeypatch.setattr(checkpoints.hosts, "is_shared", lambda: True)
    monkeypatch.setattr(checkpoints, "_LAST_SAVE_S", 0.1)
    with pytest.raises(FlanError, match="of this process"), Checkpoints(tmp_path) as manager:
        monkeypatch.setattr(manager, "wait", wait)  # as for a part of a process that is gone
        raise FlanError("of this process")
    assert waiting.is_set()
    over.set()


@pytest.mark.parametrize(
    ("options", "text"), [({"keep": 0}, "keep must be >= 1"), ({"best_mode": "top"}, "got 'top'")]
)
def test_wrong_options_are_refused(tmp_path, options, text):
    with pytest.raises(UsageError, match=text):
        Checkpoints(tmp_path, **options)
