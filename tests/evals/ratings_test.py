# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Results of filled sheets: win rates, intervals, agreement, and sheets that are not the key's."""

import math
import random
import re

import pytest

from flan_jax.core import errors
from flan_jax.evals import open_ended, rating_sheet, ratings
from flan_jax.evals.open_ended import A, Answer, B
from flan_jax.evals.ratings import TIE, Tally


def test_wilson_intervals_are_the_published_ones_and_stay_in_range():
    # Newcombe 1998, Table I: the score method without continuity correction.
    for num, total, low, high in (
        (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):  # fmt: skip
        assert ratings.wilson_interval(num, total) == pytest.approx((low, high), abs=5e-5)
    assert ratings.wilson_interval(20, 20)[1] == 1.0
    # The bounds are where the score test just rejects: the definition, solved by bisection.
    low, high = ratings.wilson_interval(7, 30)
    for bound in (low, high):
        z = abs(7 / 30 - bound) / math.sqrt(bound * (1 - bound) / 30)
        assert z == pytest.approx(1.959964, abs=1e-5)


def choices(text):
    """Returns a rater's choices of pairs 0, 1, ...: a letter each, '.' for none."""
    meaning = {"a": A, "b": B, "t": TIE, ".": None}
    return {("c", str(i)): meaning[letter] for i, letter in enumerate(text)}


def test_two_raters_agree_by_cohens_kappa():
    # 20 pairs: both a 8, both b 5, both tie 1; 4 times a and b, 2 times b and tie.
    # First: a 12, b 7, t 1. Second: a 8, b 9, t 3. Chance: (96 + 63 + 3) / 400 = 0.405.
    first = choices("a" * 8 + "b" * 5 + "t" + "a" * 4 + "b" * 2)
    second = choices("a" * 8 + "b" * 5 + "t" + "b" * 4 + "t" * 2)
    found = ratings.agreement([first, second])
    assert (found.num_pairs, found.kind, found.raw) == (20, "Cohen", 0.7)
    assert found.kappa == pytest.approx((0.7 - 0.405) / (1 - 0.405))
    unanswered = {**choices("." * 25), **second, ("c", "30"): A}
    assert ratings.agreement([first, unanswered]) == found


def fleiss(rows, categories):
    """Fleiss 1971 for the same number of raters everywhere, as it is printed there."""
    num, n = len(rows), len(rows[0])
    counts = [[row.count(c) for c in categories] for row in rows]
    shares = [sum(row[j] for row in counts) / (num * n) for j in range(len(categories))]
    by_row = [(sum(k * k for k in row) - n) / (n * (n - 1)) for row in counts]
    chance = sum(p * p for p in shares)
    return (sum(by_row) / num - chance) / (1 - chance)


def test_more_raters_agree_by_fleiss_kappa():
    draw = random.Random(1)
    raters = [choices("".join(draw.choices("abt", (5, 3, 1), k=40))) for _ in range(4)]
    rows = [[rater["c", str(i)] for rater in raters] for i in range(40)]
    found = ratings.agreement(raters)
    assert found.kind == "Fleiss" and found.num_pairs == 40
    assert found.kappa == pytest.approx(fleiss(rows, (A, B, TIE)))
    # Five raters of whom each pair has four.
    shared = (
        [{pair: v for i, (pair, v) in enumerate(rater.items()) if i % 2} for rater in raters[:1]]
        + raters[1:]
        + [{pair: v for i, (pair, v) in enumerate(raters[0].items()) if i % 2 == 0}]
    )
    assert ratings.agreement(shared) == found


def test_agreement_that_says_nothing():
    assert ratings.agreement([choices("ab")]) is None
    assert ratings.agreement([choices("ab.."), choices("..ab")]) is None
    same = ratings.agreement([choices("aaa"), choices("aaa")])
    assert (same.raw, same.kappa) == (1.0, None)
    opposed = ratings.agreement([choices("aabb"), choices("bbaa")])
    assert (opposed.raw, opposed.kappa) == (0.0, -1.0)


@pytest.fixture
def made(tmp_path):
    """Returns a function that writes sheets in which raters chose models, and the key's path."""
    a = {(c, f"{c}{i}"): Answer(prompt="?", text=f"{i} A") for c in "xy" for i in range(4)}
    b = {name: Answer(prompt="?", text=f"{name[1]} B") for name in a}
    pairs, _ = open_ended.pairs(a, b, 0)
    rating_sheet.write_key(tmp_path / "key.csv", pairs, ("one", "two"))

    def write(*raters):
        """Each is a text: a letter for each of the eight pairs, x0 to y3; ' ' leaves a row out."""
        paths = []
        for number, text in enumerate(raters):
            path = tmp_path / f"{number}.csv"
            chosen = dict(zip(sorted(a), text, strict=True))
            rows = [p for p in pairs if chosen[p.category, p.id] != " "]
            rating_sheet.write_sheet(tmp_path, str(number), rows)
            lines = path.read_text(encoding="utf-8").splitlines()
            for i, pair in enumerate(rows, start=1):
                letter = chosen[pair.category, pair.id]
                sides = {pair.left_model: "left", "t": "tie", ".": ""}
                lines[i] = lines[i].removesuffix('""') + f'"{sides.get(letter, "right")}"'
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            paths.append(path)
        return paths, tmp_path / "key.csv"

    return write


def test_one_raters_choices_are_counted_for_the_models(made):
    result = ratings.read_result(*made("aabtbb.a"))
    assert result.models == ("one", "two")
    assert result.by_category == {"x": Tally(a=2, b=1, ties=1), "y": Tally(a=1, b=2, unanswered=1)}
    assert result.overall == Tally(a=3, b=3, ties=1, unanswered=1)
    assert result.overall.win_rate == 0.5 and result.agreement is None
    assert list(result.answered.values()) == [(7, 8)] and result.num_sided == 6
    assert Tally(ties=2).win_rate is None


def test_sheets_that_share_the_pairs_are_put_together(made):
    result = ratings.read_result(
        *made(
            "ab  ta  ",
            "  bb  ..",
        )
    )
    assert result.overall == Tally(a=2, b=3, ties=1, unanswered=2)
    assert result.agreement is None
    assert list(result.answered.values()) == [(4, 4), (2, 4)]


def test_a_pair_counts_once_by_majority(made):
    result = ratings.read_result(*made("aaaabt.a", "aabt.b.b", "abbbbat."))
    #  x: aaa aab abb atb    y: b.b tba ..t ab.
    assert result.by_category == {"x": Tally(a=2, b=1, ties=1), "y": Tally(b=1, ties=3)}
    assert result.agreement.kind == "Fleiss" and result.agreement.num_pairs == 7


def test_the_side_is_counted_whatever_the_model(made):
    paths, key = made("........")
    text = paths[0].read_text(encoding="utf-8").replace(',""\n', ',"left"\n')
    paths[0].write_text(text, encoding="utf-8")
    result = ratings.read_result(paths, key)
    assert (result.num_left, result.num_sided) == (8, 8)
    assert result.overall == Tally(a=4, b=4)  # each is on the left as often


def test_the_table_names_models_counts_and_intervals(made):
    lines = ratings.table(ratings.read_result(*made("aaabttt.", "aabbtttt")))
    assert lines[0].split() == (
        ["category", "pairs", "one", "two", "ties", "unanswered", "one", "preferred", "95", "%"]
        + ["interval"]
    )
    assert lines[1].split() == "x 4 2 1 1 0 66.7 % 20.8 to 93.9 %".split()
    assert lines[2].split() == "y 4 0 0 4 0 - -".split()
    assert lines[3].split() == "all 8 2 1 5 0 66.7 % 20.8 to 93.9 %".split()
    assert lines[-1].startswith("Two raters of a pair agree in 85.7 % (7 pairs have two or more); ")
    lines = ratings.table(ratings.read_result(*made("aaaaaaaa", "aaaaaaaa")))
    assert lines[-1].endswith("kappa (Cohen) is undefined (all choices are the same).")
    assert any(
        re.fullmatch("(.*0.csv) and .*1.csv have the same choices .* copy.*", x) for x in lines
    )
    lines = ratings.table(ratings.read_result(*made("aaaa    ", "    aaaa")))
    assert "same choices" not in "".join(lines)
    assert lines[-1].startswith("No pair was rated by two raters")


def test_changed_foreign_and_doubled_rows_are_refused(made, tmp_path):
    paths, key = made("abababab")
    text = paths[0].read_text(encoding="utf-8")

    def refused(changed, said, *more):
        paths[0].write_text(changed, encoding="utf-8")
        with pytest.raises(errors.DataError, match=said):
            ratings.read_result([*paths, *more], key)

    refused(text.replace('"?"', '"!"', 1), r"0.csv:2: the prompt or an answer of .* was changed")
    refused(text.replace(' A"', ' A."', 1), "the sheet was changed, or it is another one's")
    refused(text.replace('"x2"', '"x7"'), r"key.csv has no pair 'x7' of 'x'; give the key")
    refused(text + text.splitlines()[1] + "\n", r"0.csv:10: the pair '..' is there twice")
    first = text.splitlines()[1].split(",")
    first[3], first[4] = first[4], first[3]  # the sides swapped
    refused(text.replace(text.splitlines()[1], ",".join(first)), r"0.csv:2: .* was changed")
    paths[0].write_text(text, encoding="utf-8")
    (tmp_path / "again.csv").symlink_to(paths[0])
    with pytest.raises(errors.UsageError, match="is given twice; give one of each rater"):
        ratings.read_result([paths[0], tmp_path / "again.csv"], key)


def test_sheets_in_which_nothing_was_chosen_are_told(made):
    with pytest.raises(errors.DataError, match="no row has a choice in .*left, right, tie"):
        ratings.read_result(*made("........"))
