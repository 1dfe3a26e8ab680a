# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The step follows T5X's loss curves; microbatches, meshes and scanned layers change nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.core.errors import UsageError
from flan_jax.core.tree import flatten
from flan_jax.models.t5 import T5, T5Config
from flan_jax.parallel import arrays
from flan_jax.parallel.mesh import MeshShape, make_mesh
from flan_jax.parallel.rules import preset
from flan_jax.training import state as state_lib
from flan_jax.training import step as step_lib
from flan_jax.training.losses import LossConfig
from flan_jax.training.optimizers import Adafactor, AdamW
from flan_jax.training.schedules import Constant
from flan_jax.training.step import StepSpec
from tests import golden_t5x

MODEL = T5(golden_t5x.CONFIG, rules=preset("replicated"))
ADAMW = AdamW(learning_rate=Constant(learning_rate=1e-3))


@pytest.fixture(scope="module")
def golden_params():
    return golden_t5x.params()


@pytest.fixture(scope="module")
def golden_batches():
    batches = golden_t5x.batches()
    return [{name: b[i] for name, b in batches.items()} for i in range(50)]


def one_device():
    return make_mesh(MeshShape(data=1), jax.devices()[:1])


def place(params, model, optimizer, mesh, step=0):
    """Returns a state on `mesh` that starts from these host arrays."""
    abstract = state_lib.abstract_state(model, optimizer, mesh).params
    params = jax.tree.map(lambda x, leaf: jax.device_put(x, leaf.sharding), params, abstract)
    return state_lib.state_from_params(model, optimizer, params, mesh, step)


def run(spec, params, batches, mesh, key=0):
    """Returns the metrics of each step and the last state."""
    state = place(params, spec.model, spec.optimizer, mesh)
    step = step_lib.jitted_train_step(spec, mesh)
    history = []
    with jax.set_mesh(mesh), jax.default_matmul_precision("highest"):
        for batch in batches:
            batch = arrays.global_batch(batch, spec.model.rules, mesh)
            state, metrics = step(state, batch, jax.random.key(key))
            history.append(jax.device_get(metrics))
    return history, state


@pytest.mark.parametrize(
    ("curve", "learning_rate", "min_dim", "tolerance"),
    [("default", 5e-4, 128, 1e-5), ("lr_0.02_factored32", 0.02, 32, 1e-3)],
)
def test_loss_follows_t5x_at_every_step(
    golden_params, golden_batches, curve, learning_rate, min_dim, tolerance
):
    golden = golden_t5x.facts("loss_curves")["curves"][curve]["rows"]
    spec = StepSpec(
        model=MODEL,
        optimizer=Adafactor(
            learning_rate=Constant(learning_rate=learning_rate), min_dim_size_to_factor=min_dim
        ),
        loss=LossConfig(z_loss=1e-4),
    )
    history, state = run(spec, golden_params, golden_batches, one_device())
    got = np.array([m["objective"] for m in history])
    want = np.array([row["loss"] for row in golden])
    error = np.max(np.abs(got - want) / want)
    print(f"{curve}: largest relative error over {len(got)} steps {error:.2e}")
    assert len(got) == 50 and error < tolerance
    for name, key in (("z_loss", "z_loss"), ("n_tokens", "weight")):
        np.testing.assert_allclose([m[key] for m in history], [r[name] for r in golden], rtol=2e-3)
    assert int(state.step) == 50


# What follows is about our own step, so a smaller model and random batches serve.

TINY = T5Config(
    vocab_size=64,
    emb_dim=16,
    num_heads=4,
    head_dim=4,
    num_encoder_layers=1,
    num_decoder_layers=1,
    mlp_dim=32,
    dropout_rate=0.0,
    dtype="float32",
)
ADAFACTOR = Adafactor(learning_rate=Constant(learning_rate=0.01), min_dim_size_to_factor=16)


def tiny_spec(config=TINY, optimizer=ADAFACTOR, rules="replicated", **settings):
    loss = settings.pop("loss", LossConfig(z_loss=1e-3))
    model = T5(config, rules=preset(rules))
    return StepSpec(model=model, optimizer=optimizer, loss=loss, **settings)


