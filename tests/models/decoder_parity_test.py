# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Decoders against three of transformers', live, with the same weights.

LLaMA is our serial block. GPT-J and Falcon have PaLM's parallel one, without gated MLP: GPT-J with
interleaved rotary pairs and an output matrix, Falcon with multi-query attention and a tied one.
Their biases are set to 0.
"""

import jax
import numpy as np
import pytest

from flan_jax.core.tree import unflatten
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_network import DecoderConfig
from tests.inference.tiny_models import greedy
from tests.models.drawn import drawn_params

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.parity

LLAMA = DecoderConfig(
    vocab_size=96, emb_dim=24, num_heads=4, num_kv_heads=2, head_dim=8, num_layers=2, mlp_dim=40,
    block="serial", norm="rms", norm_epsilon=1e-5, rotary_pairing="halves", rotary_theta=1e5,
    logits_via_embedding=False, scale_logits=False, dtype="float32",
)  # fmt: skip
GPTJ = DecoderConfig(
    vocab_size=96, emb_dim=32, num_heads=4, num_kv_heads=4, head_dim=8, num_layers=2, mlp_dim=40,
    mlp_activations=("gelu",), norm_epsilon=1e-5, logits_via_embedding=False, scale_logits=False,
    dtype="float32",
)  # fmt: skip
FALCON = DecoderConfig(
    vocab_size=96, emb_dim=32, num_heads=4, head_dim=8, num_layers=2, mlp_dim=40,
    mlp_activations=("gelu",), norm_epsilon=1e-5, rotary_pairing="halves", scale_logits=False,
    dtype="float32",
)  # fmt: skip


def _llama(config, params):
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=config.vocab_size, hidden_size=config.emb_dim,
            intermediate_size=config.mlp_dim, num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads, num_key_value_heads=config.num_kv_heads,
            head_dim=config.head_dim, rms_norm_eps=config.norm_epsilon,
            rope_parameters={"rope_type": "default", "rope_theta": config.rotary_theta},
            tie_word_embeddings=False, pad_token_id=0, bos_token_id=0, eos_token_id=1,
        )
    )  # fmt: skip
    names = {
        "token_embedder/embedding": "model.embed_tokens",
        "decoder/decoder_norm/scale": "model.norm",
        "decoder/logits_dense/kernel": "lm_head",
    }
    for i in range(config.num_layers):
        names |= {
            f"decoder/layers_{i}/{ours}": f"model.layers.{i}.{there}"
            for ours, there in {
                "pre_self_attention_layer_norm/scale": "input_layernorm",
                "self_attention/query/kernel": "self_attn.q_proj",
                "self_attention/key/kernel": "self_attn.k_proj",
                "self_attention/value/kernel": "self_attn.v_proj",
                "self_attention/out/kernel": "self_attn.o_proj",
                "pre_mlp_layer_norm/scale": "post_attention_layernorm",
                "mlp/wi_0/kernel": "mlp.gate_proj",
                "mlp/wi_1/kernel": "mlp.up_proj",
                "mlp/wo/kernel": "mlp.down_proj",
            }.items()
        }
    return _loaded(theirs, params, names)


def _gptj(config, params):
    theirs = transformers.GPTJForCausalLM(
        transformers.GPTJConfig(
            vocab_size=config.vocab_size, n_embd=config.emb_dim, n_inner=config.mlp_dim,
            n_layer=config.num_layers, n_head=config.num_heads, rotary_dim=config.head_dim,
            n_positions=64, activation_function="gelu_new", tie_word_embeddings=False,
            layer_norm_epsilon=config.norm_epsilon, bos_token_id=0, eos_token_id=1,
        )
    )  # fmt: skip
    names = {
        "token_embedder/embedding": "transformer.wte",
        "decoder/decoder_norm/scale": "transformer.ln_f",
        "decoder/logits_dense/kernel": "lm_head",
    }
    for i in range(config.num_layers):
        names |= {
            f"decoder/layers_{i}/{ours}": f"transformer.h.{i}.{there}"
            for ours, there in {
                "layer_norm/scale": "ln_1",
                "self_attention/query/kernel": "attn.q_proj",
                "self_attention/key/kernel": "attn.k_proj",
                "self_attention/value/kernel": "attn.v_proj",
                "self_attention/out/kernel": "attn.out_proj",
                "mlp/wi/kernel": "mlp.fc_in",
                "mlp/wo/kernel": "mlp.fc_out",
            }.items()
        }
    return _loaded(theirs, params, names)


def _falcon(config, params):
    theirs = transformers.FalconForCausalLM(
        transformers.FalconConfig(
            vocab_size=config.vocab_size, hidden_size=config.emb_dim,
            ffn_hidden_size=config.mlp_dim, num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads, layer_norm_epsilon=config.norm_epsilon,
            multi_query=True, parallel_attn=True, bias=False, alibi=False, activation="gelu_new",
            new_decoder_architecture=False, hidden_dropout=0.0, attention_dropout=0.0,
            bos_token_id=0, eos_token_id=1,
        )
    )  # fmt: skip
    names = {
        "token_embedder/embedding": "transformer.word_embeddings",
        "decoder/decoder_norm/scale": "transformer.ln_f",
    }
    params = dict(params)
    for i in range(config.num_layers):
        at, there = f"decoder/layers_{i}", f"transformer.h.{i}"
        joined = [
            params[f"{at}/self_attention/{name}/kernel"] for name in ("query", "key", "value")
        ]
        params[f"{at}/joined/kernel"] = np.concatenate(joined, axis=1)
        names |= {
            f"{at}/layer_norm/scale": f"{there}.input_layernorm",
            f"{at}/joined/kernel": f"{there}.self_attention.query_key_value",
            f"{at}/self_attention/out/kernel": f"{there}.self_attention.dense",
            f"{at}/mlp/wi/kernel": f"{there}.mlp.dense_h_to_4h",
            f"{at}/mlp/wo/kernel": f"{there}.mlp.dense_4h_to_h",
        }
    return _loaded(theirs, params, names)


def _loaded(theirs, params, names):
    """Gives a model of transformers the weights; its kernels are transposed, its biases 0."""
    state = {
        f"{there}.weight": params[ours].T if ours.endswith("kernel") else params[ours]
        for ours, there in names.items()
    }
    state = {name: torch.tensor(np.ascontiguousarray(array)) for name, array in state.items()}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    for name in set(missing) - {"lm_head.weight"}:
        assert name.endswith("bias"), f"{name} was given no weight"
        torch.nn.init.zeros_(theirs.get_parameter(name))
    return theirs.eval()


@pytest.fixture(scope="module", params=["llama", "gptj", "falcon"])
def both(request):
    """Our model with its parameters, and theirs with the same weights."""
    build, config = dict(
        llama=(_llama, LLAMA), gptj=(_gptj, GPTJ), falcon=(_falcon, FALCON)
    )[request.param]  # fmt: skip
    params = drawn_params(DecoderLM(config))
    return DecoderLM(config), unflatten(params), build(config, params)


def test_logits_are_those_of_transformers(both):
    model, params, theirs = both
    tokens = np.random.default_rng(1).integers(2, 96, (3, 40)).astype(np.int32)
    batch = {"decoder_input_tokens": tokens}
    logits = np.asarray(jax.jit(lambda p, b: model.apply(p, b, train=False))(params, batch))
    with torch.no_grad():
        want = theirs(input_ids=torch.tensor(tokens, dtype=torch.long)).logits.numpy()
    assert want.std() > 0.5
    np.testing.assert_allclose(logits, want, rtol=1e-5, atol=1e-5)


def test_greedy_tokens_are_those_of_transformers(both):
    """Prompts of differing length, which begin with token 0."""
    model, params, theirs = both
    prompts = np.random.default_rng(2).integers(2, 96, (3, 7)).astype(np.int32)
    lengths = (7, 3, 5)
    for row, length in zip(prompts, lengths, strict=True):
        row[length:] = 0
    tokens = np.asarray(greedy(model, params, prompts, max_length=10, eos_id=1))
    for row, prompt, length in zip(tokens, prompts, lengths, strict=True):
        begun = torch.tensor([[0, *prompt[:length]]], dtype=torch.long)
        want = theirs.generate(
            input_ids=begun,
            attention_mask=torch.ones_like(begun),
            max_new_tokens=10,
            do_sample=False,
            pad_token_id=0,
        ).numpy()[0, length + 1 :]
        np.testing.assert_array_equal(row[: len(want)], want)
        assert not row[len(want) :].any()
