# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM is noticed inside the guard, and only there; several processes stop at one place."""

import os
import signal
import threading

import pytest

from flan_jax.core.errors import PreemptedError
from flan_jax.parallel import preemption
from flan_jax.parallel.preemption import PreemptionGuard, stop_if_asked


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_sets_the_flag_and_the_old_handler_comes_back(capsys):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("outside"))
    try:
        with PreemptionGuard() as guard:
            assert not guard.requested()
            terminate()
            assert guard.requested() and guard.waited_s() >= 0
        terminate()
        assert seen == ["outside"]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "SIGTERM" in capsys.readouterr().err


def test_in_another_thread_the_guard_leaves_signals_alone():
    before, inside = signal.getsignal(signal.SIGTERM), []

    def work():
        with PreemptionGuard() as guard:
            inside.append((signal.getsignal(signal.SIGTERM), guard.requested()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [(before, False)]


def test_an_interruptible_block_ends_at_the_signal_and_the_next_one_at_once():
    with PreemptionGuard() as guard:
        with pytest.raises(PreemptedError), guard.interruptible():
            terminate()
            pytest.fail("the block went on")
        with pytest.raises(PreemptedError), guard.interruptible():
            pytest.fail("the block was begun")


@pytest.fixture
def agreement(monkeypatch):
    """Makes this process one of two, told of the place agreed on by jax: a count of questions."""
    asked, place = [], []
    monkeypatch.setattr(preemption.jax, "process_count", lambda: 2)

    def reached(count):
        asked.append(count)
        return count in place

    monkeypatch.setattr(preemption.multihost_utils, "reached_preemption_sync_point", reached)
    return asked, place


def test_several_processes_count_their_questions_and_stop_at_one_of_them(agreement):
    asked, place = agreement
    with PreemptionGuard() as guard:
        assert not guard.requested()
        stop_if_asked()  # the block is not interruptible here: no question
        place.append(asked[-1] + 3)
        done = []
        with pytest.raises(PreemptedError), guard.interruptible():
            for number in range(9):
                stop_if_asked()
                done.append(number)
        assert done == [0, 1]
        assert guard.requested()  # and so it stays
        with pytest.raises(PreemptedError), guard.interruptible():
            pytest.fail("the block was begun")
    assert asked == sorted(set(asked))  # a count never comes again
    stop_if_asked()  # nothing guards now


def test_work_without_a_guard_is_made_stoppable(agreement):
    asked, place = agreement
    done = []
    with preemption.stoppable():
        stop_if_asked()
        place.append(asked[-1] + 2)
        with pytest.raises(PreemptedError):
            for number in range(9):
                stop_if_asked()
                done.append(number)
    assert done == [0]
    with PreemptionGuard() as guard, preemption.stoppable():
        before = len(asked)
        stop_if_asked()  # the guard of a training decides: its block is not interruptible
        assert len(asked) == before and not guard.requested()
