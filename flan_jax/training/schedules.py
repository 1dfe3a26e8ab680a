# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedules: frozen dataclasses that map a step to a rate.

The step given is the total step, counted from pre-training as T5X counts; `offset` is subtracted
first, so a finetuning run that continues at total step 1,100,000 sets `offset=1_100_000` to begin
its schedule afresh. Warmup is T5X's: the rate grows linearly from 0 and is full at
`warmup_steps`. Rates never fall below `MIN_LEARNING_RATE`, as in T5X.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from flan_jax.core import errors

MIN_LEARNING_RATE = 1e-8  # T5X `create_learning_rate_scheduler`


class Schedule(Protocol):
    """A hashable function from the total step to the learning rate, float32 scalar."""

    def __call__(self, step: jax.Array | int) -> jax.Array:
        """Returns the rate of the update made at `step`."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant:
    """The same rate throughout, as the paper finetunes (Chung et al. 2022, App. E).

    Example:
        >>> float(Constant(learning_rate=0.5)(7))
        0.5
    """

    learning_rate: float
    warmup_steps: int = 0
    offset: int = 0  # total step at which the schedule begins

    def __post_init__(self):
        _check(self)

    def __call__(self, step: jax.Array | int) -> jax.Array:
        """Returns the rate of the update made at `step`."""
        step = _since(step, self.offset)
        return _floored(self.learning_rate * _warmup(step, self.warmup_steps))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RSqrt:
    """T5's pre-training schedule: `learning_rate / sqrt(max(step, warmup_steps))`, no ramp.

    Example:
        >>> round(float(RSqrt(learning_rate=1.0, warmup_steps=100)(400)), 6)
        0.05
    """

    learning_rate: float = 1.0  # T5X's base_learning_rate
    warmup_steps: int = 10_000  # the rate is constant until here (Raffel et al. 2020, §3.1.2)
    offset: int = 0  # total step at which the schedule begins

    def __post_init__(self):
        _check(self)
        if self.warmup_steps < 1:
            raise errors.UsageError(f"RSqrt: warmup_steps must be >= 1, got {self.warmup_steps}")

    def __call__(self, step: jax.Array | int) -> jax.Array:
        """Returns the rate of the update made at `step`."""
        step = _since(step, self.offset)
        return _floored(self.learning_rate * jax.lax.rsqrt(jnp.maximum(step, self.warmup_steps)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearDecay:
    """Warms up, then falls in a line to `final_fraction` of the peak at `decay_steps`."""

    learning_rate: float
    decay_steps: int  # steps from the schedule's begin to its end, warmup included
    warmup_steps: int = 0
    final_fraction: float = 0.0  # of the peak, kept from `decay_steps` on
    offset: int = 0  # total step at which the schedule begins

    def __post_init__(self):
        _check(self)

    def __call__(self, step: jax.Array | int) -> jax.Array:
        """Returns the rate of the update made at `step`."""
        step = _since(step, self.offset)
        left = 1.0 - _progress(step, self.warmup_steps, self.decay_steps)
        factor = self.final_fraction + (1.0 - self.final_fraction) * left
        return _floored(self.learning_rate * _warmup(step, self.warmup_steps) * factor)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine:
    """Warms up, then falls along half a cosine to `final_fraction` of the peak."""

    learning_rate: float
    decay_steps: int  # steps from the schedule's begin to its end, warmup included
    warmup_steps: int = 0
    final_fraction: float = 0.0  # of the peak, kept from `decay_steps` on
    offset: int = 0  # total step at which the schedule begins

    def __post_init__(self):
        _check(self)

    def __call__(self, step: jax.Array | int) -> jax.Array:
        """Returns the rate of the update made at `step`."""
        step = _since(step, self.offset)
        progress = _progress(step, self.warmup_steps, self.decay_steps)
        left = 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
        factor = self.final_fraction + (1.0 - self.final_fraction) * left
        return _floored(self.learning_rate * _warmup(step, self.warmup_steps) * factor)


def _since(step: jax.Array | int, offset: int) -> jax.Array:
    # Subtract as integers: float32 no longer tells steps apart beyond 2**24.
    return jnp.maximum(jnp.asarray(step, jnp.int32) - offset, 0).astype(jnp.float32)


def _warmup(step: jax.Array, warmup_steps: int) -> jax.Array | float:
    return jnp.minimum(1.0, step / warmup_steps) if warmup_steps else 1.0


def _progress(step: jax.Array, warmup_steps: int, decay_steps: int) -> jax.Array:
    return jnp.clip((step - warmup_steps) / (decay_steps - warmup_steps), 0.0, 1.0)


def _floored(rate: jax.Array | float) -> jax.Array:
    return jnp.maximum(jnp.asarray(rate, jnp.float32), MIN_LEARNING_RATE)


def _check(schedule: Constant | RSqrt | LinearDecay | Cosine) -> None:
    name = type(schedule).__name__
    if not schedule.learning_rate > 0:
        raise errors.UsageError(
            f"{name}: learning_rate must be > 0, got {schedule.learning_rate}; the paper "
            "finetunes T5 at 5e-4"
        )
    if schedule.warmup_steps < 0:
        raise errors.UsageError(f"{name}: warmup_steps must be >= 0, got {schedule.warmup_steps}")
    decay_steps = getattr(schedule, "decay_steps", None)
    if decay_steps is not None and decay_steps <= schedule.warmup_steps:
        raise errors.UsageError(
            f"{name}: decay_steps must exceed warmup_steps ({schedule.warmup_steps}), got "
            f"{decay_steps}; it counts from the schedule's begin, warmup included"
        )
    fraction = getattr(schedule, "final_fraction", 0.0)
    if not 0.0 <= fraction <= 1.0:
        raise errors.UsageError(f"{name}: final_fraction must be within [0, 1], got {fraction}")
