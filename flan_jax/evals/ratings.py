# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What raters chose: win rates with Wilson intervals, and how far raters agree.

A pair counts once, whatever the number of its raters: for the model, or the tie, that most of them
chose, and as a tie where no choice has most votes. Ratings of one pair are not independent, so an
interval over ratings would be too narrow.
"""

import collections
import dataclasses
import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flan_jax.core import tables
from flan_jax.core.errors import DataError, UsageError
from flan_jax.evals import rating_sheet
from flan_jax.evals.open_ended import A, B
from flan_jax.evals.rating_sheet import Hidden

TIE = "tie"
_CONFIDENCE = 0.95

# Of one rater, by category and id of the pair: A, B or TIE; None where nothing was chosen.
Choices = Mapping[tuple[str, str], str | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tally:
    """Pairs by their outcome."""

    a: int = 0  # the first model is preferred
    b: int = 0
    ties: int = 0
    unanswered: int = 0

    @property
    def num_decided(self) -> int:
        """Pairs in which one model is preferred."""
        return self.a + self.b

    @property
    def win_rate(self) -> float | None:
        """The first model's part of the decided pairs, from 0 to 1; None where there are none."""
        return self.a / self.num_decided if self.num_decided else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far raters of the same pairs agree."""

    num_pairs: int  # rated by at least two
    raw: float  # how many of any two ratings of a pair are equal, the mean over pairs
    kappa: float | None  # None where chance alone would agree always
    kind: str  # whose kappa it is: 'Cohen' for two raters, 'Fleiss' for more


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What several filled sheets say together."""

    models: tuple[str, str]
    by_category: Mapping[str, Tally]
    overall: Tally
    agreement: Agreement | None  # None where no pair has two ratings
    num_left: int  # ratings for the answer on the left, of
    num_sided: int  # those that are no ties: far from half of them, raters preferred a side
    answered: Mapping[str, tuple[int, int]]  # rows with a choice, and rows, of each sheet
    alike: tuple[tuple[str, str], ...]  # sheets of the same pairs and choices, perhaps copies


def read_result(sheets: Sequence[Path], key_path: Path) -> Result:
    """Returns the result of sheets that raters filled in, each by another rater.

    Raises:
        UsageError: a sheet is given twice.
        DataError: a sheet is not one of the key's, was changed, or nothing was chosen in any.
    """
    for one, other in itertools.combinations(sheets, 2):
        if one.resolve() == other.resolve():
            raise UsageError(f"the sheet {one} is given twice; give one of each rater")
    key = rating_sheet.read_key(key_path)
    raters, answered, sides = [], {}, collections.Counter()
    for path in sheets:
        seen = _read_choices(path, key, key_path)
        sides.update(seen.values())
        raters.append({pair: _model(choice, key[pair]) for pair, choice in seen.items()})
        answered[str(path)] = (sum(c is not None for c in seen.values()), len(seen))
    if not any(num for num, _ in answered.values()):
        raise DataError(
            f"no row has a choice in {', '.join(map(str, sheets))}; fill in the column 'choice' "
            f"with {', '.join(rating_sheet.CHOICES)}"
        )
    outcomes = {pair: _majority(votes) for pair, votes in _votes(key, raters).items()}
    return Result(
        models=next(iter(key.values())).models,
        by_category={
            category: _tally(o for pair, o in outcomes.items() if pair[0] == category)
            for category in sorted({category for category, _ in key})
        },
        overall=_tally(outcomes.values()),
        agreement=agreement(raters),
        num_left=sides["left"],
        num_sided=sides["left"] + sides["right"],
        answered=answered,
        alike=tuple(
            (str(sheets[i]), str(sheets[j]))
            for i, j in itertools.combinations(range(len(sheets)), 2)
            if raters[i] == raters[j] and any(raters[i].values())
        ),
    )


