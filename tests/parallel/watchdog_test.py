# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A process that does not get on is ended with a cause and its stacks; one that does is left."""

import threading
import time

from flan_jax.core import events
from flan_jax.parallel import watchdog
from flan_jax.parallel.watchdog import Watchdog


def test_a_hang_is_named_with_phase_and_stacks(tmp_path, capsys):
    ended = threading.Event()
    codes = []

    def end(code):
        codes.append(code)
        ended.set()

    def stuck_here():
        assert ended.wait(5)

    with Watchdog(
        tmp_path, timeout_s=0.2, name="process 1 of 2", others=lambda: {0: "step 3"}, end=end
    ):
        with events.phase("eval"):
            stuck_here()
    assert codes == [1]
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert line.startswith("flan-jax: error: process 1 of 2 has not got on for ")
    for part in (
        "eval",
        "process 0 is at: step 3",
        f"its stacks are in {tmp_path}/stacks/process_1_of_2",
    ):
        assert part in line
    (stacks,) = (tmp_path / "stacks").iterdir()
    assert "in stuck_here" in stacks.read_text()


def test_who_gets_on_is_left_alone(tmp_path):
    codes = []
    with Watchdog(tmp_path, timeout_s=0.3, name="process 0 of 1", end=codes.append):
        for _ in range(8):
            time.sleep(0.1)
            watchdog.beat()
    with Watchdog(tmp_path, timeout_s=0, name="process 0 of 1", end=codes.append):
        time.sleep(0.1)
    time.sleep(0.4)  # outside nothing is watched
    assert codes == [] and not list(tmp_path.iterdir())


def test_stacks_go_to_the_log_where_the_folder_cannot_be_written(tmp_path, capfd):
    (tmp_path / "stacks").write_text("a file in the way")
    ended = threading.Event()
    with Watchdog(tmp_path, timeout_s=0.1, name="process 0 of 1", end=lambda code: ended.set()):
        assert ended.wait(5)
    told = capfd.readouterr().err
    assert "its stacks are above" in told and "watchdog_test.py" in told
