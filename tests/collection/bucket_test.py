# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A store in a gs:// bucket, of a server on this machine that speaks Cloud Storage's protocol.

Run as a program this file reads the bucket as training would, with gcsfs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from etils import epath

from flan_jax.collection import remote
from flan_jax.collection.store import TOKENS, Store
from flan_jax.core import errors
from flan_jax.data.loader import TrainInput, open_train
from tests import host_processes

URL = "gs://bucket/stores/mini"


def batches(store):
    with open_train(TrainInput(store=store, batch_size=4, window_examples=64)) as found:
        return [{k: v.tolist() for k, v in next(found).items()} for _ in range(3)]


def outcome(cache, url=URL):
    """Returns how opening the store into an empty cache ends."""
    os.environ[remote.VARIABLE] = cache
    try:
        return f"opened {Store.open(url).path}"
    except errors.FlanError as error:
        return f"{type(error).__name__}: {error}"


def reader(built, folder):
    """Copies a store to the bucket, reads it, and spoils it."""
    os.environ[remote.VARIABLE] = f"{folder}/first"
    found = {"absent": outcome(f"{folder}/none")}
    for path in Path(built).glob("**/*"):
        if path.is_file():
            (epath.Path(URL) / path.relative_to(built)).write_bytes(path.read_bytes())
    os.environ[remote.VARIABLE] = f"{folder}/first"
    found["batches"] = batches(URL)
    victim = min(Path(built).glob(f"**/{TOKENS}"))
    victim = epath.Path(URL) / victim.relative_to(built)
    victim.write_bytes(victim.read_bytes()[:-2])
    found["cut"] = outcome(f"{folder}/second")
    victim.unlink()
    found["missing"] = outcome(f"{folder}/third")
    found["victim"] = str(victim)
    found["tensorflow"] = "tensorflow" in sys.modules
    print(json.dumps(found))


@pytest.mark.slow  # another Python process, hundreds of requests: 10 s
def test_a_store_in_a_bucket(tmp_path):
    why = "needs gcp-storage-emulator and gcsfs"
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason=why)
    pytest.importorskip("gcsfs", reason=why)
    from flan_jax.collection import build  # brings in TensorFlow, which the reader does without

    built = tmp_path / "built"
    build.build(
        mixture="mini_4", out=built, vocabulary="bytes", limit=12,
        feature_lengths={"inputs": 512, "targets": 64}, module_imports=["tasks.mini.mixtures"],
    )  # fmt: skip
    port = host_processes.free_port()
    environment = {
        **os.environ,
        "STORAGE_EMULATOR_HOST": f"http://localhost:{port}",
        "EPATH_USE_TF": "0",
        # Else gcsfs asks Google who we are.
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        "NO_GCE_CHECK": "true",
    }
    words = [sys.executable, "-m", "tests.collection.bucket_test", str(built), str(tmp_path)]
    with emulator.create_server("localhost", port, in_memory=True, default_bucket="bucket"):
        ended = subprocess.run(
            words, cwd=host_processes.ROOT, env=environment, capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["batches"] == batches(str(built))
    assert "copying gs://bucket/stores/mini" in ended.stderr
    assert found["absent"].startswith("UsageError: no token store at gs://bucket/stores/mini")
    assert f"DataError: {found['victim']} is not the file that was built" in found["cut"]
    assert f"DataError: {found['victim']} is missing" in found["missing"]
    assert not found["tensorflow"]


if __name__ == "__main__":
    reader(*sys.argv[1:])
