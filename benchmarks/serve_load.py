# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`flan-jax serve` under many clients at once: requests, tokens/s, latencies, errors.

A tiny T5 with drawn weights and bytes as its vocabulary, served by a process of its own; the
clients are threads of this one, on the same cores. Each asks again as soon as it has its answer:
prompts of 1 to 200 bytes, answers of up to 4 to 64 tokens, greedy or sampled, once or four times;
half of them as streams, of which some are left after their first event. What goes wrong is counted,
and so is a "come again" (429). At the end nothing may be pending, and the server must end well.

    python benchmarks/serve_load.py --clients 64 --seconds 60

On no page of results: there is no peer to compare with.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import dataclasses
import http.client
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import measuring
from measuring import Spread, Table

from flan_jax.core import errors

WHOLE, STREAM, LEFT = "whole", "stream", "left early"
SHARES = {WHOLE: 0.5, STREAM: 0.4, LEFT: 0.1}
MAX_TOKENS, MAX_INPUT_LENGTH = 64, 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Done:
    """What came of one request."""

    kind: str
    duration_s: float
    first_s: float | None = None  # until the first event of a stream
    num_tokens: int = 0
    error: str = ""


def write_checkpoint(folder: Path) -> None:
    """Writes the model that is served."""
    import jax

    from flan_jax import formats
    from flan_jax.collection.vocabularies import ByteVocabulary
    from flan_jax.convert.leaves import Arrays
    from flan_jax.core.tree import flatten
    from flan_jax.models.presets import t5_config
    from flan_jax.models.t5 import T5
    from flan_jax.training import params_files

    config = t5_config("tiny", vocab_size=ByteVocabulary().padded_size)
    leaves = flatten(jax.device_get(T5(config).init(jax.random.key(0))))
    info = {"vocabulary": ByteVocabulary().facts(), "model": formats.describe_model(config)}
    params_files.write_params(folder / "checkpoint_0", Arrays(leaves), info)


@contextlib.contextmanager
def served(folder: Path, max_concurrent: int) -> Iterator[tuple[str, str]]:
    """Gives name and address of a served model; what it says goes on to our standard error."""
    words = [
        sys.executable, "-m", "flan_jax", "serve", "--checkpoint", str(folder), "--port", "0",
        "--max_tokens", str(MAX_TOKENS), "--max_input_length", str(MAX_INPUT_LENGTH),
        "--max_concurrent", str(max_concurrent),
    ]  # fmt: skip
    log = folder / "log"
    with open(log, "wb") as out, subprocess.Popen(words, stderr=out) as process:
        try:
            while True:
                found = re.search(r"(\S+) is at http://(\S+);", log.read_text())
                if found:
                    break
                if process.poll() is not None:
                    raise errors.FlanError(f"the server ended: {log.read_text()}")
                time.sleep(0.1)
            yield found.groups()
            process.send_signal(signal.SIGTERM)
            if process.wait(60):
                raise errors.FlanError(f"the server ended with {process.returncode}")
        finally:
            process.kill()
            sys.stderr.write(log.read_text())


class Client:
    """Asks until the time is over."""

    def __init__(self, name: str, address: str, number: int):
        self._name, self._address, self._rng = name, address, random.Random(number)

    def run(self, end: float) -> list[Done]:
        """Returns what came of its requests."""
        found = []
        while time.monotonic() < end:
            found.append(self._ask())
        return found

    def _ask(self) -> Done:
        rng, start = self._rng, time.monotonic()
        [kind] = rng.choices(list(SHARES), list(SHARES.values()))
        body = {
            "model": self._name,
            "prompt": "".join(rng.choices("abc de", k=rng.randint(1, 200))),
            "max_tokens": rng.randint(4, MAX_TOKENS),
            "temperature": rng.choice([0, 0.7]),
            "stream": kind != WHOLE,
        }
        if body["temperature"]:
            body["n"] = rng.choice([1, 1, 1, 4])
        if kind != WHOLE:
            body["stream_options"] = {"include_usage": True}
        connection = http.client.HTTPConnection(self._address, timeout=300)
        with contextlib.closing(connection):
            try:
                connection.request(
                    "POST", "/v1/completions", json.dumps(body),
                    {"Content-Type": "application/json"},
                )  # fmt: skip
                done = self._read(kind, connection.getresponse(), start)
            except (OSError, http.client.HTTPException, ValueError) as error:
                done = Done(kind=kind, duration_s=0, error=f"{type(error).__name__}: {error}")
        return dataclasses.replace(done, duration_s=time.monotonic() - start)

    @staticmethod
    def _read(kind: str, reply: http.client.HTTPResponse, start: float) -> Done:
        if reply.status != 200:
            return Done(kind=kind, duration_s=0, error=f"status {reply.status}: {reply.read()!r}")
        if kind == WHOLE:
            usage = json.loads(reply.read())["usage"]
            return Done(kind=kind, duration_s=0, num_tokens=usage["completion_tokens"])
        lines, first_s = [], None
        while line := reply.readline():
            if line.strip():
                lines.append(line.removeprefix(b"data: ").strip())
                first_s = first_s or time.monotonic() - start
                if kind == LEFT and b'"error"' not in line:
                    return Done(kind=kind, duration_s=0, first_s=first_s)
        if lines[-1] != b"[DONE]":
            return Done(kind=kind, duration_s=0, error=f"a stream ended with {lines[-1]!r}")
        tokens = json.loads(lines[-2])["usage"]["completion_tokens"]
        return Done(kind=kind, duration_s=0, first_s=first_s, num_tokens=tokens)


