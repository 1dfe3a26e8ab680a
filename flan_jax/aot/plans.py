# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a run is laid out on a slice: mesh, sharding preset, microbatches and remat policy.

None of these changes what is learned; all change memory and speed. `suggest` looks for the smallest
slice on which a run fits, and there for the fastest of the layouts it tried.
"""

import dataclasses
from collections.abc import Callable, Iterator

from flan_jax.aot.compiling import MEMORY, Case, Report
from flan_jax.aot.slices import SHAPES, Slice, find
from flan_jax.core import errors
from flan_jax.core.progress import say

# By default the compiler takes more, where there is more: T5 1.1 XXL on v4-32 peaks at 20.42 GiB,
# and at 16.88 by the memory mode. So much is left.
_ROOM = 1.21
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
    def bindings(self) -> str:
        """The arguments that make a recipe have this layout."""
        return (
            f"--gin.MeshShape.model={self.model} --gin.TrainConfig.rules=\"'{self.rules}'\" "
            f"--gin.TrainConfig.num_microbatches={self.num_microbatches} "
            f"--gin.REMAT_POLICY={self.remat_policy}"
        )


Run = Callable[[Case, str], Report]  # compiles with an effort, or knows the answer


def suggest(case: Case, run: Run, effort: str) -> tuple[Plan, Report] | None:
    """Returns the layout to use and its report; None if the run fits none of the slices.

    Tried are the slices of the case's generation, the smallest first and the case's last. On each
    the layout that needs the least memory comes first; where that fits, others that work less are
    tried, each from the best so far, and the fastest estimate wins; in memory mode, which has none,
    the one of fewest microbatches, and then of least remat.

    Args:
        case: the run; its slice is the largest to try.
        run: compiles a case.
        effort: of what is compiled whole; what does not fit is found out before.
    """
    for where in _slices(case):
        here = dataclasses.replace(case, slice=where)
        tried = ((plan, _try(here, plan, run, effort)) for plan in _frugal(here))
        best = next((found for found in tried if found[1] is not None), None)
        if best is None:
            continue
        # In memory mode nothing tells the time of a layout, but that it works less.
        for others in _LESS_WORK if effort == MEMORY else (*_LESS_WORK, _other_meshes):
            for plan in others(best[0], here):
                report = _try(here, plan, run, effort)
                if report and (
                    effort == MEMORY or report.estimate.step_s < best[1].estimate.step_s
                ):
                    best = plan, report
        return best
    return None


def _slices(case: Case) -> Iterator[Slice]:
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


_LESS_WORK = (_fewer_microbatches, _less_remat)


def _try(case: Case, plan: Plan, run: Run, effort: str) -> Report | None:
    """Returns the report of a layout that fits with room to spare; None of another."""
    place = f"compile: {case.slice.shown}, {plan.bindings}"
    try:
        report = run(plan.applied(case), MEMORY)
        if has_room(report):
            report = run(plan.applied(case), effort)
    except errors.UsageError as error:  # this layout does not divide
        say(f"{place}: {error}")
        return None
    needed = f"{(report.peak_bytes or report.needed_bytes) / 2**30:.2f} GiB"
    if not has_room(report):
        say(f"{place}: {needed}, too much")
        return None
    time = f", {report.estimate.step_s:.3f} s (estimate)" if report.estimate else ""
    say(f"{place}: {needed}{time}")
    return report


def has_room(report: Report) -> bool:
    """Whether a step fits with as much to spare as its peak may read low."""
    return report.fits and report.peak_bytes * _ROOM <= report.limit_bytes
