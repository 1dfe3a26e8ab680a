# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The processes of a job meet before jax does: who is missing, and what differs, gets a name.

Process 0 listens at the coordinator's port, the others connect and say what they are. When all are
there, or the time is up, each is told the same verdict. Then process 0 stops listening, and jax's
own coordinator takes the port; the connections stay open, for `parallel.lifeline`. Nothing here
starts a device.
"""

import dataclasses
import errno
import os
import selectors
import socket
import time
from collections.abc import Mapping

from flan_jax.core import errors
from flan_jax.parallel import in_use, messages
from flan_jax.parallel.environments import PORT_VARIABLE, VARIABLES, Placement
from flan_jax.parallel.messages import Channel
from flan_jax.parallel.reports import (
    Report,
    Verdict,
    judge,
    read_report,
    read_verdict,
    wrong_numbers,
)

_SETTLE_S = 1.0  # how long two may claim one number: one that just ended may seem to be there
_STRANGER_S = 10.0  # for the first message
_PORT_S = 15.0  # to get the port: the job before may be just ending
_RETRY_S = 0.2
_CONNECT_S = 5.0
_MARGIN_S = 10.0  # process 0 is the one to say that the time is up
_GOODBYE_S = 2.0


@dataclasses.dataclass(frozen=True)
class Meeting:
    """All have met: their verdict, and connections by process (process 0's, or all others')."""

    verdict: Verdict
    channels: Mapping[int, Channel]


def meet(placement: Placement, mine: Report, timeout_s: float) -> Meeting:
    """Meets the other processes.

    Raises:
        FlanError: some did not come within `timeout_s`, process 0 cannot be reached, or its port
            is in use.
        UsageError: they came, but differ.
    """
    if placement.process_id == 0:
        with _listener(placement.coordinator_port) as listener:
            meeting = _Host(listener, placement, mine, timeout_s).gather()
    else:
        meeting = _attend(placement, mine, timeout_s)
    meeting.verdict.check()
    return meeting


# Process 0


class _Host:
    """Gathers the others' reports, and tells all of them the verdict."""

    def __init__(
        self, listener: socket.socket, placement: Placement, mine: Report, timeout_s: float
    ):
        self._placement, self._timeout_s = placement, timeout_s
        self._mine = dataclasses.replace(mine, clock=0.0)
        self._start = time.monotonic()
        self._came: dict[Channel, float] = {}  # who has not said anything yet
        self._there: dict[Channel, Report] = {}
        self._wrong_since: float | None = None
        self._listener = listener
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)

    def gather(self) -> Meeting:
        with self._selector:
            while not self._is_over():
                for key, _ in self._selector.select(timeout=_RETRY_S):
                    if key.fileobj is self._listener:
                        self._accept()
                    else:
                        self._hear(key.fileobj)
                self._drop_silent()
        for channel in self._came:
            channel.close()
        waited_s = time.monotonic() - self._start
        verdict = judge(
            self._reports(), self._placement.num_processes, self._placement.host_names, waited_s
        )
        for channel in self._there:
            channel.send({"verdict": dataclasses.asdict(verdict)})
        if verdict.error:
            messages.part(self._there, _GOODBYE_S)
            for channel in self._there:
                channel.close()
        return Meeting(verdict, {found.process_id: c for c, found in self._there.items()})

    def _reports(self) -> dict[int, list[Report]]:
        found = {0: [self._mine]}
        for report in self._there.values():
            found.setdefault(report.process_id, []).append(report)
        return found

    def _is_over(self) -> bool:
        now, found = time.monotonic(), self._reports()
        if not any(wrong_numbers(found, self._placement.num_processes)):
            self._wrong_since = None
        elif self._wrong_since is None:
            self._wrong_since = now
        if self._wrong_since is not None:
            return now - self._wrong_since > _SETTLE_S
        return len(found) == self._placement.num_processes or now - self._start > self._timeout_s

    def _accept(self) -> None:
        try:
            channel = Channel(self._listener.accept()[0])
        except OSError:  # who came has left again
            return
        self._selector.register(channel, selectors.EVENT_READ)
        self._came[channel] = time.monotonic()

    def _hear(self, channel: Channel) -> None:
        for message in channel.receive():
            if channel in self._came and (found := read_report(message)) is not None:
                del self._came[channel]
                self._there[channel] = found
        if channel.ended is not None:
            self._drop(channel)

    def _drop_silent(self) -> None:
        now = time.monotonic()
        for channel in [c for c, since in self._came.items() if now - since > _STRANGER_S]:
            self._drop(channel)

    def _drop(self, channel: Channel) -> None:
        self._selector.unregister(channel)
        self._came.pop(channel, None)
        self._there.pop(channel, None)
        channel.close()


def _listener(port: int) -> socket.socket:
    """Returns a socket that listens at the port, on all addresses."""
    deadline = time.monotonic() + _PORT_S
    dual = {"family": socket.AF_INET6, "dualstack_ipv6": True}
    while True:
        try:
            return socket.create_server(
                ("", port), backlog=1024, **(dual if socket.has_dualstack_ipv6() else {})
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(_RETRY_S)
                continue
            holder = in_use.port_holder(port)
            raise errors.FlanError(
                f"process 0 cannot listen at port {port}: {os.strerror(error.errno)}"
                + (f", held by {holder}" if holder else "")
                + f"; end what holds it, or choose another port for all ({PORT_VARIABLE}, or the "
                f"one in {VARIABLES[0]})"
            ) from None


# The others


def _attend(placement: Placement, mine: Report, timeout_s: float) -> Meeting:
    deadline = time.monotonic() + timeout_s
    error = "nothing tried yet"
    while time.monotonic() < deadline:
        try:
            channel = Channel(_connect(placement))
        except OSError as found:
            error = _in_words(found)
            time.sleep(_RETRY_S)
            continue
        channel.send({"report": dataclasses.asdict(dataclasses.replace(mine, clock=time.time()))})
        verdict = _await_verdict(channel, timeout_s + _MARGIN_S)
        if verdict is not None:
            if verdict.error:
                channel.close()
            return Meeting(verdict, {0: channel})
        error = f"what answers there is no process 0 of such a job ({channel.ended or 'silent'})"
        channel.close()
        time.sleep(_RETRY_S)
    raise errors.FlanError(
        f"process {placement.process_id} of {placement.num_processes} cannot reach process 0 at "
        f"{placement.address} within {timeout_s:.0f} s: {error}; see that process 0 runs there and "
        "that the firewall lets its port through, or choose another port on all hosts "
        f"({PORT_VARIABLE})"
    )


def _connect(placement: Placement) -> socket.socket:
    address = (placement.coordinator_host.strip("[]"), placement.coordinator_port)
    return socket.create_connection(address, timeout=_CONNECT_S)


def _await_verdict(channel: Channel, timeout_s: float) -> Verdict | None:
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while channel.ended is None and (rest_s := deadline - time.monotonic()) > 0:
            selector.select(rest_s)
            if channel.flush():
                selector.modify(channel, selectors.EVENT_READ)
            for message in channel.receive():
                if (verdict := read_verdict(message)) is not None:
                    return verdict
    return None


def _in_words(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "unknown host"
    if isinstance(error, TimeoutError):
        return "timed out"
    return (error.strerror or str(error)).lower()
