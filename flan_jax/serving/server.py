# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs the application on a socket until SIGTERM or Ctrl-C, and ends it in order.

Asked to stop, the server takes no more connections; what is open may finish for a while, then ends
with an error that says so; at once, if the server is asked again.
"""

import asyncio
import ipaddress
import socket
from types import FrameType

import uvicorn

from flan_jax.core import errors
from flan_jax.serving.app import LOOPBACK_NAMES, make_app
from flan_jax.serving.model import ServedModel
from flan_jax.serving.requests import Limits
from flan_jax.serving.worker import Worker

# For replies to be sent after their requests were ended.
_LAST_WORDS_S = 5


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens there; port 0 takes any that is free.

    Raises:
        UsageError: there is no such address here, or its port is taken.
    """
    if port > 65535:
        raise errors.UsageError(f"--port must be from 0 to 65535, got {port}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=512)
    except (OSError, UnicodeError) as error:  # the latter: a name of too many letters
        reason = getattr(error, "strerror", None) or error
        raise errors.UsageError(
            f"cannot listen on --host {host!r} --port {port}: {reason}; choose "
            "another port (0: any that is free), or an address of this machine"
        ) from None


def is_loopback(listener: socket.socket) -> bool:
    """Returns whether only this machine reaches the socket."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def url(listener: socket.socket) -> str:
    """Returns the address of a socket for a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def host_names(listener: socket.socket) -> tuple[str, ...] | None:
    """Returns the names by which a server there may be addressed; None: any."""
    address = listener.getsockname()[0]
    return (*LOOPBACK_NAMES, address) if is_loopback(listener) else None


def run(
    model: ServedModel, worker: Worker, limits: Limits, listener: socket.socket, grace_s: float
) -> None:
    """Serves until the process is asked to stop.

    Args:
        model: the model.
        worker: the thread that works with it, running; it is stopped at the end.
        limits: what requests may ask for.
        listener: from `listen`.
        grace_s: how long what is open may go on after that.
    """
    app = make_app(model, worker, limits, host_names(listener))
    try:
        Server(app, worker, grace_s).run([listener])
    finally:
        worker.stop()


class Server(uvicorn.Server):
    """Uvicorn's server that gives open requests a while to finish, then ends them."""

    def __init__(self, app, worker: Worker, grace_s: float):
        super().__init__(
            uvicorn.Config(
                app,
                # Those that are tested, whatever else is installed.
                http="h11",
                loop="asyncio",
                lifespan="off",
                ws="none",
                log_level="warning",
                access_log=False,
                server_header=False,
                # The backstop; requests are ended before.
                timeout_graceful_shutdown=round(grace_s) + _LAST_WORDS_S,
            )
        )
        self._worker, self._grace_s = worker, grace_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Notes a signal; unlike Uvicorn's, it is not raised again when all has ended well."""
        del sig, frame
        if self.should_exit:
            self._worker.end_all()
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends what is open."""
        self._worker.drain()
        asyncio.get_running_loop().call_later(self._grace_s, self._worker.end_all)
        await super().shutdown(sockets)