def wilson_interval(num: int, total: int) -> tuple[float, float]:
    """Returns Wilson's interval of a proportion at 95 % confidence; `total` must be positive.

    Example:
        >>> [round(bound, 4) for bound in wilson_interval(8, 10)]
        [0.4902, 0.9433]
    """
    z = statistics.NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
    part, weight = num / total, z * z / total
    center = (part + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(part * (1 - part) / total + weight / (4 * total))
    return max(0.0, center - half), min(1.0, center + half)


def agreement(raters: Sequence[Choices]) -> Agreement | None:
    """Returns how far raters agree on the pairs that two or more of them rated.

    For two raters kappa is Cohen's, with the chance agreement of each rater's own shares of
    choices; for more it is Fleiss', with the shares that all have in common. Raters need not all
    rate the same pairs: a pair's agreement is over its own ratings, and all pairs weigh the same.
    """
    pairs = sorted({pair for choices in raters for pair in choices})
    rated = [[c for r in raters if (c := r.get(pair)) is not None] for pair in pairs]
    rated = [votes for votes in rated if len(votes) >= 2]
    if not rated:
        return None
    equal = [
        statistics.fmean(one == other for one, other in itertools.combinations(votes, 2))
        for votes in rated
    ]
    raw = statistics.fmean(equal)
    if len(raters) == 2:
        shares = [collections.Counter(votes[rater] for votes in rated) for rater in (0, 1)]
        chance = sum(shares[0][c] * shares[1][c] for c in (A, B, TIE)) / len(rated) ** 2
    else:
        shares = [
            statistics.fmean(votes.count(choice) / len(votes) for votes in rated)
            for choice in (A, B, TIE)
        ]
        chance = math.fsum(share * share for share in shares)
    return Agreement(
        num_pairs=len(rated),
        raw=raw,
        kappa=None if math.isclose(chance, 1) else (raw - chance) / (1 - chance),
        kind="Cohen" if len(raters) == 2 else "Fleiss",
    )


def table(result: Result) -> list[str]:
    """Returns the result as lines of text."""
    a, b = result.models
    heading = ("category", "pairs", a, b, "ties", "unanswered", f"{a} preferred", "95 % interval")
    rows = [_row(name, tally) for name, tally in result.by_category.items()]
    lines = list(tables.aligned([heading, *rows, _row("all", result.overall)], right=range(1, 8)))
    lines += ["", f"{a} preferred: its part of the pairs in which one is preferred, without ties."]
    for path, (num, num_rows) in result.answered.items():
        lines.append(f"{path}: {num} of {num_rows} rows have a choice.")
    for one, other in result.alike:
        lines.append(
            f"{one} and {other} have the same choices in all rows; if one is a copy, leave it out."
        )
    if result.num_sided:
        lines.append(
            f"The answer on the left was preferred in {result.num_left} of {result.num_sided} "
            "ratings that are no ties."
        )
    if found := result.agreement:
        kappa = (
            "undefined (all choices are the same)" if found.kappa is None else f"{found.kappa:.3f}"
        )
        lines.append(
            f"Two raters of a pair agree in {100 * found.raw:.1f} % ({found.num_pairs} pairs have "
            f"two or more); kappa ({found.kind}) is {kappa}."
        )
    elif len(result.answered) > 1:
        lines.append("No pair was rated by two raters, so nothing is known of their agreement.")
    return lines


def _read_choices(
    path: Path, key: Mapping[tuple[str, str], Hidden], key_path: Path
) -> dict[tuple[str, str], str | None]:
    """Returns the choices of one sheet, all of whose rows are the key's and as they were."""
    choices: dict[tuple[str, str], str | None] = {}
    for row in rating_sheet.read_sheet(path):
        category, name = row.pair
        if row.pair not in key:
            raise DataError(
                f"{row.where}: {key_path} has no pair {name!r} of {category!r}; give the key that "
                "was written with the sheet"
            )
        if row.sha256 != key[row.pair].sha256:
            raise DataError(
                f"{row.where}: the prompt or an answer of {name!r} is not that of {key_path}: the "
                "sheet was changed, or it is another one's; fill in the sheet as it was written"
            )
        if row.pair in choices:
            raise DataError(f"{row.where}: the pair {name!r} is there twice; keep one row")
        choices[row.pair] = row.choice
    return choices


def _model(choice: str | None, hidden: Hidden) -> str | None:
    if choice is None or choice == TIE:
        return choice
    right = B if hidden.left == A else A
    return hidden.left if choice == "left" else right


def _votes(
    key: Iterable[tuple[str, str]], raters: Sequence[Choices]
) -> dict[tuple[str, str], list[str]]:
    return {pair: [c for r in raters if (c := r.get(pair)) is not None] for pair in key}


def _majority(votes: Sequence[str]) -> str | None:
    counted = collections.Counter(votes).most_common()
    if len(counted) > 1 and counted[0][1] == counted[1][1]:
        return TIE
    return counted[0][0] if counted else None


def _tally(outcomes: Iterable[str | None]) -> Tally:
    num = collections.Counter(outcomes)
    return Tally(a=num[A], b=num[B], ties=num[TIE], unanswered=num[None])


def _row(name: str, tally: Tally) -> list[str]:
    counts = (tally.a, tally.b, tally.ties, tally.unanswered)
    shown = [name, str(sum(counts)), *map(str, counts)]
    if tally.win_rate is None:
        return [*shown, "-", "-"]
    low, high = wilson_interval(tally.a, tally.num_decided)
    return [*shown, f"{100 * tally.win_rate:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %"]
