# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""In a log, progress is plain lines with count, rate and ETA."""

from flan_jax.core import progress


def test_plain_lines_in_a_log(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.Progress("build", total=10, unit="task") as bar:
        for _ in range(5):
            now[0] += 4.0
            bar.advance(2, note="loss 1.5")
    lines = capsys.readouterr().err.splitlines()
    # 2 tasks each 4 s: lines at 12 s (6 done, 8 s left) and at the end; none in between.
    assert lines[0] == "build: 6/10, 2 s/task, ETA 8 s, loss 1.5"
    assert lines[-1] == "build: 10/10, 2 s/task, took 20.0 s, loss 1.5"
    assert len(lines) == 2
