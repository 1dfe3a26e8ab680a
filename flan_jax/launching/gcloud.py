# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Google's command line for Cloud TPU: its commands, what they answer, what their failures mean."""

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Sequence

from flan_jax.core import errors

ALL_WORKERS = "--worker=all"
# States of a queued resource (docs.cloud.google.com/tpu/docs/queued-resources), in words.
ACTIVE, ABSENT = "ACTIVE", "ABSENT"
WAITING = {
    "CREATING": "the request is being looked at",
    "ACCEPTED": "the request is in the queue",
    "WAITING_FOR_RESOURCES": "the request is in the queue: no such TPUs are free yet",
    "PROVISIONING": "TPUs were found and are being started",
}
GONE = {
    "SUSPENDING": "the TPUs are being taken away",
    "SUSPENDED": "the TPUs were taken away (preempted, or deleted by hand)",
}
FAILED = "FAILED"
DELETING = "DELETING"

# What gcloud says -> what to do.
_REMEDIES = (
    (
        r"quota",
        "ask for more at console.cloud.google.com/iam-admin/quotas, or give another --zone or a "
        "smaller --slice",
    ),
    (
        r"no more capacity|stockout|not enough resources",
        "wait in the queue with a longer --max_wait_h, or give another --zone or --spot",
    ),
    (
        r"accelerator.{0,60}(invalid|not (found|available|supported|valid))|"
        r"(invalid|unknown).{0,20}accelerator",
        "see which zones have it: gcloud compute tpus accelerator-types list --zone=ZONE",
    ),
    (
        r"SERVICE_DISABLED|has not been used in project|API \[?tpu",
        "run: gcloud services enable tpu.googleapis.com",
    ),
    (
        r"active account|auth tokens|credential|reauthentication",
        "run: gcloud auth login",
    ),
    (r"ssh-add|SSH agent", "run: ssh-add ~/.ssh/google_compute_engine"),
    (
        r"PERMISSION_DENIED|does not have permission|\b403\b",
        "the roles that are needed stand in launch/README.md",
    ),
    (
        r"matched no objects|One or more URLs|bucket.*not.*(found|exist)|\b404\b.*bucket",
        "nothing is at that path: see launch/README.md on what must be there first",
    ),
    (r"property \[?(core/)?project|--project", "give --project"),
)
# The same failure in spite of a working connection: of what was asked for, there is none.
_NOT_FOUND = re.compile(r"NOT_FOUND|was not found|not be found", re.IGNORECASE)
# A spot TPU that was taken away is known first by its own state.
_PREEMPTED = re.compile(r"terminal state|state .?(PREEMPTED|TERMINATED)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where TPUs are."""

    zone: str
    project: str | None = None  # None: gcloud's own setting

    def flags(self) -> tuple[str, ...]:
        """Returns the flags of each command."""
        return (f"--zone={self.zone}", *([f"--project={self.project}"] if self.project else []))


def describe(name: str, place: Place) -> tuple[str, ...]:
    """Returns the command that prints a queued resource as JSON."""
    return (
        "gcloud", "compute", "tpus", "queued-resources", "describe", name, *place.flags(),
        "--format=json",
    )  # fmt: skip


def delete(name: str, place: Place) -> tuple[str, ...]:
    """Returns the command that deletes a queued resource and its TPUs, and waits for that."""
    return (
        "gcloud", "compute", "tpus", "queued-resources", "delete", name, *place.flags(), "--force",
        "--quiet",
    )  # fmt: skip


def ssh(node: str, place: Place, command: str) -> tuple[str, ...]:
    """Returns the command that runs a shell's command on all workers of a node at once."""
    return (
        "gcloud", "compute", "tpus", "tpu-vm", "ssh", node, *place.flags(), ALL_WORKERS, "--quiet",
        f"--command={command}",
    )  # fmt: skip


def copy(files: Sequence[str], node: str, place: Place) -> tuple[str, ...]:
    """Returns the command that copies files into the home folder of all workers of a node."""
    return (
        "gcloud", "compute", "tpus", "tpu-vm", "scp", *files, f"{node}:", *place.flags(),
        ALL_WORKERS, "--quiet",
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Request:
    """What is known of a queued resource."""

    state: str  # as the API calls it, or ABSENT
    detail: str = ""  # of a failure
    slice_name: str = ""  # of its TPUs

    def __str__(self) -> str:
        words = WAITING | GONE | {FAILED: "the request failed", ACTIVE: "the TPUs are there"}
        told = words.get(self.state, self.state)
        return f"{told} ({self.state}{f': {self.detail}' if self.detail else ''})"


def read_request(text: str) -> Request:
    """Returns what `describe` printed."""
    try:
        found = json.loads(text)
        state = found["state"]
        error = state.get("failedData", {}).get("error", {})
        nodes = [spec.get("node", {}) for spec in found.get("tpu", {}).get("nodeSpec", [])]
        names = [node["acceleratorType"] for node in nodes if "acceleratorType" in node]
        return Request(state["state"], error.get("message", ""), names[0] if names else "")
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise errors.FlanError(
            f"gcloud describes the queued resource in words not understood here: {text[:200]!r}"
        ) from None


def lacks(text: str) -> str | None:
    """Returns what `describe` says a request waits for, None if it is active.

    Raises:
        TakenError: its TPUs were taken away.
        RequestError: it failed.
    """
    found = read_request(text)
    if found.state == ACTIVE:
        return None
    if found.state in WAITING:
        return str(found)
    raise (TakenError if found.state in GONE else RequestError)(str(found))


class TakenError(errors.FlanError):
    """TPUs were taken away: what ran there saved if it could, and goes on elsewhere."""


class RequestError(errors.FlanError):
    """A request for TPUs failed."""


def is_absent(error: errors.FlanError) -> bool:
    """Returns whether gcloud failed as there is no such thing."""
    return _NOT_FOUND.search(str(error)) is not None


def is_preempted(error: errors.FlanError) -> bool:
    """Returns whether gcloud failed as the TPUs were taken away."""
    return _PREEMPTED.search(str(error)) is not None


def remedy(message: str) -> str:
    """Returns what to do about a failure of gcloud; "" if that is not known."""
    for pattern, found in _REMEDIES:
        if re.search(pattern, message, re.IGNORECASE):
            return found
    return ""


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Adds to the failures of gcloud what to do about them."""
    try:
        yield
    except errors.FlanError as error:
        told = (
            remedy(str(error))
            if type(error) in (errors.FlanError, RequestError, TakenError)
            else ""
        )
        if not told or told in str(error):
            raise
        raise type(error)(f"{error}; {told}") from None


@dataclasses.dataclass(frozen=True)
class Worker:
    """What a worker said of its part of the job."""

    node: str
    index: int
    state: str  # running, done, stopping, not started; "stopped, ..."; "failed, exit code N"

    def __str__(self) -> str:
        return f"{self.node}, worker {self.index}: {self.state}"

    @property
    def exit_code(self) -> int | None:
        """The exit code of one that failed."""
        found = re.fullmatch(r"failed, exit code (\d+)", self.state)
        return int(found[1]) if found else None


_WORKER = re.compile(r"flan-jax worker (\d+) of (\d+): (.*)")


def read_workers(node: str, text: str) -> list[Worker]:
    """Returns what the workers of a node said (launch/tpu_vm/flan_jax_worker.sh status).

    Raises:
        FlanError: one of them said nothing.
    """
    found, num = {}, 1
    for line in text.splitlines():
        if said := _WORKER.match(line.strip()):
            num = int(said[2])
            found[int(said[1])] = Worker(node, int(said[1]), said[3])
    if missing := sorted(set(range(num)) - set(found)):
        raise errors.FlanError(
            f"{node}: no word from worker(s) {', '.join(map(str, missing))} of {num}"
        )
    return [found[index] for index in sorted(found)]
