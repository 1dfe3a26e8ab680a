# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Starts a job on Cloud TPU VMs, watches it, requests its TPUs again when they are taken away.

Spot TPUs cannot be restarted: they are deleted, requested anew, and the training goes on from its
last checkpoint. Taken away is not failed: the first costs nothing but time and may happen any
number of times; a request that fails again and again is given up.
"""

import argparse
import contextlib
import time
from collections.abc import Iterator

from flan_jax.core import errors
from flan_jax.core.progress import say
from flan_jax.launching import gcloud, tpu_steps
from flan_jax.launching import plan as plans
from flan_jax.launching.gcloud import Place, Request, RequestError, TakenError, Worker
from flan_jax.launching.job import Job

PERIOD_S = 60.0  # between two looks
MAX_FAILURES = 5  # requests in a row that failed
_MAX_SILENT = 10  # looks in a row at which workers could not be reached
_WAIT_S, _LONGEST_WAIT_S = 60.0, 3600.0  # before a failed request is made again: doubled each time
_SLEEP = time.sleep  # tests do not wait


class _DeletedError(errors.FlanError):
    """The TPUs are no more, and it was not this program that deleted them."""


def keep_alive(job: Job, args: argparse.Namespace) -> None:
    """Starts a job and sees that it goes on until it is done; then deletes its TPUs.

    Raises:
        PreemptedError: it was stopped by hand.
        FlanError: the training failed, or there are no TPUs for it.
    """
    failures = 0
    while True:
        try:
            with _taken_away_told(job, args):
                start(job, args)
            failures, args = 0, tpu_steps.pinned(job, args)
            with _stay_told(job):
                _watch(job, args)
        except TakenError as error:
            say(f"launch: {error}; starting again")
        except RequestError as error:
            failures += 1
            if failures >= MAX_FAILURES:
                raise errors.FlanError(
                    f"given up after {failures} requests in a row that failed; the last: {error}"
                ) from None
            wait_s = min(_WAIT_S * 2 ** (failures - 1), _LONGEST_WAIT_S)
            say(f"launch: {error}; requesting again in {wait_s:.0f} s")
            _SLEEP(wait_s)
        else:
            break
    plans.output(gcloud.delete(job.name, tpu_steps.place_of(args)), f"delete {job.name}")
    say(f"launch: done; {job.name} is deleted")


def start(job: Job, args: argparse.Namespace) -> None:
    """Requests the TPUs unless they are there, waits for them, starts the training on them.

    Raises:
        TakenError: the TPUs were taken away meanwhile.
        RequestError: there will be none.
        FlanError: a step failed.
    """
    found = request_of(job, tpu_steps.place_of(args))
    if found.state == gcloud.DELETING:
        raise errors.FlanError(f"{job.name} is being deleted; start again in a minute")
    if found.slice_name and found.slice_name != job.slice.name:
        raise errors.UsageError(
            f"there is a {job.name} already, a {found.slice_name} and no {job.slice.name}; give "
            "another --name, or delete it (--do delete)"
        )
    if found.state != gcloud.ABSENT:
        say(f"launch: {job.name}: {found}")
    plans.run(tpu_steps.start(job, args, found))
    say(f"launch: started; look at it with --do status, at {tpu_steps.log_of(job)} with --do logs")


def request_of(job: Job, place: Place) -> Request:
    """Returns the state of the job's queued resource."""
    try:
        text = plans.output(
            gcloud.describe(job.name, place), f"look for {job.name}", tries=tpu_steps.TRIES
        )
    except errors.FlanError as error:
        if gcloud.is_absent(error):
            return Request(gcloud.ABSENT)
        raise
    return gcloud.read_request(text)


def ask(job: Job, place: Place) -> list[Worker]:
    """Returns what every worker says of its part of the job."""
    found = []
    for node, step in zip(tpu_steps.nodes(job), tpu_steps.status(job, place), strict=True):
        found += gcloud.read_workers(node, plans.output(step.argv, step.why, tries=step.tries))
    return found


@contextlib.contextmanager
def _taken_away_told(job: Job, args: argparse.Namespace) -> Iterator[None]:
    """Tells a step that failed as the TPUs were taken away meanwhile from one that failed."""
    try:
        yield
    except (errors.UsageError, errors.DoesNotFitError, TakenError, RequestError):
        raise
    except errors.FlanError as error:
        found = request_of(job, tpu_steps.place_of(args))
        if gcloud.is_preempted(error) or found.state in gcloud.GONE:
            raise TakenError("the TPUs were taken away") from error
        raise


@contextlib.contextmanager
def _stay_told(job: Job) -> Iterator[None]:
    """Adds to an error that ends the watch that the TPUs are still there."""
    try:
        yield
    except (TakenError, RequestError, _DeletedError):
        raise
    except errors.FlanError as error:
        told = f"{error}; the TPUs of {job.name} stay, and cost, until --do delete"
        raise type(error)(told) from None


def _watch(job: Job, args: argparse.Namespace) -> None:
    """Returns when the training is done.

    Raises:
        TakenError: it is to be started again.
        RequestError: the request failed after all.
        PreemptedError: it was stopped by hand.
        FlanError: it failed, or cannot be reached.
    """
    place = tpu_steps.place_of(args)
    silent, ended, told = 0, 0, ""
    while True:
        _SLEEP(PERIOD_S)
        try:
            workers = _look(job, place)
        except (TakenError, RequestError):
            raise
        except errors.FlanError as error:
            silent += 1
            if silent >= _MAX_SILENT:
                raise errors.FlanError(f"{error}; tried {silent} times") from None
            say(f"launch: {error}")
            continue
        if workers is None:
            raise _DeletedError(f"{job.name} was deleted by somebody; it is not requested again")
        silent = 0
        states = {worker.state for worker in workers}
        if states == {"done"}:
            return
        if "not started" in states:
            raise TakenError("a worker's machine was restarted")
        # A machine that is taken away is stopped too, and known to be gone only a little later.
        is_stopped = all(state.startswith("stopped") for state in states)
        has_failed = any(worker.exit_code is not None for worker in workers)
        ended = ended + 1 if is_stopped or has_failed else 0
        if ended > 1:
            tpu_steps.check_alive(workers)
            raise errors.PreemptedError(
                f"stopped by hand, and saved; the TPUs of {job.name} stay until --do delete"
            )
        shown = ", ".join(sorted(states))
        if shown != told:
            say(f"launch: {len(workers)} worker(s): {shown}")
            told = shown


def _look(job: Job, place: Place) -> list[Worker] | None:
    """Returns what the workers say; None if there is no such request. Raises as `_watch`."""
    found = request_of(job, place)
    if found.state in (gcloud.ABSENT, gcloud.DELETING):
        return None
    if found.state in gcloud.GONE:
        raise TakenError(str(found))
    if found.state != gcloud.ACTIVE:
        raise RequestError(str(found))
    try:
        return ask(job, place)
    except errors.FlanError as error:
        if gcloud.is_preempted(error):
            raise TakenError("the TPUs were taken away") from None
        raise
