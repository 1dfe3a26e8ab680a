# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training batches: ours, from a built token store, against SeqIO's own pipeline of the same tasks.

Both sides give packed, shuffled, endless batches of a training mixture of the mini collection, at
the feature lengths, batch size and vocabulary of the recipe `mini`. The peer is what T5X opens:
`seqio.get_dataset` with `EncDecFeatureConverter(pack=True)`, and here prefetched. Its tasks render
with the same functions as our builder, and tokenize with SeqIO's own TensorFlow op. Not measured is
SeqIO's offline cache, which saves rendering and tokenizing, but not shuffling and packing.

Ours needs the store built first. A last table says what that costs, and when it has paid.
"""

import argparse
import contextlib
import dataclasses
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measuring
import numpy as np
from measuring import Spread, Table

# As in gin/runs/mini_collection.gin.
TASK_MODULE = "tasks.mini.mixtures"
VOCABULARY = "package:tasks/mini/vocabulary/sentencepiece.model"
FEATURE_LENGTHS = {"inputs": 128, "targets": 32}
BATCH_SIZE = 8
WINDOW_EXAMPLES = 1024

# The second is the recipe's.
MIXTURES = ("mini_8", "mini_all")
SEED = 0
# Until then SeqIO still opens members, each when first drawn.
WARM_BATCHES = 100
ROUND_S = 3.0
SIDES = ("ours", "peer")
# Beyond this the sides do not serve the same examples; chance alone gives about a fiftieth.
MOST_DIFFERENCE = 0.1


def build(mixture: str, out: str) -> Iterator[dict[str, Any]]:
    """Builds the store that our side reads, as `flan-jax build` does, its training split only."""
    from flan_jax.core import modules

    modules.import_tasks(TASK_MODULE, __file__)
    from flan_jax.collection import build as build_lib

    yield {}
    start = time.perf_counter()
    store = build_lib.build(
        mixture=mixture,
        out=out,
        vocabulary=VOCABULARY,
        feature_lengths=FEATURE_LENGTHS,
        seed=SEED,
        splits=("train",),
        num_workers=measuring.num_cores(),
        module_imports=(TASK_MODULE,),
    )
    build_s = time.perf_counter() - start
    tasks = store.tasks("train")
    yield {
        "build_s": build_s,
        "num_tasks": len(tasks),
        "num_examples": sum(store.task(name, "train").num_examples for name in tasks),
    }


def ours(mixture: str, store: str) -> Iterator[dict[str, Any]]:
    """Reads a token store with `flan_jax.data.loader.open_train`."""
    from flan_jax.data.loader import TrainInput, open_train

    start = time.perf_counter()
    config = TrainInput(
        store=store,
        mixture=mixture,
        batch_size=BATCH_SIZE,
        feature_lengths=FEATURE_LENGTHS,
        seed=SEED,
        window_examples=WINDOW_EXAMPLES,
    )
    with open_train(config) as batches:
        for found in _rounds(batches, start):
            if "tensorflow" in sys.modules:
                raise RuntimeError("our side has imported TensorFlow, which its memory then holds")
            yield found


def peer(mixture: str) -> Iterator[dict[str, Any]]:
    """Reads a mixture with `seqio.get_dataset`."""
    from flan_jax.core import modules

    modules.import_tasks(TASK_MODULE, __file__)
    import seqio
    import tensorflow as tf

    from flan_jax.collection import registry

    start = time.perf_counter()
    registry.use_vocabulary(VOCABULARY)
    # The registry's own goes through Python; the op of SeqIO is faster, so the peer has that.
    registry.VOCABULARY.encode_tf = registry.VOCABULARY.current.encode_tf
    dataset = seqio.get_dataset(
        mixture,
        FEATURE_LENGTHS,
        seqio.EncDecFeatureConverter(pack=True),
        dataset_split="train",
        shuffle=True,
        num_epochs=None,
        seed=SEED,
        batch_size=BATCH_SIZE,
        verbose=False,
    )
    yield from _rounds(dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator(), start)


def _rounds(batches: Iterator[dict[str, np.ndarray]], opened: float) -> Iterator[dict[str, Any]]:
    """Warms up, yields when batches came after `opened`, then counts what rounds of them hold."""
    next(batches)
    first_s = time.perf_counter() - opened
    for _ in range(WARM_BATCHES - 1):
        next(batches)
    yield {"first_s": first_s, "warm_s": time.perf_counter() - opened, "pid": os.getpid()}
    while True:
        num_batches = num_examples = 0
        tokens = dict.fromkeys(FEATURE_LENGTHS, 0)
        start, cpu_start = time.perf_counter(), time.process_time()
        while time.perf_counter() - start < ROUND_S:
            batch = next(batches)
            num_batches += 1
            num_examples += int(batch["decoder_segment_ids"].max(axis=1).sum())
            tokens["inputs"] += np.count_nonzero(batch["encoder_input_tokens"])
            tokens["targets"] += np.count_nonzero(batch["decoder_target_tokens"])
        wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
        num_tokens = sum(tokens.values())
        rows = num_batches * BATCH_SIZE
        yield {
            "per_s": num_tokens / wall_s,
            "per_cpu_s": num_tokens / cpu_s,
            "tokens_per_batch": num_tokens / num_batches,
            "tokens_per_example": num_tokens / num_examples,
        } | {name: tokens[name] / (rows * length) for name, length in FEATURE_LENGTHS.items()}


@dataclasses.dataclass(frozen=True)
class Found:
    """What was measured of a mixture: the build, and of each side the start and the rounds."""

    mixture: str
    build: dict[str, Any]
    facts: dict[str, dict[str, Any]]
    rounds: dict[str, list[dict[str, Any]]]

    def values(self, what: str) -> list[list[float]]:
        """Returns a measurement of every round, of ours and of the peer's."""
        return [[found[what] for found in self.rounds[side]] for side in SIDES]

    def cells(self, what: str) -> list[Spread]:
        """Returns ours, the peer's and their ratio."""
        mine, theirs = self.values(what)
        return [Spread.of(mine), Spread.of(theirs), Spread.ratio(mine, theirs)]

    def start_cells(self, what: str) -> list[float | Spread]:
        """Returns ours, the peer's and their ratio of a time that there is once."""
        mine, theirs = (self.facts[side][what] for side in SIDES)
        return [mine, theirs, Spread.ratio([mine], [theirs])]


