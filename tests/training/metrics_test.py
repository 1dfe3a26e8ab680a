# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Logged numbers are means over tokens; what is not finite is traced to its member."""

import numpy as np
import pytest

from flan_jax.core.tree import unflatten
from flan_jax.training.metrics import Clock, Totals, non_finite, step_flops


def step_metrics(loss, weight, **changes):
    """Returns what a step gives, of two members that share the tokens equally."""
    found = {
        "loss": np.float32(loss),
        "z_loss": np.float32(0.5),
        "weight": np.float32(weight),
        "correct": np.float32(1),
        "member_loss": np.array([loss / 2, 0, loss / 2, 0], np.float32),
        "member_weight": np.array([weight / 2, 0, weight / 2, 0], np.float32),
        "num_input_tokens": np.float32(30),
        "num_target_tokens": np.float32(weight),
        "num_examples": np.float32(3),
        "objective": np.float32(loss),
        "learning_rate": np.float32(0.25),
        "grad_norm": np.float32(2.0),
        "update_norm": np.float32(0.125),
        "param_norm": np.float32(8.0),
    }
    return {**found, **changes}


def test_batches_of_unequal_weight_are_not_averaged_as_equals():
    totals = Totals()
    totals.add(step_metrics(10.0, 2.0))
    totals.add(step_metrics(10.0, 8.0, grad_norm=np.float32(4.0)))
    summary = totals.summary(["a", "b", "c"])
    assert summary["loss"] == pytest.approx(2.0)
    assert summary["accuracy"] == pytest.approx(0.2)
    assert summary["z_loss"] == pytest.approx(0.1)
    assert summary["member_loss"] == {"a": pytest.approx(2.0), "c": pytest.approx(2.0)}
    assert summary["grad_norm"] == 4.0 and summary["learning_rate"] == 0.25


def test_finite_metrics_raise_no_alarm():
    assert non_finite(step_metrics(10.0, 2.0), ["a", "b", "c"]) is None


@pytest.mark.parametrize("bad", ["objective", "grad_norm", "param_norm"])
def test_each_of_loss_gradient_and_parameters_is_watched(bad):
    wrong = non_finite(step_metrics(10.0, 2.0, **{bad: np.float32("inf")}), ["a", "b", "c"])
    assert wrong.startswith(f"{bad} is inf, worst mixture member ")


def test_the_member_at_fault_is_named():
    losses = np.array([3.0, 0.0, np.nan, 0.0], np.float32)
    found = step_metrics(10.0, 2.0, objective=np.float32("nan"), member_loss=losses)
    wrong = non_finite(found, ["a", "b", "c"])
    assert wrong == "objective is nan, worst mixture member 'c' (nan per token)"
    finite = step_metrics(
        10.0, 2.0, grad_norm=np.float32("nan"), member_loss=np.array([3.0, 0, 4.0, 0], np.float32)
    )
    assert "worst mixture member 'c' (4 per token)" in non_finite(finite, ["a", "b", "c"])


def test_clock_leaves_out_the_first_step_and_pauses(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("flan_jax.training.metrics.time.monotonic", lambda: now[0])
    clock = Clock()
    now[0] = 100.0  # compiling
    clock.count(step_metrics(1.0, 10.0))
    assert clock.first_step_s == 100.0
    assert clock.rates(1e12) == {}
    with clock.waiting():
        now[0] += 1.0
    now[0] += 3.0
    clock.count(step_metrics(1.0, 10.0))
    clock.count(step_metrics(1.0, 10.0))
    with clock.paused():
        now[0] += 50.0
    rates = clock.rates(step_flops=2e12)
    assert rates == pytest.approx(
        {
            "steps_per_s": 0.5,
            "tokens_per_s": 20.0,
            "examples_per_s": 1.5,
            "tflops_per_s": 1.0,
            "data_wait": 0.25,
        }
    )
    assert clock.rates(2e12) == {}


def test_step_flops_counts_each_weight_where_it_is_used():
    shapes = {
        "token_embedder/embedding": (10, 4),
        "encoder/layers_0/mlp/wi_0/kernel": (4, 5),
        "encoder/layers_0/pre_mlp_layer_norm/scale": (4,),
        "encoder/relpos_bias/rel_embedding": (2, 32),
        "decoder/layers_0/encoder_decoder_attention/key/kernel": (4, 6),
        "decoder/layers_0/encoder_decoder_attention/query/kernel": (4, 7),
        "decoder/logits_dense/kernel": (4, 10),
    }
    params = unflatten({path: np.zeros(shape) for path, shape in shapes.items()})
    counts = {"num_encoder_positions": 100, "num_decoder_positions": 10}
    untied = step_flops(params, **counts, tied_output=False)
    assert untied == 6 * (100 * (20 + 24) + 10 * (28 + 40))
    assert step_flops(params, **counts, tied_output=True) == untied + 6 * 10 * 40
