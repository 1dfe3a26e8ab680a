# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names close to a typo are found, and every error class ends a command with its exit code."""

import pytest

from flan_jax.core import errors


@pytest.mark.parametrize(
    ("typo", "expected"),
    [("flam2022", "flan2022"), ("COT", "cot"), ("mini_al", "mini_all"), ("heldout", "x_heldout")],
)
def test_closest_finds_the_meant_name(typo, expected):
    known = ["flan2022", "cot", "mini_all", "mini_4", "x_heldout", "zzz"]
    assert errors.closest(typo, known)[0] == expected


def test_unknown_name_without_near_names_lists_what_is_known():
    message = str(errors.unknown_name("task", "qqqq", ["beta", "alpha", "beta"]))
    assert message == "unknown task 'qqqq'; known: alpha, beta"
    many = str(errors.unknown_name("task", "qqqq", map("t{:02}".format, range(11)), "(see docs)"))
    assert many.endswith("known: t00, t01, t02, t03, t04, t05, t06, t07, t08, t09, ... (see docs)")
    assert str(errors.unknown_name("task", "q", [])) == "unknown task 'q'; none is known"


def test_unknown_name_begins_with_the_place_and_names_three_at_most():
    known = ["steps", "step_offset", "stepwise", "step"]
    message = str(errors.unknown_name("macro", "stps", known, place="run.gin:3"))
    assert message.startswith("run.gin:3: unknown macro 'stps'; did you mean 'steps' or 'step")
    assert message.count(" or ") == 2


def test_exit_codes_are_described():
    for error in (
        errors.FlanError, errors.UsageError, errors.DataError,
        errors.IncompleteError, errors.PreemptedError,
    ):  # fmt: skip
        assert error.exit_code in errors.EXIT_CODES
    assert errors.UsageError.exit_code == 2
    assert errors.IncompleteError.exit_code == 4
    assert errors.PreemptedError.exit_code == 75
