# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Profiles of a few training steps: at a step told beforehand, or on demand while a run goes on.

    MODEL_DIR/profile_request.json                   {"num_steps": N}, from `flan-jax status`
    MODEL_DIR/profiles/step_<first>/plugins/profile/process_<i>/    what jax's profiler wrote

Every process traces its own host, all at the same steps. Process 0 alone takes a request; others
learn from `profile_plan.json` which step to begin at, far enough ahead that each has looked for it
by then. A plain file, as nothing else of a step may wait for all hosts.

A profile is a help and no part of the run: what goes wrong with it is told once, and training goes
on without.
"""

import contextlib
import math
import os
import time
from pathlib import Path

import jax

from flan_jax.core import files
from flan_jax.core.progress import say
from flan_jax.core.tree import PyTree

REQUEST_FILE = "profile_request.json"
PLAN_FILE = "profile_plan.json"
PROFILES_FOLDER = "profiles"
# Between two looks for those files; in a bucket each is a request over the network.
LOOK_S = 5.0
# Process 0 plans a trace this many looks ahead: one for the others, one for a file system that
# remembers for seconds that a file was absent, one to spare.
_LOOKS_AHEAD = 3
_WARM_UP_STEPS = 2  # the first compiles, so how long it took tells nothing of the others


class Profiler:
    """Traces some steps of a run: call `before` and `after` around each, and `close` at the end.

    Args:
        model_dir: folder of the run.
        first_step: steps of this attempt that pass before the trace that is told beforehand.
        num_steps: how many steps that one covers; 0 for none.
    """

    def __init__(self, model_dir: str | os.PathLike, first_step: int = 0, num_steps: int = 0):
        self._folder = Path(model_dir)
        self._first_step, self._num_steps = first_step, num_steps
        self._step, self._seen = 0, 0  # the newest total step; steps of this attempt
        self._plan: tuple[int, int] | None = None  # first and last total step to trace
        self._is_tracing = False
        self._annotation: jax.profiler.StepTraceAnnotation | None = None
        self._look = (0, 0.0)  # total step and time of the last look
        self._rate = 0.0  # steps/s between two looks, the most so far
        self._traced: int | None = None  # first step of the last plan
        self._is_off = False
        self._forget_plan()  # of an attempt that was killed

    def before(self, step: int) -> None:
        """To be called when total step `step` is about to be dispatched."""
        if self._is_off:
            return
        try:
            self._step, self._seen = step, self._seen + 1
            if self._plan is None:
                self._plan = self._told_beforehand(step) or self._requested(step)
            if self._plan and step == self._plan[0]:
                self._begin(step)
            if self._is_tracing:
                self._annotation = jax.profiler.StepTraceAnnotation("train", step_num=step)
                self._annotation.__enter__()
        except Exception as error:  # noqa: BLE001 - nothing of a profile may stop the run
            self._give_up(error)

    def after(self, step: int, result: PyTree = None) -> None:
        """To be called when the step is dispatched; `result` is waited for if it was the last."""
        if not self._is_tracing:
            return
        self._leave_step()
        if step < self._plan[1]:
            return
        jax.block_until_ready(result)  # else the trace would end before the devices do
        self._end(step)

    def close(self) -> None:
        """Ends a trace that is under way; what there is of it is kept."""
        self._leave_step()
        if self._is_tracing:
            self._end(self._step)
        if self._plan:
            self._forget_plan()

    def _told_beforehand(self, step: int) -> tuple[int, int] | None:
        if not self._num_steps or self._seen <= self._first_step:
            return None
        num, self._num_steps = self._num_steps, 0
        return step, step + num - 1

    def _requested(self, step: int) -> tuple[int, int] | None:
        """Returns the first and last step that were asked for, if it is time to look."""
        now = time.monotonic()
        if self._seen <= _WARM_UP_STEPS:
            self._look = (step, now)
        looked_step, looked = self._look
        if now - looked < LOOK_S or step == looked_step:
            return None
        self._look = (step, now)
        self._rate = max(self._rate, (step - looked_step) / max(now - looked, 1e-3))
        return self._take(step) if jax.process_index() == 0 else self._follow(step)

    def _take(self, step: int) -> tuple[int, int] | None:
        """Takes a request, and tells the other processes what comes of it."""
        path = self._folder / REQUEST_FILE
        if not path.exists():
            return None
        try:
            num = files.read_json(path)["num_steps"]
        finally:
            path.unlink()
        if not isinstance(num, int) or num < 1:
            raise ValueError(f"{path}: num_steps must be a whole number >= 1, got {num!r}")
        first = step
        if jax.process_count() > 1:
            first += math.ceil(_LOOKS_AHEAD * LOOK_S * self._rate) + _LOOKS_AHEAD
            files.write_json(
                self._folder / PLAN_FILE, {"first_step": first, "last_step": first + num - 1}
            )
            say(f"train: profile: {num} step(s) from step {first}, on all hosts")
        return first, first + num - 1

    def _follow(self, step: int) -> tuple[int, int] | None:
        path = self._folder / PLAN_FILE
        if not path.exists():
            return None
        plan = files.read_json(path)
        first, last = plan["first_step"], plan["last_step"]
        if first >= step:
            return first, last
        if first != self._traced:
            self._traced = first
            say(
                f"train: profile: process {jax.process_index()} is not in that of step {first}, "
                f"as it saw {path} at step {step} only"
            )
        return None

    def _begin(self, step: int) -> None:
        options = jax.profiler.ProfileOptions()
        # A folder for each process, as jax names its files after the host alone.
        options.session_id = f"process_{jax.process_index():05d}"
        jax.profiler.start_trace(self._trace_folder(), profiler_options=options)
        self._is_tracing = True
        self._say(f"tracing step {step} to {self._plan[1]}")

    def _end(self, step: int) -> None:
        folder, first = self._trace_folder(), self._plan[0]
        try:
            self._is_tracing = False
            jax.profiler.stop_trace()
            self._say(
                f"steps {first} to {step} are in {folder}; to see them: pip install xprof, then "
                f"xprof --logdir={folder}"
            )
            self._plan, self._traced = None, first
            self._forget_plan()
        except Exception as error:  # noqa: BLE001 - nothing of a profile may stop the run
            self._give_up(error)

    def _forget_plan(self) -> None:
        if jax.process_index() == 0:
            with contextlib.suppress(OSError):
                (self._folder / PLAN_FILE).unlink(missing_ok=True)

    def _trace_folder(self) -> Path:
        return self._folder / PROFILES_FOLDER / f"step_{self._plan[0]}"

    def _leave_step(self) -> None:
        if self._annotation is not None:
            self._annotation.__exit__(None, None, None)
            self._annotation = None

    def _give_up(self, error: Exception) -> None:
        self._is_off = True
        self._leave_step()
        if self._is_tracing:
            self._is_tracing = False
            with contextlib.suppress(Exception):
                jax.profiler.stop_trace()
        say(f"train: no profile, training goes on without: {type(error).__name__}: {error}")

    def _say(self, line: str) -> None:
        if jax.process_index() == 0:
            say(f"train: profile: {line}")