def random_batch(seed, rows=8, inputs=12, targets=8):
    """Returns rows of two packed examples each, of differing lengths, in three members."""
    rng = np.random.default_rng(seed)
    batch = {}
    for side, length in (("encoder", inputs), ("decoder", targets)):
        first, second = rng.integers(1, length // 2, rows), rng.integers(1, length // 2, rows)
        place = np.arange(length)[None]
        segments = np.where(place < first[:, None], 1, 2)
        segments = np.where(place < (first + second)[:, None], segments, 0)
        batch[f"{side}_segment_ids"] = segments
        batch[f"{side}_positions"] = np.where(segments == 2, place - first[:, None], place)
        batch[f"{side}_input_tokens"] = rng.integers(1, 64, (rows, length)) * (segments > 0)
    tokens = rng.integers(1, 64, (rows, targets)) * (batch["decoder_segment_ids"] > 0)
    batch["decoder_target_tokens"] = tokens
    batch["decoder_loss_weights"] = tokens != 0
    batch["decoder_task_ids"] = rng.integers(0, 3, (rows, 1)) * (tokens != 0)
    return {name: array.astype(np.int32) for name, array in batch.items()}


@pytest.fixture(scope="module")
def tiny_params():
    return jax.device_get(jax.jit(T5(TINY).init)(jax.random.key(3)))


def assert_close(got, want, rtol=1e-5, atol=1e-6):
    got, want = flatten(got), flatten(want)
    assert got.keys() == want.keys()
    for path in want:
        np.testing.assert_allclose(got[path], want[path], rtol=rtol, atol=atol, err_msg=path)


def first_step(params, normalizer, num_microbatches):
    """Returns the metrics and the gradient of one step."""
    loss = LossConfig(loss_normalizing_factor=normalizer)
    spec = tiny_spec(optimizer=ADAMW, loss=loss, num_microbatches=num_microbatches)
    (metrics,), state = run(spec, params, [random_batch(0)], one_device())
    # Adam's first moment after one step is the gradient, times 0.1.
    return metrics, jax.tree.map(lambda moment: moment / 0.1, state.opt_state["mu"])


@pytest.fixture(scope="module")
def summed(tiny_params):
    return first_step(tiny_params, None, 1)


@pytest.mark.parametrize("normalizer", [None, 100.0, "tokens"])
def test_microbatches_and_normalizer_scale_the_summed_gradient(tiny_params, summed, normalizer):
    full, full_grads = summed
    parts, parts_grads = first_step(tiny_params, normalizer, 4)
    divisor = {None: 1.0, 100.0: 100.0, "tokens": float(full["weight"])}[normalizer]
    expected = {
        **full,
        "objective": full["loss"] / divisor,
        "grad_norm": full["grad_norm"] / divisor,
    }
    assert parts.keys() == expected.keys()
    for name in expected.keys() - {"update_norm", "param_norm"}:  # Adam's: its epsilon is no ratio
        np.testing.assert_allclose(parts[name], expected[name], rtol=1e-5, err_msg=name)
    scaled = jax.tree.map(lambda grad: grad * divisor, parts_grads)
    assert_close(scaled, full_grads, rtol=1e-4, atol=1e-6 * float(full["grad_norm"]))


@pytest.fixture(scope="module")
def on_one_device(tiny_params):
    batches = [random_batch(seed) for seed in range(3)]
    return run(tiny_spec(), tiny_params, batches, one_device())


@pytest.mark.parametrize(
    ("rules", "data", "model", "num_microbatches", "chunk_length"),
    [
        ("replicated", 2, 1, 1, None),
        ("replicated", 8, 1, 1, 3),
        ("fsdp", 4, 1, 2, 3),
        ("tensor", 1, 4, 1, 4),
        ("fsdp_tensor", 4, 2, 2, None),
        ("fsdp_tensor", 2, 4, 1, 3),
    ],
)
def test_any_mesh_gives_one_devices_losses(
    tiny_params, on_one_device, rules, data, model, num_microbatches, chunk_length
):
    batches = [random_batch(seed) for seed in range(3)]
    want, want_state = on_one_device
    mesh = make_mesh(MeshShape(data=data, model=model), jax.devices()[: data * model])
    loss = LossConfig(z_loss=1e-3, chunk_length=chunk_length)
    spec = tiny_spec(rules=rules, num_microbatches=num_microbatches, loss=loss)
    got, state = run(spec, tiny_params, batches, mesh)
    for ours, theirs in zip(got, want, strict=True):
        for name in theirs:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, err_msg=name)
    assert_close(state.params, want_state.params, rtol=1e-4, atol=1e-5)
    step = step_lib.jitted_train_step(spec, mesh)
    assert step._cache_size() == 1  # the state comes back as it went in: nothing recompiles


def test_initial_state_is_bit_equal_on_any_mesh():
    states = []
    for rules, shape in (("replicated", (1, 1)), ("fsdp_tensor", (4, 2)), ("fsdp", (8, 1))):
        mesh = make_mesh(MeshShape(data=shape[0], model=shape[1]), jax.devices()[: np.prod(shape)])
        model = T5(TINY, rules=preset(rules))
        state = state_lib.create_state(model, ADAFACTOR, jax.random.key(0), mesh)
        abstract = state_lib.abstract_state(model, ADAFACTOR, mesh)
        assert jax.tree.all(jax.tree.map(lambda x, a: x.sharding == a.sharding, state, abstract))
        states.append(jax.device_get(state))
    for other in states[1:]:
        jax.tree.map(np.testing.assert_array_equal, states[0], other)


