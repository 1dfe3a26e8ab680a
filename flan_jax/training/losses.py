# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The training loss: cross entropy of the target tokens, label smoothing, z-loss, and its sums.

Formulas are those of `t5x/losses.py` without its one-hot targets. Sums over tokens are kept apart
from what divides them, so that microbatches, hosts and log periods add up exactly.

Logits are the largest arrays of a step: for 64 rows of 512 targets and 32,128 pieces 4.2 GB in
float32, and their gradient as much again. `model_sums` takes some positions of each row at a time
and computes their logits again in the backward pass.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from flan_jax.core import errors, ranges

TOKENS = "tokens"
MEMBER_MULTIPLE = 128  # mixtures of up to so many members share one compiled step

_TARGETS, _WEIGHTS, _MEMBERS = _PER_TOKEN = (
    "decoder_target_tokens", "decoder_loss_weights", "decoder_task_ids",
)  # fmt: skip

Sums = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What is minimized."""

    z_loss: float = 1e-4  # times log(Z)^2, keeps logits near normalized (T5X)
    label_smoothing: float = 0.0  # probability spread evenly over the other pieces
    # The summed loss is divided by this: None for nothing, as T5X; a constant; or 'tokens' for the
    # number of target tokens of the batch. Adafactor does not feel it; AdamW and norms do.
    loss_normalizing_factor: float | str | None = None
    # Logits are computed for at most so many positions of each row at a time; None for all.
    chunk_length: int | None = 128

    MAY_CHANGE = ("chunk_length",)  # when a run goes on

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
        chunk = self.chunk_length
        if chunk is not None and (type(chunk) is not int or chunk < 1):
            raise errors.UsageError(
                f"LossConfig.chunk_length must be a positive integer or None, got {chunk!r}"
            )


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
    targets = batch[_TARGETS]
    losses, z_losses = token_losses(
        logits, targets, z_loss=config.z_loss, label_smoothing=config.label_smoothing
    )
    weights = batch.get(_WEIGHTS, targets != 0).astype(jnp.float32)
    losses = losses * weights
    members = batch.get(_MEMBERS, jnp.zeros_like(targets)).reshape(-1)
    return {
        "loss": jnp.sum(losses),
        "z_loss": jnp.sum(z_losses * weights),
        "weight": jnp.sum(weights),
        "correct": jnp.sum((jnp.argmax(logits, axis=-1) == targets) * weights),
        "member_loss": jax.ops.segment_sum(losses.reshape(-1), members, num_members),
        "member_weight": jax.ops.segment_sum(weights.reshape(-1), members, num_members),
    }


def model_sums(
    config: LossConfig,
    logits_of: Callable[[jax.Array], jax.Array],
    features: jax.Array,
    batch: Mapping[str, jax.Array],
    num_members: int,
) -> Sums:
    """Returns the `loss_sums` of a model, whose logits are never held all at once.

    Rows of up to `config.chunk_length` positions are computed whole. Longer ones are cut into equal
    chunks, the last padded; each chunk has positions of all rows, so no device waits or sends.

    Args:
        config: the loss.
        logits_of: [batch, positions, embed] -> float32 logits [batch, positions, vocab].
        features: [batch, length, embed], what the model makes logits of.
        batch: as of `loss_sums`.
        num_members: as of `loss_sums`.
    """
    length = features.shape[1]
    num_chunks = 1 if config.chunk_length is None else -(-length // config.chunk_length)
    if num_chunks == 1:
        return loss_sums(config, logits_of(features), batch, num_members)
    # Zeros, with which the last chunk is padded, are padding and weigh nothing.
    parts = {name: batch[name] for name in _PER_TOKEN if name in batch}
    chunks = jax.tree.map(lambda x: _chunks(x, num_chunks), (features, parts))

    # The chunk's logits are not kept for the backward pass but computed again.
    @jax.checkpoint
    def sums_of(chunk):
        return loss_sums(config, logits_of(chunk[0]), chunk[1], num_members)

    def add(total, chunk):
        return jax.tree.map(jnp.add, total, sums_of(chunk)), None

    shapes = jax.eval_shape(sums_of, jax.tree.map(lambda x: x[0], chunks))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.scan(add, zeros, chunks)[0]


def _chunks(x: jax.Array, num_chunks: int) -> jax.Array:
    """Returns `[num_chunks, batch, chunk, ...]` of `[batch, length, ...]`, padded with zeros."""
    batch_size, length, *rest = x.shape
    chunk = -(-length // num_chunks)
    x = jnp.pad(x, ((0, 0), (0, num_chunks * chunk - length), *((0, 0) for _ in rest)))
    return jnp.swapaxes(x.reshape(batch_size, num_chunks, chunk, *rest), 0, 1)


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
