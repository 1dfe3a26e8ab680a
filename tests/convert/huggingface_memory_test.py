# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Conversion holds a few parameters in memory, not the model."""

import json
import math
import struct
import subprocess
import sys

import pytest

from tests.convert.safetensors_files import CONFIG, t5_shapes

# A gigabyte and a half is read and written three times: half a minute.
pytestmark = pytest.mark.large

# T5 1.1 Large: 783,150,080 parameters.
LARGE = CONFIG | dict(
    vocab_size=32128, d_model=1024, d_kv=64, d_ff=2816, num_layers=24, num_decoder_layers=24,
    num_heads=16, relative_attention_num_buckets=32, relative_attention_max_distance=128,
)  # fmt: skip

_RUN = (
    "import resource, sys\n"
    "from flan_jax.main import main\n"
    "code = main(sys.argv[1:])\n"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)\n"
    "sys.exit(code)"
)


def _make_empty(folder):
    """Writes the model in bfloat16, all zeros: a file of holes."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LARGE))
    header, end = {}, 0
    for name, shape in t5_shapes(LARGE).items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return end


def _peak(*arguments):
    """Runs a conversion; returns the most memory it held, in bytes."""
    command = [sys.executable, "-c", _RUN, "convert", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return int(result.stdout.split()[-1])


@pytest.mark.parametrize("scan_layers", ["false", "true"])
def test_a_model_is_never_whole_in_memory(tmp_path, scan_layers):
    size = _make_empty(tmp_path / "hf")
    assert size == 2 * 783_150_080
    ours = tmp_path / "ours"
    there = _peak(
        "--source", tmp_path / "hf", "--to", "flan_jax", "--out", ours, "--scan_layers", scan_layers
    )
    back = _peak("--source", ours, "--to", "huggingface", "--out", tmp_path / "back")
    # The interpreter and jax take 0.3 GB, a stack of 24 kernels 0.14 GB.
    assert there < size / 2 and back < size / 2, (there, back, size)
    assert (tmp_path / "back" / "model.safetensors").stat().st_size > size
