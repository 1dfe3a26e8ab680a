# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Adafactor against a plain numpy one and T5X's state shapes; stacks; AdamW; promises of both."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flan_jax.core import axes
from flan_jax.core.errors import UsageError
from flan_jax.core.tree import flatten, unflatten
from flan_jax.training.optimizers import Adafactor, AdamW
from flan_jax.training.schedules import Constant
from tests import golden_t5x

RATE = Constant(learning_rate=0.1)


def run(optimizer, params, grads, learning_rate, logical_axes=None):
    """Applies one update per gradient; returns the parameters and the state after the last."""
    transformation = optimizer.build(logical_axes)
    state = transformation.init(params)

    @jax.jit
    def step(params, state, grad):
        updates, state = transformation.update(grad, state, params, learning_rate=learning_rate)
        return optax.apply_updates(params, updates), state

    for grad in grads:
        params, state = step(params, state, grad)
    return params, state


def draws(shapes, num, seed=0):
    """Returns `num` trees of normal arrays, of differing scale."""
    keys = jax.random.split(jax.random.key(seed), num * len(shapes))
    return [
        {
            name: jax.random.normal(keys[i * len(shapes) + j], shape) * 3.0 ** (i % 3)
            for j, (name, shape) in enumerate(shapes.items())
        }
        for i in range(num)
    ]


def numpy_adafactor(param, grads, *, learning_rate, factor, decay_rate=0.8, wd=None, beta1=None):
    """Adafactor of one matrix in float64, written from the paper's algorithm 4 and T5X's facts."""
    param = np.asarray(param, np.float64)
    rows = cols = v = m = 0.0
    for t, grad in enumerate(grads):
        grad = np.asarray(grad, np.float64)
        decay = 1 - (t + 1.0) ** -decay_rate
        square = grad**2 + 1e-30
        if factor:
            rows = decay * rows + (1 - decay) * square.mean(1)
            cols = decay * cols + (1 - decay) * square.mean(0)
            y = grad / np.sqrt(np.outer(rows, cols) / rows.mean())
        else:
            v = decay * v + (1 - decay) * square
            y = grad / np.sqrt(v)
        y = y / max(1.0, np.sqrt(np.mean(y**2)))
        delta = learning_rate * max(np.sqrt(np.mean(param**2)), 1e-3) * y
        if beta1 is not None:
            delta = m = beta1 * m + (1 - beta1) * delta
        param = (1 - (wd or 0.0)) * param - delta
    return param


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (5, 5)])
@pytest.mark.parametrize("factor", [True, False])
@pytest.mark.parametrize("extra", [{}, {"wd": 0.01}, {"beta1": 0.9}])
def test_adafactor_equals_a_plain_one(shape, factor, extra):
    (param,), grads = draws({"w": shape}, 1, seed=1), draws({"w": shape}, 6)
    optimizer = Adafactor(
        learning_rate=RATE,
        min_dim_size_to_factor=4 if factor else 128,
        weight_decay_rate=extra.get("wd"),
        beta1=extra.get("beta1"),
    )
    got, state = run(optimizer, param, grads, 0.1)
    want = numpy_adafactor(
        param["w"], [g["w"] for g in grads], learning_rate=0.1, factor=factor, **extra
    )
    np.testing.assert_allclose(got["w"], want, rtol=2e-5, atol=1e-6)
    assert int(state["count"]) == 6
    assert ("v_row" in state["moments"]["w"]) == factor


def test_large_updates_are_clipped_and_small_parameters_have_a_floor():
    # A first gradient ten times smaller than the second: y would have a root mean square above 1.
    params = {"w": jnp.zeros((3, 3))}
    grads = [{"w": jnp.full((3, 3), 0.01)}, {"w": jnp.full((3, 3), 1.0)}]
    clipped, _ = run(Adafactor(learning_rate=RATE), params, grads, 0.5)
    np.testing.assert_allclose(clipped["w"], -2 * 0.5e-3 * np.ones((3, 3)), rtol=1e-4)
    free, _ = run(Adafactor(learning_rate=RATE, clipping_threshold=None), params, grads, 0.5)
    assert np.all(free["w"] < clipped["w"])
    absolute, _ = run(
        Adafactor(learning_rate=RATE, multiply_by_parameter_scale=False), params, grads, 0.5
    )
    np.testing.assert_allclose(absolute["w"], -2 * 0.5 * np.ones((3, 3)), rtol=1e-4)


def test_step_offset_restarts_the_decay():
    params, grads = draws({"w": (3, 3)}, 1)[0], draws({"w": (3, 3)}, 1, seed=2)[0]
    optimizer = Adafactor(learning_rate=RATE, step_offset=1000)
    transformation = optimizer.build()
    state = transformation.init(params)
    old = {**state, "count": jnp.int32(1000), "moments": {"w": {"v": jnp.full((3, 3), 7.0)}}}
    _, new = transformation.update(grads, old, params, learning_rate=0.1)
    # At the offset the decay is 0, so nothing of the old average is left.
    np.testing.assert_allclose(new["moments"]["w"]["v"], grads["w"] ** 2, rtol=1e-6)


@pytest.mark.parametrize(("name", "min_dim"), [("default", 128), ("factored32", 32)])
def test_adafactor_state_has_t5xs_shapes(name, min_dim):
    shapes = golden_t5x.facts("param_shapes")
    golden = golden_t5x.facts(f"adafactor_state_shapes_{name}")
    params = unflatten({path: jnp.zeros(shape) for path, shape in shapes.items()})
    optimizer = Adafactor(learning_rate=RATE, min_dim_size_to_factor=min_dim)
    state = jax.eval_shape(optimizer.build().init, params)
    ours = {path: list(leaf.shape) for path, leaf in flatten(state["moments"]).items()}
    # T5X keeps a placeholder of shape [1] for what a parameter does not use; we keep nothing.
    assert ours == {path: shape for path, shape in golden.items() if shape != [1]}


