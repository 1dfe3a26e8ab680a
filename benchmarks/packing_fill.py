# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Packing: how full rows are, and what packing costs, against SeqIO's packer of the same examples.

The examples are the first window of a mixture of real samples, in the order in which training
reads them, tokenized by the builder with the vocabulary that FLAN_JAX_VOCABULARY names. Samples are
of the families whose variables name a folder: FLAN_JAX_NIV2_DIR, FLAN_JAX_COT_DIR,
FLAN_JAX_MUFFIN_DIR. Beside them stand uniform lengths, which need no data. The peer is
`EncDecFeatureConverter(pack=True)`, for decoder-only rows `PrefixLMFeatureConverter(pack=True)`.
Both sides get tokens in memory and give arrays.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measuring
import numpy as np
from measuring import Spread, Table

# The mixtures whose samples are measured, by the variable that names their folder.
FAMILIES = {
    "niv2": "FLAN_JAX_NIV2_DIR",
    "cot": "FLAN_JAX_COT_DIR",
    "muffin": "FLAN_JAX_MUFFIN_DIR",
}
# All of these together, in the proportions that the collection gives them.
TOGETHER = "flan2022"
TASK_MODULE = "tasks.mixtures"
VOCABULARY_VARIABLE = "FLAN_JAX_VOCABULARY"
VOCABULARY = "package:tasks/mini/vocabulary/sentencepiece.model"

MAX_INPUTS = (2048, 512)
MAX_TARGETS = (64, 128, 256, 512)
# Rows of decoder-only models, made of what was built for these inputs.
DECODER_LENGTHS = {1024: 512, 2048: 512, 2560: 2048}
MAX_UNIFORM = (120, 32)
LEAST_UNIFORM = (10, 2)
UNIFORM = "uniform lengths"
# Cases whose cost is measured in several rounds.
TIMED = ((2048, 512), (2048, 128), (512, 128), (2560, 0))

WINDOW_EXAMPLES = 8192  # TrainInput.window_examples, by default
BATCH_ROWS = 64
SEED = 0


