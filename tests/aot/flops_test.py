# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""FLOPs of matrix products, against hand counts and the compiler's count of unrolled layers."""

import jax
import jax.numpy as jnp

from flan_jax.aot.flops import matrix_flops
from flan_jax.models.presets import t5_config
from flan_jax.models.t5 import T5


def count(function, *shapes):
    return matrix_flops(jax.make_jaxpr(function)(*(jnp.zeros(s) for s in shapes)))


def test_products_count_two_for_each_multiply_and_add():
    assert count(lambda a, b: a @ b, (3, 5), (5, 7)) == 2 * 3 * 5 * 7
    batched = lambda a, b: jnp.einsum("bik,bkj->bij", a, b)  # noqa: E731
    assert count(batched, (4, 3, 5), (4, 5, 7)) == 4 * 2 * 3 * 5 * 7


def test_a_gradient_takes_two_products_more_and_remat_one_again():
    def loss(w, x):
        return jnp.sum(jnp.sin(jnp.sin(x @ w) @ w))

    one = 2 * 4 * 8 * 8
    assert count(loss, (8, 8), (4, 8)) == 2 * one
    both = jax.grad(loss, argnums=(0, 1))
    assert count(both, (8, 8), (4, 8)) == 2 * one + 4 * one
    again = jax.grad(jax.checkpoint(loss), argnums=(0, 1))
    assert count(again, (8, 8), (4, 8)) == 2 * one + 4 * one + 2 * one


def test_branches_count_as_the_larger():
    def either(x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, x)

    assert count(either, (4, 4)) == 2 * 2 * 4**3


def test_a_scanned_model_counts_as_the_unrolled_one_that_the_compiler_counts():
    batch = {
        f"{side}_input_tokens": jnp.ones((2, length), jnp.int32)
        for side, length in (("encoder", 64), ("decoder", 32))
    }
    found = {}
    for scan in (True, False):
        model = T5(t5_config("tiny", vocab_size=256, scan_layers=scan))
        params = jax.eval_shape(model.init, jax.random.key(0))

        def forward(params, model=model):
            return model.apply(params, batch, train=False)

        found[scan] = matrix_flops(jax.make_jaxpr(forward)(params))
    compiled = jax.jit(forward).lower(params).compile().cost_analysis()["flops"]
    assert found[True] == found[False]
    assert found[True] <= compiled <= 1.3 * found[True]  # it counts norms and softmax as well
