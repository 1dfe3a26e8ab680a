# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a run is laid out on a slice: mesh, sharding preset, microbatches and remat policy.

None of these changes what is learned; all change memory and speed. `suggest` looks for the smallest
slice on which a run fits, and there for the fastest of the layouts it tried.
"""

import dataclasses
from collections.abc import Callable, Iterator

from flan_jax.aot.compiling import Case, Report
from flan_jax.aot.slices import SHAPES, find
from flan_jax.core import errors
from flan_jax.core.progress import say

# The quick mode reads a peak up to 5.5 % low; what is suggested leaves as much room.
_ROOM = 1.055
_REMAT = ("full", "minimal", "none")  # from the least memory to the least work


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A layout; `data` takes the devices that `model` leaves."""

    model: int = 1  # devices along mesh axis 'model'
    rules: str = "fsdp_tensor"  # sharding preset
    num_microbatches: int = 1
    remat_policy: str = "full"

    def applied(self, case: Case) -> Case:
        """Returns the case with this layout."""
        mesh = dataclasses.replace(case.config.mesh, data=-1, model=self.model)
        config = dataclasses.replace(
            case.config, mesh=mesh, rules=self.rules, num_microbatches=self.num_microbatches
        )
        shape = dataclasses.replace(case.model.config, remat_policy=self.remat_policy)
        model = dataclasses.replace(case.model, config=shape, rules=None)
        return dataclasses.replace(case, model=model, config=config)

    @property
    def shown(self) -> str:
        """The Gin bindings that make a recipe have this layout."""
        return (
            f"--gin.MeshShape.model={self.model} --gin.TrainConfig.rules={self.rules!r} "
            f"--gin.TrainConfig.num_microbatches={self.num_microbatches} "
            f"--gin.REMAT_POLICY={self.remat_policy!r}"
        )


Run = Callable[[Case], Report]  # compiles, or knows the answer


def suggest(case: Case, run: Run) -> tuple[Plan, Report] | None:
    """Returns the layout to use and its report; None if the run fits none of the slices.

    Tried are the slices of the case's generation, the smallest first and the case's last. On each
    the layout that needs the least memory comes first; where that fits, others that work less are
    tried, each from the best so far, and the fastest estimate wins.

    Args:
        case: the run; its slice is the largest to try.
        run: compiles a case.
    """
    for where in _slices(case):
        here = dataclasses.replace(case, slice=where)
        best: tuple[Plan, Report] | None = None
        for plan in _frugal(here):
            report = _try(here, plan, run)
            if report is not None and _has_room(report):
                best = plan, report
                break
        if best is None:
            continue
        for better in _RELAXATIONS:
            for plan in better(best[0], here):
                report = _try(here, plan, run)
                if report is not None and _has_room(report) and _is_faster(report, best[1]):
                    best = plan, report
        return best
    return None


def _slices(case: Case) -> Iterator:
    generation, most = case.slice.name.rsplit("-", 1)
    for count in sorted(SHAPES[generation]):
        if count <= int(most):
            yield find(f"{generation}-{count}", case.slice.num_slices)


def _frugal(case: Case) -> Iterator[Plan]:
    """Yields layouts that need little memory: a row a device and microbatch where that divides."""
    per_slice, batch_size = case.slice.devices_per_slice, case.data.batch_size
    for model in (1, 2, 4, 8):
        if per_slice % model:
            continue
        rows = per_slice // model * case.slice.num_slices
        if batch_size % rows == 0:
            yield Plan(model=model, num_microbatches=batch_size // rows)


def _fewer_microbatches(plan: Plan, case: Case) -> Iterator[Plan]:
    del case
    num = plan.num_microbatches
    while num > 1:
        num //= 2
        yield dataclasses.replace(plan, num_microbatches=num)


def _less_remat(plan: Plan, case: Case) -> Iterator[Plan]:
    del case
    for policy in _REMAT[_REMAT.index(plan.remat_policy) + 1 :]:
        yield dataclasses.replace(plan, remat_policy=policy)


def _other_meshes(plan: Plan, case: Case) -> Iterator[Plan]:
    for model in (2 * plan.model, 4 * plan.model):
        if case.slice.devices_per_slice % model == 0:
            yield dataclasses.replace(plan, model=model)


_RELAXATIONS = (_fewer_microbatches, _less_remat, _other_meshes)


def _try(case: Case, plan: Plan, run: Run) -> Report | None:
    try:
        report = run(plan.applied(case))
    except errors.UsageError as error:  # this layout does not divide
        say(f"compile: {case.slice.shown}, {plan.shown}: {error}")
        return None
    found = "does not fit"
    if report.fits:
        found = f"{report.peak_bytes / 2**30:.2f} GiB, {report.estimate.step_s:.3f} s (estimate)"
    say(f"compile: {case.slice.shown}, {plan.shown}: {found}")
    return report


def _has_room(report: Report) -> bool:
    room = _ROOM if report.effort == "quick" else 1.0
    return report.fits and report.peak_bytes * room <= report.limit_bytes


def _is_faster(report: Report, than: Report) -> bool:
    return report.estimate.step_s < than.estimate.step_s
