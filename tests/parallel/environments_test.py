# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which process this is, beside what jax's own classes make of the same variables."""

import http.server
import threading

import pytest
from jax._src import cloud_tpu_init, clusters
from jax._src.clusters import cloud_tpu_cluster

from flan_jax.core.errors import FlanError, UsageError
from flan_jax.parallel import environments

GIVEN = {
    "JAX_COORDINATOR_ADDRESS": "host-0:1234",
    "JAX_NUM_PROCESSES": "4",
    "JAX_PROCESS_ID": "3",
}
SLURM = {
    "SLURM_JOB_ID": "70001",
    "SLURM_STEP_NODELIST": "node[007-008]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}
GKE = {"TPU_WORKER_HOSTNAMES": "job-0.sub,job-1.sub", "TPU_WORKER_ID": "1"}
SLICES = {
    "MEGASCALE_COORDINATOR_ADDRESS": "first.sub:8080",
    "MEGASCALE_NUM_SLICES": "3",
    "MEGASCALE_SLICE_ID": "2",
}
VM = {"agent-worker-number": "1", "worker-network-endpoints": "w:0:10.0.0.2,w:1:10.0.0.3"}


def find(environment, metadata=None, num_tpu_chips=0):
    def ask(attribute):
        assert metadata is not None, "the metadata server was asked"
        return metadata.get(attribute)

    return environments.find(environment, num_tpu_chips=num_tpu_chips, metadata=ask)


def place(found):
    """Returns what jax needs: coordinator, number of processes, which, local devices."""
    return found.address, found.num_processes, found.process_id, found.local_device_ids


def as_jax_has_it(monkeypatch, environment, metadata=None, num_tpu_chips=0):
    """Returns the same as jax's own detection finds it."""
    for name in [n for n in GIVEN | SLURM | GKE | SLICES if n not in environment]:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    on_tpu = num_tpu_chips > 0
    for module in (clusters.cluster, cloud_tpu_cluster, cloud_tpu_init):
        monkeypatch.setattr(module, "running_in_cloud_tpu_vm", on_tpu)
    if metadata is not None:
        monkeypatch.delenv("TPU_SKIP_MDS_QUERY", raising=False)
    answers = metadata or {}
    monkeypatch.setattr(
        cloud_tpu_cluster,
        "get_metadata",
        lambda key: (answers.get(key, ""), 200 if key in answers else 404),
    )
    monkeypatch.setattr(cloud_tpu_cluster.BaseTpuCluster, "wait_for_coordinator", lambda *_: None)
    address, num, index, devices = clusters.ClusterEnv.auto_detect_unset_distributed_params(
        None, None, None, None, None, 1
    )
    return address, num, index, None if devices is None else tuple(devices)


def test_variables_say_which_process_this_is():
    assert place(find(GIVEN)) == ("host-0:1234", 4, 3, None)
    # They go before all else.
    assert place(find({**GIVEN, **SLURM, **GKE}, num_tpu_chips=4)) == ("host-0:1234", 4, 3, None)
    assert find({**GIVEN, "JAX_COORDINATOR_ADDRESS": "[::1]:80"}).address == "[::1]:80"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"JAX_PROCESS_ID": ""}, "JAX_COORDINATOR_ADDRESS and JAX_NUM_PROCESSES set but not JAX_P"),
        ({"JAX_COORDINATOR_ADDRESS": "host-0"}, "is 'host-0'; give host:port of process 0"),
        ({"JAX_COORDINATOR_ADDRESS": "1234"}, "is '1234'; give host:port"),
        ({"JAX_COORDINATOR_ADDRESS": ":1234"}, "is ':1234'; give host:port"),
        ({"JAX_NUM_PROCESSES": "two"}, "is 'two'; give the number of processes, >= 1"),
        ({"JAX_NUM_PROCESSES": "0"}, "is '0'; give the number of processes, >= 1"),
        ({"JAX_PROCESS_ID": "4"}, "is '4'; give this process's number, 0 to 3"),
        ({"JAX_PROCESS_ID": "-1"}, "is '-1'; give this process's number, 0 to 3"),
    ],
)
def test_wrong_variables_are_named(changed, message):
    with pytest.raises(UsageError, match=message):
        find({**GIVEN, **changed})


