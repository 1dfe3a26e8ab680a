# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluating MMLU with a tiny model: how much of the time is not the model's.

A whole `benchmark_jobs.evaluate` (reading the files, prompts and their tokens, asking, what is kept
meanwhile, filters and metrics, predictions, scores and report) against what of that time is spent
in calls of `Engine` and `Scorer`. The tinier a model, the more the rest weighs: this T5 has 0.7
million parameters.

The files are made up, in the layout of MMLU's: words of no meaning, so many that
prompts are as long as MMLU's, a median of 480 tokens (there of GPT-2's vocabulary, here of a
SentencePiece model that is trained on these words). The model has drawn weights, so nothing ends an
answer but its greatest length: it answers with 32 tokens, the benchmark's most, and with 2, which
is what a trained model writes, a letter and the end.
"""

import argparse
import contextlib
import csv
import dataclasses
import math
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import measuring
import numpy as np
from measuring import Spread, Table

NUM_PROMPTS, QUICK_PROMPTS = 1000, 57
NUM_ROWS = 32  # prompts at once
NUM_DEV = 5
VOCABULARY_SIZE = 4000
SHORT = "mmlu_two_tokens"
# How it is asked -> benchmark, way, and what is told of the answers.
CASES = {
    "32 tokens": ("mmlu", "generate"),
    "2 tokens": (SHORT, "generate"),
    "ranked": ("mmlu", "rank"),
}

# Log-normal numbers of words: the median, and sigma of the logarithm. Of MMLU's dev and test files
# they are (20.7, 0.75) over the questions of the 57 subjects, 0.57 within a subject, and (4.1, 1.0)
# over options. Made-up words are more tokens than real ones, so medians are lower; the subjects are
# further apart, as those whose questions have passages are in MMLU.
QUESTIONS = (16.0, 1.1)
SIGMA_WITHIN = 0.57
OPTIONS = (3.0, 1.0)


class Writer:
    """Makes words up, of which a few are frequent and most are rare, as in a language."""

    _SYLLABLES = [c + v + e for c in "bdfglmnprst" for v in "aeiou" for e in ("", "n", "r")]

    def __init__(self, num_words: int = 10_000):
        self._rng = np.random.default_rng(0)
        parts = self._rng.integers(1, 4, num_words)
        self._words = ["".join(self._rng.choice(self._SYLLABLES, num)) for num in parts]
        frequency = 1 / np.arange(1, num_words + 1)
        self._frequency = frequency / frequency.sum()

    def text(self, num_words: int) -> str:
        """Returns so many words."""
        return " ".join(self._rng.choice(self._words, num_words, p=self._frequency))

    def row(self, median: float) -> list[str]:
        """Returns a row of the file of a subject whose questions have `median` words."""
        question = self.text(self._number(median, SIGMA_WITHIN)) + "?"
        options = [self.text(self._number(*OPTIONS)) for _ in range(4)]
        return [question, *options, "ABCD"[self._rng.integers(4)]]

    def _number(self, median: float, sigma: float) -> int:
        return max(round(median * math.exp(sigma * self._rng.normal())), 1)


def write_files(folder: Path, num_prompts: int) -> list[str]:
    """Writes MMLU's dev and val files; returns what is in them."""
    from tasks.evals import mmlu

    writer, texts = Writer(), []
    median, sigma = QUESTIONS
    least, more = divmod(num_prompts, len(mmlu.SUBJECTS))
    for i, subject in enumerate(mmlu.SUBJECTS):
        rank = statistics.NormalDist().inv_cdf((i + 0.5) / len(mmlu.SUBJECTS))
        of_subject = median * math.exp(sigma * rank)
        for part, num in (("dev", NUM_DEV), ("val", least + (i < more))):
            path = folder / mmlu.FOLDER / part / f"{subject}_{part}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [writer.row(of_subject) for _ in range(num)]
            with open(path, "w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(rows)
            texts += [f"{cell}\n" for row in rows for cell in row]
    return texts


def write_model(folder: Path, texts: Sequence[str]) -> None:
    """Writes a checkpoint of the tiny T5 with a vocabulary of its own."""
    import jax

    from flan_jax import formats
    from flan_jax.collection.vocabularies import train_sentencepiece
    from flan_jax.convert.leaves import Arrays
    from flan_jax.core.tree import flatten
    from flan_jax.models.presets import t5_config
    from flan_jax.models.t5 import T5
    from flan_jax.training import params_files

    words = train_sentencepiece(texts, folder / "sentencepiece.model", VOCABULARY_SIZE)
    config = t5_config("tiny", vocab_size=words.padded_size)
    leaves = flatten(jax.device_get(T5(config).init(jax.random.key(0))))
    info = {"vocabulary": words.facts(), "model": formats.describe_model(config)}
    params_files.write_params(folder / "checkpoint_0", Arrays(leaves), info)


class Clock:
    """Adds up the time of what is run with it."""

    def __init__(self):
        self.wall_s = self.cpu_s = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Runs during the block."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall_s += time.perf_counter() - wall
            self.cpu_s += time.process_time() - cpu


class TimedEngine:
    """An engine whose clock runs while it works."""

    def __init__(self, engine: Any, clock: Clock):
        self._engine, self._clock = engine, clock
        self.model, self.num_rows = engine.model, engine.num_rows

    def stream(self, *arguments: Any) -> Iterator[Any]:
        """Answers as the engine does."""
        answers = self._engine.stream(*arguments)
        while True:
            with self._clock.running():
                done = next(answers, None)
            if done is None:
                return
            yield done


class TimedScorer:
    """A scorer whose clock runs while it works."""

    def __init__(self, scorer: Any, clock: Clock):
        self._scorer, self._clock = scorer, clock
        self.max_input_length, self.num_rows = scorer.max_input_length, scorer.num_rows

    def score(self, *arguments: Any) -> Any:
        """Scores as the scorer does."""
        with self._clock.running():
            return self._scorer.score(*arguments)


def evaluated(folder: str, case: str) -> Iterator[dict[str, Any]]:
    """Evaluates once to compile, then once a round."""
    from flan_jax import benchmark_jobs, predicting
    from flan_jax.evals import benchmark
    from flan_jax.evals.suite import SuiteConfig
    from tasks.evals import benchmarks

    del benchmarks  # imported, it is registered
    mmlu = benchmark.registered()["mmlu"]
    two = dataclasses.replace(mmlu.decoding, max_length=2)
    benchmark.add(dataclasses.replace(mmlu, name=SHORT, decoding=two))
    name, way = CASES[case]
    config = SuiteConfig(benchmarks=(name,), data=folder, ways=way)
    [part] = benchmark_jobs.read(config)
    inner = predicting.load(checkpoint_path=f"{folder}/model", batch_size=NUM_ROWS)

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Timed(predicting.Predictor):
        clock: Clock

        def new_engine(self, *, with_logprobs: bool) -> Any:
            return TimedEngine(super().new_engine(with_logprobs=with_logprobs), self.clock)

        @property
        def scorer(self) -> Any:
            return TimedScorer(inner.scorer, self.clock)

    facts = {f.name: getattr(inner, f.name) for f in dataclasses.fields(inner)}
    lengths = [len(inner.encode(s.prompt(q))) for s, q in part.questions()]
    found = {
        "tokens": statistics.median(lengths),
        "too_long": sum(length > inner.max_input_length for length in lengths) / len(lengths),
    }
    while True:
        clock, whole = Clock(), Clock()
        out = tempfile.mkdtemp(dir=folder)
        with whole.running():
            benchmark_jobs.evaluate(Timed(**facts, clock=clock), config, out)
        shutil.rmtree(out)
        yield found | {
            "num_prompts": len(lengths),
            "whole_s": whole.wall_s,
            "model_s": clock.wall_s,
            "outside_s": whole.wall_s - clock.wall_s,
            "outside_cpu_s": whole.cpu_s - clock.cpu_s,
            "outside": 1 - clock.wall_s / whole.wall_s,
            "outside_cpu": 1 - clock.cpu_s / whole.cpu_s,
        }


def measure(args: argparse.Namespace) -> list[Table]:
    """Returns the table."""
    table = Table(
        "Evaluating MMLU's validation questions, 5 exemplars each, with a tiny T5: all of it, and "
        "what of it is outside the model",
        {
            "answers": "", "prompts": ",d", "tokens a prompt": ".0f", "too long": ".1%",
            "whole s": ".2f", "model s": ".2f", "outside s": ".2f", "ratio outside": ".1%",
            "outside CPU s": ".2f", "ratio outside CPU": ".1%",
        },
        "tokens a prompt: the median, before exemplars are dropped from those that are too long, "
        "of more than 1,024 tokens.\nmodel: in calls of Engine.stream and Scorer.score. ratio "
        "outside: of the whole, 0 would be the model alone; CPU: of all threads.\n"
        f"median (min-max) over {args.rounds} alternating rounds of the whole, after one that "
        "compiles.",
    )  # fmt: skip
    num = QUICK_PROMPTS if args.quick else args.prompts
    with tempfile.TemporaryDirectory() as folder:
        texts = write_files(Path(folder), num)
        write_model(Path(folder) / "model", texts)
        measuring.step(f"evaluation: {num:,} prompts")
        sides = {case: (evaluated, (folder, case)) for case in CASES}
        with measuring.contenders(sides) as all_:
            runs = {case: contender.round for case, contender in all_.items()}
            measured = measuring.alternate(runs, args.rounds)
    for case, rounds in measured.items():
        names = ("whole_s", "model_s", "outside_s", "outside", "outside_cpu_s", "outside_cpu")
        first = rounds[0]
        table.add(
            case, first["num_prompts"], first["tokens"], first["too_long"],
            *(Spread.of([each[name] for each in rounds]) for name in names),
        )  # fmt: skip
    return [table]


def main() -> int:
    """Runs the benchmark."""
    parser = measuring.make_parser(__doc__, num_rounds=3)
    parser.add_argument(
        "--prompts", type=measuring.positive, default=NUM_PROMPTS,
        help="how many (default: %(default)s)",
    )  # fmt: skip
    return measuring.run(
        __file__, parser, measure, libraries=("jax", "flax", "numpy", "sentencepiece")
    )


if __name__ == "__main__":
    sys.exit(main())
