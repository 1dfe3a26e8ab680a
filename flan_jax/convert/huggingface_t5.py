# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""T5 1.0, T5 1.1, Flan-T5, mT5 and ByT5 as transformers stores them: configuration and names.

Kernels and position tables are transposed there. T5 1.0 ties the output matrix to the embedding
and scales what it multiplies; the others have one of their own. Which it is, `tie_word_embeddings`
says in files of transformers 4. Release 5 sets that to true in every file it writes, ties a T5 1.1
built from its configuration whatever one asks for, and says `scale_decoder_outputs` instead.
"""

from typing import Any

from flan_jax.convert.huggingface_family import Family, Fields, Tensor
from flan_jax.core.errors import UsageError
from flan_jax.models.t5 import T5, T5Config

# feed_forward_proj -> our activations, and what dense_act_fn says with it.
_FEED_FORWARD = {
    "relu": (("relu",), "relu"),
    "gated-gelu": (("gelu", "linear"), "gelu_new"),
    "gated-silu": (("silu", "linear"), "silu"),
    "gated-relu": (("relu", "linear"), "relu"),
}
_ATTENTION = {"query": "q", "key": "k", "value": "v", "out": "o"}
_EMBEDDING, _OUTPUT = "shared.weight", "lm_head.weight"
_ARCHITECTURES = ("T5ForConditionalGeneration", "MT5ForConditionalGeneration", "T5WithLMHeadModel")


def read_config(fields: Fields) -> T5Config:
    """Returns our configuration for a config.json."""
    fields.expect("the network has", is_encoder_decoder=True, layer_norm_epsilon=1e-6)
    fields.expect("all our T5s have", pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)
    fields.expect("there is only", tie_encoder_decoder=False, pruned_heads={}, is_decoder=False)
    for name in fields.get("architectures", (), kind=list):
        if name not in _ARCHITECTURES:
            raise fields.refusal("architectures", f"the model must be a {_ARCHITECTURES[0]}")
    num_layers = fields.size("num_layers")
    return T5Config(
        vocab_size=fields.size("vocab_size"),
        emb_dim=fields.size("d_model"),
        num_heads=fields.size("num_heads"),
        head_dim=fields.size("d_kv"),
        num_encoder_layers=num_layers,
        num_decoder_layers=fields.size("num_decoder_layers", num_layers),
        mlp_dim=fields.size("d_ff"),
        mlp_activations=_activations(fields),
        dropout_rate=float(fields.get("dropout_rate", 0.1, kind=(int, float))),
        logits_via_embedding=_is_tied(fields),
        relpos_buckets=fields.size("relative_attention_num_buckets"),
        relpos_max_distance=fields.size("relative_attention_max_distance", 128),
    )


def _activations(fields: Fields) -> tuple[str, ...]:
    # T5 1.0's first files have no such field.
    name = fields.get("feed_forward_proj", "relu", kind=str)
    if name not in _FEED_FORWARD:
        raise fields.refusal("feed_forward_proj", f"known are {', '.join(_FEED_FORWARD)}")
    activations, function = _FEED_FORWARD[name]
    fields.expect(
        f"feed_forward_proj {name!r} means",
        is_gated_act=len(activations) > 1,
        dense_act_fn=function,
    )
    return activations


def _is_tied(fields: Fields) -> bool:
    ties = fields.get("tie_word_embeddings", True, kind=bool)
    scales = fields.get("scale_decoder_outputs", ties, kind=bool)
    if scales and not ties:
        raise fields.refusal(
            "scale_decoder_outputs", "tie_word_embeddings is false, and only tied ones are scaled"
        )
    return scales


def write_config(config: T5Config) -> dict[str, Any]:
    """Returns the config.json for our configuration."""
    names = [name for name, (ours, _) in _FEED_FORWARD.items() if ours == config.mlp_activations]
    if not names:
        known = " or ".join(str(ours) for ours, _ in _FEED_FORWARD.values())
        raise UsageError(
            f"T5Config.mlp_activations {config.mlp_activations} has no name in transformers; it "
            f"knows {known}"
        )
    return dict(
        model_type="t5",
        architectures=["T5ForConditionalGeneration"],
        vocab_size=config.vocab_size,
        d_model=config.emb_dim,
        d_kv=config.head_dim,
        d_ff=config.mlp_dim,
        num_layers=config.num_encoder_layers,
        num_decoder_layers=config.num_decoder_layers,
        num_heads=config.num_heads,
        relative_attention_num_buckets=config.relpos_buckets,
        relative_attention_max_distance=config.relpos_max_distance,
        dropout_rate=config.dropout_rate,
        layer_norm_epsilon=1e-6,
        initializer_factor=1.0,
        feed_forward_proj=names[0],
        tie_word_embeddings=config.logits_via_embedding,
        is_encoder_decoder=True,
        use_cache=True,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )


def tensors(config: T5Config) -> dict[str, Tensor]:
    """Returns how each parameter is stored."""
    is_tied = config.logits_via_embedding
    found = {
        "token_embedder/embedding": Tensor(
            _EMBEDDING,
            copies=(_OUTPUT,) if is_tied else (),
            aliases=("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"),
        )
    }
    if not is_tied:
        found["decoder/logits_dense/kernel"] = Tensor(_OUTPUT, transposed=True, stand_in=_EMBEDDING)
    stacks = dict(encoder=config.num_encoder_layers, decoder=config.num_decoder_layers)
    for stack, num_layers in stacks.items():
        bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        found[f"{stack}/relpos_bias/rel_embedding"] = Tensor(bias, transposed=True)
        found[f"{stack}/{stack}_norm/scale"] = Tensor(f"{stack}.final_layer_norm.weight")
        for i in range(num_layers):
            for ours, theirs in _layer(stack, len(config.mlp_activations)).items():
                name = f"{stack}.block.{i}.layer.{theirs}.weight"
                found[f"{stack}/layers_{i}/{ours}"] = Tensor(name, ours.endswith("/kernel"))
    return found


def _layer(stack: str, num_activations: int) -> dict[str, str]:
    """Returns the names in one layer: ours -> theirs."""
    attentions = {
        "encoder": {"attention": "SelfAttention"},
        "decoder": {
            "self_attention": "SelfAttention",
            "encoder_decoder_attention": "EncDecAttention",
        },
    }[stack]
    norms = {"encoder_decoder_attention": "pre_cross_attention_layer_norm"}
    names: dict[str, str] = {}
    for i, (ours, theirs) in enumerate(attentions.items()):
        names[f"{norms.get(ours, f'pre_{ours}_layer_norm')}/scale"] = f"{i}.layer_norm"
        for kernel, letter in _ATTENTION.items():
            names[f"{ours}/{kernel}/kernel"] = f"{i}.{theirs}.{letter}"
    last = len(attentions)
    names["pre_mlp_layer_norm/scale"] = f"{last}.layer_norm"
    inner = ["wi"] if num_activations == 1 else [f"wi_{i}" for i in range(num_activations)]
    for kernel in (*inner, "wo"):
        names[f"mlp/{kernel}/kernel"] = f"{last}.DenseReluDense.{kernel}"
    return names


FAMILY = Family(
    T5,
    read_config,
    write_config,
    tensors,
    # Stored by T5 1.0's first files: attention over the inputs has no position bias.
    unused=frozenset({"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"}),
)