@pytest.mark.parametrize(
    ("environment", "num_tpu_chips"),
    [
        ({"HOME": "/"}, 0),
        ({"HOME": "/", "TPU_SKIP_MDS_QUERY": "1"}, 4),
        (GKE, 0),  # the pod's process has no TPU
        ({**GKE, "JAX_PLATFORMS": "cpu"}, 4),  # prepares data
        ({"JAX_PLATFORMS": "cpu"}, 4),
        ({**SLURM, "SLURM_NTASKS": "1"}, 0),
        ({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}, 0),  # the first shell of an allocation
        ({**SLURM, "SLURM_STEP_NODELIST": ""}, 0),  # a batch script outside srun
        ({"JAX_PLATFORMS": "proxy,cpu", **SLURM}, 0),
        ({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}, 4),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, 4),
        ({"TPU_WORKER_HOSTNAMES": "localhost", "MEGASCALE_NUM_SLICES": "1"}, 4),
    ],
)
def test_a_process_alone(environment, num_tpu_chips):
    assert find(environment, num_tpu_chips=num_tpu_chips) is None
    assert environments.is_pathways(environment) == ("proxy,cpu" in environment.values())


@pytest.mark.parametrize(
    "nodes", ["node7", "node7,other", "node[007-008]", "node[001,007-9],x[1-2]", "a-b[01-02]"]
)
@pytest.mark.parametrize("more", [{}, {"JAX_COORDINATOR_PORT": "1234"}])
def test_slurm_as_jax_has_it(monkeypatch, nodes, more):
    environment = {**SLURM, "SLURM_STEP_NODELIST": nodes, **more}
    want = as_jax_has_it(monkeypatch, environment)
    assert want[1:] == (4, 3, (1,))
    assert place(find(environment)) == want


def test_slurm_port_hosts_and_devices():
    assert find(SLURM).address == "node007:61809"  # 61440 + 70001 mod 4096
    assert find({**SLURM, "FLAN_JAX_COORDINATOR_PORT": "8476"}).address == "node007:8476"
    two = {**SLURM, "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "0"}
    assert dict(find(two).host_names) == {0: "node007", 1: "node008"} and not find(SLURM).host_names
    # A node's only task takes all its devices; one that was given one device takes that.
    assert find(two).local_device_ids is None
    assert find({**SLURM, "CUDA_VISIBLE_DEVICES": "1"}).local_device_ids is None
    assert find({**SLURM, "CUDA_VISIBLE_DEVICES": "0,1"}).local_device_ids == (1,)
    assert find({**SLURM, "JAX_LOCAL_DEVICE_IDS": "0"}).local_device_ids is None
    (note,) = find({**SLURM, "https_proxy": "x", "HTTP_PROXY": "y"}).notes
    assert note.startswith("HTTP_PROXY, https_proxy set")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ["n1"]),
        ("n1,m2", ["n1", "m2"]),
        ("n[08-11]", ["n08", "n09", "n10", "n11"]),
        ("a[1,3-4]-ib,b", ["a1-ib", "a3-ib", "a4-ib", "b"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
    ],
)
def test_node_lists(text, names):
    assert environments.expand_nodes(text) == names


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"SLURM_STEP_NODELIST": "n[a-b]"}, r"'n\[a-b\]' is no list of hosts"),
        ({"SLURM_STEP_NODELIST": ","}, "names no host"),
        ({"SLURM_PROCID": "x"}, "SLURM_PROCID is 'x'; it must be a whole number"),
        ({"FLAN_JAX_COORDINATOR_PORT": "http"}, "COORDINATOR_PORT is 'http'; give a port, 1 to"),
        ({"FLAN_JAX_COORDINATOR_PORT": "65536"}, "is '65536'; give a port, 1 to 65535"),
    ],
)
def test_wrong_slurm_variables_are_named(changed, message):
    with pytest.raises(UsageError, match=message):
        find({**SLURM, **changed})


