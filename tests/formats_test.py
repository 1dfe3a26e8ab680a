# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of every format are opened alike, with what their tokenizers say of prompts."""

import json

import numpy as np
import pytest

from flan_jax import formats
from flan_jax.core.errors import UsageError
from flan_jax.models.t5 import T5Config
from tests import smollm2
from tests.convert import safetensors_files
from tests.convert.t5x_files import write_checkpoint

TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


def _huggingface(folder):
    config = safetensors_files.CONFIG
    safetensors_files.make_folder(folder, config, safetensors_files.t5_tensors(config))
    return str(folder)


def test_the_format_is_found_out(tmp_path):
    folder = _huggingface(tmp_path / "hf")
    source = formats.open_source(folder)
    assert isinstance(source.config, T5Config) and source.config.emb_dim == 6
    assert source.vocabulary is None and source.chat_template == ""
    native = tmp_path / "native" / "checkpoint_7"
    write_checkpoint(native, {"target/a": np.ones((2, 3), np.float32)}, step=7)
    source = formats.open_source(str(native.parent))
    assert (source.step, source.config, list(source.leaves.shapes)) == (7, None, ["a"])


def test_the_format_named_is_taken(tmp_path):
    folder = _huggingface(tmp_path / "hf")
    with pytest.raises(UsageError, match="no T5X checkpoint at"):
        formats.open_source(folder, "t5x")
    with pytest.raises(UsageError, match="--source '.*none': no checkpoint of a known format"):
        formats.open_source(str(tmp_path / "none"), place="--source")


@pytest.mark.parametrize("is_file", [False, True])
def test_a_folders_chat_template_is_found(tmp_path, is_file):
    folder = _huggingface(tmp_path / "hf")
    if is_file:
        (tmp_path / "hf" / "chat_template.jinja").write_text(TEMPLATE)
    else:
        config = json.dumps({"chat_template": TEMPLATE})
        (tmp_path / "hf" / "tokenizer_config.json").write_text(config)
    assert formats.open_source(folder).chat_template == TEMPLATE


def test_what_smollm2_says_of_prompts():
    pytest.importorskip("gguf", reason="the package gguf reads the file")
    source = formats.open_source(str(smollm2.gguf_file()))
    assert source.bos_id is None and source.info["vocabulary"]["eos_id"] == 2
    assert "<|im_start|>assistant" in source.chat_template
