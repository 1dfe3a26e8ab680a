# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""T5 against the T5 of transformers, live, with the same weights."""

import dataclasses

import jax
import numpy as np
import pytest

from flan_jax.core.tree import unflatten
from flan_jax.models.t5 import T5, T5Config
from tests.inference.tiny_models import greedy
from tests.models.drawn import drawn_params

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.parity

CONFIG = T5Config(
    vocab_size=96, emb_dim=24, num_heads=3, head_dim=8, num_encoder_layers=2, num_decoder_layers=2,
    mlp_dim=40, dtype="float32",
)  # fmt: skip


_BLOCK = {
    "encoder": {
        "pre_attention_layer_norm/scale": "0.layer_norm",
        "attention": "0.SelfAttention",
        "pre_mlp_layer_norm/scale": "1.layer_norm",
        "mlp": "1.DenseReluDense",
    },
    "decoder": {
        "pre_self_attention_layer_norm/scale": "0.layer_norm",
        "self_attention": "0.SelfAttention",
        "pre_cross_attention_layer_norm/scale": "1.layer_norm",
        "encoder_decoder_attention": "1.EncDecAttention",
        "pre_mlp_layer_norm/scale": "2.layer_norm",
        "mlp": "2.DenseReluDense",
    },
}
_ATTENTION = dict(query="q", key="k", value="v", out="o")


def _mlp_names(config):
    return ("wi", "wo") if len(config.mlp_activations) == 1 else ("wi_0", "wi_1", "wo")


def _state_dict(params, config):
    """Returns the same weights under transformers' names; its kernels are transposed."""
    state = {"shared.weight": params["token_embedder/embedding"]}
    if not config.logits_via_embedding:
        state["lm_head.weight"] = params["decoder/logits_dense/kernel"].T
    for stack, num in (
        ("encoder", config.num_encoder_layers),
        ("decoder", config.num_decoder_layers),
    ):
        state[f"{stack}.embed_tokens.weight"] = params["token_embedder/embedding"]
        state[f"{stack}.final_layer_norm.weight"] = params[f"{stack}/{stack}_norm/scale"]
        bias = params[f"{stack}/relpos_bias/rel_embedding"].T
        state[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = bias
        for i in range(num):
            for ours, theirs in _BLOCK[stack].items():
                at, to = f"{stack}/layers_{i}/{ours}", f"{stack}.block.{i}.layer.{theirs}"
                if ours.endswith("scale"):
                    state[f"{to}.weight"] = params[at]
                    continue
                for name in _mlp_names(config) if ours == "mlp" else _ATTENTION:
                    there = _ATTENTION.get(name, name)
                    state[f"{to}.{there}.weight"] = params[f"{at}/{name}/kernel"].T
    return {name: torch.tensor(np.ascontiguousarray(array)) for name, array in state.items()}


FAMILIES = {
    "t5_1_1": {},
    "t5_1_1, tied": dict(logits_via_embedding=True),
    "t5_1_0": dict(logits_via_embedding=True, mlp_activations=("relu",)),
}


@pytest.fixture(scope="module", params=FAMILIES)
def both(request):
    """Our model with its parameters, and theirs with the same weights."""
    config = dataclasses.replace(CONFIG, **FAMILIES[request.param])
    params = drawn_params(T5(config))
    theirs = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=config.vocab_size, d_model=config.emb_dim, d_kv=config.head_dim,
            d_ff=config.mlp_dim, num_layers=config.num_encoder_layers,
            num_decoder_layers=config.num_decoder_layers, num_heads=config.num_heads,
            relative_attention_num_buckets=32, relative_attention_max_distance=128,
            layer_norm_epsilon=1e-6,
            feed_forward_proj="gated-gelu" if len(config.mlp_activations) == 2 else "relu",
            tie_word_embeddings=config.logits_via_embedding, pad_token_id=0, eos_token_id=1,
            decoder_start_token_id=0,
        )
    ).eval()  # fmt: skip
    if not config.logits_via_embedding:
        # transformers 5 shares one tensor even then, and only drops the scaling.
        theirs.lm_head.weight = torch.nn.Parameter(theirs.lm_head.weight.clone())
    missing, unexpected = theirs.load_state_dict(_state_dict(params, config), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    return T5(config), unflatten(params), theirs


def _tokens(lengths, width, seed):
    rng = np.random.default_rng(seed)
    rows = np.zeros((len(lengths), width), np.int32)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = rng.integers(2, CONFIG.vocab_size, length)
    return rows


@pytest.mark.parametrize("width", [12, 160])
def test_logits_are_those_of_transformers(both, width):
    model, params, theirs = both
    inputs = _tokens((width, width // 2, 3), width, 0)
    targets = _tokens((width // 2, 5, 2), width // 2, 1)
    batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": targets}
    logits = np.asarray(jax.jit(lambda p, b: model.apply(p, b, train=False))(params, batch))
    with torch.no_grad():
        want = theirs(
            input_ids=torch.tensor(inputs, dtype=torch.long),
            attention_mask=torch.tensor(inputs > 0),
            decoder_input_ids=torch.tensor(targets, dtype=torch.long),
        ).logits.numpy()
    for i, row in enumerate(targets):
        n = (row > 0).sum()
        np.testing.assert_allclose(logits[i, :n], want[i, :n], rtol=1e-5, atol=2e-5)


def test_greedy_tokens_are_those_of_transformers(both):
    model, params, theirs = both
    inputs = _tokens((9, 4, 7), 9, 3)
    tokens = greedy(model, params, inputs, max_length=10, eos_id=1)
    want = theirs.generate(
        input_ids=torch.tensor(inputs, dtype=torch.long),
        attention_mask=torch.tensor(inputs > 0),
        max_new_tokens=10,
        do_sample=False,
        num_beams=1,
    ).numpy()[:, 1:]
    padded = np.zeros((3, 10), want.dtype)
    padded[:, : want.shape[1]] = want
    np.testing.assert_array_equal(tokens, padded)
