# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A small token store, written through the real writer."""

import zlib

import numpy as np
import pytest

from flan_jax.collection import store as store_lib
from flan_jax.core import files

LENGTHS = {"inputs": 48, "targets": 16}


@pytest.fixture
def make_store(tmp_path):
    """Returns a function that writes a store: {task: examples, or {split: examples}}."""

    def make(tasks, name="store", rates=None, mixtures=None, lengths=LENGTHS, seed=0):
        root, entries = tmp_path / name, {}
        for task, splits in tasks.items():
            splits = splits if isinstance(splits, dict) else {"train": splits}
            entries[task] = {
                split: _write(root, task, split, num, lengths, seed)
                for split, num in splits.items()
            }
        rates = rates or {task: 1 / len(tasks) for task in tasks}
        manifest = {
            "format": store_lib.FORMAT,
            "mixture": "all",
            "mixtures": {"all": rates, **(mixtures or {})},
            "rates": rates,
            "vocabulary": {"name": "none", "size": 60000, "padded_size": 60032, "eos_id": 1},
            "feature_lengths": lengths,
            "token_dtype": "<u2",
            "tasks": entries,
        }
        files.write_json(root / store_lib.MANIFEST, manifest)
        return store_lib.Store.open(root)

    return make


def _write(root, task, split, num, lengths, seed):
    random = np.random.default_rng([seed, zlib.crc32(f"{task}/{split}".encode())])
    folder = store_lib.task_folder(root, task, split)
    with store_lib.TaskWriter(folder, np.dtype("<u2")) as writer:
        for index in range(num):
            inputs, targets = (
                np.append(random.integers(3, 60000, random.integers(1, most // 2)), 1)
                for most in (lengths["inputs"], lengths["targets"])
            )
            writer.add(inputs, targets, {"inputs": f"{task} {index}", "targets": "é\n"})
        return writer.finish({"key": "k", "dropped": {}})
