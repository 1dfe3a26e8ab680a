# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which of several last words is the cause, and what it means for the job."""

import pytest

from flan_jax.launching import endings
from flan_jax.launching.endings import End, LastWords


def end(index, code, *lines, time_s=0.0, killed=False):
    words = LastWords()
    for line in lines:
        words.add(line)
    return End(index=index, code=code, time_s=time_s, words=words, killed=killed)


LOST_1 = "flan-jax: error: process 1 ended without a word, and start the same command again"
GIVEN_UP = "the other processes gave this one up"
LOST_0 = "flan-jax: error: process 0 ended without a word"
FULL = "flan-jax: error: a checkpoint in /m could not be written (No space left on device)"
SAVED = "flan-jax: stopped: asked to stop at step 7 of 9; saved /m/7; start the same command again"


@pytest.mark.parametrize(
    ("ends", "kind", "cause"),
    [
        ([end(0, 0), end(1, 0)], "done", ""),
        # All saved.
        (
            [end(0, 75, SAVED), end(1, 75, SAVED)],
            "preempted",
            "process 0: asked to stop at step 7 of 9; saved /m/7",
        ),
        # Told before there was anything to save: the others lose it, and say so.
        ([end(0, 1, LOST_1), end(1, -15)], "preempted", "process 1 was ended by SIGTERM"),
        # The memory's killer.
        (
            [end(0, 1, LOST_1), end(1, -9)],
            "crashed",
            "process 1 was ended by SIGKILL (out of memory?)",
        ),
        # A peer may meet the loss in the middle of something else, and fail of that.
        (
            [end(0, 1, FULL, time_s=2.0), end(1, -9, time_s=1.0)],
            "crashed",
            "process 1 was ended by SIGKILL (out of memory?)",
        ),
        # The coordinator's death aborts the others.
        (
            [end(0, -9), end(1, -6, "F1128 client.h:80] Terminating process because ...")],
            "crashed",
            "process 0 was ended by SIGKILL (out of memory?)",
        ),
        # One is misconfigured, and the others end with its exit code.
        (
            [
                end(0, 2, "flan-jax: error: process 1 of this job failed; its own message says so"),
                end(1, 2, "flan-jax: error: unknown mixture 'flam'", time_s=1.0),
            ],
            "usage",
            "process 1: unknown mixture 'flam'",
        ),
        # What a process says of itself wins over what is said of it, whoever ended first.
        (
            [end(0, 1, LOST_1, time_s=1.0), end(1, 1, FULL, time_s=2.0)],
            "crashed",
            "process 1: a checkpoint in /m could not be written (No space left on device)",
        ),
        # One may be given up with the process that failed, before that one has ended.
        (
            [
                end(0, 1, FULL, time_s=2.0),
                end(1, 1, f"flan-jax: error: {GIVEN_UP}: process 0 of 2 ended", time_s=1.0),
            ],
            "crashed",
            "process 0: a checkpoint in /m could not be written (No space left on device)",
        ),
        # A thread that watches the others speaks beside the one that works.
        (
            [end(0, 1, LOST_1, FULL), end(1, -6, "F1128 x")],
            "crashed",
            "process 0: a checkpoint in /m could not be written (No space left on device)",
        ),
        # One that hangs has no last words; it is killed when the others have ended.
        (
            [end(0, 1, "flan-jax: error: process 1 is silent for 10 s"), end(1, -9, killed=True)],
            "crashed",
            "process 1 is silent for 10 s",
        ),
        # A stack trace's last line.
        (
            [end(0, 1, LOST_1), end(1, 1, "Traceback", "ValueError: x", "")],
            "crashed",
            "process 1 ended with code 1: ValueError: x",
        ),
        # Nothing mends these.
        (
            [end(0, 2, "flan-jax: error: no such recipe"), end(1, 1, LOST_0)],
            "usage",
            "process 0: no such recipe",
        ),
        ([end(0, 3, "flan-jax: error: no memory left")], "usage", "no memory left"),
        ([end(0, -9)], "crashed", "the process was ended by SIGKILL (out of memory?)"),
        # It failed, and was aborted as it left while the others did not.
        (
            [end(0, -6, FULL, "F1128 09:55:01.920108   29139 client.h:80] Terminating")],
            "crashed",
            "a checkpoint in /m could not be written",
        ),
        (
            [end(0, -6, "F1128 09:55:01.920108   29139 client.h:80] Terminating", "    @ 0x7f")],
            "crashed",
            "the process was ended by SIGABRT: Terminating",
        ),
        ([end(0, -11, "Fatal: x")], "crashed", "the process was ended by SIGSEGV: Fatal: x"),
        ([end(0, 1)], "crashed", "the process ended with code 1"),
        # One had ended well when the other was killed.
        ([end(0, 0), end(1, -9)], "crashed", "process 1 was ended by SIGKILL (out of memory?)"),
    ],
)
def test_the_cause_is_named(ends, kind, cause):
    verdict = endings.judge(ends)
    assert verdict.kind == kind
    assert verdict.cause.startswith(cause) and bool(cause) == bool(verdict.cause)
    assert "start the same command" not in verdict.cause


def test_a_line_that_begins_with_its_own_number_is_its_own():
    alone = "flan-jax: error: process 1 of 2 did not meet the others at h:1 within 120 s"
    verdict = endings.judge([end(0, -6, "F1128 x"), end(1, 1, alone)])
    assert verdict.cause == "process 1 of 2 did not meet the others at h:1 within 120 s"
