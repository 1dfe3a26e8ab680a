# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`flan-jax serve` as a process: it says where it is, answers, and ends in order when told to."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from flan_jax import main
from tests import tiny_checkpoints

ROOT = Path(__file__).resolve().parent.parent.parent
# A process that compiles.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.large)]
)
def test_it_answers_and_ends_when_told_to(tmp_path, number):
    folder = tiny_checkpoints.ours(tmp_path / "model")
    words = [sys.executable, "-m", "flan_jax", "serve", "--checkpoint", folder]
    words += ["--port", "0", "--max_tokens", "64", "--max_input_length", "32", "--grace_s", "1"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    with contextlib.ExitStack() as kept:
        process = kept.enter_context(
            subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment)
        )
        try:
            said = iter(process.stderr)
            found = next(filter(None, (re.search(r"(\S+) is at http://(\S+);", x) for x in said)))
            name, address = found.groups()
            connection = http.client.HTTPConnection(address, timeout=120)
            body = {"model": name, "prompt": "x", "max_tokens": 64, "stream": True, "seed": 1}
            kind = {"Content-Type": "application/json"}
            kept.enter_context(contextlib.closing(connection))
            connection.request("POST", "/v1/completions", json.dumps(body), kind)
            reply = connection.getresponse()
            assert reply.status == 200
            process.send_signal(number)
            last = reply.read().decode().strip().split("\n\n")[-1]
            assert last == "data: [DONE]" or "being stopped" in last
            assert process.wait(60) == 0
            assert "serve: stopped" in process.stderr.read()
        finally:
            process.kill()


def test_a_port_that_is_taken_is_said(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code = main.main(["serve", "--checkpoint", "nowhere", "--port", port])
    assert code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"--port {port}" in line and "in use" in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--checkpoint", "nowhere", "--host", "192.0.2.1"], "an address of this machine"),
        (["--checkpoint", "nowhere", "--host", "no host"], "cannot listen on --host 'no host'"),
        (["--checkpoint", "nowhere", "--port", "65536"], "from 0 to 65535, got 65536"),
        (["--checkpoint", "nowhere", "--port", "0"], "no checkpoint at 'nowhere'"),
        (["--port", "0"], "no model; give --checkpoint PATH"),
    ],
)
def test_other_mistakes_are_said(words, message, capsys):
    assert main.main(["serve", *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
