# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is concluded from what processes say of themselves."""

import dataclasses
import json
import time

import pytest

from flan_jax.core import errors
from flan_jax.parallel import reports
from flan_jax.parallel.environments import Placement
from flan_jax.parallel.reports import Report, Verdict

PLACEMENT = Placement(
    kind="test", coordinator_host="h0", coordinator_port=1, num_processes=3, process_id=1
)


def said(index, same=None, free=10 << 30, clock=0.0, pid=1):
    return Report(
        process_id=index,
        host=f"h{index}",
        pid=pid,
        same={"jax": "0.10.2", **(same or {})},
        free_bytes={"/tmp": free},
        clock=clock,
    )


def judge(*found, num=3, host_names=None):
    by_process = {}
    for one in found:
        by_process.setdefault(one.process_id, []).append(one)
    return reports.judge(by_process, num, host_names or {}, 120.4)


def test_all_are_there_and_alike():
    verdict = judge(said(0), said(1), said(2))
    assert verdict == Verdict(host_names=("h0", "h1", "h2"))
    verdict.check()


def test_the_missing_are_named():
    verdict = judge(said(0), said(2), num=9, host_names={1: "vm-1", 3: "vm-3", 0: "vm-0"})
    assert verdict.error.startswith(
        "processes 1 (vm-1), 3 (vm-3), 4, 5, 6 and 2 more of 9 did not come within 120 s; "
    )
    with pytest.raises(errors.FlanError) as raised:
        verdict.check()
    assert raised.value.exit_code == errors.EXIT_FAILED
    assert judge(said(0), said(1)).error.startswith("process 2 of 3 did not come")


def test_differences_are_named_with_values_and_hosts():
    verdict = judge(said(0), said(1, {"jax": "0.9"}), said(2, {"store": "abc"}))
    assert verdict.error == (
        "the processes of this job do not belong together: "
        "jax is 0.10.2 on processes 0 (h0), 2 (h2) but 0.9 on process 1 (h1); "
        "store is not set on processes 0 (h0), 1 (h1) but abc on process 2 (h2); "
        "start each of them once, with the same command and the same versions"
    )
    with pytest.raises(errors.UsageError):
        verdict.check()
    # It may be why others are missing.
    assert "jax is" in judge(said(0), said(1, {"jax": "0.9"})).error


def test_many_differences_are_few_words():
    many = {f"setting {n}": "x" * 1000 for n in range(50)}
    error = judge(said(0), said(1, many), said(2)).error
    assert len(error) < 3000 and "; 45 more differ; " in error


def test_one_number_for_two_is_named():
    verdict = judge(said(0), said(1, pid=7), said(1, pid=8))
    assert "two say they are process 1 (h1, pid 7 and h1, pid 8)" in verdict.error
    assert verdict.exit_code == errors.EXIT_FAILED
    assert "process 3 (h3) came to a job of 3 processes" in judge(said(0), said(3)).error


def test_clocks_and_full_disks_are_told():
    verdict = judge(said(0), said(1, clock=-2.0), said(2, clock=7.0, free=3 << 20))
    assert verdict.notes == (
        "the clock of process 2 (h2) is 9 s ahead of that of process 1 (h1); times in logs do not "
        "compare",
        "3 MiB are free at /tmp on process 2 (h2)",
    )
    assert not verdict.error and not judge(said(0, clock=4.0), said(1), said(2)).notes


def test_a_report_of_this_machine_goes_over_the_wire(tmp_path):
    mine = reports.report(PLACEMENT, {"store": "abc"}, [str(tmp_path / "to" / "come")], 4)
    assert mine.process_id == 1 and mine.same["number of processes"] == "3"
    assert mine.same["jax"].startswith("0.") and mine.same["TPU chips"] == "4"
    assert mine.same["store"] == "abc" and min(mine.free_bytes.values()) > 0
    sent = json.loads(json.dumps({"report": dataclasses.asdict(mine)}))
    sent["report"]["clock"] = time.time() + 100
    received = reports.read_report(sent)
    assert 99 < received.clock <= 100
    assert dataclasses.replace(received, clock=mine.clock) == mine


@pytest.mark.parametrize(
    "changed",
    [
        {"process_id": "1"}, {"process_id": -1}, {"process_id": True}, {"same": ["a"]},
        {"same": {"a": 1}}, {"clock": None}, {"more": 1}, {"free_bytes": {"/": "much"}},
    ],
)  # fmt: skip
def test_what_is_no_report_is_none(changed):
    good = dataclasses.asdict(said(1))
    assert reports.read_report({"report": good}) is not None
    assert reports.read_report({"report": {**good, **changed}}) is None
    assert reports.read_report({}) is None and reports.read_report({"report": "x"}) is None
    del good["pid"]
    assert reports.read_report({"report": good}) is None


def test_a_verdict_goes_over_the_wire():
    verdict = judge(said(0), said(1, clock=9.0), said(2))
    sent = json.loads(json.dumps({"verdict": dataclasses.asdict(verdict)}))
    assert reports.read_verdict(sent) == verdict
    assert reports.read_verdict({"verdict": {"other": 1}}) is None
    assert reports.read_verdict({"doing": "x"}) is None
