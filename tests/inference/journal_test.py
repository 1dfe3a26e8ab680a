# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What was finished survives a kill, is gone on from only with the same settings, and then goes."""

import re

import pytest

from flan_jax.core.errors import DataError, UsageError
from flan_jax.inference import journal

SETTINGS = {"top_p": 0.1, "stop": ("a", "b"), "checkpoint": None}


def begun(output, answers, settings=SETTINGS):
    with pytest.raises(KeyboardInterrupt), journal.opened(output, settings) as kept:
        for index, answer in answers.items():
            kept.add(index, answer)
        raise KeyboardInterrupt
    return output.parent / f".{output.name}.partial"


def test_answers_are_there_again_after_an_interruption(tmp_path):
    output = tmp_path / "out.jsonl"
    begun(output, {3: {"prediction": "é\n"}, 0: "x"})
    folder = begun(output, {5: "y"})
    with journal.opened(output, SETTINGS) as kept:
        assert kept.done == {3: {"prediction": "é\n"}, 0: "x", 5: "y"}
    assert not folder.exists()
    with journal.opened(output, SETTINGS) as kept:
        assert kept.done == {}


def test_a_line_cut_by_a_kill_is_done_again(tmp_path):
    output = tmp_path / "out.jsonl"
    folder = begun(output, {0: "x", 1: "y"})
    with open(folder / journal.ANSWERS, "a") as file:
        file.write('{"answer":"z","ind')
    begun(output, {2: "w"})
    with journal.opened(output, SETTINGS) as kept:
        assert kept.done == {0: "x", 1: "y", 2: "w"}


def test_other_settings_are_refused(tmp_path):
    output = tmp_path / "out.jsonl"
    folder = begun(output, {0: "x"})
    message = f"{folder} holds answers of a start with other settings: top_p is 0.1 there, 0.2 here"
    with pytest.raises(UsageError, match=re.escape(message)):
        with journal.opened(output, SETTINGS | {"top_p": 0.2}):
            pass
    with journal.opened(output, SETTINGS) as kept:
        assert kept.done == {0: "x"}


def test_a_damaged_journal_is_named(tmp_path):
    output = tmp_path / "out.jsonl"
    folder = begun(output, {0: "x"})
    with open(folder / journal.ANSWERS, "a") as file:
        file.write("[]\n")
    with pytest.raises(DataError, match=r"answers\.jsonl:2: a damaged line; remove the folder"):
        with journal.opened(output, SETTINGS):
            pass


def test_only_one_process_writes_it(tmp_path):
    output = tmp_path / "out.jsonl"
    with journal.opened(output, SETTINGS):
        with pytest.raises(UsageError, match="is writing"), journal.opened(output, SETTINGS):
            pass
