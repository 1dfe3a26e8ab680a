# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two small benchmarks for tests: choices with exemplars, and samples that vote.

Their file is `toy/<split>.tsv`: subtask, question, right letter.
"""

import functools

from flan_jax.evals import public_files
from flan_jax.evals.benchmark import Benchmark, Question, Subtask, add, add_suite
from flan_jax.evals.measures import Extracted, Ranked, Voted
from flan_jax.inference.decode_config import DecodeConfig

EXEMPLARS = ("Is it one? (A) yes (B) no\n(A)\n\n", "Is it two? (A) yes (B) no\n(B)\n\n")


def load(folder, split, has_exemplars=True):
    rows = {}
    for number, (_, row) in enumerate(public_files.read_tsv(public_files.find(
        folder, f"{split}.tsv", what="rows of the toy"), 3)):  # fmt: skip
        rows.setdefault(row[0], []).append((number, row[1], row[2]))
    return [
        Subtask(
            name=name,
            description="Choose.\n\n",
            exemplars=EXEMPLARS if has_exemplars else (),
            baseline=50.0,
            groups=("first",) if name == "one" else ("other",),
            questions=tuple(
                Question(
                    id=str(number), text=f"{text} (A) yes (B) no\n", target=f"({letter})",
                    references=(letter,), choices=("(A)", "(B)"), labels=("A", "B"),
                    options=("yes", "no"), meta={"number": number},
                )
                for number, text, letter in of_subtask
            ),
        )
        for name, of_subtask in rows.items()
    ]  # fmt: skip


add(
    Benchmark(
        name="toy", version=1, protocol="2-shot", folder="toy", files="a .tsv", load=load,
        decoding=DecodeConfig(max_length=4, stop=("\n\n",)), splits=("validation", "test"),
        measures=(Extracted("option_letter"), Ranked()),
    )
)  # fmt: skip
add(
    Benchmark(
        name="toy_vote", version=1, protocol="0-shot, 3 samples", folder="toy", files="a .tsv",
        load=functools.partial(load, has_exemplars=False), splits=("validation",),
        decoding=DecodeConfig(max_length=4, num_samples=3, temperature=1.0),
        measures=(Voted("option_letter"),),
    )
)  # fmt: skip
add_suite("toys", ("toy", "toy_vote"))


def write(folder, num=5):
    """Writes the files below a folder; returns it."""
    (folder / "toy").mkdir(parents=True)
    for split in ("validation", "test"):
        lines = [f"{name}\tIs {split} {i} {name}?\t{'AB'[i % 2]}\n" for name in ("one", "two")
                 for i in range(num)]  # fmt: skip
        (folder / "toy" / f"{split}.tsv").write_text("".join(lines))
    return folder
