# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""JSON lines over a socket: whole, in order, bounded."""

import socket

import pytest

from flan_jax.parallel import messages
from flan_jax.parallel.messages import MAX_LINE_BYTES, Channel


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours), theirs


def test_messages_come_whole_however_they_are_cut(ends):
    channel, other = ends
    text = b'{"a": 1}\n{"b": "\xc3\xa9"}\n{"c'
    found = []
    for at in range(len(text)):
        other.send(text[at : at + 1])
        found += channel.receive()
    assert found == [{"a": 1}, {"b": "\u00e9"}] and channel.ended is None
    other.send(b'": 3}\n')
    other.close()
    assert channel.receive() == [{"c": 3}] and channel.ended == "closed"


@pytest.mark.parametrize(
    "text", [b"garbage\n", b"[1]\n", b"\xff\n", b"[" * 99_999 + b"\n", b"9" * 9999 + b"\n"]
)
def test_what_is_no_message_ends_the_connection(ends, text):
    channel, other = ends
    other.sendall(b'{"good": 1}\n' + text + b'{"late": 1}\n')
    assert channel.receive() == [{"good": 1}]
    assert channel.ended.startswith("not understood: ") and channel.receive() == []


def test_a_line_has_a_bounded_length(ends):
    channel, other = ends
    for _ in range(MAX_LINE_BYTES // (1 << 16) + 2):
        other.sendall(b"x" * (1 << 16))
        channel.receive()
    assert channel.ended == f"not understood: a line of more than {MAX_LINE_BYTES} bytes"


def test_what_the_other_end_does_not_take_yet_is_kept(ends):
    channel, other = ends
    big = {"text": "x" * 800_000}
    channel.send(big)
    channel.send({"last": 1})
    assert not channel.flush()
    theirs, found = Channel(other), []
    while len(found) < 2:
        found += theirs.receive()
        channel.flush()
    assert found == [big, {"last": 1}] and channel.flush()


def test_who_parts_is_heard_to_the_end(ends):
    channel, other = ends
    other.send(b'{"unread": 1}\n')
    channel.send({"lost": "x"})
    other.shutdown(socket.SHUT_WR)
    messages.part([channel], timeout_s=20)
    assert channel.ended == "closed"
    assert other.recv(100) == b'{"lost": "x"}\n' and other.recv(100) == b""
