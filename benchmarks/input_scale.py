# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training input at scale: start, rate and memory, to 15 million examples of 1,836 tasks.

The stores are made up: lengths as in Natural Instructions (about 190 input and 10 target tokens,
some of thousands), tokens of no meaning, all tasks of a store one set of files under many names.
What training does with them is what it does with any: open, deal, plan, read, pack. The peer of
each store is the smallest one: input is at scale if a row costs the same from all of them.
"""

import argparse
import gc
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

from flan_jax.core import errors

FEATURE_LENGTHS = {"inputs": 2048, "targets": 512}
BATCH_SIZE = 128
SIZES = (10_000, 1_000_000, 15_000_000)
QUICK_SIZES = (2_000, 20_000)
NUM_TASKS = (1, 1836)
QUICK_NUM_TASKS = (1, 40)
WORKERS = (0, 1, 2)
SEED = 0

# A place where every task has had exactly its share, so that its state is known without reading
# up to it. At ten examples a row it is step 3.4 million of this batch, 13 million of one of 32.
LATE_POSITION = 1 << 32
LATE_STEP = LATE_POSITION // 10 // BATCH_SIZE
EARLY_STEP = 10
SEEK_STEP = 100
WARM_BATCHES = 20
ROUND_S = 3.0
QUICK_ROUND_S = 0.5

# Of a chip, bf16 (Google Cloud's pages of each TPU generation), and chips of a host VM.
PEAK_TFLOPS = {"v3": 123, "v4": 275, "v5e": 197, "v5p": 459, "v6e": 918, "tpu7x": 2307}
CHIPS_A_HOST = 4
# T5 1.1 (models/presets.py).
PARAMETERS = {
    "small": 76_961_152, "base": 247_577_856, "large": 783_150_080, "xl": 2_849_757_184,
    "xxl": 11_135_332_352,
}  # fmt: skip
ROW_TOKENS = sum(FEATURE_LENGTHS.values())


def write_store(root: Path, num_examples: int, num_tasks: int) -> None:
    """Writes a store of `num_tasks` equal tasks that share their files."""
    from flan_jax.collection import store as store_lib
    from flan_jax.core import files

    num = num_examples // num_tasks
    random = np.random.default_rng(SEED)
    inputs, targets = (
        np.clip(random.lognormal(mean, sigma, num), 2, most).astype(np.int32)
        for (mean, sigma), most in zip(
            ((4.9, 0.85), (1.6, 1.1)), FEATURE_LENGTHS.values(), strict=True
        )
    )
    names = [f"task{i:04d}" for i in range(num_tasks)]
    first = store_lib.task_folder(root, names[0], "train")
    first.mkdir(parents=True)
    np.save(first / store_lib.INPUT_LENGTHS, inputs)
    np.save(first / store_lib.TARGET_LENGTHS, targets)
    offsets = np.concatenate([[0], np.cumsum(inputs.astype(np.int64) + targets)])
    np.save(first / store_lib.OFFSETS, offsets)
    (first / store_lib.EXAMPLES).touch()
    block = random.integers(3, 32_000, 1 << 20).astype("<u2")
    with open(first / store_lib.TOKENS, "wb") as file:
        for start in range(0, int(offsets[-1]), len(block)):
            file.write(block[: int(offsets[-1]) - start].data)
    for name in names[1:]:
        folder = store_lib.task_folder(root, name, "train")
        folder.mkdir(parents=True)
        for file in store_lib.DATA_FILES:
            os.link(first / file, folder / file)
    entry = {
        "num_examples": num,
        "num_input_tokens": int(inputs.sum(dtype=np.int64)),
        "num_target_tokens": int(targets.sum(dtype=np.int64)),
        "max_input_tokens": int(inputs.max()),
        "max_target_tokens": int(targets.max()),
        "files": {
            name: {
                "sha256": files.sha256_file(first / name),
                "size_bytes": (first / name).stat().st_size,
            }
            for name in store_lib.DATA_FILES
        },
    }
    rates = dict.fromkeys(names, 1 / num_tasks)
    manifest = {
        "format": store_lib.FORMAT,
        "mixture": "all",
        "mixtures": {"all": rates},
        "rates": rates,
        "vocabulary": {"name": "none", "size": 32_000, "padded_size": 32_128, "eos_id": 1},
        "feature_lengths": FEATURE_LENGTHS,
        "token_dtype": "<u2",
        "tasks": {name: {"train": entry} for name in names},
    }
    files.write_json(root / store_lib.MANIFEST, manifest)


def feed(store: str, num_workers: int, starts: bool, round_s: float) -> Iterator[dict[str, Any]]:
    """Reads a store; times its starts if asked, then rounds of batches."""
    from flan_jax.data.loader import TrainInput, open_train

    config = TrainInput(store=store, batch_size=BATCH_SIZE, seed=SEED, num_workers=num_workers)
    facts = _starts(config) if starts else {}
    with open_train(config) as batches:
        for _ in range(WARM_BATCHES):
            next(batches)
        yield facts
        while True:
            num_batches = num_tokens = 0
            start, cpu_start = time.perf_counter(), time.process_time()
            while time.perf_counter() - start < round_s:
                batch = next(batches)
                num_batches += 1
                num_tokens += np.count_nonzero(batch["encoder_segment_ids"])
                num_tokens += int(batch["decoder_loss_weights"].sum())
            wall_s = time.perf_counter() - start
            yield {
                "batches_per_s": num_batches / wall_s,
                "rows_per_s": num_batches * BATCH_SIZE / wall_s,
                "tokens_per_s": num_tokens / wall_s,
                "cpu_share": (time.process_time() - cpu_start) / wall_s,
                "fill": batches.report()["fill"]["inputs"],
            }


def _starts(config: Any) -> dict[str, Any]:
    """Returns the seconds to open and to the first batch, from several places."""
    from flan_jax.data.loader import open_train

    start = time.perf_counter()
    with open_train(config) as batches:
        open_s = time.perf_counter() - start
        next(batches)
        first_s = time.perf_counter() - start
        for _ in range(EARLY_STEP - 1):
            next(batches)
        early = batches.state()

    def timed(*args: Any, **keywords: Any) -> float:
        gc.collect()  # a run opens its input once; Grain's iterators are freed by the collector
        start = time.perf_counter()
        with open_train(config, *args, **keywords) as batches:
            next(batches)
            return time.perf_counter() - start

    return {
        "open_s": open_s,
        "first_s": first_s,
        "early_s": timed(early),
        "late_s": timed(_late_state(config, early)),
        "count_s": timed(step=SEEK_STEP),
        "seek_s": timed(step=SEEK_STEP),
    }


def _late_state(config: Any, early: dict[str, Any]) -> dict[str, Any]:
    from flan_jax.collection.store import Store
    from flan_jax.data.mixture import MixtureState

    store = Store.open(config.store)
    schedule = config.stream(store).schedule(store)
    counts = (LATE_POSITION * schedule.rates).astype(np.int64)
    state = MixtureState(LATE_POSITION, counts)
    return early | {
        "step": LATE_STEP,
        "window": LATE_POSITION // config.window_examples,
        "row": 0,
        "schedule": schedule.to_json(state),
    }


def _stores(args: argparse.Namespace, folder: str) -> dict[tuple[int, int], str]:
    """Writes the stores and returns their paths by examples and tasks."""
    found = {}
    for num_tasks in QUICK_NUM_TASKS if args.quick else NUM_TASKS:
        for num_examples in QUICK_SIZES if args.quick else args.sizes:
            measuring.step(f"input scale: writing {num_examples:,} examples of {num_tasks} task(s)")
            path = Path(folder, f"{num_examples}-{num_tasks}")
            write_store(path, num_examples, num_tasks)
            found[num_examples, num_tasks] = str(path)
    return found


def _run(sides: dict[Any, tuple[Any, ...]], args: argparse.Namespace) -> tuple[dict, dict]:
    """Returns the facts of contenders by their keys, and their rounds."""
    sides = {key: (*arguments, _round_s(args)) for key, arguments in sides.items()}
    with measuring.contenders({key: (feed, arguments) for key, arguments in sides.items()}) as all_:
        runs = {key: one.round for key, one in all_.items()}
        return {key: one.facts for key, one in all_.items()}, measuring.alternate(runs, args.rounds)


def _round_s(args: argparse.Namespace) -> float:
    return QUICK_ROUND_S if args.quick else ROUND_S


def scale_tables(stores: dict[tuple[int, int], str], args: argparse.Namespace) -> list[Table]:
    """Returns how long starts take, and the rate and memory, for each store."""
    measuring.step("input scale: starting from each store")
    facts, rounds = _run({key: (path, 0, True) for key, path in stores.items()}, args)
    least = min(stores)
    starts = Table(
        f"Input at scale, start: batches of {BATCH_SIZE} x ({FEATURE_LENGTHS['inputs']} + "
        f"{FEATURE_LENGTHS['targets']}), from one process",
        {
            "examples": ",d", "tasks": ",d", "open s": ".2f", "1st batch s": ".2f",
            f"resume at {EARLY_STEP} s": ".2f", f"at {LATE_STEP:,} s": ".2f",
            "ratio late": ".2f", f"seek {SEEK_STEP} s": ".2f", "again s": ".2f",
        },
        "seconds from opening to a batch, imports excluded, measured once, files in the page "
        "cache.\nopen: until `open_train` returns. ratio late: resume at the late step over that "
        f"at step {EARLY_STEP}.\nseek: to a step without a state, which counts the rows before "
        "it; again: with the count kept.",
    )  # fmt: skip
    rates = Table(
        "Input at scale, rate and memory: the same stores",
        {
            "examples": ",d", "tasks": ",d", "batches/s": ".1f", "rows/s": ",.0f",
            "ratio": ".2f", "peak MB": ",.0f", "ratio MB": ".2f",
        },
        f"ratio: to the first row; of rates, above 1 is faster; of MB, below 1 is less.\nmedian "
        f"(min-max) over {args.rounds} alternating rounds of {_round_s(args):g} s. peak MB:\n"
        "resident memory of the process, imports and all starts above included.",
    )  # fmt: skip
    for key in stores:
        found, mine = facts[key], rounds[key]
        times = [found[n] for n in ("open_s", "first_s", "early_s", "late_s")]
        late = Spread.ratio(times[3:], times[2:3])
        starts.add(*key, *times, late, found["count_s"], found["seek_s"])
        speeds = [one["batches_per_s"] for one in mine]
        peak_mb, least_mb = (rounds[k][-1]["peak_rss_mb"] for k in (key, least))
        rates.add(
            *key, Spread.of(speeds), Spread.of([one["rows_per_s"] for one in mine]),
            Spread.ratio(speeds, [one["batches_per_s"] for one in rounds[least]]),
            peak_mb, Spread.ratio([peak_mb], [least_mb]),
        )  # fmt: skip
    return [starts, rates]


def worker_table(stores: dict[tuple[int, int], str], args: argparse.Namespace) -> Table:
    """Returns what one host feeds from the largest store with workers that plan windows."""
    key = max(stores)
    table = Table(
        f"Input at scale, workers: {key[0]:,} examples of {key[1]:,} tasks",
        {
            "workers": "d", "rows/s": ",.0f", "ratio": ".2f", "tokens/s": ",.0f",
            "cores": ".2f", "fill of inputs": ".1%",
        },
        "workers: processes that plan windows (0: a thread). ratio: rows/s to those of the first "
        "row. tokens: not padding.\ncores: processor time of the feeding process over wall time, "
        "workers not counted.",
    )  # fmt: skip
    speeds = None
    for num_workers in WORKERS[:2] if args.quick else WORKERS:
        measuring.step(f"input scale: {num_workers} worker(s)")
        _, rounds = _run({num_workers: (stores[key], num_workers, False)}, args)
        mine = rounds[num_workers]
        rows = [one["rows_per_s"] for one in mine]
        speeds = speeds or rows
        table.add(
            num_workers, Spread.of(rows), Spread.ratio(rows, speeds),
            *(Spread.of([one[name] for one in mine]) for name in ("tokens_per_s", "cpu_share")),
            mine[-1]["fill"],
        )  # fmt: skip
    return table


def host_table(workers: Table) -> Table:
    """Returns how many times over one host feeds its own chips, by model size and chip."""
    fed = max(row[1].median for row in workers.rows)
    table = Table(
        f"Input at scale, hosts: {fed:,.0f} rows/s fed by one host to what its {CHIPS_A_HOST} "
        "chips consume at the most",
        {"model": "", "parameters": ",d", "v4 rows/s": ",.0f"} | dict.fromkeys(PEAK_TFLOPS, ".1f"),
        "v4 rows/s: what a host of that many v4 chips consumes at its peak. Then ratios: fed / "
        f"consumed, above 1 input is never\nwaited for. A row of {ROW_TOKENS:,} positions costs "
        "3 x parameters x positions (Chung et al. 2022's rule for encoder-decoders);\nchips are "
        "taken at their whole bf16 peak, of which training reaches a half at best. The host here "
        f"has {measuring.num_cores()} cores.",
    )  # fmt: skip
    for name, num_params in PARAMETERS.items():
        needs = {
            chip: CHIPS_A_HOST * peak * 1e12 / (3 * num_params * ROW_TOKENS)
            for chip, peak in PEAK_TFLOPS.items()
        }
        table.add(name, num_params, needs["v4"], *(fed / need for need in needs.values()))
    return table


def measure(args: argparse.Namespace) -> list[Table]:
    """Returns the tables."""
    if (least := min(args.sizes)) < max(NUM_TASKS):
        raise errors.UsageError(
            f"--sizes {least}: a store of {max(NUM_TASKS):,} tasks needs as many examples or more"
        )
    with tempfile.TemporaryDirectory() as folder:
        stores = _stores(args, folder)
        workers = worker_table(stores, args)
        return [*scale_tables(stores, args), workers, host_table(workers)]


def main() -> int:
    """Runs the benchmark."""
    parser = measuring.make_parser(__doc__, num_rounds=3)
    parser.add_argument(
        "--sizes", nargs="+", type=measuring.positive, metavar="N", default=list(SIZES),
        help=f"examples of the stores (default: {' '.join(map(str, SIZES))}; 15 million need 7 GB)",
    )  # fmt: skip
    return measuring.run(__file__, parser, measure, libraries=("grain", "jax", "numpy"))


if __name__ == "__main__":
    sys.exit(main())
