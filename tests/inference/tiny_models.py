# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tiny models of all kinds whose greedy answers vary, and what they answer without a cache."""

import dataclasses
import functools

import jax
import numpy as np

from flan_jax.core.tree import flatten, unflatten
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.engine import Engine
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_network import DecoderConfig
from flan_jax.models.t5 import T5, T5Config

VOCAB_SIZE, EOS_ID = 32, 1
T5_CONFIG = T5Config(
    vocab_size=VOCAB_SIZE, emb_dim=16, num_heads=2, head_dim=8, num_encoder_layers=1,
    num_decoder_layers=2, mlp_dim=24, dtype="float32",
)  # fmt: skip
PALM = DecoderConfig(
    vocab_size=VOCAB_SIZE, emb_dim=16, num_heads=2, head_dim=8, num_layers=2, mlp_dim=24,
    dtype="float32",
)  # fmt: skip
LLAMA = dataclasses.replace(
    PALM, num_heads=4, num_kv_heads=2, block="serial", norm="rms", rotary_pairing="halves",
    logits_via_embedding=False, scale_logits=False,
)  # fmt: skip
MODELS = {
    "t5": T5(dataclasses.replace(T5_CONFIG, num_decoder_layers=1)),
    "t5_deeper": T5(T5_CONFIG),
    "t5_scanned": T5(dataclasses.replace(T5_CONFIG, scan_layers=True)),
    "palm": DecoderLM(PALM),
    "u_palm_scanned": DecoderLM(dataclasses.replace(PALM, prefix_lm=True, scan_layers=True)),
    "llama_scanned": DecoderLM(dataclasses.replace(LLAMA, scan_layers=True)),
}
FAMILIES = ("t5", "palm")


def sharp_params(model):
    """Returns parameters of which greedy answers vary most, with the prompt and along the way."""
    gain, embedding = (1.4, 3.0) if isinstance(model, T5) else (3.0, 1.0)  # found by trying
    rng = np.random.default_rng(3)

    def draw(path, shape):
        noise = rng.normal(size=shape).astype(np.float32)
        if path.endswith("scale"):
            return 1 + 0.3 * noise
        if path.endswith("kernel"):
            return noise * gain * shape[0] ** -0.5
        return noise * (1 if path.endswith("rel_embedding") else embedding)

    apart = model.other_layout if model.config.scan_layers else model
    shapes = flatten(jax.eval_shape(apart.init, jax.random.key(0)))
    tree = unflatten({path: draw(path, leaf.shape) for path, leaf in shapes.items()})
    return model.from_other_layout(tree) if model.config.scan_layers else tree


@functools.cache
def params_of(name):
    """Returns the parameters of one of `MODELS`."""
    return sharp_params(MODELS[name])


class Letters:
    """A vocabulary in which a token is one character or two."""

    def __init__(self, eos_id=EOS_ID):
        self.eos_id = eos_id

    def decode(self, ids):
        """Returns the text up to the first end of sequence; padding gives nothing."""
        ids = list(ids)
        ids = ids[: ids.index(self.eos_id)] if self.eos_id in ids else ids
        return "".join(_piece(i) for i in ids if i)


def _piece(id_):
    return chr(ord("a") + id_ % 11) + ("ABC"[id_ % 3] if id_ % 2 else "")


def engine_of(name, *, eos_id=EOS_ID, **settings):
    """Returns an engine of one of `MODELS` for prompts of at most 12 tokens."""
    settings = dict(max_input_length=12, num_rows=4, length_buckets=(4, 12)) | settings
    return Engine(MODELS[name], params_of(name), Letters(eos_id), **settings)


def prompts_of(lengths, seed=0):
    """Returns random prompts of these lengths, as lists."""
    rng = np.random.default_rng(seed)
    return [rng.integers(2, VOCAB_SIZE, length).tolist() for length in lengths]


_apply = jax.jit(
    lambda model, params, batch: model.apply(params, batch, train=False), static_argnums=0
)


def full_logits(model, params, prompts, answers):
    """Returns `[batch, length, vocab]`, each of which predicts one of `answers` `[batch, length]`.

    One forward pass over prompt and answer, without a cache.

    Args:
        model: a T5 or a decoder.
        params: its parameters.
        prompts: `[batch, length]`, 0 after the last token of each.
        answers: the tokens after them.
    """
    prompts, answers = np.asarray(prompts, np.int32), np.asarray(answers, np.int32)
    length = answers.shape[1]
    if isinstance(model, T5):
        shifted = np.pad(answers, ((0, 0), (1, 0)))[:, :-1]
        batch = {"encoder_input_tokens": prompts, "decoder_input_tokens": shifted}
        return np.asarray(_apply(model, params, batch))
    rows = np.zeros((len(prompts), 1 + prompts.shape[1] + length), np.int32)
    num_tokens = (prompts > 0).sum(1)
    for row, prompt, n, answer in zip(rows, prompts, num_tokens, answers, strict=True):
        row[1 : n + 1], row[n + 1 : n + 1 + length] = prompt[:n], answer
    prefix = (np.arange(rows.shape[1]) <= num_tokens[:, None]).astype(np.int32)
    batch = {"decoder_input_tokens": rows, "decoder_causal_attention": prefix}
    logits = np.asarray(_apply(model, params, batch))
    return np.stack([row[n : n + length] for row, n in zip(logits, num_tokens, strict=True)])


def padded(rows, length):
    """Returns `[rows, length]` int32 of lists."""
    array = np.zeros((len(rows), length), np.int32)
    for row, tokens in zip(array, rows, strict=True):
        row[: len(tokens)] = tokens
    return array


def greedy_without_cache(model, params, prompts, length, eos_id=EOS_ID):
    """Returns the likeliest tokens, end of sequence included: a full pass for each position."""
    prompts = padded(prompts, 12)
    tokens = np.zeros((len(prompts), length), np.int32)
    for i in range(length):
        tokens[:, i] = full_logits(model, params, prompts, tokens)[:, i].argmax(-1)
    ends = [np.flatnonzero(row == eos_id) for row in tokens]
    return [
        row[: end[0] + 1 if len(end) else length] for row, end in zip(tokens, ends, strict=True)
    ]


def greedy(model, params, prompts, *, max_length, eos_id):
    """Returns the engine's greedy answers to `[batch, length]`, 0 after: `[batch, max_length]`."""
    rows = [np.trim_zeros(row, "b") for row in np.asarray(prompts)]
    longest = max(map(len, rows))
    engine = Engine(
        model, params, Letters(eos_id), max_input_length=longest, length_buckets=(longest,)
    )
    answers = engine.generate(rows, DecodeConfig(max_length=max_length))
    tokens = np.zeros((len(rows), max_length), np.int32)
    for row, answer in zip(tokens, answers, strict=True):
        found = answer.tokens[0]
        row[: len(found)] = found
        if answer.finish_reasons[0] == "stop":
            row[len(found)] = eos_id
    return tokens
