# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Serves a model: a playground in the browser, and OpenAI's completions for programs.

Needs the extra `serve`. All clients share one batch. Only this machine reaches the server unless
--host says otherwise; there is no password. After SIGTERM or Ctrl-C open requests may still finish.

    flan-jax serve --checkpoint hf:flan-t5-small
    curl http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \
        -d '{"model": "flan-t5-small", "prompt": "Translate to German: Good morning."}'
"""

import argparse
import socket

from flan_jax.commands import arguments, prediction_arguments
from flan_jax.core import errors
from flan_jax.core.progress import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    prediction_arguments.add_predictor(parser)
    group = parser.add_argument_group("server")
    number = arguments.at_least(1)
    group.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    group.add_argument(
        "--port", type=arguments.at_least(0), default=8000,
        help="port to listen on; 0: any that is free (%(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--max_tokens", type=number, default=256, metavar="N",
        help="tokens of an answer at most (%(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--max_concurrent", type=number, default=16, metavar="N",
        help="answers that are decoded together (%(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--max_pending", type=number, default=256, metavar="N",
        help="answers in work or waiting at most; requests beyond are told to come again "
        "(%(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--timeout_s", type=number, default=300, metavar="S",
        help="seconds that a request may take (%(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--grace_s", type=arguments.at_least(0), default=10, metavar="S",
        help="seconds that open requests may go on once the server is to stop (%(default)s)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Serves until it is told to stop."""
    try:
        from flan_jax.serving import server
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn", "anyio"):
            raise
        raise errors.UsageError(
            f"flan-jax serve needs {error.name}, which is not installed; pip install "
            "'flan_jax[serve]'"
        ) from None
    prediction_arguments.configure(args)
    with server.listen(args.host, args.port) as listener:
        _serve(args, listener)


def _serve(args: argparse.Namespace, listener: socket.socket) -> None:
    from flan_jax.parallel import hosts
    from flan_jax.serving import server
    from flan_jax.serving.model import ServedModel
    from flan_jax.serving.requests import Limits
    from flan_jax.serving.worker import Worker

    predictor = prediction_arguments.load(args, batch_size=args.max_concurrent)
    if hosts.is_shared():
        raise errors.UsageError("flan-jax serve runs in one process; start it on one host alone")
    limits = Limits(
        max_tokens=args.max_tokens,
        max_answers=min(args.max_pending, Limits.max_answers),
        max_pending=args.max_pending,
        timeout_s=args.timeout_s,
    )
    say("serve: compiling ...")
    with predictor.on_mesh():
        model = ServedModel(predictor, limits.max_tokens)
        model.warm_up()
    worker = Worker(model.new_session, max_pending=limits.max_pending, context=model.on_mesh)
    worker.start()
    if not server.is_loopback(listener):
        say("serve: whoever reaches this address may use the model; there is no password")
    say(f"serve: {model.name} is at {server.url(listener)}; Ctrl-C stops")
    server.run(model, worker, limits, listener, args.grace_s)
    say("serve: stopped")
