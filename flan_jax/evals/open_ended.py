# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Open-ended answers for human raters: which sample stands for a model, and which pairs are shown.

Chung et al. 2022, section 6: five samples at temperature 0.7; those whose log-probability is better
than half of the median are dropped, for they mostly repeat themselves; the best of the rest stands
for the model. No number of ours says how good an answer is: people do (`rating_sheet`, `ratings`).
"""

import dataclasses
import hashlib
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.core import files, rng
from flan_jax.core.errors import DataError, UsageError
from flan_jax.evals import measures, public_files
from flan_jax.evals.benchmark import GENERATE, TEST, Outcome, Value

NAME = "open_ended"  # of the benchmark

A, B = "a", "b"
SIDES = (A, B)
"""The two models of a comparison, in the order in which they were given."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclasses.dataclass(frozen=True)
class Ranking:
    """What the ranking rule says of a question's samples."""

    chosen: int | None  # the number of the sample that stands for the model; None where is none
    dropped: tuple[int, ...]  # numbers of the samples that are left out


def rank(logprobs: Sequence[float]) -> Ranking:
    """Returns which sample stands for a model.

    Args:
        logprobs: of each sample, the sum over its tokens (no length normalization).

    Raises:
        DataError: one is no finite number, as of a model whose parameters are broken.

    Example:
        >>> rank([-24.0, -3.0, -20.0, -17.0, -31.0])
        Ranking(chosen=3, dropped=(1,))
    """
    if not logprobs:
        return Ranking(None, ())
    if not all(map(math.isfinite, logprobs)):
        raise DataError(f"log-probabilities of samples must be finite, got {list(logprobs)}")
    median = statistics.median(logprobs)
    # Never all: what is at or below the median stays, even where rounding puts it above 0.
    bound = max(median, median / 2)
    dropped = tuple(number for number, value in enumerate(logprobs) if value > bound)
    kept = [number for number in range(len(logprobs)) if number not in dropped]
    return Ranking(max(kept, key=lambda number: logprobs[number], default=None), dropped)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Says which sample stands for the model, and of the answers only what is not an opinion."""

    way: str = dataclasses.field(default=GENERATE, init=False)

    def check(self) -> None:
        """Works everywhere."""

    def judge(self, outcome: Outcome) -> dict[str, Any]:
        """Returns the numbers of the chosen sample and of those dropped."""
        ranking = _ranked(outcome)
        return {"chosen": ranking.chosen, "dropped": list(ranking.dropped)}

    def values(self, outcomes: Sequence[Outcome]) -> list[Value]:
        """Returns percentages, empty answers and dropped samples, and the answers' mean length."""
        rankings = [_ranked(outcome) for outcome in outcomes]
        chosen = [
            "" if ranking.chosen is None else outcome.texts[ranking.chosen].strip()
            for outcome, ranking in zip(outcomes, rankings, strict=True)
        ]
        dropped = [
            100.0 * len(ranking.dropped) / max(len(outcome.texts), 1)
            for outcome, ranking in zip(outcomes, rankings, strict=True)
        ]
        return [
            measures.mean("empty", [100.0 * (not text) for text in chosen]),
            measures.mean("dropped_samples", dropped),
            measures.mean("mean_num_characters", [float(len(text)) for text in chosen]),
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What stands for a model at one prompt."""

    prompt: str
    text: str | None  # None where the prompt was too long for the model, which was not asked


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """Two answers to a prompt as a rater sees them."""

    category: str
    id: str  # its own within the category
    prompt: str
    left: str
    right: str
    left_model: str  # one of SIDES; raters do not see it

    def digest(self) -> str:
        """Returns a hash of all that a rater sees, however a program breaks lines."""
        shown = [self.category, self.id, self.prompt, self.left, self.right]
        return hashlib.sha256(files.dumps([one_break(text) for text in shown]).encode()).hexdigest()


Answers = Mapping[tuple[str, str], Answer]
"""By category and id."""


def read_answers(folder: str | Path) -> Answers:
    """Returns what stands for a model in the folder that an evaluation wrote.

    Raises:
        UsageError: there is no evaluation of the open-ended prompts.
        DataError: with file and line, a prediction is not as the evaluation writes it.
    """
    below = Path(folder) / "predictions" / NAME / f"{TEST}.{GENERATE}"
    paths = sorted(below.glob("*.jsonl"))
    if not paths:
        raise UsageError(
            f"{folder}: no predictions in {below}; name a folder that flan-jax eval "
            f"--suite {NAME} wrote with --out"
        )
    found: dict[tuple[str, str], Answer] = {}
    for path in paths:
        for where, row in public_files.read_json_lines(path):
            name = (path.stem, public_files.text_of(row, "id", where))
            if name in found:
                raise DataError(f"{where}: the id {name[1]!r} is there twice")
            found[name] = _answer(row, where)
    return found


def pairs(a: Answers, b: Answers, seed: int) -> tuple[list[Pair], int]:
    """Returns the pairs in the order in which raters see them, and how many had to be left out.

    The order is random. In each category every model is on the left as often as the other, or once
    more. Left out are prompts that were too long for one of the models.

    Raises:
        DataError: the two models were not asked the same.
    """
    _check_same(a, b)
    asked = [name for name in sorted(a) if a[name].text is not None and b[name].text is not None]
    key = rng.ExampleKey(seed, NAME, 0)
    order = [asked[place] for place in key.sample("order", len(asked), len(asked))]
    a_left = set()
    for category in sorted({category for category, _ in order}):
        names = [name for name in order if name[0] == category]
        num = (len(names) + key.integer(f"odd {category}", 2)) // 2
        a_left.update(names[place] for place in key.sample(f"left {category}", len(names), num))
    shown = [_pair(name, a, b, A if name in a_left else B) for name in order]
    return shown, len(a) - len(asked)


def one_break(text: str) -> str:
    r"""Returns a text whose lines end in `\n`, which spreadsheets change."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _ranked(outcome: Outcome) -> Ranking:
    if len(outcome.logprobs) != len(outcome.texts):
        raise ValueError(
            f"question {outcome.question.id!r}: {len(outcome.texts)} samples with "
            f"{len(outcome.logprobs)} log-probabilities; the ranking rule needs one for each"
        )
    return rank(outcome.logprobs)


def _answer(row: Mapping[str, Any], where: str) -> Answer:
    prompt = _whole(public_files.text_of(row, "inputs", where))
    texts, logprobs = row.get("predictions"), row.get("logprobs")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{where}: need 'predictions', a list of texts")
    if len(texts) < 2 and logprobs is None:  # there is nothing to rank
        logprobs = [0.0] * len(texts)
    numbers = isinstance(logprobs, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in logprobs
    )
    if not numbers or len(logprobs) != len(texts):
        raise DataError(f"{where}: need 'logprobs', a number for each of {len(texts)} predictions")
    try:
        chosen = rank(logprobs).chosen
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    # Stripped, for what some vocabularies put before an answer would tell the models apart.
    return Answer(prompt=prompt, text=None if chosen is None else _whole(texts[chosen]).strip())


def _check_same(a: Answers, b: Answers) -> None:
    for name in sorted(a.keys() ^ b.keys()):
        model, num = ("first" if name in a else "second"), len(a.keys() ^ b.keys())
        raise DataError(
            f"{num} prompts were asked of one model only, such as {name[1]!r} of {name[0]!r} of "
            f"the {model}; evaluate both on the same prompts"
        )
    for name, answer in sorted(a.items()):
        if answer.prompt != b[name].prompt:
            raise DataError(
                f"the two models were asked different prompts as {name[1]!r} of {name[0]!r}; "
                "evaluate both on the same prompts"
            )


def _pair(name: tuple[str, str], a: Answers, b: Answers, left_model: str) -> Pair:
    left, right = (a, b) if left_model == A else (b, a)
    return Pair(
        category=name[0],
        id=name[1],
        prompt=a[name].prompt,
        left=left[name].text or "",
        right=right[name].text or "",
        left_model=left_model,
    )


def _whole(text: str) -> str:
    """Returns a text that all programs keep: control characters and half pairs become U+FFFD."""
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _CONTROL.sub("\ufffd", text)
