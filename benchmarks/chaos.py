# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trainings of several processes are hit by faults, and must end in the bits of one left alone.

A tiny T5 is trained on this machine by 2 and by 4 `jax.distributed` processes, started as anybody
would start them: `flan-jax launch --target local`. Then, again and again:

    sigterm       one process is asked to stop, as before a machine is taken away
    sigkill       one process but the first is killed
    coordinator   process 0 is killed
    sigstop       one process hangs: it is stopped and never goes on
    disk_full     nothing can be written to MODEL_DIR until the training has failed
    read_only     MODEL_DIR is read-only for a while

each while the training starts, steps, saves or evaluates, as a seed says. Nobody helps: the launch
must find out what happened, name it, and go on. At the end the last checkpoint and the loss of each
step must be, bit for bit, those of a run that was left alone.

    python benchmarks/chaos.py --json chaos.json --faults_log faults.jsonl

The disk is that of chaos_disk.c, compiled here: it needs no rights, and a C compiler (cc). The
processes share this machine's cores, so on few of them a start takes long. Linux only.
"""

import argparse
import collections
import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import measuring
from measuring import Spread, Table

from flan_jax import main as command_line
from flan_jax.core import errors, events, files
from flan_jax.launching import endings, supervise
from flan_jax.launching.supervise import newest_step, read_journal
from flan_jax.training.writers import read_metrics

KINDS = ("sigterm", "sigkill", "coordinator", "sigstop", "disk_full", "read_only")
SIGNALS = {
    "sigterm": signal.SIGTERM,
    "sigkill": signal.SIGKILL,
    "coordinator": signal.SIGKILL,
    "sigstop": signal.SIGSTOP,
}
DISKS = {"disk_full": "1", "read_only": "2"}
GOOD_DISK = "0"
MOMENTS = {
    "disk_full": ("save",),
    "read_only": ("step", "save"),
    **dict.fromkeys(SIGNALS, ("step", "save", "eval", "start")),
}
SAVE_PERIOD, EVAL_PERIOD = 10, 20
RECIPE = f"""
include 'recipes/mini.gin'
MIXTURE_OR_TASK_NAME = 'mini_4'
BUILD_MIXTURE = 'mini_4'
BUILD_SUBMIXTURES = ()
EVAL_GROUPS = {{'held_in': 'mini_4'}}
EVAL_EXAMPLES = 4
build.limit = 40
T5Config.num_encoder_layers = 1
T5Config.num_decoder_layers = 1
WARMUP_STEPS = 5
DROPOUT_RATE = 0.1
CHECKPOINT_PERIOD = {SAVE_PERIOD}
EVAL_PERIOD = {EVAL_PERIOD}
TrainConfig.log_period = 1
TrainConfig.eval_examples = 8
train.evaluation = @EvalConfig()
"""
# What suits a tiny model, all of whose processes are on one machine.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "FLAN_JAX_SILENCE_TIMEOUT_S": "10",
    "FLAN_JAX_JOIN_TIMEOUT_S": "30",
}
READ_ONLY_S = (5.0, 15.0)  # how long: at least, at most
START_S = (0.5, 10.0)  # after which time of an attempt a fault hits a start
PATIENCE_S = 600.0  # until the script itself gives up on something that must happen
POLL_S = 0.01


@dataclasses.dataclass
class Fault:
    """One fault: what was drawn, and what came of it."""

    kind: str
    moment: str
    num_processes: int
    process: int  # that the signal goes to; 0 for a disk, which is that of all
    delay: float  # of the moment, as a share
    phase: str = ""  # what the process was at, by its own events
    time_s: float = 0.0
    ended_s: float = 0.0  # from the fault until no process of that attempt was left
    attempts: int = 0  # that it ended
    verdict: str = ""
    cause: str = ""
    steps_lost: int = 0
    recovered_s: float | None = None  # from the fault until a step was made; None: hit again

    @property
    def is_named(self) -> bool:
        """Whether the launch said what it was."""
        if self.kind == "sigterm":
            return self.verdict == endings.PREEMPTED
        words = {
            "disk_full": "No space left on device",
            "read_only": "Read-only file system",
            "sigstop": f"process {self.process} ",
        }
        killed = f"process {self.process} was ended by SIGKILL"
        return words.get(self.kind, killed) in f"{self.cause} "


def schedule(num_faults: int, counts: Sequence[int], seed: int) -> dict[int, list[Fault]]:
    """Returns the faults of each number of processes, in their order."""
    draw = random.Random(seed)
    found: dict[int, list[Fault]] = {count: [] for count in counts}
    turns = collections.Counter()
    for number in range(num_faults):
        kind, count = KINDS[number % len(KINDS)], counts[number // len(KINDS) % len(counts)]
        moments = MOMENTS[kind]
        # Kinds begin at different moments, so that a few faults are as varied.
        moment = moments[(KINDS.index(kind) + turns[kind, count]) % len(moments)]
        turns[kind, count] += 1
        first = 1 if kind == "sigkill" else 0
        last = count - 1 if kind in ("sigterm", "sigkill", "sigstop") else 0
        fault = Fault(kind, moment, count, draw.randint(first, last), draw.random())
        found[count].append(fault)
    for faults in found.values():
        draw.shuffle(faults)
        _part_starts(faults)
    return found


def _part_starts(faults: list[Fault]) -> None:
    """Puts another fault between two that hit a start: attempts in a row are given up some time."""
    others = [fault for fault in faults if fault.moment != "start"]
    starts = [fault for fault in faults if fault.moment == "start"]
    every = max(1, len(others) // max(1, len(starts)))
    faults.clear()
    for number, fault in enumerate(others):
        faults.append(fault)
        if starts and number % every == every - 1:
            faults.append(starts.pop())
    faults += starts[:1]


class Job:
    """A training that was launched, and its disk.

    Args:
        scratch: where the recipe, the token store and the disk's library are.
        name: of its folder there.
        num_processes: of the job.
        num_steps: of the training.
    """

    def __init__(self, scratch: Path, name: str, num_processes: int, num_steps: int):
        self.folder, self.log = scratch / name, scratch / f"{name}.log"
        self.folder.mkdir()
        self._disk = scratch / f"{name}.disk"
        self.set_disk(GOOD_DISK)
        words = [
            sys.executable, "-m", "flan_jax", "launch", "--target", "local",
            "--num_processes", str(num_processes), "--compile_cache", str(scratch / "compiled"),
            "--gin_file", str(scratch / "run.gin"), f"--gin.STORE_DIR={scratch / 'store'}",
            f"--gin.MODEL_DIR={self.folder}", f"--gin.TRAIN_STEPS={num_steps}",
        ]  # fmt: skip
        disk = {
            "LD_PRELOAD": str(scratch / "disk.so"),
            "CHAOS_DISK_FOLDER": str(self.folder),
            "CHAOS_DISK_STATE": str(self._disk),
        }
        with open(self.log, "wb") as log:
            self._launch = subprocess.Popen(
                words, stdout=log, stderr=log, env={**os.environ, **ENVIRONMENT, **disk}
            )

    def set_disk(self, state: str) -> None:
        """Changes the disk at once, for all processes that use it: they map the file."""
        with open(self._disk, "r+" if self._disk.exists() else "w") as file:
            file.write(state)

    def is_over(self) -> bool:
        """Returns whether the launch has ended."""
        return self._launch.poll() is not None

    def code(self) -> int:
        """Returns the launch's exit code, once it has ended."""
        return self._launch.wait(PATIENCE_S)

    def processes(self) -> dict[int, int]:
        """Returns the training's processes that run: number in the job -> process id."""
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError, ValueError):
                    fields = (folder / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[1]) != self._launch.pid or fields[0] == "Z":
                        continue
                    variables = (folder / "environ").read_bytes().split(b"\0")
                    found |= {
                        int(v.partition(b"=")[2]): int(folder.name)
                        for v in variables
                        if v.startswith(b"JAX_PROCESS_ID=")
                    }
        return found

    def trained(self) -> list[tuple[int, float]]:
        """Returns steps that were made, and when their metrics were written."""
        records = read_metrics(self.folder)
        return [(r["step"], r["time_s"]) for r in records if r["kind"] == "train"]

    def step(self) -> int:
        """Returns the last step that was made."""
        return max((step for step, _ in self.trained()), default=0)

    def phase(self, process: int) -> str:
        """Returns what a process was at, by the events that it wrote."""
        found = []
        for event in events.read(self.folder).get(process, []):
            name = event["event"]
            kind = event.get("custom_badput_event_type") or name.rpartition("_")[0]
            if name == "job_start_time":
                found = []
            elif name.endswith("_start_time") and name != events.STEP:
                found.append(kind.removesuffix("_start"))
            elif name.endswith("_end_time") and kind.removesuffix("_end") in found:
                found.remove(kind.removesuffix("_end"))
        return found[-1] if found else "step"

    def is_at(self, fault: Fault, since: Mapping[str, Any]) -> bool:
        """Returns whether the moment of a fault is there; `since`: when it was waited for."""
        if fault.moment == "start":
            low, high = START_S
            return time.time() > since["time"] + low + fault.delay * (high - low)
        if newest_step(self.folder) in (None, since["checkpoint"]):
            return False  # each fault finds something new to lose
        if fault.moment == "save":
            return any(self.folder.glob("checkpoint_*.orbax-checkpoint-tmp*"))
        if fault.moment == "eval":
            return self.phase(0) == "eval"
        return self.step() >= since["step"] + SAVE_PERIOD * (1 + fault.delay)

    def close(self) -> None:
        """Ends what is left, also what was stopped."""
        for process in self.processes().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._launch.kill()
        self._launch.wait()


