# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Metrics files: whole lines, no repeats after a restart, TensorBoard events, no TensorFlow."""

import json
import os
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.compat.proto import event_pb2

from flan_jax.core.errors import FlanError
from flan_jax.training.writers import MetricWriter, read_metrics


def write(folder, steps, resume_step=0):
    writer = MetricWriter(folder, resume_step=resume_step)
    for step in steps:
        writer.write(step, "train", {"loss": 1.0 / step, "member_loss": {"a:b": 2.0}})


def test_records_come_back(tmp_path):
    writer = MetricWriter(tmp_path)
    writer.write(5, "train", {"loss": 1.5, "member_loss": {"a": 2.0}, "bad": float("nan")})
    writer.write(5, "eval", {"exact_match": 7})
    train, evaluation = read_metrics(tmp_path)
    assert train.pop("time_s") > 0
    assert train == {
        "step": 5, "kind": "train", "loss": 1.5, "member_loss": {"a": 2.0}, "bad": None,
    }  # fmt: skip
    assert evaluation["kind"] == "eval" and evaluation["exact_match"] == 7
    assert read_metrics(tmp_path / "nowhere") == []


def test_no_file_stays_open_between_writes(tmp_path):
    writer = MetricWriter(tmp_path)
    writer.write(5, "train", {"loss": 1.5})
    opened = [os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()]
    assert not [path for path in opened if path.startswith(str(tmp_path))]


def test_resuming_drops_what_will_be_written_again(tmp_path):
    write(tmp_path, [1, 2, 3, 4])
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "ki')  # killed while writing
    write(tmp_path, [3, 4], resume_step=2)
    text = (tmp_path / "metrics.jsonl").read_text()
    assert [json.loads(line)["step"] for line in text.splitlines()] == [1, 2, 3, 4]


def test_nothing_is_rewritten_when_nothing_is_to_be_dropped(tmp_path):
    write(tmp_path, [1, 2])
    before = (tmp_path / "metrics.jsonl").stat().st_ino
    write(tmp_path, [3], resume_step=2)
    assert (tmp_path / "metrics.jsonl").stat().st_ino == before
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2, 3]


def read_events(path):
    """Returns the events of a file of TFRecords: length, checksum, bytes, checksum."""
    data, events = path.read_bytes(), []
    while data:
        (length,) = struct.unpack_from("<Q", data)
        events.append(event_pb2.Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return events


def test_event_files_hold_the_scalars(tmp_path):
    write(tmp_path, [1, 2])
    write(tmp_path, [3], resume_step=2)
    events = []
    for path in sorted((tmp_path / "tensorboard").iterdir()):
        events += read_events(path)
    assert events[0].file_version == "brain.Event:2"
    scalars = [
        (event.step, value.tag, value.simple_value)
        for event in events
        for value in event.summary.value
    ]
    assert scalars[:3] == [
        (1, "train/loss", 1.0),
        (1, "train/member_loss/a:b", 2.0),
        (2, "train/loss", 0.5),
    ]
    restarts = [event.step for event in events if event.HasField("session_log")]
    assert restarts == [3]


def test_writing_metrics_imports_no_tensorflow(tmp_path):
    code = (
        "import sys\n"
        "from flan_jax.training.writers import MetricWriter\n"
        f"writer = MetricWriter({str(tmp_path)!r})\n"
        "writer.write(1, 'train', {'loss': 1.0})\n"
        "sys.exit('tensorflow' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_full_disk_is_one_line_and_what_was_written_stays(tmp_path):
    write(tmp_path, [1])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(FlanError, match=r"metrics of step 2 .*\(File too large\); free space"):
            MetricWriter(tmp_path, resume_step=1).write(
                2, "train", {"member_loss": {str(i): 1.0 for i in range(1000)}}
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    write(tmp_path, [2], resume_step=1)
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2]
