# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tiny checkpoints of both kinds that a harness asks: an encoder-decoder, and a foreign decoder."""

import dataclasses

from flan_jax import predicting
from tests import tiny_checkpoints
from tests.collection import tokenizer_json_test

T5_CONFIG = dataclasses.replace(tiny_checkpoints.T5_CONFIG, num_encoder_layers=2)
DECODER_CONFIG = dataclasses.replace(tiny_checkpoints.DECODER_CONFIG, vocab_size=384)
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def write_t5(folder):
    """Writes a T5 as transformers does."""
    return tiny_checkpoints.hf(folder, T5_CONFIG)


def write_decoder(folder, template=""):
    """Writes a decoder with a byte-level BPE, whose prompts have no EOS."""
    path = tiny_checkpoints.hf(folder, DECODER_CONFIG, vocabulary="")
    tokenizer_json_test.write(folder)
    if template:
        (folder / "chat_template.jinja").write_text(template)
    return path


def load(path, max_input_length=48):
    """Returns a predictor."""
    return predicting.load(checkpoint_path=path, max_input_length=max_input_length, batch_size=4)