def wait_until(what: str, condition: Any, job: Job, allow_end: bool = False) -> bool:
    """Waits; returns False if the job ended before and that is allowed."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if job.is_over() and not condition():
            if allow_end:
                return False
            raise errors.FlanError(f"the job ended before {what}; see {job.log}")
        if time.monotonic() > end:
            raise errors.FlanError(f"{what}: not within {PATIENCE_S:.0f} s; see {job.log}")
        time.sleep(POLL_S)
    return True


def hit(job: Job, fault: Fault) -> bool:
    """Waits for a fault's moment, makes it, and waits for the end of the attempt that it hit.

    Returns:
        Whether there was such a moment before the job was done.
    """
    is_whole = lambda: len(job.processes()) == fault.num_processes  # noqa: E731
    if not wait_until("all processes ran", is_whole, job, allow_end=True):
        return False
    since = {"time": time.time(), "checkpoint": newest_step(job.folder), "step": job.step()}
    moment = f"the moment of {fault.kind}"
    if not wait_until(moment, lambda: job.is_at(fault, since), job, allow_end=True):
        return False
    running = job.processes()
    if len(running) < fault.num_processes:  # it is just ending
        return False
    fault.time_s = time.time()
    if fault.kind in SIGNALS:
        os.kill(running[fault.process], SIGNALS[fault.kind])
    else:
        job.set_disk(DISKS[fault.kind])
    fault.phase = "start" if fault.moment == "start" else job.phase(fault.process)
    reached = job.step()

    def is_gone() -> bool:
        nonlocal reached
        reached = max(reached, job.step())
        return not set(running.values()) & set(job.processes().values())

    wait_until(f"the attempt hit by {fault.kind} ended", is_gone, job)
    fault.ended_s = time.time() - fault.time_s
    fault.steps_lost = reached - (newest_step(job.folder) or 0)
    if fault.kind == "read_only":
        low, high = READ_ONLY_S
        time.sleep(max(0.0, fault.time_s + low + fault.delay * (high - low) - time.time()))
    job.set_disk(GOOD_DISK)
    return True


def recover(job: Job, fault: Fault) -> None:
    """Waits until a new step was made after a fault, and notes how long that took."""
    ended = fault.time_s + fault.ended_s

    def new() -> list[float]:
        return [when for _, when in job.trained() if when > ended]

    if wait_until("a new step was made", lambda: new(), job, allow_end=True):
        fault.recovered_s = min(new()) - fault.time_s


def play(job: Job, faults: list[Fault]) -> list[Fault]:
    """Hits a job with faults until it is done; takes those that hit it from the list."""
    done: list[Fault] = []
    while faults and not job.is_over():
        fault = faults[0]
        if done and fault.moment != "start":
            recover(job, done[-1])
        if not hit(job, fault):
            break
        done.append(faults.pop(0))
        measuring.step(
            f"{fault.num_processes} processes: {fault.kind} of process {fault.process} at "
            f"{fault.phase} (step {job.step()}), ended after {fault.ended_s:.1f} s"
        )
    if done and done[-1].recovered_s is None:
        recover(job, done[-1])
    return done


def note_causes(job: Job, faults: Sequence[Fault]) -> None:
    """Adds to each fault what the launch said of the first attempt that it ended."""
    ends = [r for r in read_journal(job.folder / supervise.JOURNAL) if r["event"] == "attempt_end"]
    for number, fault in enumerate(faults):
        until = faults[number + 1].time_s if number + 1 < len(faults) else float("inf")
        found = [end for end in ends if fault.time_s <= end["time"] < until]
        fault.attempts = sum(end["kind"] != endings.DONE for end in found)
        if found:
            fault.verdict, fault.cause = found[0]["kind"], found[0]["cause"]


def result(folder: Path, num_steps: int) -> tuple[dict[str, Any], list[float]]:
    """Returns the arrays of the last checkpoint, and the loss of each step."""
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    from flan_jax.core.tree import flatten

    path = folder / f"checkpoint_{num_steps}" / "state"
    handler = ocp.PyTreeCheckpointHandler()
    restore = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), handler.metadata(path).tree
    )
    arrays = handler.restore(path, args=ocp.args.PyTreeRestore(restore_args=restore))
    losses = [r["loss"] for r in read_metrics(folder) if r["kind"] == "train"]
    return flatten(arrays), losses


def check_same(folder: Path, alone: Path, num_steps: int) -> None:
    """Raises a `FlanError` unless two runs ended in the same bits, over the same losses."""
    import numpy as np

    (arrays, losses), (want, want_losses) = result(folder, num_steps), result(alone, num_steps)
    if losses != want_losses or len(losses) != num_steps:
        raise errors.FlanError(f"the losses in {folder} are not those in {alone}")
    if arrays.keys() != want.keys():
        raise errors.FlanError(f"the arrays in {folder} are not those in {alone}")
    for name, array in arrays.items():
        if not np.array_equal(array, want[name]):
            raise errors.FlanError(f"{name} in {folder} differs from that in {alone}")


@contextlib.contextmanager
def launched(scratch: Path, name: str, num_processes: int, num_steps: int) -> Iterator[Job]:
    """Launches a job, whose processes do not outlive the block."""
    job = Job(scratch, name, num_processes, num_steps)
    try:
        yield job
    finally:
        job.close()


def prepare(scratch: Path) -> None:
    """Compiles the disk, and builds the token store."""
    if shutil.which("cc") is None:
        raise errors.UsageError("the disk of this script needs a C compiler, cc; install gcc")
    source = Path(__file__).with_name("chaos_disk.c")
    library, recipe = str(scratch / "disk.so"), scratch / "run.gin"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    recipe.write_text(RECIPE)
    words = ["build", "--gin_file", str(recipe), f"--gin.STORE_DIR={scratch / 'store'}"]
    subprocess.run([sys.executable, "-m", "flan_jax", *words], check=True, capture_output=True)


def run_all(args: argparse.Namespace, scratch: Path) -> tuple[list[Fault], dict[str, float]]:
    """Returns all faults, and what else was counted."""
    prepare(scratch)
    faults: list[Fault] = []
    counted = collections.Counter()
    for count, drawn in schedule(args.faults, args.processes, args.seed).items():
        alone = f"alone_{count}"
        measuring.step(f"{count} processes, left alone")
        with launched(scratch, alone, count, args.steps) as job:
            if job.code() != errors.EXIT_OK:
                raise errors.FlanError(f"the run left alone failed; see {job.log}")
        while drawn:
            name = f"hit_{count}_{counted['runs']}"
            with launched(scratch, name, count, args.steps) as job:
                done = play(job, drawn)
                if job.code() != errors.EXIT_OK:
                    raise errors.FlanError(f"the run did not end well; see {job.log}")
                note_causes(job, done)
                check_same(job.folder, scratch / alone, args.steps)
            counted["runs"] += 1
            faults += done
            measuring.step(f"{name}: {len(done)} faults, same bits; {len(drawn)} faults to come")
    return faults, counted


def tables(args: argparse.Namespace, faults: list[Fault], num_runs: int) -> list[Table]:
    """Returns what is reported."""
    counts = " and ".join(map(str, args.processes))
    table = Table(
        f"{len(faults)} faults in {num_runs} runs of {args.steps} steps, on {counts} processes; "
        f"each run ended in the bits of one left alone",
        {
            "fault": "", "number": "d", "restarts": "d", "named": "d", "steps lost": ".0f",
            "s until ended": ".1f", "s until a new step": ".1f",
        },
        f"a checkpoint each {SAVE_PERIOD} steps, an evaluation each {EVAL_PERIOD}. named: the "
        "launch said what it was.\nmedian (min-max); s until ended: from the fault until no "
        "process of the job was left; until a new step: from the fault,\nstarts of Python, jax and "
        "the compiler included, without faults that were followed by another during that.",
    )  # fmt: skip
    for kind in (*KINDS, "all"):
        found = [fault for fault in faults if kind in (fault.kind, "all")]
        if not found:
            continue
        recovered = [fault.recovered_s for fault in found if fault.recovered_s is not None]
        table.add(
            kind,
            len(found),
            sum(fault.attempts for fault in found),
            sum(fault.is_named for fault in found),
            Spread.of([fault.steps_lost for fault in found]),
            Spread.of([fault.ended_s for fault in found]),
            Spread.of(recovered) if recovered else None,
        )
    return [table]


def main() -> int:
    """Runs the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=measuring.positive, default=50, metavar="N")
    parser.add_argument("--processes", type=measuring.positive, nargs="+", default=[2, 4])
    parser.add_argument("--steps", type=measuring.positive, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave all runs and logs there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    parser.add_argument("--faults_log", type=Path, metavar="FILE", help="one line a fault")
    args = parser.parse_args()
    command_line._set_environment()  # as the processes will
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(errors.EXIT_PREEMPTED))  # not without close()
    found = measuring.machine(("flan_jax", "jax", "orbax-checkpoint"))
    with contextlib.ExitStack() as stack:
        if args.keep:
            args.keep.mkdir(parents=True)
        scratch = args.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            faults, counted = run_all(args, scratch.resolve())
        except errors.FlanError as error:
            print(f"chaos: error: {error}", file=sys.stderr)
            return error.exit_code
    if args.faults_log:
        with files.atomic_open(args.faults_log) as file:
            for fault in faults:
                file.write(json.dumps(dataclasses.asdict(fault)) + "\n")
    made = tables(args, faults, counted["runs"])
    told = {"benchmark": "chaos", "quick": args.faults < 50, "machine": found}
    told["tables"] = [table.to_json() for table in made]
    if args.json:
        files.write_json(args.json, told)
    print(measuring.result_text(json.loads(json.dumps(told))))
    return errors.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
