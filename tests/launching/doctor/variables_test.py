# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the variables make of a process: its place in a job, and what would keep it waiting."""

import socket

from flan_jax.launching.doctor import variables
from flan_jax.parallel import environments
from flan_jax.parallel.environments import Placement

JOINING = {
    "JAX_COORDINATOR_ADDRESS": "host-0:1234",
    "JAX_NUM_PROCESSES": "4",
    "JAX_PROCESS_ID": "1",
}


def look(environment, listener=lambda port: ""):
    def find():
        return environments.find(environment, num_tpu_chips=0, metadata=lambda name: None)

    found = variables.place(environment, find, listener)
    return [(f.level, f.text, f.remedy) for f in found]


def test_variables_that_matter_are_shown_without_passwords():
    [found] = variables.shown(
        {
            "HOME": "/root", "JAX_PLATFORMS": "cpu", "https_proxy": "http://me:secret@proxy:3128",
            "MEGASCALE_NUM_SLICES": "2", "SLURM_JOB_ID": "7", "SLURM_CONF": "x", "XLA_FLAGS": "",
            "all_proxy": "me:secret@proxy",
        }
    )  # fmt: skip
    assert found.text == (
        "variables set: JAX_PLATFORMS=cpu, MEGASCALE_NUM_SLICES=2, SLURM_JOB_ID=7, "
        "all_proxy=...@proxy, https_proxy=http://...@proxy:3128"
    )
    [found] = variables.shown({"HOME": "/root"})
    assert found.text.endswith("none that matter")


def test_the_place_in_a_job():
    assert look({}) == [("ok", "a process started here would work alone", "")]
    [(level, text, _)] = look(JOINING, lambda port: "process 5")  # it is not process 0
    assert level == "ok" and "would be process 1 of 4" in text and "listens at host-0:1234" in text


def test_variables_that_contradict_each_other():
    [(level, text, remedy)] = look({**JOINING, "JAX_PROCESS_ID": ""})
    assert level == "problem" and "not JAX_PROCESS_ID" in text and "set all three" in remedy


def test_the_port_of_process_0():
    def listener(port):
        assert port == 1234
        return "process 5 (python)"

    first = {**JOINING, "JAX_PROCESS_ID": "0"}
    assert len(look(first)) == 1
    [_, (level, text, remedy)] = look(first, listener)
    assert level == "problem" and "port 1234" in text and "process 5 (python)" in text
    assert environments.PORT_VARIABLE in remedy


def test_who_listens_is_found_by_trying():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert variables.who_listens(port, lambda p: f"process 9 at {p}") == f"process 9 at {port}"
        assert "cannot be seen" in variables.who_listens(port, lambda p: "")
    assert variables.who_listens(port, lambda p: "process 9") == ""


def test_slices_and_proxies_that_keep_a_job_waiting():
    slices = {"MEGASCALE_NUM_SLICES": "2"}
    [(level, text, remedy), _] = look(slices)
    assert level == "warning" and "2 slices" in text and "megascale_abort_on_hangs" in remedy
    assert len(look({**slices, "LIBTPU_INIT_ARGS": f"--a=b {remedy.partition('=')[2]}"})) == 1
    assert len(look({"MEGASCALE_NUM_SLICES": "1"})) == 1

    proxy = {"HTTPS_PROXY": "http://proxy:3128"}
    assert len(look(proxy)) == 1  # alone
    [_, (level, text, remedy)] = look({**JOINING, **proxy})
    assert level == "warning" and "HTTPS_PROXY set" in text and "host-0" in remedy
    assert len(look({**JOINING, **proxy, "no_proxy": "localhost,host-0"})) == 1


def test_notes_of_a_place_are_told():
    place = Placement(
        kind="SLURM", coordinator_host="a", coordinator_port=1, num_processes=2, process_id=1,
        notes=("a note",),
    )  # fmt: skip
    assert [f.text for f in variables.place({}, lambda: place, str)][1] == "a note"
