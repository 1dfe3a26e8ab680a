# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Processes that meet, here in threads; each has its own connection."""

import contextlib
import os
import socket
import threading

import pytest

from flan_jax.core import errors
from flan_jax.parallel import preflight
from flan_jax.parallel.environments import Placement
from flan_jax.parallel.messages import MAX_LINE_BYTES
from flan_jax.parallel.reports import Report
from tests import host_processes


def placement(port, index, num=3, host="localhost"):
    return Placement(
        kind="test", coordinator_host=host, coordinator_port=port, num_processes=num,
        process_id=index, host_names={1: "vm-1"},
    )  # fmt: skip


def said(index, **same):
    return Report(
        process_id=index, host=f"h{index}", pid=os.getpid(), same=same, free_bytes={}, clock=0.0
    )


def met(reports, port, num=3, timeout_s=30.0):
    """Returns what each process that comes with one of these reports gets: a meeting or error."""
    found = [None] * len(reports)

    def come(at, mine):
        try:
            found[at] = preflight.meet(placement(port, mine.process_id, num), mine, timeout_s)
        except errors.FlanError as error:
            found[at] = error

    threads = [threading.Thread(target=come, args=item) for item in enumerate(reports)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return found


def close(meetings):
    for meeting in meetings:
        for channel in meeting.channels.values():
            channel.close()


@pytest.fixture
def port():
    return host_processes.free_port()


def test_all_come_in_any_order_and_stay_connected(port):
    meetings = met([said(2), said(0), said(1)], port)
    assert [sorted(m.channels) for m in meetings] == [[0], [1, 2], [0]]
    assert {m.verdict.host_names for m in meetings} == {("h0", "h1", "h2")}
    meetings[0].channels[0].send({"from": 2})
    channel, messages = meetings[1].channels[2], []
    while not messages:
        messages = channel.receive()
    assert messages == [{"from": 2}]
    # jax's coordinator takes the port while they stay.
    with socket.create_server(("", port)):
        close(meetings)


def test_the_missing_are_named_to_all_who_came(port):
    found = met([said(0), said(2)], port, timeout_s=0.7)
    told = "process 1 (vm-1) of 3 did not come within 1 s; start the same command on every host"
    assert [str(error)[: len(told)] for error in found] == [told] * 2
    # The port is free again at once.
    close(met([said(0), said(1), said(2)], port))


def test_differences_are_named_to_all(port):
    found = met([said(0, jax="1"), said(1, jax="2"), said(2, jax="1")], port)
    assert {str(error) for error in found} == {
        "the processes of this job do not belong together: "
        "jax is 1 on processes 0 (h0), 2 (h2) but 2 on process 1 (h1); "
        "start each of them once, with the same command and the same versions"
    }
    assert {error.exit_code for error in found} == {errors.EXIT_USAGE}


def test_one_number_for_two_is_soon_named(port):
    found = met([said(0), said(1), said(1)], port)
    assert len({str(error) for error in found}) == 1
    assert "two say they are process 1 (h1, pid " in str(found[0])


def test_nobody_can_be_reached(port):
    (error,) = met([said(1)], port, timeout_s=0.7)
    assert str(error).startswith(
        f"process 1 of 3 cannot reach process 0 at localhost:{port} within 1 s: connection refused;"
    )
    assert "firewall" in str(error) and "FLAN_JAX_COORDINATOR_PORT" in str(error)
    with pytest.raises(errors.FlanError, match="within 1 s: unknown host"):
        preflight.meet(placement(port, 1, host="no-such-host.invalid"), said(1), 0.6)


def test_the_port_is_in_use_and_its_holder_named(port, monkeypatch):
    monkeypatch.setattr(preflight, "_PORT_S", 0.3)
    with socket.create_server(("", port)):
        (error,) = met([said(0)], port)
    assert str(error).startswith(
        f"process 0 cannot listen at port {port}: Address already in use, held by process "
        f"{os.getpid()} ("
    )


def test_strangers_do_not_disturb(port):
    garbage = [
        b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\n", b"half a line", b"[1]\n", b"{}\n",
        b'{"report": {"process_id": 1}}\n', b"[" * 100_000 + b"\n", b"x" * (MAX_LINE_BYTES + 9),
    ]  # fmt: skip
    first = threading.Thread(target=lambda: close(met([said(0)], port)))
    first.start()
    with contextlib.ExitStack() as stack:
        strangers = []
        while not strangers:
            with contextlib.suppress(ConnectionRefusedError):
                strangers.append(socket.create_connection(("localhost", port)))
        strangers += [socket.create_connection(("localhost", port)) for _ in garbage[1:]]
        for stranger, text in zip(strangers, garbage, strict=True):
            stack.enter_context(stranger)
            with contextlib.suppress(ConnectionError):
                stranger.sendall(text)
        strangers[0].close()
        meetings = met([said(1), said(2)], port)
        first.join(timeout=30)
    assert [sorted(m.channels) for m in meetings] == [[0], [0]]
    close(meetings)


def test_who_left_is_missing_and_who_comes_again_is_there(port):
    first = threading.Thread(target=lambda: close(met([said(0)], port)))
    first.start()
    gone = []
    while not gone:
        with contextlib.suppress(ConnectionRefusedError):
            gone.append(preflight._connect(placement(port, 1)))
    channel = preflight.Channel(gone[0])
    channel.send({"report": {**vars(said(1))}})
    channel.close()
    close(met([said(1), said(2)], port))
    first.join(timeout=30)


def test_another_service_at_the_port_is_not_taken_for_process_0(port):
    with socket.create_server(("localhost", port)) as server:

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(1 << 16)
                        connection.sendall(b"\x00\x00HTTP/2 says hello\n")

        threading.Thread(target=answer, daemon=True).start()
        (error,) = met([said(1)], port, timeout_s=0.7)
        server.shutdown(socket.SHUT_RDWR)
    assert "what answers there is no process 0 of such a job (not understood" in str(error)
