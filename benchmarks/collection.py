# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The collection: building a store against the same tasks through SeqIO, and opening a large one.

Building: examples per CPU second, rendered and tokenized, of the builder, of SeqIO's own pipeline
of the same registered tasks, and of SentencePiece alone on the same texts. Opening: from a store
with as many members as the Flan collection to the first packed batch, against SeqIO's mixing of
members held in memory.

The rows are written by the benchmark: texts of common words, as long as those of
Natural-Instructions, chain of thought and BoolQ are. The tasks, their templates and few-shot
policies are the collection's own.
"""

import argparse
import functools
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import measuring
from measuring import Spread, Table

# Rows of each file; Natural-Instructions has several, as its tasks are many and small.
NUM_ROWS = 2_500
NUM_INSTRUCTION_TASKS = 2
NUM_CUT = 200  # of BoolQ's rows, for its validation split
FEATURE_LENGTHS = {"inputs": 2048, "targets": 512}
VOCABULARY_SIZE = 8_192
SEED = 0

# As many as the released collection has, with the rows each that style of comparison was made at.
NUM_MEMBERS = 1_838
ROWS_A_MEMBER = 200
BATCH_SIZE = 8
MIXTURE = "bench"


def write_rows(folder: str, num_rows: int) -> None:
    """Writes the files of every source, the same each time."""
    words = _Words()
    for i in range(NUM_INSTRUCTION_TASKS):
        task = {
            "Definition": [words.text(60)],
            "Positive Examples": [
                {"input": words.text(40), "output": words.text(4), "explanation": words.text(20)}
                for _ in range(3)
            ],
            "Instances": [
                {"id": str(n), "input": words.text(100), "output": [words.text(6)]}
                for n in range(num_rows)
            ],
        }
        path = Path(folder, "niv2", f"task{i:03}_bench_answer_generation.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(task))
    rows = [
        "\t".join((f"{words.text(45)}?", words.text(1), words.text(40))) for _ in range(num_rows)
    ]
    Path(folder, "cot_train.tsv").write_text("\n".join(rows) + "\n")
    Path(folder, "bool_q").mkdir()
    rows = [
        json.dumps({
            "question": words.text(9), "title": words.text(2), "answer": bool(n % 2),
            "passage": words.text(108),
        })
        for n in range(num_rows + NUM_CUT)
    ]  # fmt: skip
    Path(folder, "bool_q", "train.jsonl").write_text("\n".join(rows) + "\n")


class _Words:
    """Texts of the words that the templates use, the common ones more often (Zipf's law)."""

    def __init__(self):
        import tasks

        files = sorted(Path(next(iter(tasks.__path__))).rglob("templates/*.jsonl"))
        text = " ".join(path.read_text(encoding="utf-8") for path in files)
        found = sorted({w for w in text.split() if w.isascii() and w.isalpha() and w.islower()})
        self._random = random.Random(SEED)
        self._random.shuffle(found)
        self._words = found
        self._weights = list(itertools.accumulate(1 / rank for rank in range(1, len(found) + 1)))

    def text(self, mean: int) -> str:
        """Returns a text of about `mean` words, with sentences."""
        num = max(1, round(self._random.gauss(mean, mean / 3)))
        chosen = self._random.choices(self._words, cum_weights=self._weights, k=num)
        ends = range(11, num - 1, 12)
        for i in ends:
            chosen[i] += "."
        return " ".join(chosen)


def register(folder: str) -> list[str]:
    """Registers the tasks of the files; returns their names."""
    os.environ["FLAN_JAX_MUFFIN_DIR"] = folder
    from flan_jax.core import modules

    modules.import_tensorflow()
    import tasks.cot
    import tasks.muffin.tasks
    import tasks.niv2
    from flan_jax.collection import registry

    specs = [tasks.niv2.task_spec(path) for path in sorted(Path(folder, "niv2").iterdir())]
    specs.append(tasks.cot.task_spec("bench", str(Path(folder, "cot_train.tsv"))))
    names = [registry.add_task(spec).name for spec in specs] + ["muffin.bool_q"]
    registry.add_mixture(MIXTURE, names)
    return names


def builder(folder: str, vocabulary: str) -> Iterator[dict[str, Any]]:
    """Builds the store with one process."""
    register(folder)
    from flan_jax.collection import build as build_lib

    def build(out: str):
        return build_lib.build(
            mixture=MIXTURE, out=out, vocabulary=vocabulary, feature_lengths=FEATURE_LENGTHS,
            seed=SEED, splits=("train",),
        )  # fmt: skip

    with tempfile.TemporaryDirectory() as warm:
        build(warm)
    yield {}
    while True:
        with tempfile.TemporaryDirectory() as out:
            yield _timed(lambda out=out: _num_examples(build(out)))


def seqio_pipeline(folder: str, vocabulary: str) -> Iterator[dict[str, Any]]:
    """Reads the same tasks through `seqio.Task.get_dataset`, tokenizing with SeqIO's own op."""
    names = register(folder)
    import seqio

    from flan_jax.collection import registry

    registry.use_vocabulary(vocabulary)
    registry.VOCABULARY.encode_tf = registry.VOCABULARY.current.encode_tf

    def read() -> int:
        num = 0
        for name in names:
            dataset = seqio.get_mixture_or_task(name).get_dataset(
                FEATURE_LENGTHS, "train", shuffle=False, seed=SEED
            )
            num += sum(1 for _ in dataset.as_numpy_iterator())
        return num

    yield {}
    while True:
        yield _timed(read)


def sentencepiece(folder: str, vocabulary: str) -> Iterator[dict[str, Any]]:
    """Tokenizes the prompts and targets that the builder gave, and does nothing else."""
    names = register(folder)
    from flan_jax.collection import registry
    from flan_jax.collection.rendering import Rendered, render_task
    from flan_jax.collection.vocabularies import load_vocabulary

    loaded = load_vocabulary(vocabulary)
    texts = [
        text
        for name in names
        for item in render_task(
            registry.get_spec(name), "train", SEED,
            count_tokens=lambda text: len(loaded.encode(text)), feature_lengths=FEATURE_LENGTHS,
        )
        if isinstance(item, Rendered)
        for text in (item.inputs, item.targets)
    ]  # fmt: skip

    def tokenize() -> int:
        loaded.encode_batch(texts)
        return len(texts) // 2

    yield {}
    while True:
        yield _timed(tokenize)


def _num_examples(store: Any) -> int:
    return sum(store.task(name, "train").num_examples for name in store.tasks("train"))


def _timed(work: Callable[[], int]) -> dict[str, Any]:
    start, cpu_start = time.perf_counter(), time.process_time()
    num = work()
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    return {"per_cpu_s": num / cpu_s, "per_s": num / wall_s, "num": num}


def measure_building(num_rows: int, num_rounds: int, given: str | None) -> Table:
    """Returns examples per CPU second of the builder, SeqIO and SentencePiece."""
    table = Table(
        "Building: examples rendered and tokenized, one process",
        {
            "what": "", "examples": ",d", "ex/CPU s": ",.0f", "ratio": ".1f", "ex/s": ",.0f",
            "ratio wall": ".1f", "peak MB": ",.0f",
        },
        "ratio: against SeqIO's pipeline of the same tasks, above 1 is faster. The builder also "
        "writes, hashes and syncs the store.\n"
        f"inputs up to {FEATURE_LENGTHS['inputs']}, targets up to {FEATURE_LENGTHS['targets']} "
        f"tokens. median (min-max) over {num_rounds} alternating rounds.",
    )  # fmt: skip
    sides = {"builder": builder, "SeqIO": seqio_pipeline, "SentencePiece alone": sentencepiece}
    with tempfile.TemporaryDirectory() as folder:
        measuring.step("collection: writing rows")
        write_rows(folder, num_rows)
        vocabulary = given or _train_vocabulary(folder)
        measuring.step("collection: building and reading")
        with measuring.contenders({n: (s, (folder, vocabulary)) for n, s in sides.items()}) as all_:
            rounds = measuring.alternate({n: side.round for n, side in all_.items()}, num_rounds)
    counts = {name: found[0]["num"] for name, found in rounds.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"the sides gave different numbers of examples: {counts}")
    for name in sides:
        cells = []
        for what in ("per_cpu_s", "per_s"):
            mine, theirs = ([r[what] for r in rounds[n]] for n in (name, "SeqIO"))
            cells += [Spread.of(mine), Spread.ratio(mine, theirs)]
        table.add(name, counts[name], *cells, rounds[name][-1]["peak_rss_mb"])
    return table


def _train_vocabulary(folder: str) -> str:
    from flan_jax.collection.vocabularies import train_sentencepiece

    texts = [path.read_text() for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    lines = [line for text in texts for line in text.replace("\\n", "\n").split(". ")]
    path = Path(folder, "vocabulary.model")
    train_sentencepiece(lines[:20_000], path, VOCABULARY_SIZE)
    return str(path)


def _member_row(member: int, split: str, index: int) -> dict[str, str]:
    drawn = random.Random(f"{member} {split} {index}")
    words = [str(drawn.randrange(10_000)) for _ in range(40)]
    return {"question": " ".join(words[:36]), "answer": " ".join(words[36:])}


def _same(row: dict[str, str]) -> dict[str, str]:
    return row


def _member_specs(num: int):
    from flan_jax.collection import spec
    from flan_jax.collection.prompts import TemplateGroup
    from flan_jax.collection.sources import GeneratedSource

    templates = TemplateGroup(
        inline=(json.dumps({"id": "plain", "input": "{question}", "target": "{answer}"}),)
    )
    return [
        spec.TaskSpec(
            name=f"member.{i:04}", family="bench", fields=_same, templates=templates,
            source=GeneratedSource(
                functools.partial(_member_row, i), {"train": ROWS_A_MEMBER}
            ),
            splits=("train",), settings=((spec.ZS_NOOPT, 1.0),),
        )
        for i in range(num)
    ]  # fmt: skip


def members_store(num: int, out: str) -> Iterator[dict[str, Any]]:
    """Builds the store of `num` members."""
    from flan_jax.core import modules

    modules.import_tensorflow()
    from flan_jax.collection import build as build_lib
    from flan_jax.collection import registry

    names = [registry.add_task(spec).name for spec in _member_specs(num)]
    registry.add_mixture(MIXTURE, names)
    yield {}
    build_lib.build(
        mixture=MIXTURE, out=out, vocabulary="bytes", feature_lengths=FEATURE_LENGTHS,
        splits=("train",),
    )  # fmt: skip
    yield {}


def open_store(store: str) -> Iterator[dict[str, Any]]:
    """Opens the store and takes a batch."""
    from flan_jax.data.loader import TrainInput, open_train

    yield {}
    start = time.perf_counter()
    config = TrainInput(store=store, batch_size=BATCH_SIZE, feature_lengths=FEATURE_LENGTHS)
    with open_train(config) as batches:
        next(batches)
        yield {"first_s": time.perf_counter() - start}


def open_seqio(num: int) -> Iterator[dict[str, Any]]:
    """Mixes as many SeqIO tasks, their tokens in memory, and takes a batch."""
    from flan_jax.core import modules

    modules.import_tensorflow()
    import numpy as np
    import seqio
    import tensorflow as tf
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # it says of each member that it is not cached
    vocabulary = seqio.ByteVocabulary()
    features = {
        name: seqio.Feature(vocabulary=vocabulary, add_eos=True) for name in ("inputs", "targets")
    }

    def dataset(member: int, split: str, shuffle_files: bool, seed: int | None = None):
        rows = [_member_row(member, split, i) for i in range(ROWS_A_MEMBER)]
        tokens = {
            name: tf.ragged.constant(
                [np.array(vocabulary.encode(r[field]) + [1], np.int32) for r in rows]
            )
            for name, field in (("inputs", "question"), ("targets", "answer"))
        }
        return tf.data.Dataset.from_tensor_slices(tokens).map(
            lambda x: {k: tf.cast(v, tf.int32) for k, v in x.items()}
        )

    names = [f"member.{i:04}" for i in range(num)]
    for i, name in enumerate(names):
        source = seqio.FunctionDataSource(functools.partial(dataset, i), splits=["train"])
        seqio.TaskRegistry.add(name, source=source, output_features=features)
    seqio.MixtureRegistry.add(MIXTURE, names, default_rate=1.0)
    yield {}
    start = time.perf_counter()
    batches = seqio.get_dataset(
        MIXTURE, FEATURE_LENGTHS, seqio.EncDecFeatureConverter(pack=True), dataset_split="train",
        shuffle=True, num_epochs=None, seed=SEED, batch_size=BATCH_SIZE, verbose=False,
    ).as_numpy_iterator()  # fmt: skip
    next(batches)
    yield {"first_s": time.perf_counter() - start}


def measure_opening(sizes: list[int], num_peer: int) -> Table:
    """Returns seconds to the first batch and memory by number of members."""
    table = Table(
        f"Opening: a mixture of N members of {ROWS_A_MEMBER} rows, to the first packed batch",
        {
            "members": ",d", "ours s": ".2f", "SeqIO s": ",.1f", "ratio s": ".4f",
            "ours MB": ",.0f", "SeqIO MB": ",.0f", "ratio MB": ".2f",
        },
        "ours: from a built store on disk; SeqIO: tokens in memory. Imports and registration "
        "excluded from the seconds; MB is\nthe process's peak. ratio: ours / SeqIO, below 1 ours "
        f"is faster or smaller; SeqIO is not run beyond {num_peer} members.\nMeasured once.",
    )  # fmt: skip
    for num in sizes:
        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder, "store"))
            measuring.step(f"collection: building {num} members")
            with measuring.contenders({"build": (members_store, (num, out))}) as one:
                one["build"].round()
            measuring.step(f"collection: opening {num} members")
            with measuring.contenders({"ours": (open_store, (out,))}) as one:
                mine = one["ours"].round()
        theirs = None
        if num <= num_peer:
            with measuring.contenders({"SeqIO": (open_seqio, (num,))}) as one:
                theirs = one["SeqIO"].round()
        cells = []
        for what in ("first_s", "peak_rss_mb"):
            cells += [mine[what], theirs and theirs[what]]
            cells.append(theirs and Spread.ratio([mine[what]], [theirs[what]]))
        table.add(num, *cells)
    return table


def measure(args: argparse.Namespace) -> list[Table]:
    """Returns the tables."""
    num_rows = 200 if args.quick else NUM_ROWS
    sizes = [20] if args.quick else [args.peer_members, NUM_MEMBERS]
    return [
        measure_building(num_rows, args.rounds, args.vocabulary),
        measure_opening(sorted(set(sizes)), args.peer_members),
    ]


def main() -> int:
    """Runs the benchmark."""
    parser = measuring.make_parser(__doc__, num_rounds=3)
    parser.add_argument(
        "--vocabulary", help="a sentencepiece.model (default: one trained on the rows)"
    )
    parser.add_argument(
        "--peer_members",
        type=measuring.positive,
        default=200,
        help="most members to mix with SeqIO",
    )
    return measuring.run(
        __file__,
        parser,
        measure,
        libraries=("grain", "numpy", "seqio", "sentencepiece", "tensorflow"),
    )


if __name__ == "__main__":
    sys.exit(main())
