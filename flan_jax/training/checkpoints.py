# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints by Orbax: asynchronous, kept by number and by merit, strict when read.

`MODEL_DIR/checkpoint_<total step>/` holds `state` (parameters, optimizer state, step), `data` (the
input's position, JSON), `config` (operative Gin text, code version, vocabulary fingerprint, JSON)
and `metrics` where the run keeps its best. Orbax casts dtypes silently; here every stored leaf is
compared with what is asked for first, and any difference is an error unless the cast is named.

What a stopped run left half-written has another name and is never taken for a checkpoint; it is
removed only when a whole one of its step or a later one is there.

This is the only module that knows Orbax.
"""

import contextlib
import dataclasses
import json
import math
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
import tensorstore
from etils import epath
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from flan_jax.convert import t5x
from flan_jax.core import errors
from flan_jax.core.progress import say
from flan_jax.core.tree import PyTree, flatten
from flan_jax.parallel import hosts
from flan_jax.training.save_manager import SaveManager
from flan_jax.training.state import TrainState
from flan_jax.training.storage_errors import in_one_line, quiet_orbax

PREFIX = "checkpoint"
STATE, DATA, CONFIG = "state", "data", "config"
_LAST_SAVE_S = 30.0  # for what is being saved when a process of several fails
_UNFINISHED = ".orbax-checkpoint-tmp"  # in the names of folders that Orbax has not finished


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
        quiet_orbax()
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
        self._manager = SaveManager(
            self._dir,
            options=ocp.CheckpointManagerOptions(
                step_prefix=PREFIX,
                preservation_policy=AnyPreservationPolicy(policies),
                **best,
            ),
        )
        self._tidy()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, error: type[BaseException] | None, *_) -> None:
        if error is None or not hosts.is_shared():
            self.close()
            return

        if self._manager.failure is not None:
            return

        def close() -> None:
            with contextlib.suppress(Exception):  # there is an error already
                self.close()

        # What is under way may need a part of the others, or of this process, that never comes.
        closing = threading.Thread(target=close, daemon=True)
        closing.start()
        closing.join(_LAST_SAVE_S)

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
        with self._saving():
            self._manager.finish()
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

    def restore(self, step: int, *layouts: TrainState) -> Restored:
        """Returns the checkpoint of `step`, laid out as the shardings of a layout say.

        Args:
            step: total step.
            layouts: abstract states; the first whose arrays have the stored names is taken.

        Raises:
            UsageError: a leaf is missing, unknown, or of another shape or dtype than stored.
        """
        path = self.path(step)
        wanted = _fitting(path, _stored_leaves(path), [vars(layout) for layout in layouts])
        # Not by the manager: it makes processes meet at the end, and one whose read failed would
        # meet the others there when it has read another step.
        items = ocp.CompositeCheckpointHandler().restore(
            epath.Path(path),
            args=ocp.args.Composite(
                **{
                    STATE: ocp.args.StandardRestore(wanted),
                    DATA: ocp.args.JsonRestore(),
                    CONFIG: ocp.args.JsonRestore(),
                }
            ),
        )
        return Restored(step, TrainState(**items[STATE]), items[DATA], items[CONFIG])

    def restore_latest(self, *layouts: TrainState) -> Restored | None:
        """Returns the newest checkpoint that can be read, as `restore`; None if there is none.

        A checkpoint that cannot be read (a truncated file, say) is told of and passed over; when
        an older one takes its place it is renamed `corrupt_checkpoint_<step>`, never deleted.

        Raises:
            UsageError: the newest readable checkpoint is of another model or optimizer.
            FlanError: there are checkpoints and none can be read.
        """
        damaged: dict[int, str] = {}
        # Process 0 says which step is next: another may see the folder at another moment.
        while (step := hosts.agreed(max({-1, *self.steps()} - {*damaged}))) >= 0:
            restored, reason = self._attempt(step, layouts)
            if restored is not None:
                for bad in damaged:
                    self._set_aside(bad)
                return restored
            say(f"checkpoint {self.path(step)} cannot be read, trying the one before: {reason}")
            damaged[step] = reason
        if damaged:
            step, reason = next(iter(damaged.items()))
            raise errors.FlanError(
                f"none of the {len(damaged)} checkpoint(s) in {self._dir} can be read, the newest, "
                f"{PREFIX}_{step}, because: {reason}; restore the folder from a copy, or start in "
                "another model directory"
            )
        return None

    def _attempt(self, step: int, layouts: tuple[TrainState, ...]) -> tuple[Restored | None, str]:
        """Returns a checkpoint, or None and why one of the processes cannot read it."""
        restored, reason = None, ""
        with hosts.all_or_none():  # what does not fit ends all
            try:
                restored = self.restore(step, *layouts)
            except errors.UsageError:
                raise
            # Orbax and TensorStore raise ValueError, OSError, JSON errors and bare Exception alike.
            except Exception as error:  # noqa: BLE001
                reason = in_one_line(error)
        failed = hosts.where(restored is None)
        if failed and not reason:
            restored, reason = None, f"process {failed[0]} cannot; its own message says why"
        return restored, reason

    def wait(self) -> None:
        """Returns when no save is pending.

        Raises:
            FlanError: a save failed; the checkpoints before it are as they were.
        """
        with self._saving():
            self._manager.finish()

    def close(self) -> None:
        """Waits, then lets go of the folder."""
        try:
            self.wait()
        finally:
            with contextlib.suppress(Exception):  # the same failure again
                self._manager.close()

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        """Turns whatever Orbax and TensorStore raise when they cannot write into one line."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - ValueError, OSError and bare Exception alike
            steps = self.steps()
            kept = f"the newest whole one is {self.path(steps[-1])}" if steps else "there is none"
            raise errors.FlanError(
                f"a checkpoint in {self._dir} could not be written ({in_one_line(error)}); {kept}; "
                "free space there or mend what hinders, then start the same command again"
            ) from None

    def _tidy(self) -> None:
        """Removes half-written folders that a whole checkpoint has made useless, names others."""
        if not hosts.is_first():
            return
        newest = max(self.steps(), default=-1)
        for folder in sorted(Path(self._dir).glob(f"{PREFIX}_*{_UNFINISHED}*")):
            digits = folder.name.split(".")[0].removeprefix(f"{PREFIX}_")
            if digits.isdigit() and int(digits) <= newest:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                say(f"checkpoint {folder} was never finished and is passed over")

    def _set_aside(self, step: int) -> None:
        """Renames a damaged checkpoint, so that its step can be saved again."""
        with hosts.all_or_none():
            if hosts.is_first():
                name = f"corrupt_{PREFIX}_{step}"
                while (self._dir / name).exists():
                    name += "_"
                (self._dir / f"{PREFIX}_{step}").rename(self._dir / name)
                say(f"the damaged {PREFIX}_{step} is now {self._dir / name}")
        self._manager.reload()


def restore_params(path: str | os.PathLike, *layouts: PyTree, cast_from: str = "") -> PyTree:
    """Returns the parameters of a checkpoint, and nothing else of it.

    Args:
        path: a checkpoint, or a MODEL_DIR, which stands for its latest.
        layouts: `jax.ShapeDtypeStruct`s of the parameters, with shardings; the first whose names
            are the stored ones is taken.
        cast_from: the one stored dtype that may be cast to the dtype wanted; '' for none.

    Raises:
        UsageError: there is no checkpoint, or a leaf is missing, unknown, or of another shape or
            dtype than stored.
        FlanError: the checkpoint cannot be read.
    """
    folder = find(path)
    with hosts.all_or_none():
        with reading(folder):
            stored = {n: x for n, x in _stored_leaves(folder).items() if n.startswith("params/")}
        wanted = _fitting(folder, stored, [{"params": layout} for layout in layouts], cast_from)
        with reading(folder):
            restored = ocp.PyTreeCheckpointHandler().restore(
                epath.Path(folder) / STATE,
                args=ocp.args.PyTreeRestore(
                    item=wanted,
                    restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
                    partial_restore=True,
                ),
            )
    return restored["params"]


def read_config(path: str | os.PathLike) -> dict[str, Any]:
    """Returns what a checkpoint's run was started with; {} if the checkpoint does not say."""
    folder = find(path)
    file = Path(folder) / CONFIG / "metadata"
    if not file.is_file():
        return {}
    with reading(folder):
        config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError(f"{file} holds no JSON object")
        return config


def check_vocabulary(path: str | os.PathLike, vocabulary: Mapping[str, Any] | None) -> None:
    """Refuses a checkpoint that was trained with another vocabulary, where that is known.

    Args:
        path: a checkpoint or a MODEL_DIR.
        vocabulary: `name` and `fingerprint` of the one in use.
    """
    there, here = read_config(path).get("vocabulary") or {}, vocabulary or {}
    known = "fingerprint" in there and "fingerprint" in here
    if known and there["fingerprint"] != here["fingerprint"]:
        raise errors.UsageError(
            f"checkpoint {find(path)} was trained with the vocabulary {there['name']!r} "
            f"(sha256 {there['fingerprint'][:12]}), this run uses {here['name']!r} "
            f"({here['fingerprint'][:12]}); use the same one"
        )


@contextlib.contextmanager
def reading(folder: str) -> Iterator[None]:
    """Turns whatever a damaged checkpoint raises into one line."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - ValueError, OSError, JSON errors, bare Exception
        raise errors.FlanError(
            f"checkpoint {folder} cannot be read ({in_one_line(error)}); name another step's folder"
        ) from error


def find(path: str | os.PathLike) -> str:
    """Returns the folder of one checkpoint, ours or T5X's: `path`, or the latest in a MODEL_DIR.

    Raises:
        UsageError: there is none.
    """
    if (native := t5x.find(path)) is not None:
        return native
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


def _fitting(
    folder: str,
    stored: Mapping[str, jax.ShapeDtypeStruct],
    layouts: list[PyTree],
    cast_from: str | None = None,
) -> PyTree:
    """Returns the layout whose arrays have the stored names, once all shapes and dtypes fit."""
    same_names = (layout for layout in layouts if flatten(layout).keys() == stored.keys())
    wanted = next(same_names, layouts[0])
    check_leaves(folder, stored, flatten(wanted), cast_from)
    return wanted


def check_leaves(
    folder: str,
    stored: Mapping[str, jax.ShapeDtypeStruct],
    wanted: Mapping[str, Any],
    cast_from: str | None,
) -> None:
    """Raises the one error that names the first leaf that differs, and how many do."""
    cast = {n for n, leaf in stored.items() if str(leaf.dtype) == cast_from and n in wanted}
    cast = {n for n in cast if wanted[n].dtype != stored[n].dtype}
    pairs = {
        name: (_describe(stored.get(name), name in cast), _describe(wanted.get(name), name in cast))
        for name in sorted({*stored, *wanted})
    }
    differing = [name for name, (there, here) in pairs.items() if there != here]
    if differing:
        name = differing[0]
        there, here = pairs[name]
        remedy = "use the model and optimizer it was made with"
        if cast_from is not None and {name} <= stored.keys() & wanted.keys():
            if stored[name].shape == wanted[name].shape:
                remedy = f"to cast it, set initial_checkpoint_dtype={str(stored[name].dtype)!r}"
        more = f" (and {len(differing) - 1} more differ)" if len(differing) > 1 else ""
        raise errors.UsageError(
            f"checkpoint {folder} does not fit: {name} is {there} there but {here} in this "
            f"run{more}; nothing is cast or dropped unasked: {remedy}"
        )
    if cast:
        to = sorted({str(wanted[name].dtype) for name in cast})
        say(f"checkpoint {folder}: {len(cast)} arrays cast from {cast_from} to {', '.join(to)}")


def _describe(leaf: Any, is_cast: bool = False) -> str:
    if leaf is None:
        return "absent"
    return f"{'' if is_cast else leaf.dtype}{list(leaf.shape)}"
