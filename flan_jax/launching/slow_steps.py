# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Steps that took unusually long, and the host that the others wait for.

All hosts make a step together, so its time is the same on each and tells nothing about them. But
each says what it did in that time: got data, did work of its own, waited for the device. A host is
slow where it has more to do than the others and does not wait for its device while they wait for
theirs, which wait for it. A device that is slow itself cannot be told apart so: then all wait.
"""

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.launching.attempts import START, Attempt, Record
from flan_jax.launching.goodput import step_intervals

# What is unusual: so many robust standard deviations above the median, and so much of the median.
_DEVIATIONS, _LEAST_EXCESS = 6.0, 0.5
_TO_DEVIATION = 1.4826  # of a normal distribution: its standard deviation / median deviation
# What a host must do more than the others, and may wait at most, in units of a step's time.
_LEAST_MORE, _MOST_WAIT = 0.1, 0.1
_LEAST_STEPS = 5  # of which something is said
# A process dispatches so many steps before it waits for one that another has not dispatched yet.
_AHEAD = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlowStep:
    """A step that took unusually long."""

    attempt: int
    step: int
    seconds: float
    usual_s: float  # the median of its attempt
    process: int  # which had the most of its own to do then
    own: str  # the more of that: 'data' or 'other work'
    own_s: float

    @property
    def is_explained(self) -> bool:
        """Whether that process's own work is most of what the step took too long."""
        return self.own_s >= 0.5 * (self.seconds - self.usual_s)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlowHost:
    """A process that the others waited for, of a whole attempt."""

    attempt: int
    process: int
    host: str  # its machine; '' if unknown
    own: str  # what it has more of: 'data' or 'other work'
    own_s: float  # per step: data and other work of its own
    others_s: float  # the same of the others
    step_s: float  # the median time of a step


def slow_steps(attempts: Sequence[Attempt]) -> list[SlowStep]:
    """Returns the steps that took unusually long, the longest first."""
    found = []
    for attempt in attempts:
        first = (attempt.first_step or 0) + _AHEAD  # until then the devices begin to work
        intervals = [
            (before, after)
            for before, after in step_intervals(attempt.main)
            if before["step_count"] > first
        ]
        if len(intervals) < _LEAST_STEPS:
            continue
        times = [after["time"] - before["time"] for before, after in intervals]
        usual_s = statistics.median(times)
        deviation_s = statistics.median(abs(time - usual_s) for time in times) * _TO_DEVIATION
        limit_s = usual_s + max(_DEVIATIONS * deviation_s, _LEAST_EXCESS * usual_s)
        work = None
        for (before, _), seconds in zip(intervals, times, strict=True):
            if seconds <= limit_s:
                continue
            if work is None:
                work = {index: _work(log) for index, log in attempt.logs.items()}
            step = before["step_count"]
            around = [
                (_own_s(by_step[near]), index, by_step[near])
                for index, by_step in work.items()
                for near in range(step - _AHEAD, step + 1)
                if near in by_step
            ]
            own_s, process, record = max(around, key=lambda own: own[:2])
            found.append(
                SlowStep(
                    attempt=attempt.number, step=step, seconds=seconds, usual_s=usual_s,
                    process=process, own=_larger(record), own_s=own_s,
                )
            )  # fmt: skip
    return sorted(found, key=lambda slow: slow.usual_s - slow.seconds)


def slow_hosts(attempts: Sequence[Attempt]) -> list[SlowHost]:
    """Returns the processes that slowed an attempt down, at most one of each attempt."""
    found = []
    for attempt in attempts:
        work = {index: _work(log) for index, log in attempt.logs.items()}
        work = {index: steps for index, steps in work.items() if len(steps) >= _LEAST_STEPS}
        if len(work) < 2:
            continue
        own = {i: statistics.median(map(_own_s, steps.values())) for i, steps in work.items()}
        waits = {i: _median(steps, "wait_s") for i, steps in work.items()}
        took = [b["time"] - a["time"] for a, b in step_intervals(attempt.main)]
        step_s = statistics.median(took) if took else 0.0
        slow = max(own, key=own.get)
        others = [index for index in own if index != slow]
        others_s = statistics.median(own[index] for index in others)
        is_waited_for = waits[slow] <= _MOST_WAIT * step_s and waits[slow] < min(
            waits[index] for index in others
        )
        if is_waited_for and own[slow] - others_s >= _LEAST_MORE * step_s > 0:
            data_s = _median(work[slow], "data_s") - statistics.median(
                _median(work[index], "data_s") for index in others
            )
            is_data = data_s >= 0.5 * (own[slow] - others_s)
            found.append(
                SlowHost(
                    attempt=attempt.number, process=slow, host=_host(attempt.logs[slow]),
                    own="data" if is_data else "other work", own_s=own[slow], others_s=others_s,
                    step_s=step_s,
                )
            )  # fmt: skip
    return found


def shown(steps: Sequence[SlowStep], hosts: Sequence[SlowHost], most: int = 5) -> Iterator[str]:
    """Yields lines about slow steps and hosts, `most` of each."""
    if steps:
        lost_s = sum(slow.seconds - slow.usual_s for slow in steps)
        yield f"{len(steps)} step(s) took unusually long, {lost_s:.1f} s more than usual in all:"
    for slow in steps[:most]:
        why = ""
        if slow.is_explained:
            why = f"; process {slow.process} spent {slow.own_s:.2f} s on {slow.own}"
        yield (
            f"  step {slow.step} of attempt {slow.attempt}: {slow.seconds:.2f} s, usually "
            f"{slow.usual_s:.2f} s{why}"
        )
    if len(steps) > most:
        yield f"  and {len(steps) - most} more"
    by_process: dict[tuple[int, str], list[SlowHost]] = {}
    for host in hosts:
        by_process.setdefault((host.process, host.host), []).append(host)
    worst = sorted(by_process.values(), key=lambda own: -max(h.own_s - h.others_s for h in own))
    for own in worst[:most]:
        host = max(own, key=lambda host: host.own_s - host.others_s)
        name = f"process {host.process}" + (f" on {host.host}" if host.host else "")
        often = f"attempt {host.attempt}" if len(own) == 1 else f"{len(own)} attempts"
        yield (
            f"{name} held up {often}: its own work, mostly {host.own}, took {host.own_s:.2f} s of "
            f"a step's {host.step_s:.2f} s, that of the others {host.others_s:.2f} s"
        )
    if len(worst) > most:
        yield f"{len(worst) - most} more processes held up an attempt"


def as_json(steps: Sequence[SlowStep], hosts: Sequence[SlowHost]) -> dict[str, Any]:
    """Returns both as JSON values."""
    return {
        "slow_steps": [dataclasses.asdict(slow) for slow in steps],
        "slow_hosts": [dataclasses.asdict(host) for host in hosts],
    }


def _work(log: Sequence[Record]) -> dict[int, Record]:
    """Returns, for each step, the record of what the process did from its beginning on."""
    return {before["step_count"]: after for before, after in step_intervals(log)}


def _own_s(record: Record) -> float:
    return record.get("data_s", 0.0) + record.get("dispatch_s", 0.0)


def _larger(record: Record) -> str:
    return "data" if record.get("data_s", 0.0) >= record.get("dispatch_s", 0.0) else "other work"


def _median(steps: Mapping[int, Record], name: str) -> float:
    return statistics.median(record.get(name, 0.0) for record in steps.values())


def _host(log: Sequence[Record]) -> str:
    return next((str(r.get("host", "")) for r in log if r["event"] == START), "")
