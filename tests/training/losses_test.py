# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The loss and its gradient against T5X's one-hot formula; sums, members and the normalizer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.core.errors import UsageError
from flan_jax.training import losses
from flan_jax.training.losses import LossConfig

VOCAB = 11


def reference(logits, targets, z_loss, smoothing):
    """T5X's formula: soft one-hot targets, the entropy constant subtracted, z-loss added."""
    high, low = 1.0 - smoothing, smoothing / (VOCAB - 1)
    constant = -(high * np.log(high) + (VOCAB - 1) * low * np.log(low + 1e-20))
    soft = jnp.where(jax.nn.one_hot(targets, VOCAB) > 0, high, low)
    log_z = jax.scipy.special.logsumexp(logits, axis=-1)
    z_losses = z_loss * log_z**2
    entropy = -jnp.sum(soft * (logits - log_z[..., None]), axis=-1)
    return entropy - constant + z_losses, z_losses


@pytest.fixture
def logits_and_targets():
    logits = 3.0 * jax.random.normal(jax.random.key(0), (2, 5, VOCAB))
    return logits, jax.random.randint(jax.random.key(1), (2, 5), 0, VOCAB)


@pytest.mark.parametrize("z_loss", [0.0, 1e-4, 0.1])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_and_gradient_equal_the_one_hot_formula(logits_and_targets, z_loss, smoothing):
    logits, targets = logits_and_targets

    def ours(x):
        return losses.token_losses(x, targets, z_loss=z_loss, label_smoothing=smoothing)

    def theirs(x):
        return reference(x, targets, z_loss, smoothing)

    for got, want in zip(ours(logits), theirs(logits), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-6)
    got = jax.grad(lambda x: jnp.sum(ours(x)[0] ** 2))(logits)
    want = jax.grad(lambda x: jnp.sum(theirs(x)[0] ** 2))(logits)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_smoothed_loss_of_the_best_prediction_is_zero():
    smoothing = 0.2
    probabilities = np.full(VOCAB, smoothing / (VOCAB - 1), np.float32)
    probabilities[3] = 1 - smoothing
    loss, _ = losses.token_losses(
        jnp.log(probabilities)[None], jnp.array([3]), label_smoothing=smoothing
    )
    np.testing.assert_allclose(loss, [0.0], atol=1e-6)


def test_huge_logits_stay_finite():
    loss, _ = losses.token_losses(jnp.array([[1e4, 0.0, -1e4]]), jnp.array([0]))
    np.testing.assert_allclose(loss, [0.0])


def test_sums_count_weights_and_split_by_member(logits_and_targets):
    logits, targets = logits_and_targets
    weights = jnp.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
    members = jnp.array([[0, 0, 2, 0, 0], [2, 2, 2, 1, 0]])
    batch = {
        "decoder_target_tokens": targets,
        "decoder_loss_weights": weights,
        "decoder_task_ids": members,
    }
    config = LossConfig(z_loss=1e-2)
    sums = losses.loss_sums(config, logits, batch, num_members=4)
    each, z = losses.token_losses(logits, targets, z_loss=1e-2)
    np.testing.assert_allclose(sums["loss"], np.sum(each * weights), rtol=1e-6)
    np.testing.assert_allclose(sums["z_loss"], np.sum(z * weights), rtol=1e-6)
    assert float(sums["weight"]) == 7
    want = [float(np.sum(each * weights * (members == m))) for m in range(4)]
    np.testing.assert_allclose(sums["member_loss"], want, rtol=1e-6)
    np.testing.assert_allclose(sums["member_weight"], [2, 1, 4, 0])
    correct = np.sum((np.argmax(logits, -1) == targets) * weights)
    assert float(sums["correct"]) == correct


def test_without_weights_padding_does_not_count(logits_and_targets):
    logits, _ = logits_and_targets
    targets = jnp.array([[5, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    sums = losses.loss_sums(LossConfig(), logits, {"decoder_target_tokens": targets}, 1)
    assert float(sums["weight"]) == 3
    np.testing.assert_allclose(sums["member_loss"][0], sums["loss"], rtol=1e-6)


def test_normalizer():
    weight = jnp.float32(40.0)
    assert losses.normalizer(LossConfig(), weight) == 1.0
    assert losses.normalizer(LossConfig(loss_normalizing_factor=233_472), weight) == 233_472
    tokens = LossConfig(loss_normalizing_factor="tokens")
    assert float(losses.normalizer(tokens, weight)) == 40.0
    assert float(losses.normalizer(tokens, jnp.float32(0.0))) == 1.0


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"loss_normalizing_factor": "token"}, "'token' is unknown; give a number, 'tokens'"),
        ({"loss_normalizing_factor": 0.0}, "must be > 0, got 0.0"),
        ({"label_smoothing": 1.0}, r"within \[0, 1\), got 1.0"),
    ],
)
def test_wrong_settings_are_refused(settings, text):
    with pytest.raises(UsageError, match=text):
        LossConfig(**settings)
