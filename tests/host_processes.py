# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Starts the processes of one job on this machine, as its hosts would, and ends them all."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from flan_jax.parallel import environments

ROOT = Path(__file__).resolve().parent.parent


def environment(num: int, index: int, port: int) -> dict[str, str]:
    values = (f"localhost:{port}", str(num), str(index))
    joining = dict(zip(environments.VARIABLES, values, strict=True)) if num > 1 else {}
    return {**os.environ, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2", **joining}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def started(words: Sequence[str], num: int, log: Path) -> Iterator[list[subprocess.Popen]]:
    """Runs `python -m <words>` `num` times as one job; whoever is left at the end is killed.

    Standard error of process i is added to `log` with the suffix `.i`.
    """
    port, processes = free_port(), []
    try:
        for index in range(num):
            with open(f"{log}.{index}", "ab") as file:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", *words], cwd=ROOT, stderr=file,
                        env=environment(num, index, port),
                    )
                )  # fmt: skip
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def run(words: Sequence[str], num: int, log: Path, code: int = 0, timeout: int = 240) -> None:
    """Runs a job to its end and checks that each process ends with this exit code."""
    with started(words, num, log) as processes:
        codes = [process.wait(timeout=timeout) for process in processes]
    logs = "\n".join(Path(f"{log}.{index}").read_text()[-3000:] for index in range(num))
    assert codes == [code] * num, logs
