# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The picture of a run's time: what stands in it, for few attempts and for many."""

import re

import pytest

from flan_jax.launching import attempts, goodput, timeline
from flan_jax.launching.goodput import Span
from tests.launching.event_logs import Log, by_process


def killed_run(num, processes=1):
    """Returns the account of a run of `num` attempts, all but the last killed 2 steps in."""
    logs = [Log(index) for index in range(processes)]
    for attempt in range(num):
        at, first = 100.0 * attempt, attempt
        for log in logs:
            log.start(at).phase(at, at + 20, "compile").begun(at + 20, first)
            log.step(at + 20, first + 1).step(at + 40, first + 2)
            log.phase(at + 44, at + 45, "checkpoint_save")
    for log in logs:
        log.end(100.0 * num, 0)
    return goodput.account(attempts.attempts(by_process(*logs)))


def test_every_category_has_a_color():
    assert set(timeline.COLORS) == set(goodput.CATEGORIES)
    assert len(set(timeline.COLORS.values())) == len(timeline.COLORS)


def test_stretches_are_few_and_leave_out_what_is_small():
    spans = [Span(10, 15, "compile"), Span(15, 15.1, "eval"), Span(15.1, 18, "steps")]
    # Ten parts of a second: five of compiling, three of steps, two of nothing.
    assert list(timeline.stretches(spans, 10, 10, num=10)) == [
        (0, 5, "compile"), (5, 3, "steps"),
    ]  # fmt: skip
    many = [Span(i / 10, (i + 1) / 10, "eval" if i % 10 == 3 else "steps") for i in range(1000)]
    assert list(timeline.stretches(many, 0, 100, num=20)) == [(0, 100, "steps")]
    assert list(timeline.stretches([], 0, 100, num=20)) == []


@pytest.mark.parametrize(("num", "processes"), [(1, 1), (3, 2), (50, 12)])
def test_a_picture_names_what_it_shows(tmp_path, num, processes):
    png, svg = timeline.save(killed_run(num, processes), tmp_path / "goodput")
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    text = svg.read_text()
    words = set(re.findall(r">([^<>]+)</text>", text))
    lanes = [word for word in words if re.fullmatch(r"process \d+", word)]
    assert "run" in words and len(lanes) == (min(processes, 8) if processes > 1 else 0)
    assert ("ended by a fault" in words) == (num > 1) and "checkpoint" in words
    assert any(word.startswith("Goodput ") for word in words)
    assert any(word.startswith("lost  ") for word in words) == (num > 1)
    assert ("8 of 12 processes shown" in words) == (processes == 12)
    assert timeline.COLORS["compile"] in text and "nan" not in text.lower()


def test_checkpoints_are_where_their_writing_began():
    log = Log().start(0).begun(0, 4).step(1, 5).phase(2, 3, "checkpoint_save").phase(4, 5, "eval")
    log.step(6, 6).phase(7, 9, "checkpoint_save")
    assert timeline.checkpoints(log.records) == [(3, 5), (9, 6)]


def test_the_same_run_gives_the_same_bytes(tmp_path):
    first = [path.read_bytes() for path in timeline.save(killed_run(2), tmp_path / "a")]
    assert first == [path.read_bytes() for path in timeline.save(killed_run(2), tmp_path / "b")]
