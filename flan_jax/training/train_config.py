# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the training loop is told: optimizer, steps, folder, periods, devices."""

import dataclasses

from flan_jax.core import errors, ranges
from flan_jax.parallel.mesh import MeshShape
from flan_jax.training.losses import LossConfig
from flan_jax.training.optimizers import Optimizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train: everything but the model and its data."""

    optimizer: Optimizer
    loss: LossConfig = LossConfig()
    model_dir: str  # checkpoints, metrics.jsonl and TensorBoard files go here
    train_steps: int  # updates of this run
    step_offset: int = 0  # total step this run begins at, counted from pre-training as in T5X
    initial_checkpoint_path: str = ""  # take the parameters from there; '' for a fresh model
    initial_checkpoint_dtype: str = ""  # the dtype stored there, if it is to be cast to the model's
    # Regular expressions of parameters that may be missing there (made anew) or here (ignored).
    initial_checkpoint_except: tuple[str, ...] = ()
    log_period: int = 100  # steps between metrics
    eval_period: int = 1000  # steps between evaluations, one more at the end; 0 for none
    eval_examples: int | None = None  # validation examples per task for the loss; None for all
    checkpoint_period: int = 1000  # steps between checkpoints, one more at the end
    keep: int | None = 3  # latest checkpoints kept; None for all
    best_metric: str | None = None  # metric of the evaluation whose best checkpoint is kept too
    best_mode: str = "min"  # 'min' or 'max'
    seed: int = 0  # initialization and dropout
    num_microbatches: int = 1  # parts a batch is computed in, to save memory
    mesh: MeshShape = MeshShape()  # slices, and devices along 'data' and 'model'
    rules: str = "replicated"  # sharding preset, unless the model brings rules of its own
    profile_steps: int = 0  # steps to profile; more on demand: flan-jax status --profile
    profile_first_step: int = 10  # how many steps of this start pass before those
    hang_timeout_s: float = 1800.0  # without progress so long, the run ends with a cause; 0: never

    # What may be another when a run goes on: it changes no result.
    MAY_CHANGE = (
        "model_dir", "train_steps", "log_period", "eval_period", "eval_examples",
        "checkpoint_period", "keep", "best_metric", "best_mode", "mesh", "rules", "profile_steps",
        "profile_first_step", "hang_timeout_s",
    )  # fmt: skip

    def __post_init__(self):
        for name, least in (
            ("train_steps", 1), ("log_period", 1), ("checkpoint_period", 1), ("eval_period", 0),
            ("step_offset", 0), ("num_microbatches", 1), ("profile_steps", 0),
            ("profile_first_step", 0),
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise errors.UsageError(f"{name} must be an integer >= {least}, got {value!r}")
        ranges.check("TrainConfig", "[1, inf)", eval_examples=self.eval_examples)
        ranges.check("TrainConfig", "[0, inf)", hang_timeout_s=self.hang_timeout_s)
        if "://" in self.model_dir:
            raise errors.UsageError(
                f"model_dir {self.model_dir!r} is not a local folder; mount the bucket and name "
                "the folder it is mounted at"
            )
        period = self.eval_period or self.checkpoint_period + 1
        if self.best_metric is not None and self.checkpoint_period % period:
            raise errors.UsageError(
                f"best_metric {self.best_metric!r} needs an evaluation at every checkpoint; make "
                f"checkpoint_period ({self.checkpoint_period}) a multiple of eval_period "
                f"({self.eval_period})"
            )

    @property
    def last_step(self) -> int:
        """Total step at which this run is done."""
        return self.step_offset + self.train_steps
