# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The training loss: cross entropy of the target tokens, label smoothing, z-loss, and its sums.

Formulas are those of `t5x/losses.py` without its one-hot targets. Sums over tokens are kept apart
from what divides them, so that microbatches, hosts and log periods add up exactly.
"""

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from flan_jax.core import errors, ranges

TOKENS = "tokens"
MEMBER_MULTIPLE = 128  # mixtures of up to so many members share one compiled step

Sums = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What is minimized."""

    z_loss: float = 1e-4  # times log(Z)^2, keeps logits near normalized (T5X)
    label_smoothing: float = 0.0  # probability spread evenly over the other pieces
    # The summed loss is divided by this: None for nothing, as T5X; a constant; or 'tokens' for the
    # number of target tokens of the batch. Adafactor does not feel it; AdamW and norms do.
    loss_normalizing_factor: float | str | None = None

    def __post_init__(self):
        factor = self.loss_normalizing_factor
        if isinstance(factor, str) and factor != TOKENS:
            raise errors.UsageError(
                f"loss_normalizing_factor {factor!r} is unknown; give a number, '{TOKENS}', or None"
            )
        if isinstance(factor, int | float) and not factor > 0:
            raise errors.UsageError(f"loss_normalizing_factor must be > 0, got {factor}")
        ranges.check("LossConfig", "[0, inf)", z_loss=self.z_loss)
        ranges.check("LossConfig", "[0, 1)", label_smoothing=self.label_smoothing)


def token_losses(
    logits: jax.Array, targets: jax.Array, *, z_loss: float = 0.0, label_smoothing: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Returns the loss of each target token, z-loss included, and the z-loss alone.

    With V pieces, smoothing s, low = s / (V - 1) and high = 1 - s, the loss of a token t is
    `-high log p[t] - low sum_{v != t} log p[v] + z_loss log(Z)^2 - H`, where H is the entropy of
    (high, low, ..., low), the least that the first two terms can reach.

    Args:
        logits: [..., vocab] float32.
        targets: [...] int32, within the vocabulary.
        z_loss: coefficient of log(Z)^2, Z being the softmax's normalizer.
        label_smoothing: probability moved from the target to all other pieces together.

    Returns:
        Two arrays [...] float32; the gradient is that of the first.
    """
    num_pieces = logits.shape[-1]
    log_z = jax.nn.logsumexp(logits, axis=-1)
    # A comparison that XLA fuses into the sum: nothing of the logits' size is written, its gradient
    # is no scatter, and a vocabulary split over devices needs no gather.
    pieces = jax.lax.broadcasted_iota(targets.dtype, logits.shape, logits.ndim - 1)
    is_target = pieces == targets[..., None]
    target_logits = jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1)
    if label_smoothing:
        low = label_smoothing / (num_pieces - 1)
        high = 1.0 - label_smoothing
        entropy = -(high * math.log(high) + (num_pieces - 1) * low * math.log(low + 1e-20))
        others = jnp.sum(logits, axis=-1)
        loss = log_z - (high - low) * target_logits - low * others - entropy
    else:
        loss = log_z - target_logits
    z_losses = z_loss * jnp.square(log_z)
    return loss + z_losses, z_losses


def loss_sums(
    config: LossConfig, logits: jax.Array, batch: Mapping[str, jax.Array], num_members: int
) -> Sums:
    """Returns the sums over the target tokens of a batch that the metrics are made of.

    Args:
        config: the loss.
        logits: [batch, length, vocab] float32.
        batch: `decoder_target_tokens` and, if present, `decoder_loss_weights` (else every token
            that is not padding counts 1) and `decoder_task_ids`, all [batch, length].
        num_members: number of mixture members, static; larger ids are an error of the caller.

    Returns:
        Float32 scalars `loss`, `z_loss`, `weight` and `correct`, and per mixture member
        `member_loss` and `member_weight` [num_members]. `loss` includes the z-loss and is divided
        by nothing.
    """
    targets = batch["decoder_target_tokens"]
    losses, z_losses = token_losses(
        logits, targets, z_loss=config.z_loss, label_smoothing=config.label_smoothing
    )
    weights = batch.get("decoder_loss_weights", targets != 0).astype(jnp.float32)
    losses = losses * weights
    members = batch.get("decoder_task_ids", jnp.zeros_like(targets)).reshape(-1)
    return {
        "loss": jnp.sum(losses),
        "z_loss": jnp.sum(z_losses * weights),
        "weight": jnp.sum(weights),
        "correct": jnp.sum((jnp.argmax(logits, axis=-1) == targets) * weights),
        "member_loss": jax.ops.segment_sum(losses.reshape(-1), members, num_members),
        "member_weight": jax.ops.segment_sum(weights.reshape(-1), members, num_members),
    }


def normalizer(config: LossConfig, weight: jax.Array) -> jax.Array | float:
    """Returns what a batch's summed loss, and so its gradient, is divided by.

    Args:
        config: the loss.
        weight: summed loss weights of the whole batch (all microbatches, all hosts).
    """
    factor = config.loss_normalizing_factor
    if factor is None:
        return 1.0
    return jnp.maximum(weight, 1.0) if factor == TOKENS else float(factor)


def padded_num_members(num_members: int) -> int:
    """Returns the static number of members: a multiple of `MEMBER_MULTIPLE`.

    Example:
        >>> padded_num_members(4), padded_num_members(129)
        (128, 256)
    """
    return max(1, -(-num_members // MEMBER_MULTIPLE)) * MEMBER_MULTIPLE
