# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What stands before the first step: imports, `--help`, and the time to the first training step.

Everything is measured from outside, in a fresh process each time: wall time from its start to its
end, CPU time of all its threads. Peers of the first table are what other programs of the kind load
before they say anything: SeqIO (every main of T5X), and transformers with torch.

The second table trains one step of the recipe `mini` from a built store, with JAX's persistent
compilation cache off (as `flan-jax` leaves it), empty and filled. The peer is a minimal script with
transformers and torch, at the same shapes.
"""

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import measuring
from measuring import Spread, Table
from train_step import CASES

from flan_jax.core import errors

ROOT = Path(__file__).resolve().parent.parent
STATUS = Path("/proc/self/status")  # of Linux; elsewhere peaks are left out

# Asked of the process itself: what its parent is told includes the parent's own size.
REPORT = f"""
import atexit, sys
def _report():
    with open({str(STATUS)!r}) as status:
        sys.stderr.write("\\n" + next(line for line in status if line.startswith("VmHWM")))
atexit.register(_report)
"""
COMMAND = "from flan_jax.main import main; sys.exit(main({arguments!r}))"  # as `flan-jax` does

SEQIO, TORCH = "import seqio", "import transformers, torch"


@dataclasses.dataclass(frozen=True)
class Start:
    """A process to start.

    Args:
        code: Python it runs.
        peer: the name of the one it is compared with.
        builds_on_peer: whether it loads the peer, so that the difference is its own share.
    """

    code: str
    peer: str | None = None
    builds_on_peer: bool = False


STARTS = {
    "flan-jax --help": Start(f"import sys; {COMMAND.format(arguments=['--help'])}", SEQIO),
    "flan-jax train --help": Start(
        f"import sys; {COMMAND.format(arguments=['train', '--help'])}", SEQIO
    ),
    "import flan_jax": Start("import flan_jax", TORCH),
    "import tasks.mixtures": Start("import tasks.mixtures", SEQIO, builds_on_peer=True),
    SEQIO: Start(SEQIO),
    "import tensorflow": Start("import tensorflow"),
    # transformers loads its models when they are first asked for.
    TORCH: Start(f"{TORCH}; transformers.T5ForConditionalGeneration"),
    "python -c pass": Start("pass"),
}
QUICK = ("flan-jax --help", SEQIO, "python -c pass")

# Says when it is ready and when it has made its step, as lines on standard error.
PEER_STEP = """
import json, sys
import torch
import transformers
found = json.loads(sys.argv[1])
model = transformers.T5ForConditionalGeneration(transformers.T5Config(**found["config"])).train()
# transformers 5 shares one tensor even when told not to; T5 1.1 has an output matrix.
model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
inputs, targets = (
    torch.randint(2, found["config"]["vocab_size"], (found["batch_size"], found[length]))
    for length in ("input_length", "target_length")
)
count = sum(parameter.numel() for parameter in model.parameters())
print(f"peer: {count:,} parameters", file=sys.stderr, flush=True)
loss = model(input_ids=inputs, labels=targets).loss
loss.backward()
optimizer.step()
print(f"peer: 1 step, loss {loss.item():.3f}", file=sys.stderr, flush=True)
"""
READY = re.compile(r"(?:train|peer): ([\d,]+) parameters")
# Ours says afterwards how long the step took, to a tenth of a second.
STEPPED, FIRST_STEP = re.compile(r"peer: 1 step"), re.compile(r"\(first step ([\d.]+) s\)")


def start(code: str) -> dict[str, Any]:
    """Runs Python code in a fresh process; returns wall and CPU seconds, and peak MB."""
    command = [sys.executable, "-c", (REPORT if STATUS.exists() else "") + code]
    begin = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise errors.FlanError(f"{code!r} ended with {process.returncode}: {said.strip()[-500:]}")
    peaks = re.findall(r"^VmHWM:\s+(\d+) kB", said, re.MULTILINE)
    return {
        "wall_s": wall_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": int(peaks[-1]) * 1024 / 1e6 if peaks else None,
    }


def measure_starts(names: tuple[str, ...], num_rounds: int) -> Table:
    """Returns what imports and `--help` cost."""
    table = Table(
        "Import and help, each in a fresh process",
        {
            "what": "", "wall s": ".2f", "CPU s": ".2f", "peak MB": ".0f", "peer": "",
            "ratio": ".3f", "beyond peer CPU s": ".2f",
        },
        "ratio: wall time / the peer's, below 1 is faster. beyond peer: CPU time less that of the "
        "peer, which the row loads too.\n"
        f"median (min-max) over {num_rounds} alternating rounds. peak MB: resident memory, median.",
    )  # fmt: skip
    measuring.step(f"start: {', '.join(names)}")
    runs = {name: lambda code=STARTS[name].code: start(code) for name in names}
    rounds = measuring.alternate(runs, num_rounds)
    walls = {name: [r["wall_s"] for r in found] for name, found in rounds.items()}
    cpu = {name: [r["cpu_s"] for r in found] for name, found in rounds.items()}
    for name in names:
        peaks = [r["peak_mb"] for r in rounds[name] if r["peak_mb"] is not None]
        compared, beyond = STARTS[name], None
        if compared.builds_on_peer:
            beyond = Spread.of(_less(cpu[name], cpu[compared.peer]))
        table.add(
            name,
            Spread.of(walls[name]),
            Spread.of(cpu[name]),
            Spread.of(peaks).median if peaks else None,
            compared.peer or "",
            Spread.ratio(walls[name], walls[compared.peer]) if compared.peer else None,
            beyond,
        )
    return table


def watch(command: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Runs a program that makes one step; returns the seconds to each stage, and its parameters."""
    found: dict[str, Any] = {}
    lines = []
    begin = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    ) as process:  # fmt: skip
        for line in process.stderr:
            now = time.perf_counter() - begin
            lines.append(line)
            if match := READY.match(line):
                found["ready_s"] = now
                found["num_params"] = int(match[1].replace(",", ""))
            elif STEPPED.match(line):
                found["step_s"] = now - found["ready_s"]
            elif match := FIRST_STEP.search(line):
                found["step_s"] = float(match[1])
    found["wall_s"] = time.perf_counter() - begin
    if process.returncode or not {"ready_s", "step_s"} <= found.keys():
        raise errors.FlanError(
            f"{' '.join(command)[:300]!r} ended with {process.returncode} and made no step that "
            f"was seen: {''.join(lines).strip()[-500:]}"
        )
    return found


