# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From the sums that steps return to the numbers that are logged; pure host code.

Sums over tokens are added up before anything is divided, so a logged loss is the mean over the
target tokens of its whole period, however unequal the batches were.
"""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.core.tree import PyTree, flatten

Sums = Mapping[str, np.ndarray]
SUMMED = ("loss", "z_loss", "weight", "correct", "member_loss", "member_weight")
COUNTED = ("num_input_tokens", "num_target_tokens", "num_examples")
LATEST = ("learning_rate", "grad_norm", "update_norm", "param_norm")


class Totals:
    """Sums of the steps of a log period or of an evaluation."""

    def __init__(self):
        self.num_steps = 0
        self._sums: dict[str, np.ndarray] = {}
        self._latest: dict[str, float] = {}

    def add(self, metrics: Sums) -> None:
        """Adds what one step returned, fetched to the host."""
        self.num_steps += 1
        for name in (*SUMMED, *COUNTED):
            if name in metrics:
                # float64, as a long period's sum outgrows what float32 resolves.
                value = np.asarray(metrics[name], np.float64)
                self._sums[name] = self._sums.get(name, 0.0) + value
        self._latest = {name: float(metrics[name]) for name in LATEST if name in metrics}

    def count(self, name: str) -> float:
        """Returns one of the sums, 0 before any step."""
        return float(self._sums.get(name, 0.0))

    def summary(self, member_names: Sequence[str]) -> dict[str, Any]:
        """Returns means per target token, and the last step's norms and learning rate.

        `loss` includes the z-loss; `member_loss` has the members seen only.
        """
        weight = max(self.count("weight"), 1e-9)
        member_weight = self._sums.get("member_weight", np.zeros(0))
        member_loss = {
            name: float(self._sums["member_loss"][i] / member_weight[i])
            for i, name in enumerate(member_names)
            if i < len(member_weight) and member_weight[i] > 0
        }
        return {
            "loss": self.count("loss") / weight,
            "z_loss": self.count("z_loss") / weight,
            "accuracy": self.count("correct") / weight,
            "member_loss": member_loss,
            **self._latest,
        }


def non_finite(metrics: Sums, member_names: Sequence[str]) -> str | None:
    """Returns what is not finite in a step's metrics and the members at fault, or None.

    Looks at the loss, the gradient and the updated parameters: if those are finite, the state after
    the step is good to keep.

    Args:
        metrics: what the step returned, fetched to the host.
        member_names: names of the mixture members.
    """
    bad = [n for n in ("objective", "grad_norm", "param_norm") if not np.isfinite(metrics[n])]
    if not bad:
        return None
    with np.errstate(all="ignore"):
        means = metrics["member_loss"] / np.maximum(metrics["member_weight"], 1e-9)
    seen = [i for i in range(len(member_names)) if metrics["member_weight"][i] > 0]
    broken = [i for i in seen if not np.isfinite(means[i])]
    worst = broken or sorted(seen, key=lambda i: -means[i])[:1]
    named = [f"{member_names[i]!r} ({means[i]:.3g} per token)" for i in worst[:3]]
    named += [f"{len(worst) - 3} more"] * (len(worst) > 3)
    members = f", worst mixture member {', '.join(named)}" if named else ""
    return f"{bad[0]} is {float(metrics[bad[0]])}{members}"


class Clock:
    """Rates of training since the last time they were asked for.

    The first step, which compiles, and what happens inside `paused` are left out.
    """

    def __init__(self):
        self.first_step_s: float | None = None
        self._begin()

    def _begin(self) -> None:
        self._start = time.monotonic()
        self._waited_s = self._paused_s = 0.0
        self._counts = dict.fromkeys(COUNTED, 0.0)
        self._num_steps = 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as waiting for data."""
        start = time.monotonic()
        yield
        self._waited_s += time.monotonic() - start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the time inside out: evaluation, checkpoints."""
        start = time.monotonic()
        yield
        self._paused_s += time.monotonic() - start

    def count(self, metrics: Sums) -> None:
        """Counts a step that is known to be done."""
        if self.first_step_s is None:
            self.first_step_s = time.monotonic() - self._start
            self._begin()
            return
        self._num_steps += 1
        for name in COUNTED:
            self._counts[name] += float(metrics[name])

    def rates(self, step_flops: float) -> dict[str, float]:
        """Returns rates per second of wall time and begins anew; {} if no step was timed.

        `tokens_per_s` counts inputs and targets without padding; `data_wait` is the share of time
        spent on getting the next batch to the device, during which the device may be at work.

        Args:
            step_flops: arithmetic of one step, see `step_flops`.
        """
        wall_s = time.monotonic() - self._start - self._paused_s
        num_steps, counts, waited_s = self._num_steps, self._counts, self._waited_s
        self._begin()
        if not num_steps or wall_s <= 0:
            return {}
        tokens = counts["num_input_tokens"] + counts["num_target_tokens"]
        return {
            "steps_per_s": num_steps / wall_s,
            "tokens_per_s": tokens / wall_s,
            "examples_per_s": counts["num_examples"] / wall_s,
            "tflops_per_s": num_steps * step_flops / wall_s / 1e12,
            "data_wait": min(waited_s / wall_s, 1.0),
        }


def step_flops(
    params: PyTree, *, num_encoder_positions: int, num_decoder_positions: int, tied_output: bool
) -> float:
    """Returns an estimate of the arithmetic of one training step, in FLOP.

    Six operations (two forward, four backward) per weight of a matrix and position it is applied
    to: `6 * (N_encoder * num_encoder_positions + N_decoder * num_decoder_positions)`. Keys and
    values of the encoder-decoder attention act on encoder positions. Embeddings are looked up and
    count nothing, except as the output layer when tied. Padding is counted, as in the paper's
    Table 2; attention scores, `12 * length^2 * heads * head_dim` a layer and row, are not.

    Args:
        params: arrays or shapes under T5X's names.
        num_encoder_positions: batch size times input length.
        num_decoder_positions: batch size times target length.
        tied_output: whether the embedding is the output layer too.
    """
    encoder = decoder = 0
    for path, leaf in flatten(params).items():
        if path.endswith("/scale") or "relpos_bias" in path:
            continue
        crossing = "encoder_decoder_attention/key" in path or (
            "encoder_decoder_attention/value" in path
        )
        if path.startswith("token_embedder"):
            decoder += math.prod(leaf.shape) if tied_output else 0
        elif path.startswith("encoder") or crossing:
            encoder += math.prod(leaf.shape)
        else:
            decoder += math.prod(leaf.shape)
    return 6.0 * (encoder * num_encoder_positions + decoder * num_decoder_positions)
