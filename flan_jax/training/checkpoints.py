# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints by Orbax: asynchronous, kept by number and by merit, strict when read.

`MODEL_DIR/checkpoint_<total step>/` holds `state` (parameters, optimizer state, step), `data` (the
input's position, JSON), `config` (operative Gin text, code version, vocabulary fingerprint, JSON)
and `metrics` where the run keeps its best. Orbax casts dtypes silently; here every stored leaf is
compared with what is asked for first, and any difference is an error.

This is the only module that knows Orbax.
"""

import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
import tensorstore
from etils import epath
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from flan_jax.core import errors
from flan_jax.core.progress import say
from flan_jax.core.tree import PyTree, flatten
from flan_jax.training.state import TrainState

PREFIX = "checkpoint"
STATE, DATA, CONFIG = "state", "data", "config"


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a checkpoint gives back."""

    step: int
    state: TrainState
    data: Any  # the input iterator's state
    config: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run; a context manager that waits for pending saves at its end.

    Args:
        model_dir: folder of the run; made if absent.
        keep: how many of the latest to keep; None for all.
        best_metric: name of the metric whose best checkpoint is kept besides; None for none.
        best_mode: 'min' if a lower metric is better, else 'max'.
    """

    def __init__(
        self,
        model_dir: str | os.PathLike,
        *,
        keep: int | None = None,
        best_metric: str | None = None,
        best_mode: str = "min",
    ):
        if keep is not None and keep < 1:
            raise errors.UsageError(f"keep must be >= 1, or None to keep all, got {keep}")
        if best_mode not in ("min", "max"):
            raise errors.UsageError(f"best_mode must be 'min' or 'max', got {best_mode!r}")
        self._dir = epath.Path(os.path.abspath(os.fspath(model_dir)))
        self._best_metric = best_metric
        policies = [LatestN(keep)]
        best: dict[str, Any] = {}
        if best_metric is not None:
            best = {"best_fn": lambda metrics: metrics[best_metric], "best_mode": best_mode}
            policies.append(
                BestN(
                    get_metric_fn=best["best_fn"],
                    reverse=best_mode == "min",
                    n=1,
                    keep_checkpoints_without_metrics=False,
                )
            )
        self._manager = ocp.CheckpointManager(
            self._dir,
            options=ocp.CheckpointManagerOptions(
                step_prefix=PREFIX,
                preservation_policy=AnyPreservationPolicy(policies),
                cleanup_tmp_directories=True,
                **best,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def steps(self) -> list[int]:
        """Returns the total steps of the finished checkpoints, ascending."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """Returns the step whose metric is best; None if none has it."""
        return self._manager.best_step() if self._best_metric else None

    def path(self, step: int) -> str:
        """Returns the folder of a step's checkpoint."""
        return str(self._dir / f"{PREFIX}_{step}")

    def save(
        self,
        state: TrainState,
        *,
        step: int,
        data: Any,
        config: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Begins to save; returns once the arrays are copied, so the state may be donated.

        Args:
            state: the train state.
            step: its total step, given apart so that nothing is fetched.
            data: the input iterator's state, JSON values.
            config: what the run was started with, JSON values.
            metrics: evaluation of this very step, if there is one. A metric that is not finite
                counts as none: it would otherwise pass for the best.
        """
        value = (metrics or {}).get(self._best_metric) if self._best_metric else None
        if value is not None and not math.isfinite(value):
            value = None
        self._manager.save(
            step,
            args=ocp.args.Composite(
                **{
                    STATE: ocp.args.StandardSave(vars(state)),
                    DATA: ocp.args.JsonSave(data),
                    CONFIG: ocp.args.JsonSave(dict(config)),
                }
            ),
            metrics=None if value is None else {self._best_metric: float(value)},
            force=True,
        )

    def restore(self, step: int, abstract: TrainState) -> Restored:
        """Returns the checkpoint of `step`, laid out as the shardings of `abstract` say.

        Raises:
            UsageError: a leaf is missing, unknown, or of another shape or dtype than stored.
        """
        wanted = vars(abstract)
        path = self.path(step)
        _check_leaves(path, _stored_leaves(path), flatten(wanted))
        items = self._manager.restore(
            step,
            args=ocp.args.Composite(
                **{
                    STATE: ocp.args.StandardRestore(wanted),
                    DATA: ocp.args.JsonRestore(),
                    CONFIG: ocp.args.JsonRestore(),
                }
            ),
        )
        return Restored(step, TrainState(**items[STATE]), items[DATA], items[CONFIG])

    def restore_latest(self, abstract: TrainState) -> Restored | None:
        """Returns the newest checkpoint that can be read; None if there is no checkpoint.

        A checkpoint that cannot be read (a truncated file, say) is told of and passed over; when
        an older one takes its place it is renamed `corrupt_checkpoint_<step>`, never deleted.

        Raises:
            UsageError: the newest readable checkpoint is of another model or optimizer.
            FlanError: there are checkpoints and none can be read.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self.steps()):
            try:
                restored = self.restore(step, abstract)
            except errors.UsageError:
                raise
            # Orbax and TensorStore raise ValueError, OSError, JSON errors and bare Exception alike.
            except Exception as error:  # noqa: BLE001
                reason = " ".join(str(error).split())[:200]
                say(f"checkpoint {self.path(step)} cannot be read, trying the one before: {reason}")
                damaged[step] = reason
                continue
            for bad in damaged:
                self._set_aside(bad)
            return restored
        if damaged:
            step, reason = next(iter(damaged.items()))
            raise errors.FlanError(
                f"none of the {len(damaged)} checkpoint(s) in {self._dir} can be read, the newest, "
                f"{PREFIX}_{step}, because: {reason}; restore the folder from a copy, or start in "
                "another model directory"
            )
        return None

    def wait(self) -> None:
        """Returns when no save is pending; raises what went wrong in one."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then lets go of the folder."""
        self._manager.wait_until_finished()
        self._manager.close()

    def _set_aside(self, step: int) -> None:
        """Renames a damaged checkpoint, so that its step can be saved again."""
        name = f"corrupt_{PREFIX}_{step}"
        while (self._dir / name).exists():
            name += "_"
        if jax.process_index() == 0:
            (self._dir / f"{PREFIX}_{step}").rename(self._dir / name)
        self._manager.reload()
        say(f"the damaged {PREFIX}_{step} is now {self._dir / name}")


def restore_params(path: str | os.PathLike, abstract: PyTree) -> PyTree:
    """Returns the parameters of a checkpoint, and nothing else of it.

    Args:
        path: a checkpoint, or a MODEL_DIR, which stands for its latest.
        abstract: `jax.ShapeDtypeStruct`s of the parameters, with shardings.

    Raises:
        UsageError: there is no checkpoint, or a leaf is missing, unknown, or of another shape or
            dtype than stored; nothing is cast.
    """
    folder = find(path)
    stored = {
        name: leaf for name, leaf in _stored_leaves(folder).items() if name.startswith("params/")
    }
    wanted = {"params": abstract}
    _check_leaves(folder, stored, flatten(wanted))
    with ocp.PyTreeCheckpointer() as checkpointer:
        restored = checkpointer.restore(
            epath.Path(folder) / STATE,
            args=ocp.args.PyTreeRestore(
                item=wanted,
                restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
                partial_restore=True,
            ),
        )
    return restored["params"]


def find(path: str | os.PathLike) -> str:
    """Returns the folder of one checkpoint: `path` itself, or the latest in a MODEL_DIR.

    Raises:
        UsageError: there is none.
    """
    folder = Path(os.path.abspath(os.fspath(path)))
    if (folder / STATE).is_dir():
        return str(folder)
    found = {}
    for child in folder.glob(f"{PREFIX}_*"):
        digits = child.name.removeprefix(f"{PREFIX}_")
        if digits.isdigit() and (child / STATE).is_dir():
            found[int(digits)] = child
    if not found:
        raise errors.UsageError(
            f"no checkpoint at {str(path)!r}; give a {PREFIX}_<step> folder, or a model directory "
            "that holds some"
        )
    return str(found[max(found)])


def step_of(path: str | os.PathLike) -> int:
    """Returns the total step that the name of a checkpoint's folder says.

    Example:
        >>> step_of("runs/xl/checkpoint_1138000")
        1138000
    """
    digits = Path(path).name.removeprefix(f"{PREFIX}_")
    if not digits.isdigit():
        raise errors.UsageError(f"{str(path)!r} is not named {PREFIX}_<step>")
    return int(digits)


def _stored_leaves(folder: str) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes and dtypes a checkpoint's state was written with."""
    path = epath.Path(folder) / STATE
    # Walk the index alone first. Orbax reads all arrays at once; on a damaged index it raises for
    # the first and leaves the other reads to fail later, in an event loop that is closed by then.
    index = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{path}/"}).result()
    index.list().result()
    tree = ocp.PyTreeCheckpointHandler().metadata(path).tree
    return {
        name: jax.ShapeDtypeStruct(tuple(leaf.shape), leaf.dtype)
        for name, leaf in flatten(tree).items()
    }


def _check_leaves(
    folder: str, stored: Mapping[str, jax.ShapeDtypeStruct], wanted: Mapping[str, Any]
) -> None:
    """Raises the one error that names the first leaf that differs, and how many do."""
    pairs = {
        name: (_describe(stored.get(name)), _describe(wanted.get(name)))
        for name in sorted({*stored, *wanted})
    }
    differing = [name for name, (there, here) in pairs.items() if there != here]
    if differing:
        there, here = pairs[differing[0]]
        more = f" (and {len(differing) - 1} more differ)" if len(differing) > 1 else ""
        raise errors.UsageError(
            f"checkpoint {folder} does not fit: {differing[0]} is {there} there but {here} in this "
            f"run{more}; nothing is cast or dropped: use the model and optimizer it was made with"
        )


def _describe(leaf: Any) -> str:
    return "absent" if leaf is None else f"{leaf.dtype}{list(leaf.shape)}"
