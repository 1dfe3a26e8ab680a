# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Each layer against its formula, written in numpy here."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.models import layers


@pytest.fixture(autouse=True)
def strict_dtypes():
    with jax.numpy_dtype_promotion("strict"):
        yield


def _normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_dense_is_a_matrix_product():
    x, kernel = _normal(2, 3, 4), _normal(4, 5, seed=1)
    y = layers.Dense(5, ("embed", "mlp")).apply({"params": {"kernel": kernel}}, x)
    np.testing.assert_allclose(y, x @ kernel, rtol=1e-5, atol=1e-6)


def test_rms_norm_divides_by_the_root_mean_square():
    x, scale = _normal(2, 3, 8) * 5, _normal(8, seed=1)
    y = layers.RMSNorm().apply({"params": {"scale": scale}}, x)
    expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_layer_norm_subtracts_the_mean_too():
    x, scale = _normal(2, 3, 8) * 5 + 3, _normal(8, seed=1)
    y = layers.LayerNorm(epsilon=1e-5).apply({"params": {"scale": scale}}, x)
    centered = x - x.mean(-1, keepdims=True)
    expected = centered / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_rms_norm_of_bfloat16_computes_in_float32():
    # In bfloat16 the mean of squares of these would be off by its rounding, 2^-8.
    x = (1 + _normal(1, 1, 512) * 0.01).astype(jnp.bfloat16)
    norm = layers.RMSNorm(dtype="bfloat16")
    y = norm.apply({"params": {"scale": np.ones(512, np.float32)}}, x)
    wide = np.asarray(x, np.float64)
    expected = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-6)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol=2**-8)


def test_embed_looks_up_and_attends():
    table = _normal(7, 4)
    embed, variables = layers.Embed(7, 4), {"params": {"embedding": table}}
    ids = np.array([[3, 0], [6, 3]])
    np.testing.assert_array_equal(embed.apply(variables, ids), table[ids])
    x = _normal(2, 4, seed=1)
    logits = embed.apply(variables, x, method="attend")
    np.testing.assert_allclose(logits, x @ table.T, rtol=1e-5)


def test_an_id_outside_the_table_is_nan_not_another_row():
    embed = layers.Embed(7, 4)
    y = embed.apply({"params": {"embedding": _normal(7, 4)}}, np.array([6, 7]))
    assert np.isfinite(y[0]).all() and np.isnan(y[1]).all()


def test_gelu_is_the_tanh_form():
    x = 1.5
    tanh_form = 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    exact = 0.5 * x * (1 + math.erf(x / math.sqrt(2)))
    assert float(layers.ACTIVATIONS["gelu"](jnp.float32(x))) == pytest.approx(tanh_form, rel=1e-6)
    assert abs(tanh_form - exact) > 1e-5


@pytest.mark.parametrize("activations", [("gelu", "linear"), ("relu",)])
def test_mlp_multiplies_its_branches(activations):
    x, wo = _normal(2, 3, 4), _normal(6, 4, seed=9)
    names = ["wi"] if len(activations) == 1 else ["wi_0", "wi_1"]
    kernels = [_normal(4, 6, seed=i) for i in range(len(names))]
    params = {n: {"kernel": k} for n, k in zip(names, kernels, strict=True)}
    params["wo"] = {"kernel": wo}
    y = layers.MLP(6, activations, 0.0).apply({"params": params}, x)
    if activations == ("relu",):
        hidden = np.maximum(x @ kernels[0], 0)
    else:
        g = x @ kernels[0]
        gelu = 0.5 * g * (1 + np.tanh(math.sqrt(2 / math.pi) * (g + 0.044715 * g**3)))
        hidden = gelu * (x @ kernels[1])
    np.testing.assert_allclose(y, hidden @ wo, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("init", "variance", "bound"),
    [
        (layers.Init("normal", 0.25), 0.25 / 200, None),
        # Cut at two deviations of a normal whose variance after cutting is 1 / fan-in.
        (layers.Init("truncated_normal"), 1 / 200, 2 / 0.87962566 / math.sqrt(200)),
        (layers.Init("uniform", fan="fan_avg"), 1 / 250, math.sqrt(3 / 250)),
        (layers.Init("normal", 0.01, fan=None), 0.01, None),
    ],
)
def test_initial_distributions(init, variance, bound):
    x = np.asarray(init(jax.random.key(0), (200, 300)))
    assert x.var() == pytest.approx(variance, rel=0.02)
    assert abs(x.mean()) < 4 * math.sqrt(variance / x.size)
    if bound is None:
        assert abs(x).max() > 3 * math.sqrt(variance)
    else:
        assert 0.98 * bound < abs(x).max() <= 1.0001 * bound


def test_initialize_depends_on_path_and_key_alone():
    spec = layers.ParamSpec(layers.Init("normal"), (4, 3), ("embed", "mlp"))
    ones = layers.ParamSpec(layers.Init("ones"), (4,), ("embed",))
    one = layers.initialize({"a": spec}, jax.random.key(0))
    two = layers.initialize({"b": spec, "s": ones, "a": spec}, jax.random.key(0))
    np.testing.assert_array_equal(one["a"], two["a"])
    assert (np.asarray(two["a"]) != np.asarray(two["b"])).all()
    np.testing.assert_array_equal(two["s"], np.ones(4))
    other = layers.initialize({"a": spec}, jax.random.key(1))
    assert (np.asarray(one["a"]) != np.asarray(other["a"])).all()
