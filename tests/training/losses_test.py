# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The loss and its gradient against T5X's one-hot formula; sums, members and the normalizer."""

import functools
import math
import re

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


CONFIG = LossConfig(z_loss=1e-2, label_smoothing=0.1)


def model_sums(chunk_length, kernel, features, batch):
    config = LossConfig(z_loss=1e-2, label_smoothing=0.1, chunk_length=chunk_length)
    logits_of = functools.partial(jnp.matmul, precision="highest")
    return losses.model_sums(config, lambda x: logits_of(x, kernel), features, batch, 4)


def features_and_batch(length):
    rng = np.random.default_rng(0)
    targets = rng.integers(1, VOCAB, (3, length))
    targets[1, length // 2 :] = 0
    batch = {
        "decoder_target_tokens": targets,
        "decoder_loss_weights": (targets != 0) & (rng.random((3, length)) < 0.7),
        "decoder_task_ids": rng.integers(0, 4, (3, length)),
        "encoder_input_tokens": rng.integers(1, VOCAB, (3, 2)),  # of another length
    }
    batch = {name: array.astype(np.int32) for name, array in batch.items()}
    kernel = rng.normal(size=(6, VOCAB)).astype(np.float32)
    return kernel, rng.normal(size=(3, length, 6)).astype(np.float32), batch


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("chunk_length", [1, 4, 12])
def test_chunks_of_a_row_give_the_sums_and_gradients_of_all_at_once(chunk_length, weighted):
    kernel, features, batch = features_and_batch(14)  # 4 and 12 do not divide it
    if not weighted:
        del batch["decoder_loss_weights"], batch["decoder_task_ids"]

    def gradients(chunk_length):
        def loss(kernel, features):
            sums = model_sums(chunk_length, kernel, features, batch)
            return sums["loss"], sums

        return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(kernel, features)

    got, want = gradients(chunk_length), gradients(None)
    for ours, plain in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert ours.dtype == plain.dtype
        np.testing.assert_allclose(ours, plain, rtol=1e-6, atol=1e-6 * np.abs(plain).max())
    logits = jnp.matmul(features, kernel, precision="highest")
    sums = losses.loss_sums(CONFIG, logits, batch, 4)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), got[1], sums)


def test_chunked_logits_are_never_whole():
    kernel, features, batch = features_and_batch(14)

    def most_positions(chunk_length):
        """Returns of how many positions the program has numbers for each piece, kept or not."""

        def loss(kernel, features):
            return model_sums(chunk_length, kernel, features, batch)["loss"]

        text = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(kernel, features).as_text()
        shapes = set(re.findall(rf"tensor<([\dx]+)x{VOCAB}xf32>", text))
        return max(math.prod(map(int, shape.split("x"))) for shape in shapes)

    assert most_positions(None) == 3 * 14
    assert most_positions(5) == 3 * 5


def test_rows_as_short_as_a_chunk_are_computed_as_ever():
    kernel, features, batch = features_and_batch(14)

    def program(chunk_length):
        run = functools.partial(model_sums, chunk_length)
        return jax.jit(run).lower(kernel, features, batch).as_text()

    assert program(14) == program(None) != program(13)


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
        ({"chunk_length": 0}, "chunk_length must be a positive integer or None, got 0"),
        ({"label_smoothing": 1.0}, r"within \[0, 1\), got 1.0"),
    ],
)
def test_wrong_settings_are_refused(settings, text):
    with pytest.raises(UsageError, match=text):
        LossConfig(**settings)
