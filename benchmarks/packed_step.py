# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Target tokens a second on real examples: our packed rows against padded batches in torch.

The examples are of uniform lengths and, where FLAN_JAX_NIV2_DIR names samples, the first of Natural
Instructions in the order of training, tokenized by the builder (FLAN_JAX_VOCABULARY). Both sides
train T5 1.1 Small in float32 with Adafactor, without dropout, on the same examples, as many in an
update. Ours packs them into rows of fixed length; the peer, transformers with torch, pads each
batch to its longest example, as finetuning scripts do. Packing, padding and copying are timed too.
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
import packing_fill
import train_step
from measuring import Spread, Table

from flan_jax.core import errors

MIXTURE = "niv2"
ROWS, LENGTHS = 8, (512, 128)
NUM_UPDATES = 4  # of a round, on our side; the peer's examples are the same


@dataclasses.dataclass(frozen=True)
class Examples:
    """The examples of a round."""

    path: str  # a file of `tokens`, `input_lengths` and `target_lengths`
    lengths: tuple[int, int]
    rows: int

    def load(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
        """Returns tokens, both lengths, and the plan of the first `NUM_UPDATES` packed batches."""
        from flan_jax.data import packing

        with np.load(self.path) as file:
            tokens, *lengths = (
                file[name] for name in ("tokens", "input_lengths", "target_lengths")
            )
        plan = packing.plan_rows(*lengths, max_input=self.lengths[0], max_target=self.lengths[1])
        if plan.num_rows < self.rows * NUM_UPDATES:
            raise errors.UsageError(
                f"{self.path}: {len(lengths[0])} examples make {plan.num_rows} rows, too few for "
                f"{NUM_UPDATES} updates of {self.rows}; give more samples"
            )
        return tokens, *lengths, plan

    def updates(self, plan) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields each update's examples and where its rows begin among them."""
        for i in range(NUM_UPDATES):
            splits = plan.splits[i * self.rows : (i + 1) * self.rows + 1]
            yield plan.examples[splits[0] : splits[-1]], splits - splits[0]


def ours(case: train_step.Case, examples: Examples) -> Iterator[dict[str, Any]]:
    """Trains on packed rows."""
    import jax

    from flan_jax.data import packing
    from flan_jax.parallel import arrays
    from flan_jax.parallel.rules import preset
    from flan_jax.training.step import jitted_train_step

    tokens, inputs, targets, plan = examples.load()
    starts = np.cumsum(inputs + targets) - (inputs + targets)
    mesh, spec, state, key = train_step.created(case)
    step, rules = jitted_train_step(spec, mesh), preset("replicated")

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for chosen, splits in examples.updates(plan):
            sizes = inputs[chosen] + targets[chosen]
            yield packing.pack_rows(
                tokens=tokens[packing.spans(starts[chosen], sizes)],
                input_lengths=inputs[chosen], target_lengths=targets[chosen],
                task_ids=np.zeros(len(chosen), int), splits=splits,
                max_input=examples.lengths[0], max_target=examples.lengths[1],
            )  # fmt: skip

    with jax.set_mesh(mesh):
        while True:
            start, num_targets = time.perf_counter(), 0
            for rows in batches():
                num_targets += int(np.count_nonzero(rows["decoder_target_tokens"]))
                state, metrics = step(state, arrays.global_batch(rows, rules, mesh), key)
            jax.block_until_ready(metrics)
            # The first, which compiles, is what makes this side ready.
            yield {"s": time.perf_counter() - start, "num_targets": num_targets}


def peer(
    case: train_step.Case, config: argparse.Namespace, examples: Examples
) -> Iterator[dict[str, Any]]:
    """Trains transformers' T5 with torch on padded batches."""
    import torch

    tokens, inputs, targets, plan = examples.load()
    starts = np.cumsum(inputs + targets) - (inputs + targets)
    model = train_step.torch_t5(config).train()
    optimizer = train_step.torch_optimizer(model, case.optimizer)

    def padded(begins: np.ndarray, lengths: np.ndarray, padding: int):
        rows = np.full((len(lengths), lengths.max()), padding, np.int64)
        for row, begin, length in zip(rows, begins, lengths, strict=True):
            row[:length] = tokens[begin : begin + length]
        return torch.from_numpy(rows)

    while True:
        start, num_targets, num_positions = time.perf_counter(), 0, 0
        for chosen, _ in examples.updates(plan):
            input_ids = padded(starts[chosen], inputs[chosen], 0)
            labels = padded(starts[chosen] + inputs[chosen], targets[chosen], -100)
            num_targets += int(targets[chosen].sum())
            num_positions += input_ids.numel() + labels.numel()
            model(input_ids=input_ids, attention_mask=input_ids > 0, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        yield {
            "s": time.perf_counter() - start,
            "num_targets": num_targets,
            "num_positions": num_positions,
        }


def cases(folder: Path, vocabulary: str, quick: bool) -> dict[str, Examples]:
    """Returns examples by what they are: uniform lengths, and samples where there are any."""
    num, lengths, rows = (256, (128, 32), 2) if quick else (1024, LENGTHS, ROWS)
    uniform = packing_fill.write_uniform(num, lengths, folder / "uniform.npz")
    found = {"uniform lengths": Examples(uniform.path, lengths, rows)}
    if quick or not os.environ.get(packing_fill.FAMILIES[MIXTURE]):
        return found
    out = str(folder / "store")
    measuring.step(f"packed step: building the samples of {MIXTURE}")
    by_name = dict(zip(("inputs", "targets"), LENGTHS, strict=True))
    arguments = (MIXTURE, (), by_name, vocabulary, out)
    with measuring.contenders({"build": (packing_fill.build, arguments)}) as one:
        one["build"].round()
    case = packing_fill.write_window(out, MIXTURE, LENGTHS, folder / "window.npz")
    return found | {MIXTURE: Examples(case.path, LENGTHS, ROWS)}


def measure(args: argparse.Namespace) -> list[Table]:
    """Returns the table."""
    measuring.require("torch", "transformers")
    table = Table(
        "Train step on packed rows: ours, against the peer padded to the longest of a batch",
        {
            "model": "", "examples": "", "an update": ".1f", "ours rows": "",
            "peer positions": ",.0f", "ours target tok/s": ",.1f", "peer target tok/s": ",.1f",
            "ratio": ".2f",
        },
        "ratio: ours / peer in target tokens/s, above 1 ours is faster. median (min-max) over "
        f"{args.rounds} alternating rounds of {NUM_UPDATES} updates.\n"
        "uniform lengths: 10-120 and 2-32 tokens. an update: examples in it.\n"
        "peer positions: of inputs and targets an update, padding included.",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for name, examples in cases(Path(folder), args.vocabulary, args.quick).items():
            measuring.step(f"packed step: {name}")
            _add(table, name, examples, args)
    return [table]


def _add(table: Table, name: str, examples: Examples, args: argparse.Namespace) -> None:
    case = train_step.Case(
        preset="tiny" if args.quick else "t5_1_1_small", vocab_size=32128, optimizer="adafactor",
        batch_size=examples.rows, input_length=examples.lengths[0],
        target_length=examples.lengths[1], scan_layers=True,
    )  # fmt: skip
    *_, plan = examples.load()
    config = argparse.Namespace(**dataclasses.asdict(case.config()))
    sides = {"ours": (ours, (case, examples)), "peer": (peer, (case, config, examples))}
    with measuring.contenders(sides) as both:
        rounds = measuring.alternate({n: side.round for n, side in both.items()}, args.rounds)
    rates = {n: [r["num_targets"] / r["s"] for r in found] for n, found in rounds.items()}
    if len({r["num_targets"] for found in rounds.values() for r in found}) > 1:
        raise ValueError(f"the sides trained on different tokens: {rounds}")
    table.add(
        case.preset,
        name,
        int(plan.splits[examples.rows * NUM_UPDATES]) / NUM_UPDATES,
        f"{examples.rows} x ({' + '.join(map(str, examples.lengths))})",
        rounds["peer"][-1]["num_positions"] / NUM_UPDATES,
        *(Spread.of(rates[side]) for side in sides),
        Spread.ratio(rates["ours"], rates["peer"]),
    )


def main() -> int:
    """Runs the benchmark."""
    parser = measuring.make_parser(__doc__, num_rounds=3)
    parser.add_argument(
        "--vocabulary",
        default=os.environ.get(packing_fill.VOCABULARY_VARIABLE, packing_fill.VOCABULARY),
        help=f"a vocabulary (default: {packing_fill.VOCABULARY_VARIABLE}, else the mini one)",
    )
    return measuring.run(
        __file__,
        parser,
        measure,
        libraries=("jax", "flax", "optax", "torch", "transformers", "numpy"),
    )


if __name__ == "__main__":
    sys.exit(main())