def run_mixture(mixture: str, num_rounds: int) -> Found:
    """Builds the store of a mixture and reads it through both pipelines."""
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder, "store"))
        measuring.step(f"input pipeline: {mixture}: building the store")
        with measuring.contenders({"build": (build, (mixture, store))}) as one:
            built = one["build"].round()
        measuring.step(f"input pipeline: {mixture}: opening both pipelines")
        # Ours first: while the other one opens it has little to do ahead.
        sides = {"ours": (ours, (mixture, store)), "peer": (peer, (mixture,))}
        with measuring.contenders(sides) as both, _halted(both):
            runs = {name: lambda side=side: _alone(side) for name, side in both.items()}
            measuring.step(f"input pipeline: {mixture}: reading")
            rounds = measuring.alternate(runs, num_rounds)
            found = Found(mixture, built, {n: side.facts for n, side in both.items()}, rounds)
    lengths = [statistics.mean(side) for side in found.values("tokens_per_example")]
    if abs(lengths[0] / lengths[1] - 1) > MOST_DIFFERENCE:
        raise ValueError(f"{mixture}: the sides differ in tokens an example: {lengths}")
    return found


def _alone(contender: measuring.Contender) -> dict[str, Any]:
    """Runs a round of a process that does not run otherwise.

    tf.data works ahead while nobody reads: that would take the cores from the other side's round,
    and give its own next round batches that took no time.
    """
    os.kill(contender.facts["pid"], signal.SIGCONT)
    found = contender.round()
    os.kill(contender.facts["pid"], signal.SIGSTOP)
    return found


@contextlib.contextmanager
def _halted(both: dict[str, measuring.Contender]) -> Iterator[None]:
    """Halts all contenders, and lets them go on at the end, whatever happened."""
    try:
        for contender in both.values():
            os.kill(contender.facts["pid"], signal.SIGSTOP)
        yield
    finally:
        for contender in both.values():
            with contextlib.suppress(ProcessLookupError):  # it has failed, which was raised
                os.kill(contender.facts["pid"], signal.SIGCONT)


def start_table(found: list[Found]) -> Table:
    """Returns how long batches take to come after a pipeline is opened."""
    table = Table(
        "Input, start: ours (token store, Grain) against the peer (SeqIO), from opening",
        {
            "mixture": "", "tasks": "d", "ours 1st s": ".2f", "peer 1st s": ".2f",
            "ratio 1st": ".4f", f"ours {WARM_BATCHES}th s": ".2f",
            f"peer {WARM_BATCHES}th s": ".2f", f"ratio {WARM_BATCHES}th": ".4f",
        },
        "seconds to a batch, imports and the registration of tasks excluded, measured once.\n"
        "ratio: ours / peer, below 1 ours is faster. The peer first renders each task as far as "
        "its shuffle\nbuffer reaches; ours has its store built (last table).",
    )  # fmt: skip
    for one in found:
        first, warm = (one.start_cells(what) for what in ("first_s", "warm_s"))
        table.add(one.mixture, one.build["num_tasks"], *first, *warm)
    return table