def load(name: str, address: str, num_clients: int, duration_s: float, seed: int) -> list[Done]:
    """Returns what came of all clients' requests."""
    end = time.monotonic() + duration_s
    with concurrent.futures.ThreadPoolExecutor(num_clients) as pool:
        clients = [Client(name, address, seed * num_clients + i) for i in range(num_clients)]
        return [done for found in pool.map(lambda c: c.run(end), clients) for done in found]


def check_nothing_pending(address: str) -> None:
    """Raises an error if the server still works on what its clients no longer wait for."""
    for _ in range(100):
        connection = http.client.HTTPConnection(address, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/health")
            pending = json.loads(connection.getresponse().read())["pending"]
        if not pending:
            return
        time.sleep(0.1)
    raise errors.FlanError(f"{pending} answers are pending with no client there")


def quantile(values: list[float], share: float) -> float:
    """Returns the value below which a share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure(args: argparse.Namespace) -> list[Table]:
    """Returns the table."""
    if args.quick:
        args.clients, args.seconds, args.warm_up = 4, 3.0, 1.0
    table = Table(
        f"{args.clients} clients for {args.seconds:g} s, a tiny T5, "
        f"{args.max_concurrent} answers decoded together",
        {
            "requests": "", "number": ",.0f", "errors": ",d", "tokens/s": ",.0f",
            "p50 s": ".2f", "p95 s": ".2f", "longest s": ".2f", "first event p50 s": ".2f",
        },
        f"after {args.warm_up:g} s of the same load, in which programs are compiled; latencies are "
        "of whole replies",
    )  # fmt: skip
    rounds: list[list[Done]] = []
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder))
        with served(Path(folder), args.max_concurrent) as (name, address):
            measuring.step(f"warm-up of {args.warm_up:g} s")
            rounds.append(load(name, address, args.clients, args.warm_up, seed=0))
            for i in range(args.rounds):
                measuring.step(f"{args.clients} clients for {args.seconds:g} s")
                rounds.append(load(name, address, args.clients, args.seconds, seed=1 + i))
            check_nothing_pending(address)
    for text, number in collections.Counter(d.error for r in rounds for d in r if d.error).items():
        measuring.step(f"{number} x {text}")
    for kind in ("all", *SHARES):
        found = [[d for d in r if kind in ("all", d.kind)] for r in rounds[1:]]
        fine = [[d for d in r if not d.error] for r in found]
        if not all(fine):
            table.add(kind, Spread.of([len(r) for r in found]), sum(map(len, found)), *[None] * 5)
            continue
        firsts = [[d.first_s for d in r if d.first_s is not None] for r in fine]
        table.add(
            kind,
            Spread.of([len(r) for r in found]),
            sum(bool(d.error) for r in found for d in r),
            Spread.of([sum(d.num_tokens for d in r) / args.seconds for r in fine]),
            *(
                Spread.of([quantile([d.duration_s for d in r], share) for r in fine])
                for share in (0.5, 0.95, 1.0)
            ),
            Spread.of([quantile(r, 0.5) for r in firsts]) if all(firsts) else None,
        )
    return [table]


def main() -> int:
    """Runs the benchmark."""
    parser = measuring.make_parser(__doc__, num_rounds=1)
    parser.add_argument("--clients", type=measuring.positive, default=64, metavar="N")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S")
    parser.add_argument("--warm_up", type=float, default=30.0, metavar="S")
    parser.add_argument("--max_concurrent", type=measuring.positive, default=16, metavar="N")
    return measuring.run(__file__, parser, measure, libraries=("jax", "starlette", "uvicorn"))


if __name__ == "__main__":
    sys.exit(main())
