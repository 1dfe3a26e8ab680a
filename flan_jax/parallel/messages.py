# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""JSON objects, one a line, over a socket that never blocks.

Nothing that comes in is trusted: a line has a bounded length, and whatever is no JSON object ends
the connection.
"""

import json
import selectors
import socket
import time
from collections.abc import Iterable
from typing import Any

MAX_LINE_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16


class Channel:
    """One connection; `ended` says why nothing comes any more, None while it is open."""

    def __init__(self, connection: socket.socket):
        self._socket = connection
        self._socket.setblocking(False)
        self._incoming, self._outgoing = b"", b""
        self.ended: str | None = None

    def fileno(self) -> int:
        """Returns the socket's descriptor, for selectors."""
        return self._socket.fileno()

    def receive(self) -> list[dict[str, Any]]:
        """Returns the messages that have come in; sets `ended` at the end of the connection."""
        found: list[dict[str, Any]] = []
        try:
            while self.ended is None:
                block = self._socket.recv(_CHUNK_BYTES)
                *lines, self._incoming = (self._incoming + block).split(b"\n")
                for line in lines:
                    found.append(_decoded(line))
                if not block:
                    self.ended = "closed"
                elif len(self._incoming) > MAX_LINE_BYTES:
                    raise ValueError(f"a line of more than {MAX_LINE_BYTES} bytes")
        except BlockingIOError:
            pass
        except ValueError as error:
            self.ended = f"not understood: {error}"
        except OSError as error:
            self.ended = error.strerror or str(error)
        return found

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message as far as the other end takes it; `flush` sends the rest."""
        self._outgoing += json.dumps(message).encode() + b"\n"
        self.flush()

    def flush(self) -> bool:
        """Returns whether all is sent."""
        try:
            while self._outgoing and self.ended is None:
                self._outgoing = self._outgoing[self._socket.send(self._outgoing) :]
        except BlockingIOError:
            pass
        except OSError:
            self._outgoing = b""  # what came in before is still to be received, and says why
        return not self._outgoing

    def end_sending(self) -> None:
        """Tells the other end that nothing more will come, and goes on receiving."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.ended = self.ended or error.strerror

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()
        self.ended = self.ended or "closed"


def part(channels: Iterable[Channel], timeout_s: float) -> None:
    """Lets the others read what was sent, and leave first: none of it is lost, no port is blocked.

    A connection closed with something unread would take back what it sent.
    """
    left, deadline = set(channels), time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        for channel in left:
            channel.flush()
            channel.end_sending()
            selector.register(channel, selectors.EVENT_READ)
        while left and (rest_s := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(rest_s):
                key.fileobj.receive()
                if key.fileobj.ended is not None:
                    selector.unregister(key.fileobj)
                    left.discard(key.fileobj)


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found