@dataclasses.dataclass(frozen=True)
class Case:
    """Examples and the rows that they go into."""

    mixture: str
    # A file of `tokens`, `input_lengths` and `target_lengths`, in the order of the stream.
    path: str
    max_input: int
    # 0: a row of `max_input` holds inputs and targets, for a decoder-only model.
    max_target: int
    # Of the window, those that are longer than a row.
    num_left_out: int = 0

    @property
    def is_timed(self) -> bool:
        """Whether the cost is measured in several rounds."""
        return (self.max_input, self.max_target) in TIMED or self.mixture == UNIFORM

    def load(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the tokens, each example's inputs and targets, and the lengths of both."""
        with np.load(self.path) as file:
            return file["tokens"], file["input_lengths"], file["target_lengths"]

    def least_rows(self) -> int:
        """Returns a number of rows that no packer can go below, by each side alone."""
        _, inputs, targets = self.load()
        if not self.max_target:
            return least_bins(inputs + targets, self.max_input)
        return max(least_bins(inputs, self.max_input), least_bins(targets, self.max_target))

    def bounds(self) -> tuple[float, float]:
        """Returns the part of each of two sides that the fewest rows that lengths allow fill."""
        _, inputs, targets = self.load()
        sums = np.array([inputs.sum(), targets.sum()], float)
        lengths = np.array([self.max_input, self.max_target])
        of_inputs, of_targets = sums / (np.ceil(sums / lengths).max() * lengths)
        return float(of_inputs), float(of_targets)


def least_bins(lengths: np.ndarray, width: int) -> int:
    """Returns the lower bound L2 on the bins of a width (Martello and Toth 1990, chapter 8).

    For each k: lengths over width - k are alone in a bin, those over half a width have one each,
    and what these have free takes no more than that of the others that are at least k.
    """
    lengths = np.sort(lengths)
    before = np.concatenate([[0], np.cumsum(lengths)])
    num_small = int(np.searchsorted(lengths, width // 2, side="right"))
    least = 0
    for k in range(width // 2 + 1):
        num_fit = int(np.searchsorted(lengths, width - k, side="right"))
        shared = slice(num_small, max(num_small, num_fit))
        free = (shared.stop - shared.start) * width - (before[shared.stop] - before[shared.start])
        rest = before[num_small] - before[min(np.searchsorted(lengths, k), num_small)]
        more = max(0, -((free - rest) // width))
        least = max(least, len(lengths) - num_small + int(more))
    return least


def build(mixture: str, members: tuple[str, ...], lengths: dict, vocabulary: str, out: str):
    """Builds the store of the samples, their training split only."""
    from flan_jax.core import modules

    modules.import_tasks(TASK_MODULE, __file__)
    from flan_jax.collection import build as build_lib

    yield {}
    build_lib.build(
        mixture=mixture, submixtures=members, out=out, vocabulary=vocabulary,
        feature_lengths=lengths, seed=SEED, splits=("train",), skip_unavailable=True,
        num_workers=measuring.num_cores(), module_imports=(TASK_MODULE,),
    )  # fmt: skip
    yield {}


def write_window(store_path: str, mixture: str, lengths: tuple[int, int], path: Path) -> Case:
    """Writes the first window of a mixture, without what is longer than a row."""
    from flan_jax.collection.store import Store
    from flan_jax.data.mixture import MixtureSchedule

    store = Store.open(store_path)
    rates = store.mixture_rates(mixture)
    sizes = {name: store.task(name, "train").num_examples for name in rates}
    schedule = MixtureSchedule(rates, sizes, seed=SEED)
    stretch, _ = schedule.advance(schedule.start(), WINDOW_EXAMPLES)
    names = sorted(rates)
    tasks = [store.task(names[task], "train") for task in stretch.tasks]
    pairs = list(zip(tasks, stretch.examples, strict=True))
    inputs = np.array([task.input_lengths[example] for task, example in pairs], np.int64)
    targets = np.array([task.target_lengths[example] for task, example in pairs], np.int64)
    starts = np.array([task.offsets[example] for task, example in pairs])
    max_input, max_target = lengths
    kept = targets <= max_target if max_target else inputs + targets <= max_input
    inputs, targets = inputs[kept], targets[kept]
    tokens = store.gather("train", names, stretch.tasks[kept], starts[kept], inputs + targets)
    np.savez(path, tokens=tokens, input_lengths=inputs, target_lengths=targets)
    return Case(mixture, str(path), max_input, max_target, int(np.count_nonzero(~kept)))


def write_uniform(num: int, lengths: tuple[int, int], path: Path) -> Case:
    """Writes examples of uniform lengths."""
    random = np.random.default_rng(SEED)
    inputs, targets = (
        random.integers(least, most + 1, num)
        for least, most in zip(LEAST_UNIFORM, MAX_UNIFORM, strict=True)
    )
    tokens = random.integers(2, 32000, (inputs + targets).sum(), np.uint16)
    np.savez(path, tokens=tokens, input_lengths=inputs, target_lengths=targets)
    return Case(UNIFORM, str(path), *lengths)


def ours(cases: list[tuple[Case, int]]) -> Iterator[dict[str, Any]]:
    """Packs each case as often as asked with `flan_jax.data.packing`."""
    yield {}
    for case, num_rounds in cases:
        examples = case.load()
        for _ in range(num_rounds):
            yield _measured(_our_rows(case, *examples), len(examples[1]))


def _our_rows(case: Case, tokens, inputs, targets) -> Iterator[dict[str, np.ndarray]]:
    from flan_jax.data import packing

    if case.max_target:
        lengths = {"max_input": case.max_input, "max_target": case.max_target}
        plan_rows, pack_rows = packing.plan_rows, packing.pack_rows
    else:
        lengths = {"max_length": case.max_input}
        plan_rows, pack_rows = packing.plan_decoder_rows, packing.pack_decoder_rows

    starts = np.cumsum(inputs + targets) - (inputs + targets)
    yield {}
    plan = plan_rows(inputs, targets, **lengths)
    for first in range(0, plan.num_rows, BATCH_ROWS):
        splits = plan.splits[first : first + BATCH_ROWS + 1]
        chosen = plan.examples[splits[0] : splits[-1]]
        yield pack_rows(
            tokens=tokens[packing.spans(starts[chosen], inputs[chosen] + targets[chosen])],
            input_lengths=inputs[chosen], target_lengths=targets[chosen],
            task_ids=np.zeros(len(chosen), int), splits=splits - splits[0], **lengths,
        )  # fmt: skip


def peer(cases: list[tuple[Case, int]]) -> Iterator[dict[str, Any]]:
    """Packs each case as often as asked with SeqIO's feature converters."""
    from flan_jax.core import modules

    modules.import_tensorflow()
    yield {}
    for case, num_rounds in cases:
        examples = case.load()
        for _ in range(num_rounds):
            yield _measured(_seqio_rows(case, *examples), len(examples[1]))


def _seqio_rows(case: Case, tokens, inputs, targets) -> Iterator[dict[str, np.ndarray]]:
    import seqio
    import tensorflow as tf

    pieces = np.split(tokens, np.cumsum(inputs + targets)[:-1])
    parts = [np.split(piece.astype(np.int32), [num]) for piece, num in zip(pieces, inputs)]  # noqa: B905
    features = {
        name: tf.RaggedTensor.from_row_lengths(np.concatenate([part[i] for part in parts]), lengths)
        for i, (name, lengths) in enumerate((("inputs", inputs), ("targets", targets)))
    }
    if case.max_target:
        converter = seqio.EncDecFeatureConverter(pack=True)
        lengths = {"inputs": case.max_input, "targets": case.max_target}
    else:
        converter = seqio.PrefixLMFeatureConverter(pack=True)
        # Only their sum matters to it, once each side is within its own.
        lengths = {"targets": int(targets.max())}
        lengths["inputs"] = case.max_input - lengths["targets"]
        kept = inputs <= lengths["inputs"]
        if not kept.all():
            raise ValueError(f"SeqIO would cut {np.count_nonzero(~kept)} examples")
    # A ragged row is a dense tensor of its own length.
    dataset = tf.data.Dataset.from_tensor_slices(features)
    rows = converter(dataset, lengths).batch(BATCH_ROWS).as_numpy_iterator()
    yield {}
    yield from rows


def _measured(batches: Iterator[dict[str, np.ndarray]], num_examples: int) -> dict[str, Any]:
    """Returns what all batches hold, and what they cost once the first, an empty one, has come."""
    next(batches)
    num_rows, tokens, places = 0, [0, 0], [0, 0]
    cpu_s = -time.process_time()
    for batch in batches:
        cpu_s += time.process_time()
        segments = [batch["decoder_segment_ids"]]
        if "encoder_segment_ids" in batch:
            segments.insert(0, batch["encoder_segment_ids"])
        for side, found in enumerate(segments):
            tokens[side] += int(np.count_nonzero(found))
            places[side] += found.size
        num_rows += len(segments[0])
        cpu_s -= time.process_time()
    cpu_s += time.process_time()
    return {
        "rows": num_rows,
        "tokens": sum(tokens),
        "fill": [num / max(size, 1) for num, size in zip(tokens, places, strict=True)],
        "ms_per_1000": 1e6 * cpu_s / num_examples,
        "tokens_per_cpu_s": sum(tokens) / cpu_s,
    }


@dataclasses.dataclass(frozen=True)
class Found:
    """A case and what both sides gave, round by round."""

    case: Case
    rounds: dict[str, list[dict[str, Any]]]

    def last(self, side: str) -> dict[str, Any]:
        """Returns the last round of a side."""
        return self.rounds[side][-1]

    def cells(self, what: str) -> list[Spread]:
        """Returns ours and the peer's."""
        return [Spread.of([found[what] for found in self.rounds[s]]) for s in ("ours", "peer")]

    def ratio(self, what: str, over: str, under: str) -> Spread:
        """Returns one side over the other."""
        return Spread.ratio(*([found[what] for found in self.rounds[s]] for s in (over, under)))

    def example_cells(self) -> list[int]:
        """Returns how many examples there are, and how many were too long."""
        return [len(self.case.load()[1]), self.case.num_left_out]

    def fill_cells(self, side: int) -> list[float | Spread]:
        """Returns how full a side is: in ours, at most, in the peer's, and ours over the peer's."""
        mine, theirs = (self.last(name)["fill"][side] for name in ("ours", "peer"))
        most = mine * self.last("ours")["rows"] / self.case.least_rows()
        return [mine, most, theirs, Spread.ratio([mine], [theirs])]

    def row_cells(self) -> list[int]:
        """Returns how many rows are ours, are needed at least, and are the peer's."""
        mine, theirs = (self.last(name)["rows"] for name in ("ours", "peer"))
        return [mine, self.case.least_rows(), theirs]


def write_cases(folder: Path, vocabulary: str, quick: bool) -> list[Case]:
    """Builds what there are samples of, and writes the windows of all cases."""
    num = 512 if quick else WINDOW_EXAMPLES
    cases = [
        write_uniform(num, (512, 128), folder / "uniform.npz"),
        write_uniform(num, (640, 0), folder / "uniform_decoder.npz"),
    ]
    members = tuple(n for n, variable in FAMILIES.items() if os.environ.get(variable))
    if quick or not members:
        return cases
    together = (TOGETHER,) if len(members) > 1 else ()
    for max_input in MAX_INPUTS:
        out = str(folder / f"store_{max_input}")
        lengths = {"inputs": max_input, "targets": max(MAX_TARGETS)}
        measuring.step(f"packing: building the samples of {', '.join(members)} for {lengths}")
        what = (*together, *members)
        arguments = (what[0], what[1:], lengths, vocabulary, out)
        with measuring.contenders({"build": (build, arguments)}) as one:
            one["build"].round()
        pairs = [(max_input, max_target) for max_target in MAX_TARGETS]
        pairs += [(row, 0) for row, of in DECODER_LENGTHS.items() if of == max_input]
        for mixture in (*members, *together):
            for pair in pairs:
                name = "_".join(map(str, (mixture, max_input, *pair)))
                cases.append(write_window(out, mixture, pair, folder / f"{name}.npz"))
    return cases


def run_cases(cases: list[Case], num_rounds: int) -> list[Found]:
    """Packs every case on both sides."""
    planned = [(case, num_rounds if case.is_timed else 1) for case in cases]
    found = []
    with measuring.contenders({"ours": (ours, (planned,)), "peer": (peer, (planned,))}) as both:
        runs = {name: side.round for name, side in both.items()}
        for case, rounds in planned:
            measuring.step(
                f"packing: {case.mixture} into {case.max_input} and {case.max_target or 'all'}"
            )
            one = Found(case, measuring.alternate(runs, rounds))
            if one.last("ours")["tokens"] != one.last("peer")["tokens"]:
                raise ValueError(f"{case}: the sides packed different tokens: {one.rounds}")
            found.append(one)
    return found


def fill_table(found: list[Found]) -> Table:
    """Returns how full encoder-decoder rows are."""
    table = Table(
        "Packing, encoder-decoder rows: positions that hold a token",
        {
            "mixture": "", "inputs": "d", "targets": "d", "examples": ",d", "too long": ",d",
            "binds": "", "ours": ".1%", "at most": ".1%", "SeqIO": ".1%", "ratio": ".3f",
            "other ours": ".1%", "other bound": ".1%", "other SeqIO": ".1%", "ours rows": ",d",
            "least rows": ",d", "SeqIO rows": ",d",
        },
        f"examples: of a window of {WINDOW_EXAMPLES:,}, without those whose targets are too long "
        "for a row (inputs the builder cuts to length).\nbinds: the side that decides how many "
        "rows there must be; ours, at most, SeqIO: of it. ratio: ours / SeqIO, above 1 our rows "
        "are fuller.\nat most: in the least rows, a bound that no packer can go below, as long "
        "examples leave gaps\n(Martello and Toth's L2 of each side).\nother: the other side; other "
        "bound: in the fewest rows that the sums of lengths allow.",
    )  # fmt: skip
    for one in found:
        case = one.case
        if case.max_target:
            bounds = case.bounds()
            side = int(np.argmax(bounds))
            other, _, other_of_peer, _ = one.fill_cells(1 - side)
            table.add(
                case.mixture, case.max_input, case.max_target, *one.example_cells(),
                ("inputs", "targets")[side], *one.fill_cells(side),
                other, bounds[1 - side], other_of_peer, *one.row_cells(),
            )  # fmt: skip
    return table


def decoder_table(found: list[Found]) -> Table:
    """Returns how full the rows of decoder-only models are."""
    table = Table(
        "Packing, decoder-only rows: inputs and targets together",
        {
            "mixture": "", "length": "d", "examples": ",d", "too long": ",d", "ours": ".1%",
            "at most": ".1%", "SeqIO": ".1%", "ratio": ".3f", "ours rows": ",d", "least rows": ",d",
            "SeqIO rows": ",d",
        },
        "at most, ratio: as above.",
    )  # fmt: skip
    for one in found:
        case = one.case
        if not case.max_target:
            cells = (*one.example_cells(), *one.fill_cells(0), *one.row_cells())
            table.add(case.mixture, case.max_input, *cells)
    return table


def cost_table(found: list[Found], num_rounds: int) -> Table:
    """Returns what planning and filling rows costs."""
    table = Table(
        f"Packing, cost: planning rows and filling their arrays, {BATCH_ROWS} rows at a time",
        {
            "mixture": "", "rows of": "", "ours ms / 1,000 ex": ",.1f",
            "SeqIO ms / 1,000 ex": ",.0f", "ours tok/CPU s": ",.0f", "SeqIO tok/CPU s": ",.0f",
            "ratio CPU": ".0f",
        },
        "CPU time of all threads of the process; ratio: ours / SeqIO, above 1 ours is faster.\n"
        f"median (min-max) over {num_rounds} alternating rounds.",
    )  # fmt: skip
    for one in found:
        case = one.case
        if case.is_timed:
            rows = (
                f"{case.max_input} + {case.max_target}" if case.max_target else f"{case.max_input}"
            )
            ratio = one.ratio("tokens_per_cpu_s", "ours", "peer")
            cells = (*one.cells("ms_per_1000"), *one.cells("tokens_per_cpu_s"), ratio)
            table.add(case.mixture, rows, *cells)
    return table


def measure(args: argparse.Namespace) -> list[Table]:
    """Returns the tables."""
    with tempfile.TemporaryDirectory() as folder:
        found = run_cases(write_cases(Path(folder), args.vocabulary, args.quick), args.rounds)
        return [fill_table(found), decoder_table(found), cost_table(found, args.rounds)]


def main() -> int:
    """Runs the benchmark."""
    parser = measuring.make_parser(__doc__, num_rounds=3)
    parser.add_argument(
        "--vocabulary",
        default=os.environ.get(VOCABULARY_VARIABLE, VOCABULARY),
        help=f"a sentencepiece.model (default: {VOCABULARY_VARIABLE}, else the mini one)",
    )
    return measuring.run(
        __file__, parser, measure, libraries=("numpy", "seqio", "sentencepiece", "tensorflow")
    )


if __name__ == "__main__":
    sys.exit(main())
