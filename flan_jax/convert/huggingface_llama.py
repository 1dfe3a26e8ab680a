# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""LLaMA-like decoders as transformers stores them: configuration and names.

Serial blocks, grouped-query attention, RMS norms, SwiGLU and rotary positions over either half of
a head; no biases. Positions that are scaled for long inputs are refused. Kernels are transposed
there.
"""

from typing import Any

from flan_jax.convert.huggingface_family import Family, Fields, Tensor
from flan_jax.core.errors import UsageError
from flan_jax.models import rotary
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_network import DecoderConfig

# What makes a decoder LLaMA-like.
BLOCK = dict(
    mlp_activations=("silu", "linear"),
    block="serial",
    norm="rms",
    rotary_pairing=rotary.HALVES,
    prefix_lm=False,
    scale_logits=False,
)
_EMBEDDING, _OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
_LAYER = {
    "pre_self_attention_layer_norm/scale": "input_layernorm",
    "self_attention/query/kernel": "self_attn.q_proj",
    "self_attention/key/kernel": "self_attn.k_proj",
    "self_attention/value/kernel": "self_attn.v_proj",
    "self_attention/out/kernel": "self_attn.o_proj",
    "pre_mlp_layer_norm/scale": "post_attention_layernorm",
    "mlp/wi_0/kernel": "mlp.gate_proj",
    "mlp/wi_1/kernel": "mlp.up_proj",
    "mlp/wo/kernel": "mlp.down_proj",
}


def read_config(fields: Fields) -> DecoderConfig:
    """Returns our configuration for a config.json."""
    fields.expect("the network has", hidden_act="silu", attention_bias=False, mlp_bias=False)
    fields.expect("the model must be", architectures=["LlamaForCausalLM"])
    emb_dim, num_heads = fields.size("hidden_size"), fields.size("num_attention_heads")
    head_dim = fields.size("head_dim", None)
    if head_dim is None and emb_dim % num_heads:
        raise fields.refusal("hidden_size", f"it is no multiple of num_attention_heads {num_heads}")
    return DecoderConfig(
        vocab_size=fields.size("vocab_size"),
        emb_dim=emb_dim,
        num_heads=num_heads,
        num_kv_heads=fields.size("num_key_value_heads", num_heads),
        head_dim=head_dim or emb_dim // num_heads,
        num_layers=fields.size("num_hidden_layers"),
        mlp_dim=fields.size("intermediate_size"),
        norm_epsilon=float(fields.get("rms_norm_eps", 1e-6, kind=float)),
        rotary_theta=_theta(fields),
        logits_via_embedding=fields.get("tie_word_embeddings", False, kind=bool),
        **BLOCK,
    )


def _theta(fields: Fields) -> float:
    # Release 4 writes rope_theta and rope_scaling; release 5 has both in rope_parameters.
    for name in ("rope_parameters", "rope_scaling"):
        rope = fields.get(name, {}, kind=dict)
        if rope.get("rope_type", rope.get("type", "default")) != "default":
            raise fields.refusal(name, "positions must be those of rope_type 'default'")
    theta = fields.get("rope_parameters", {}).get("rope_theta")
    if not isinstance(theta, (int, float)):
        theta = fields.get("rope_theta", 10000.0, kind=(int, float))
    return float(theta)


def write_config(config: DecoderConfig) -> dict[str, Any]:
    """Returns the config.json for our configuration."""
    for name, wanted in BLOCK.items():
        if getattr(config, name) != wanted:
            raise UsageError(
                f"DecoderConfig.{name} {getattr(config, name)!r} has no form in transformers' "
                f"LLaMA, which has {wanted!r}"
            )
    return dict(
        model_type="llama",
        architectures=["LlamaForCausalLM"],
        vocab_size=config.vocab_size,
        hidden_size=config.emb_dim,
        intermediate_size=config.mlp_dim,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        hidden_act="silu",
        rms_norm_eps=config.norm_epsilon,
        rope_theta=config.rotary_theta,
        rope_parameters={"rope_type": "default", "rope_theta": config.rotary_theta},
        attention_bias=False,
        mlp_bias=False,
        tie_word_embeddings=config.logits_via_embedding,
        use_cache=True,
        bos_token_id=0,  # what our examples begin with
        pad_token_id=0,
        eos_token_id=1,
    )


def tensors(config: DecoderConfig) -> dict[str, Tensor]:
    """Returns how each parameter is stored."""
    is_tied = config.logits_via_embedding
    found = {
        "token_embedder/embedding": Tensor(_EMBEDDING, copies=(_OUTPUT,) if is_tied else ()),
        "decoder/decoder_norm/scale": Tensor("model.norm.weight"),
    }
    if not is_tied:
        found["decoder/logits_dense/kernel"] = Tensor(_OUTPUT, transposed=True)
    for i in range(config.num_layers):
        for ours, theirs in _LAYER.items():
            name = f"model.layers.{i}.{theirs}.weight"
            found[f"decoder/layers_{i}/{ours}"] = Tensor(name, ours.endswith("/kernel"))
    return found


FAMILY = Family(DecoderLM, read_config, write_config, tensors)