def test_scanned_layers_train_like_a_loop(tiny_params):
    batches = [random_batch(seed) for seed in range(4)]
    deep = dataclasses.replace(TINY, num_encoder_layers=3, num_decoder_layers=3)
    params = {name: dict(tree) for name, tree in tiny_params.items()}
    for stack in ("encoder", "decoder"):
        for i in (1, 2):
            params[stack][f"layers_{i}"] = jax.tree.map(
                lambda x, i=i: x * (1.0 + 0.1 * i), params[stack]["layers_0"]
            )
    looped, looped_state = run(tiny_spec(config=deep), params, batches, one_device())
    spec = tiny_spec(config=dataclasses.replace(deep, scan_layers=True))
    to_stacks = spec.model.from_other_layout
    scanned, scanned_state = run(spec, to_stacks(params), batches, one_device())
    for ours, theirs in zip(scanned, looped, strict=True):
        assert ours["objective"] == pytest.approx(theirs["objective"], rel=1e-5)
        assert ours["update_norm"] == pytest.approx(theirs["update_norm"], rel=1e-4)
    assert_close(scanned_state.params, to_stacks(looped_state.params), rtol=1e-4, atol=1e-5)


def test_dropout_depends_on_key_and_step_alone(tiny_params):
    spec = tiny_spec(config=dataclasses.replace(TINY, dropout_rate=0.3))
    batches = [random_batch(0), random_batch(0)]
    first, _ = run(spec, tiny_params, batches, one_device(), key=5)
    again, _ = run(spec, tiny_params, batches, one_device(), key=5)
    other, _ = run(spec, tiny_params, batches, one_device(), key=6)
    losses = [[float(m["objective"]) for m in history] for history in (first, again, other)]
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[2][0]
    # The second of two steps continues the same sequence when it runs alone, later.
    step = step_lib.jitted_train_step(spec, one_device())
    state = place(tiny_params, spec.model, spec.optimizer, one_device(), step=1)
    with jax.set_mesh(one_device()), jax.default_matmul_precision("highest"):
        _, metrics = step(state, batches[0], jax.random.key(5))
    assert float(metrics["objective"]) != losses[0][0]


def test_counts_are_of_real_tokens_and_examples():
    batch = random_batch(0)
    counts = step_lib.count_tokens({name: jnp.asarray(x) for name, x in batch.items()})
    assert float(counts["num_input_tokens"]) == np.sum(batch["encoder_segment_ids"] > 0)
    assert float(counts["num_target_tokens"]) == np.sum(batch["decoder_segment_ids"] > 0)
    assert float(counts["num_examples"]) == 16
    unpacked = {
        "encoder_input_tokens": jnp.array([[5, 1, 0], [0, 0, 0]]),
        "decoder_target_tokens": jnp.array([[4, 1], [0, 0]]),
    }
    counts = {name: float(x) for name, x in step_lib.count_tokens(unpacked).items()}
    assert counts == {"num_input_tokens": 2, "num_target_tokens": 2, "num_examples": 1}


def test_eval_step_is_the_loss_without_dropout(tiny_params, on_one_device):
    spec = tiny_spec(config=dataclasses.replace(TINY, dropout_rate=0.5))
    mesh = one_device()
    with jax.set_mesh(mesh), jax.default_matmul_precision("highest"):
        sums = step_lib.jitted_eval_step(spec, mesh)(tiny_params, random_batch(0))
    (metrics, *_), _ = on_one_device  # of the same batch, before any update
    np.testing.assert_allclose(sums["loss"], metrics["loss"], rtol=1e-5)
    assert sums["member_weight"].shape == (128,)


def test_batch_that_does_not_divide_into_microbatches_is_refused(tiny_params):
    with pytest.raises(UsageError, match="8 rows does not divide into 3 microbatches"):
        run(tiny_spec(num_microbatches=3), tiny_params, [random_batch(0)], one_device())


def test_a_model_without_rules_is_refused():
    with pytest.raises(UsageError, match="no sharding rules; give it some"):
        state_lib.abstract_state(T5(TINY), ADAFACTOR, one_device())


def num_operations(num_layers, scan_layers):
    """Returns how many operations XLA gets to compile for one step with dropout."""
    config = dataclasses.replace(
        TINY,
        num_encoder_layers=num_layers,
        num_decoder_layers=num_layers,
        scan_layers=scan_layers,
        dropout_rate=0.1,
    )
    spec, mesh = tiny_spec(config=config), one_device()
    state = state_lib.abstract_state(spec.model, spec.optimizer, mesh)
    with jax.set_mesh(mesh):
        step = step_lib.jitted_train_step(spec, mesh)
        return step.lower(state, random_batch(0), jax.random.key(0)).as_text().count(" = ")


def test_a_scanned_step_does_not_grow_with_depth():
    assert num_operations(8, True) == num_operations(2, True)
    assert num_operations(8, False) > 2 * num_operations(2, False)
