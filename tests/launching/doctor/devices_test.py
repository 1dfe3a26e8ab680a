# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Devices: what jax says beside what the machine has; an answer that never comes is named."""

import os
import sys

import pytest

from flan_jax.launching.doctor import devices
from flan_jax.launching.doctor.devices import Answer, Hardware
from flan_jax.parallel.tpu_lock import Holder

CPU = Answer(platform="cpu", kind="cpu", count=8, local=8)
TPU = Answer(platform="tpu", kind="TPU v4", count=16, local=4)
CHIPS = Hardware(tpus=["v4"] * 4)
HOLDER = Holder(77, "python -m flan_jax train")


def look(answer, found=None, wanted="", holder=None, has_libtpu=False):
    told = devices.devices(
        answer, found or Hardware(), wanted=wanted, holder=holder, has_libtpu=has_libtpu
    )
    return [(f.level, f.text, f.remedy) for f in told]


def test_jax_answers_from_a_process_of_its_own():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    assert devices.ask(environment) == Answer(platform="cpu", kind="cpu", count=3, local=3)


def test_no_answer_in_time():
    answer = devices.ask(os.environ, 0.2, (sys.executable, "-c", "import time; time.sleep(60)"))
    assert answer.took_too_long and answer.error == "no answer within 0.2 s"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("raise RuntimeError('no such\\nbackend')", "backend"),
        ("import sys; sys.exit(3)", "its process ended with code 3"),
        ("import os; os.abort()", "its process ended with code -6"),
    ],
)
def test_jax_fails(code, error):
    assert devices.ask(os.environ, 30, (sys.executable, "-c", code)).error == error


def test_the_bus(tmp_path):
    def card(slot, vendor, number, kind):
        (tmp_path / slot).mkdir()
        for name, text in (("vendor", vendor), ("device", number), ("class", kind)):
            (tmp_path / slot / name).write_text(f"{text}\n")

    assert devices.hardware(tmp_path) == Hardware([], 0)
    card("0000:00:04.0", "0x1ae0", "0x005e", "0x120000")
    card("0000:00:05.0", "0x1ae0", "0x005e", "0x120000")
    card("0000:00:06.0", "0x1ae0", "0x0042", "0x020000")  # Google's network card
    card("0000:00:07.0", "0x10de", "0x20b0", "0x030200")  # an A100
    card("0000:00:08.0", "0x10de", "0x1af1", "0x068000")  # NVIDIA's bridge between GPUs
    (tmp_path / "0000:00:09.0").mkdir()  # taken off just now
    assert devices.hardware(tmp_path) == Hardware(["v4", "v4"], 1)


def test_all_is_well():
    assert look(CPU) == [("ok", "jax computes on 8 x cpu", "")]
    assert look(TPU, CHIPS, has_libtpu=True) == [
        ("ok", "jax computes on 16 x TPU v4 (tpu), 4 of them here", "")
    ]
    [_, compiler] = look(CPU, has_libtpu=True)
    assert compiler[0] == "ok" and "flan-jax compile" in compiler[1]


def test_chips_that_are_not_used():
    [_, told] = look(CPU, CHIPS)
    assert told[0] == "problem" and "4 TPU v4 chip(s) are here" in told[1]
    assert told[2] == "pip install 'flan_jax[tpu]'"
    [_, told] = look(CPU, CHIPS, wanted="cpu", has_libtpu=True)
    assert told[0] == "warning" and told[2] == "unset JAX_PLATFORMS"
    [_, told] = look(CPU, CHIPS, has_libtpu=True)
    assert told[0] == "problem" and "JAX_PLATFORMS=tpu" in told[2]
    [_, told] = look(CPU, Hardware(num_gpus=2))
    assert told[0] == "warning" and "flan_jax[gpu]" in told[2]
    assert len(look(CPU, Hardware(num_gpus=2), wanted="cpu")) == 1


def test_another_process_has_the_tpu():
    held, failed = look(
        Answer(error="The TPU is already in use"), CHIPS, holder=HOLDER, has_libtpu=True
    )
    assert held[0] == failed[0] == "problem"
    assert "process 77 (python -m flan_jax train) has the TPU" in held[1]
    assert held[2].endswith("kill 77")
    [compiling, _, _] = look(CPU, holder=HOLDER, has_libtpu=True)  # no TPU is here
    assert compiling[0] == "warning" and "process 77" in compiling[1]


def test_a_start_that_hangs_and_one_that_fails():
    hangs = Answer(error="no answer within 90 s", took_too_long=True)
    [(level, text, remedy)] = look(hangs, CHIPS, has_libtpu=True)
    assert level == "problem" and text == "jax gave no answer within 90 s"
    assert "--worker=all" in remedy and "MEGASCALE" in remedy
    [(_, _, remedy)] = look(hangs)
    assert "JAX_PLATFORMS=cpu" in remedy
    [(level, text, remedy)] = look(Answer(error="Unable to initialize"), wanted="tpu")
    assert level == "problem" and "(JAX_PLATFORMS=tpu): Unable" in text and "PCI" in remedy


def test_the_slice():
    def against(answer):
        return [f.level for f in devices.against_slice(answer, "v4-32", 16)]

    assert against(TPU) == ["ok"]
    assert against(CPU) == against(Answer("tpu", "TPU v4", 4, 4)) == ["warning"]
    assert against(Answer(error="none")) == []


def test_the_lock_file(tmp_path, monkeypatch):
    def levels(holder=None):
        return [f.level for f in devices.lock_file(tmp_path / "lock", holder)]

    assert levels() == []
    (tmp_path / "lock").write_text("")
    assert levels() == ["ok"] and levels(HOLDER) == []
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may do anything
    [told] = devices.lock_file(tmp_path / "lock", None)
    assert told.level == "problem" and told.remedy.endswith(f"sudo rm {tmp_path}/lock")