@pytest.mark.parametrize("min_dim", [4, 128])
@pytest.mark.parametrize(
    "optimizer",
    [
        Adafactor(learning_rate=RATE, min_dim_size_to_factor=4),
        Adafactor(learning_rate=RATE, weight_decay_rate=0.01, beta1=0.5),
        AdamW(learning_rate=RATE, weight_decay=0.1),
    ],
)
def test_a_stack_is_updated_layer_by_layer(optimizer, min_dim):
    if isinstance(optimizer, Adafactor):
        optimizer = Adafactor(**{**vars(optimizer), "min_dim_size_to_factor": min_dim})
    num_layers = 7  # larger than both other dimensions: the wrong two largest would be found
    shapes = {"kernel": (4, 6), "scale": (6,)}
    layers = draws(shapes, num_layers, seed=3)
    grads = [draws(shapes, num_layers, seed=10 + step) for step in range(4)]

    def stack(trees):
        return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *trees)

    names = {"kernel": (axes.EMBED, axes.LAYERS, axes.MLP), "scale": (axes.EMBED, axes.LAYERS)}
    stacked, _ = run(optimizer, stack(layers), [stack(g) for g in grads], 0.1, names)
    single = [run(optimizer, layers[i], [g[i] for g in grads], 0.1)[0] for i in range(num_layers)]
    # A stack is summed in another order, and an update may cancel most of a parameter: the error is
    # a few units in the last place of the largest number, whatever the number at hand. A statistic
    # taken across layers would be wrong by a tenth.
    largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(stacked))
    few_units = 4 * np.finfo(np.float32).eps * largest
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, rtol=0, atol=few_units),
        stacked,
        stack(single),
    )


@pytest.mark.parametrize(
    "optimizer",
    [
        Adafactor(learning_rate=RATE, min_dim_size_to_factor=4, beta1=0.9),
        Adafactor(learning_rate=RATE),
        AdamW(learning_rate=RATE),
    ],
)
def test_state_axes_name_every_dimension_of_the_state(optimizer):
    params = {"a": {"kernel": jnp.zeros((4, 3, 6)), "scale": jnp.zeros((6,))}}
    sizes = {axes.EMBED: 4, axes.LAYERS: 3, axes.MLP: 6}
    names = {"a": {"kernel": (axes.EMBED, axes.LAYERS, axes.MLP), "scale": (axes.MLP,)}}
    state = flatten(jax.eval_shape(optimizer.build(names).init, params))
    state_axes = flatten(optimizer.state_axes(params, names))
    assert state.keys() == state_axes.keys()
    for path, leaf in state.items():
        assert leaf.shape == tuple(sizes[name] for name in state_axes[path]), path


def test_adamw_equals_optax():
    (params,), grads = draws({"w": (3, 4)}, 1, seed=1), draws({"w": (3, 4)}, 5)
    got, _ = run(AdamW(learning_rate=RATE, weight_decay=0.1, beta2=0.99), params, grads, 0.05)
    theirs = optax.adamw(0.05, b2=0.99, weight_decay=0.1)
    state = theirs.init(params)
    for grad in grads:
        updates, state = theirs.update(grad, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(got["w"], params["w"], rtol=2e-6)


def test_adamw_clips_the_global_norm_and_spares_vectors_the_decay():
    params = {"w": jnp.ones((2, 2)), "scale": jnp.ones((2,))}
    zero = jax.tree.map(jnp.zeros_like, params)
    decayed, _ = run(AdamW(learning_rate=RATE, weight_decay=0.5), params, [zero], 0.1)
    np.testing.assert_allclose(decayed["w"], np.full((2, 2), 0.95), rtol=1e-6)
    np.testing.assert_array_equal(decayed["scale"], np.ones(2))
    big = jax.tree.map(lambda p: jnp.full_like(p, 1e6), params)
    _, state = run(AdamW(learning_rate=RATE, max_grad_norm=1.0), params, [big], 0.1)
    assert float(optax.tree.norm(state["mu"])) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize(
    "optimizer",
    [
        Adafactor(learning_rate=RATE, min_dim_size_to_factor=2, multiply_by_parameter_scale=False),
        Adafactor(learning_rate=RATE, multiply_by_parameter_scale=False),
        AdamW(learning_rate=RATE),
    ],
)
def test_optimizers_minimize_a_quadratic(optimizer):
    target = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.3, -0.7])}

    def loss(params):
        return sum(jnp.sum((params[k] - target[k]) ** 2) for k in target)

    params = jax.tree.map(jnp.zeros_like, target)
    transformation = optimizer.build()

    def step(i, carry):
        params, state = carry
        rate = 0.1 * (1.0 - i / 300)
        updates, state = transformation.update(
            jax.grad(loss)(params), state, params, learning_rate=rate
        )
        return optax.apply_updates(params, updates), state

    params, _ = jax.jit(lambda p: jax.lax.fori_loop(0, 300, step, (p, transformation.init(p))))(
        params
    )
    assert float(loss(params)) < 1e-2


def test_a_stack_axis_named_twice_is_refused():
    names = {"w": (axes.LAYERS, axes.LAYERS)}
    with pytest.raises(UsageError, match="parameter w: axis 'layers' twice"):
        Adafactor(learning_rate=RATE).build(names)