class FirstSteps:
    """Processes that make one training step, with what they need in a folder.

    Args:
        folder: for the store, runs and caches; a caller removes it.
    """

    def __init__(self, folder: Path):
        self._folder, self._num_runs = folder, 0
        command = [*self._command("build"), "--out", str(folder / "store")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise errors.FlanError(f"the store was not built: {done.stderr.strip()[-500:]}")

    @staticmethod
    def _command(name: str) -> list[str]:
        return [sys.executable, "-m", "flan_jax", name, "--recipe", "mini"]

    def ours(self, cache: str | None) -> dict[str, Any]:
        """Trains the recipe for a step; with a compilation cache in the folder `cache`, or none."""
        self._num_runs += 1
        environment = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
        if cache is not None:
            environment = {
                "JAX_ENABLE_COMPILATION_CACHE": "true",
                "JAX_COMPILATION_CACHE_DIR": str(self._folder / cache),
                "JAX_PERSISTENT_COMPILATION_CACHE_MIN_COMPILE_TIME_SECS": "0",
            }
        bindings = {
            "STORE_DIR": self._folder / "store",
            "MODEL_DIR": self._folder / f"run{self._num_runs}",
            "TRAIN_STEPS": 1,
            "WARMUP_STEPS": 0,
            "EVAL_PERIOD": 0,
        }
        command = [*self._command("train"), *(f"--gin.{k}={v}" for k, v in bindings.items())]
        return watch(command, {"JAX_PLATFORMS": "cpu", **environment})

    def ours_cold(self) -> dict[str, Any]:
        """Trains with a compilation cache that is empty."""
        return self.ours(f"cold{self._num_runs}")

    def peer(self) -> dict[str, Any]:
        """Makes the peer's step, at the shapes of the recipe."""
        case = CASES["tiny"]
        shape = case.config()
        config = {
            "vocab_size": shape.vocab_size, "d_model": shape.emb_dim, "d_kv": shape.head_dim,
            "d_ff": shape.mlp_dim, "num_layers": shape.num_encoder_layers,
            "num_decoder_layers": shape.num_decoder_layers, "num_heads": shape.num_heads,
            "feed_forward_proj": "gated-gelu", "dropout_rate": shape.dropout_rate,
            "tie_word_embeddings": False, "decoder_start_token_id": 0,
        }  # fmt: skip
        fields = ("batch_size", "input_length", "target_length")
        found = {"config": config, **{name: getattr(case, name) for name in fields}}
        return watch([sys.executable, "-c", PEER_STEP, json.dumps(found)], {})


def measure_first_step(num_rounds: int) -> Table:
    """Returns the time from the command to the end of the first step, in stages."""
    table = Table(
        "Time to the first training step: flan-jax train --recipe mini, its store built, against "
        "the peer (a minimal script with transformers + torch)",
        {
            "side": "", "compilation cache": "", "to step 1 s": ".1f", "ratio": ".2f",
            "ready s": ".1f", "step 1 s": ".2f", "rest s": ".2f", "ratio of ready": ".2f",
        },
        "to step 1: from the start of the process to the end of its first step; ratio: that / the "
        "peer's, below 1 is faster.\nready: imports, configuration, input, parameters and "
        "optimizer; step 1 compiles (ours);\nrest: the checkpoint with the input's position and "
        "the end of the process. The peer reads no data (random tokens) and saves nothing.\n"
        f"median (min-max) over {num_rounds} alternating rounds.",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="flan_jax_startup_") as folder:
        measuring.step("first step: building the store, filling a compilation cache")
        first_steps = FirstSteps(Path(folder))
        first_steps.ours("warm")
        measuring.step("first step")
        runs = {
            "off": lambda: first_steps.ours(None),
            "empty": first_steps.ours_cold,
            "filled": lambda: first_steps.ours("warm"),
            "peer": first_steps.peer,
        }
        rounds = measuring.alternate(runs, num_rounds)
    counts = {name: found[0]["num_params"] for name, found in rounds.items()}
    if len(set(counts.values())) > 1:
        raise errors.FlanError(f"the sides differ in parameters: {counts}")
    ready, step, wall = (
        {name: [r[stage] for r in found] for name, found in rounds.items()}
        for stage in ("ready_s", "step_s", "wall_s")
    )
    total = {name: [r["ready_s"] + r["step_s"] for r in rounds[name]] for name in runs}
    for name in runs:
        is_peer = name == "peer"
        table.add(
            "peer" if is_peer else "ours",
            "" if is_peer else name,
            Spread.of(total[name]),
            None if is_peer else Spread.ratio(total[name], total["peer"]),
            Spread.of(ready[name]),
            Spread.of(step[name]),
            Spread.of(_less(wall[name], total[name])),
            None if is_peer else Spread.ratio(ready[name], ready["peer"]),
        )
    return table


def _less(values: list[float], others: list[float]) -> list[float]:
    """Returns `values` less `others`, round by round."""
    return [value - other for value, other in zip(values, others, strict=True)]


def measure(args: argparse.Namespace) -> list[Table]:
    """Returns both tables."""
    measuring.require("torch", "transformers")
    names = QUICK if args.quick else tuple(STARTS)
    return [measure_starts(names, args.rounds), measure_first_step(args.rounds)]


def main() -> int:
    """Runs the benchmark."""
    parser = measuring.make_parser(__doc__, num_rounds=3)
    return measuring.run(
        __file__,
        parser,
        measure,
        libraries=("jax", "flax", "seqio", "tensorflow", "torch", "transformers"),
    )


if __name__ == "__main__":
    sys.exit(main())
