# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM is noticed inside the guard, and only there."""

import os
import signal
import threading

from flan_jax.training.preemption import PreemptionGuard


def test_sigterm_sets_the_flag_and_the_old_handler_comes_back(capsys):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("outside"))
    try:
        with PreemptionGuard() as guard:
            assert not guard.requested(1)
            os.kill(os.getpid(), signal.SIGTERM)
            assert guard.requested(2)
        os.kill(os.getpid(), signal.SIGTERM)
        assert seen == ["outside"]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "SIGTERM" in capsys.readouterr().err


def test_in_another_thread_the_guard_leaves_signals_alone():
    before, inside = signal.getsignal(signal.SIGTERM), []

    def work():
        with PreemptionGuard() as guard:
            inside.append((signal.getsignal(signal.SIGTERM), guard.requested(1)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [(before, False)]