@pytest.mark.parametrize(
    ("environment", "metadata", "want"),
    [
        (GKE, None, ("job-0.sub:8482", 2, 1, None)),
        ({"TPU_PROCESS_ADDRESSES": "a:8471,b:8471", "TPU_WORKER_ID": "0"}, None,
         ("a:8482", 2, 0, None)),
        ({**GKE, **SLICES}, {}, ("first.sub:8482", 6, 5, None)),
        ({}, VM, ("10.0.0.2:8482", 2, 1, None)),
        ({}, VM | {"worker-network-endpoints": "t-w0,t-w1,t-w2"}, ("t-w0:8482", 3, 1, None)),
        ({}, VM | {"tpu-env": "A: '1'\nMEGASCALE_NUM_SLICES: '2'\nMEGASCALE_SLICE_ID: '1'\n"
                   "MEGASCALE_COORDINATOR_ADDRESS: '10.9.9.9:8080'\n"},
         ("10.9.9.9:8482", 4, 3, None)),
        ({"JAX_COORDINATOR_PORT": "8476", **SLICES}, VM, ("first.sub:8476", 6, 5, None)),
    ],
)  # fmt: skip
def test_tpus_as_jax_has_it(monkeypatch, environment, metadata, want):
    assert place(find(environment, metadata, num_tpu_chips=4)) == want
    assert as_jax_has_it(monkeypatch, environment, metadata or {}, num_tpu_chips=4) == want


def test_tpu_hosts_are_known_by_name_and_slices_are_shown():
    found = find({**GKE, **SLICES}, num_tpu_chips=4)
    assert dict(found.host_names) == {4: "job-0.sub", 5: "job-1.sub"}
    assert found.notes == (
        "slice 2 of 3 with 2 hosts each (MEGASCALE_COORDINATOR_ADDRESS=first.sub:8080, "
        "MEGASCALE_NUM_SLICES=3, MEGASCALE_SLICE_ID=2)",
    )
    assert find(GKE | {"FLAN_JAX_COORDINATOR_PORT": "9"}, num_tpu_chips=4).coordinator_port == 9


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"MEGASCALE_SLICE_ID": "3"}, "MEGASCALE_SLICE_ID=3; slices are numbered from 0 .*left ov"),
        ({"MEGASCALE_NUM_SLICES": ""}, "but MEGASCALE_NUM_SLICES not set; set all three on each"),
        ({"MEGASCALE_COORDINATOR_ADDRESS": ""}, "but MEGASCALE_COORDINATOR_ADDRESS not set"),
        ({"MEGASCALE_NUM_SLICES": "two"}, "MEGASCALE_NUM_SLICES=two"),
        ({"TPU_WORKER_ID": "2"}, r"worker 2 of a slice, but names 2 hosts \(job-0.sub, job-1.sub"),
        ({"TPU_WORKER_ID": ""}, "names 2 hosts but TPU_WORKER_ID is not set"),
    ],
)
def test_incomplete_and_stale_slices_are_named(changed, message):
    with pytest.raises(UsageError, match=message):
        find({**GKE, **SLICES, **changed}, num_tpu_chips=4)


class MetadataServer(http.server.BaseHTTPRequestHandler):
    """Knows which worker this is."""

    def do_GET(self):
        known = {"/computeMetadata/v1/instance/attributes/agent-worker-number": b"1"}
        is_known = self.path in known and self.headers["Metadata-Flavor"] == "Google"
        self.send_response(200 if is_known else 404)
        self.end_headers()
        self.wfile.write(known.get(self.path, b"no such"))

    def log_message(self, *_):
        pass


def test_the_metadata_server_is_asked(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://localhost:1")  # is none of its business
    with http.server.HTTPServer(("127.0.0.1", 0), MetadataServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {"GCE_METADATA_IP": f"127.0.0.1:{server.server_port}"}
        assert environments.ask_metadata_server(environment, "agent-worker-number") == "1"
        assert environments.ask_metadata_server(environment, "tpu-env") is None
        server.shutdown()
    with pytest.raises(FlanError, match="metadata server does not say which worker it is"):
        environments.ask_metadata_server(environment, "tpu-env")