def rate_table(found: list[Found], num_rounds: int) -> Table:
    """Returns tokens per second of wall and of processor time, and memory."""
    table = Table(
        f"Input, rate: batches of {BATCH_SIZE} x ({FEATURE_LENGTHS['inputs']} + "
        f"{FEATURE_LENGTHS['targets']}), tokens that are not padding",
        {
            "mixture": "", "ours tok/s": ",.0f", "peer tok/s": ",.0f", "ratio": ".1f",
            "ours tok/CPU s": ",.0f", "peer tok/CPU s": ",.0f", "ratio CPU": ".1f",
            "ours peak MB": ",.0f", "peer peak MB": ",.0f", "ratio MB": ".2f",
        },
        f"after {WARM_BATCHES} batches. ratio: ours / peer; of tokens, above 1 ours is faster; of "
        "MB, below 1 ours takes less.\n"
        f"median (min-max) over {num_rounds} alternating rounds of {ROUND_S:g} s; CPU s: of all "
        "threads of the process. The side that\nis not measured is halted. By then the peer holds "
        "the text of all tasks in memory and renders nothing.\n"
        "peak MB: resident memory of the process, imports included (ours has no TensorFlow).",
    )  # fmt: skip
    for one in found:
        peaks = [one.rounds[side][-1]["peak_rss_mb"] for side in SIDES]
        ratio = Spread.ratio(*([peak] for peak in peaks))
        table.add(one.mixture, *one.cells("per_s"), *one.cells("per_cpu_s"), *peaks, ratio)
    return table


def fill_table(found: list[Found]) -> Table:
    """Returns how full the rows are."""
    table = Table(
        "Input, row fill: positions that hold a token",
        {
            "mixture": "", "feature": "", "ours": ".1%", "peer": ".1%", "ratio": ".3f",
            "binds": "",
        },
        "ratio: ours / peer, above 1 our rows are fuller. binds: the fuller feature, which decides "
        "how many rows there are.",
    )  # fmt: skip
    for one in found:
        means = {name: statistics.mean(one.values(name)[0]) for name in FEATURE_LENGTHS}
        fuller = max(means, key=means.get)
        for name in FEATURE_LENGTHS:
            table.add(one.mixture, name, *one.cells(name), "yes" if name == fuller else "no")
    return table


def build_table(found: list[Found]) -> Table:
    """Returns what building costs and when that has paid."""
    table = Table(
        "Build once: the token store's training split, and after how much training it has paid",
        {
            "mixture": "", "examples": ",d", "build s": ".1f", "start saved s": ".1f",
            "break-even tokens": ",.0f", "break-even steps": ",.0f",
        },
        f"build s: with {measuring.num_cores()} workers, their imports included; once, as every "
        "later run reads the same store.\n"
        f"start saved: what ours is ahead of the peer at batch {WARM_BATCHES} of every run. Where "
        "that is more than build s, the first start\nhas paid already.\n"
        "break-even: build s / (1 / peer rate - 1 / our rate), from the medians of tokens a "
        "second, the start not counted, in tokens\nand in our batches. It holds where training "
        "waits for input; where it does not, what is saved is processor time.",
    )  # fmt: skip
    for one in found:
        mine, theirs = (statistics.median(rates) for rates in one.values("per_s"))
        num_tokens = num_steps = None
        if mine > theirs:
            num_tokens = one.build["build_s"] / (1 / theirs - 1 / mine)
            num_steps = num_tokens / statistics.mean(one.values("tokens_per_batch")[0])
        saved_s = one.facts["peer"]["warm_s"] - one.facts["ours"]["warm_s"]
        built = (one.build["num_examples"], one.build["build_s"])
        table.add(one.mixture, *built, saved_s, num_tokens, num_steps)
    return table


def measure(args: argparse.Namespace) -> list[Table]:
    """Returns the tables."""
    mixtures = args.mixtures[:1] if args.quick else args.mixtures
    found = [run_mixture(mixture, args.rounds) for mixture in mixtures]
    return [
        start_table(found), rate_table(found, args.rounds), fill_table(found), build_table(found)
    ]  # fmt: skip


def main() -> int:
    """Runs the benchmark."""
    parser = measuring.make_parser(__doc__, num_rounds=5)
    parser.add_argument(
        "--mixtures", nargs="+", metavar="NAME", choices=MIXTURES, default=list(MIXTURES),
        help=f"of {', '.join(MIXTURES)}",
    )  # fmt: skip
    return measuring.run(
        __file__, parser, measure, libraries=("grain", "jax", "numpy", "seqio", "tensorflow")
    )


if __name__ == "__main__":
    sys.exit(main())
