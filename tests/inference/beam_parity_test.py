# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Beam search against transformers' `generate`, live, with the same weights."""

import types

import numpy as np
import pytest

from flan_jax.convert import huggingface
from flan_jax.convert.leaves import Arrays
from flan_jax.core.tree import unflatten
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.engine import Engine
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_network import DecoderConfig
from flan_jax.models.t5 import T5, T5Config
from tests.models.drawn import drawn_params

torch = pytest.importorskip("torch", reason="compares with transformers, which needs it")
transformers = pytest.importorskip("transformers", reason="it is what this compares with")

pytestmark = pytest.mark.parity

VOCAB = 96
LENGTH = 10
SIZES = dict(vocab_size=VOCAB, emb_dim=24, head_dim=8, mlp_dim=40, dtype="float32")
MODELS = {
    "t5": T5(T5Config(num_heads=3, num_encoder_layers=2, num_decoder_layers=2, **SIZES)),
    "llama": DecoderLM(
        DecoderConfig(
            num_layers=2, num_heads=4, num_kv_heads=2, block="serial", norm="rms",
            norm_epsilon=1e-5, rotary_pairing="halves", logits_via_embedding=False,
            scale_logits=False, **SIZES,
        )
    ),
}  # fmt: skip
EOS_IDS = {"t5": 66, "llama": 79}  # what these weights come to in some answers, at all positions


@pytest.fixture(scope="module", params=MODELS)
def both(request, tmp_path_factory):
    """Our model with its parameters, theirs with the same weights, and an end of sequence."""
    model = MODELS[request.param]
    params = drawn_params(model)
    params["decoder/logits_dense/kernel"] *= 3  # so that some tokens are much likelier than others
    folder = tmp_path_factory.mktemp(request.param) / "out"
    huggingface.write(folder, Arrays(params), model.config)
    kind = dict(t5="T5ForConditionalGeneration", llama="LlamaForCausalLM")[request.param]
    theirs = getattr(transformers, kind).from_pretrained(folder).eval()
    return model, unflatten(params), theirs, EOS_IDS[request.param]


def _prompts():
    rng = np.random.default_rng(4)
    return [rng.integers(2, VOCAB, n).tolist() for n in (9, 4, 7, 1, 9, 6)]


def _ours(model, params, eos_id, **how):
    vocabulary = types.SimpleNamespace(eos_id=eos_id, decode=str)
    engine = Engine(model, params, vocabulary, max_input_length=9, num_rows=6 * how["num_beams"])
    config = DecodeConfig(num_samples=how["num_beams"], **how)
    for answer in engine.generate(_prompts(), config):
        tokens = [
            [*tokens.tolist(), *[eos_id] * (reason == "stop")]
            for tokens, reason in zip(answer.tokens, answer.finish_reasons, strict=True)
        ]
        yield tokens, answer.scores


def _theirs(model, theirs, eos_id, *, num_beams, **how):
    prompts = [prompt if isinstance(model, T5) else [0, *prompt] for prompt in _prompts()]
    for prompt in prompts:
        inputs = torch.tensor([prompt], dtype=torch.long)
        out = theirs.generate(
            input_ids=inputs, attention_mask=torch.ones_like(inputs), do_sample=False,
            num_beams=num_beams, num_return_sequences=num_beams, early_stopping=False,
            eos_token_id=eos_id, pad_token_id=0, return_dict_in_generate=True,
            output_scores=True, **how,
        )  # fmt: skip
        begun = 1 if isinstance(model, T5) else len(prompt)
        answers = [_until(eos_id, row[begun:]) for row in out.sequences.numpy().tolist()]
        yield answers, out.sequences_scores.numpy()


def _until(eos_id, tokens):
    return tokens[: tokens.index(eos_id) + 1] if eos_id in tokens else tokens


@pytest.mark.parametrize(
    ("num_beams", "length_penalty"), [(4, 0.0), (4, 0.6), (4, 1.0), (4, 2.0), (2, 1.0)]
)
def test_answers_and_scores_are_those_of_transformers(both, num_beams, length_penalty):
    model, params, theirs, eos_id = both
    how = dict(num_beams=num_beams, length_penalty=length_penalty)
    ours = _ours(model, params, eos_id, max_length=LENGTH, **how)
    want = _theirs(model, theirs, eos_id, max_new_tokens=LENGTH, **how)
    lengths = set()
    for (found, found_scores), (answers, scores) in zip(ours, want, strict=True):
        assert found == answers
        np.testing.assert_allclose(found_scores, scores, rtol=2e-5)
        lengths.update(map(len, found))
    # Divided by the square of its length, the longest answer is nearly always the best.
    assert len(lengths) > 2 or length_penalty == 2


def test_processors_act_as_in_transformers(both):
    """In decoders theirs would look for repetitions in the prompt too, and forces no first one."""
    model, params, theirs, eos_id = both
    how, named = dict(min_length=5), dict(min_new_tokens=5)
    if isinstance(model, T5):
        how |= dict(no_repeat_ngram=2, forced_prefix=(5,))
        named |= dict(no_repeat_ngram_size=2, forced_bos_token_id=5)
    ours = _ours(model, params, eos_id, num_beams=3, max_length=LENGTH, **how)
    want = _theirs(model, theirs, eos_id, num_beams=3, max_new_tokens=LENGTH, **named)
    for (found, found_scores), (answers, scores) in zip(ours, want, strict=True):
        assert found == answers
        np.testing.assert_allclose(found_scores, scores, rtol=2e-5)
