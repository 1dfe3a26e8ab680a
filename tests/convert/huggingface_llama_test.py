# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""LLaMA-like decoders to and from Hugging Face folders, by hand and with transformers."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from flan_jax.convert import huggingface
from flan_jax.convert.huggingface_llama import BLOCK
from flan_jax.convert.leaves import Arrays, laid_out
from flan_jax.core.errors import UsageError
from flan_jax.core.tree import flatten, unflatten
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_network import DecoderConfig
from tests.convert.safetensors_files import make_folder, parse
from tests.inference.tiny_models import greedy

JSON = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 40,
    "hidden_size": 12,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 5000.0,
    "rope_scaling": None,
    "attention_bias": False,
    "tie_word_embeddings": False,
    "head_dim": 6,
}
CONFIG = DecoderConfig(
    vocab_size=40, emb_dim=12, num_heads=4, num_kv_heads=2, head_dim=6, num_layers=2, mlp_dim=20,
    norm_epsilon=1e-5, rotary_theta=5000.0, logits_via_embedding=False, **BLOCK,
)  # fmt: skip


def _tensors():
    shapes = {"model.embed_tokens.weight": (40, 12), "lm_head.weight": (40, 12)}
    shapes["model.norm.weight"] = (12,)
    for i in range(2):
        for name, shape in {
            "input_layernorm": (12,), "post_attention_layernorm": (12,),
            "self_attn.q_proj": (24, 12), "self_attn.k_proj": (12, 12),
            "self_attn.v_proj": (12, 12), "self_attn.o_proj": (12, 24),
            "mlp.gate_proj": (20, 12), "mlp.up_proj": (20, 12), "mlp.down_proj": (12, 20),
        }.items():  # fmt: skip
            shapes[f"model.layers.{i}.{name}.weight"] = shape
    rng = np.random.default_rng(0)
    return {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}


def test_what_is_read_and_written_again_is_the_same(tmp_path):
    tensors = _tensors()
    checkpoint = huggingface.read(make_folder(tmp_path / "in", JSON, tensors))
    assert checkpoint.config == CONFIG
    for ours, theirs in [
        ("decoder/layers_1/self_attention/key/kernel", "model.layers.1.self_attn.k_proj.weight"),
        ("decoder/layers_0/mlp/wi_0/kernel", "model.layers.0.mlp.gate_proj.weight"),
        ("decoder/layers_0/mlp/wi_1/kernel", "model.layers.0.mlp.up_proj.weight"),
        ("decoder/logits_dense/kernel", "lm_head.weight"),
    ]:
        np.testing.assert_array_equal(checkpoint.leaves.read(ours), tensors[theirs].T)
    leaves = laid_out(checkpoint.leaves, stacked=True)
    huggingface.write(tmp_path / "out", leaves, CONFIG)
    written, _ = parse((tmp_path / "out" / "model.safetensors").read_bytes())
    assert written.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(written[name], array)
    assert huggingface.read(tmp_path / "out").config == CONFIG


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' cannot be used: the network has 'silu'"),
        ({"attention_bias": True}, "attention_bias True cannot be used"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope_scaling .* 'default'"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_parameters .* 'default'"),
        ({"num_key_value_heads": 3}, "num_heads 4 is no multiple of num_kv_heads 3"),
        ({"hidden_size": 13, "head_dim": None}, "hidden_size 13 .* no multiple of"),
        ({"tie_word_embeddings": True}, "'lm_head.weight' and 'model.embed_tokens.weight' differ"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_clear_line(tmp_path, change, message):
    make_folder(tmp_path, JSON | change, _tensors())
    with pytest.raises(UsageError, match=message) as caught:
        huggingface.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_palm_has_no_form_there(tmp_path):
    palm = dataclasses.replace(CONFIG, block="parallel")
    params = flatten(jax.eval_shape(DecoderLM(palm).init, jax.random.key(0)))
    leaves = Arrays({name: np.zeros(leaf.shape, np.float32) for name, leaf in params.items()})
    with pytest.raises(UsageError, match="block 'parallel' has no form .* LLaMA.* 'serial'"):
        huggingface.write(tmp_path / "out", leaves, palm)


def _check_equal(config, params, theirs):
    """Checks logits of padded rows and greedy answers of our model against theirs."""
    import torch

    model, theirs = DecoderLM(config), theirs.eval()
    rng = np.random.default_rng(1)
    tokens = rng.integers(2, 40, (3, 17)).astype(np.int32)
    for row, length in zip(tokens, (17, 9, 1), strict=True):
        row[length:] = 0
    batch = {"decoder_input_tokens": tokens}
    logits = np.asarray(jax.jit(lambda p, b: model.apply(p, b, train=False))(params, batch))
    with torch.no_grad():
        want = theirs(
            input_ids=torch.tensor(tokens, dtype=torch.long),
            attention_mask=torch.tensor(tokens > 0),
        ).logits.numpy()
    for i, row in enumerate(tokens):
        n = (row > 0).sum()
        np.testing.assert_allclose(logits[i, :n], want[i, :n], rtol=1e-5, atol=1e-5)
    answers = greedy(model, params, tokens, max_length=8, eos_id=1)
    for row, answer in zip(tokens, answers, strict=True):
        prompt = torch.tensor([[0, *row[row > 0]]], dtype=torch.long)  # ours begin with token 0
        found = theirs.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, do_sample=False,
            eos_token_id=1, pad_token_id=0,
        )[0, prompt.shape[1] :].numpy()  # fmt: skip
        np.testing.assert_array_equal(answer[: len(found)], found)


@pytest.mark.parity
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_transformers_loads_what_is_written(tmp_path, tied):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = dataclasses.replace(
        CONFIG, logits_via_embedding=tied, dtype="float32", scan_layers=tied
    )
    rng = np.random.default_rng(0)
    shapes = flatten(jax.eval_shape(DecoderLM(config).init, jax.random.key(0)))
    params = {
        name: (0.3 * rng.normal(size=leaf.shape) + name.endswith("scale")).astype(np.float32)
        for name, leaf in shapes.items()
    }
    huggingface.write(tmp_path / "out", Arrays(params), config)
    theirs, said = transformers.LlamaForCausalLM.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(said.values()), said
    _check_equal(config, unflatten(params), theirs)


@pytest.mark.parity
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_what_transformers_saves_is_read(tmp_path, tied):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    fields = {k: v for k, v in JSON.items() if k not in ("model_type", "architectures")}
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**fields | {"tie_word_embeddings": tied})
    )
    with torch.no_grad():
        for parameter in theirs.parameters():
            noise = 0.3 * torch.randn_like(parameter)
            parameter.copy_(1 + noise if parameter.ndim == 1 else noise)
    theirs.save_pretrained(tmp_path)
    assert "rope_theta" not in json.loads((tmp_path / "config.json").read_text())  # release 5
    checkpoint = huggingface.read(tmp_path)
    assert checkpoint.config == dataclasses.replace(CONFIG, logits_via_embedding=tied)
    config = dataclasses.replace(checkpoint.config, dtype="float32")
    leaves = checkpoint.leaves
    params = unflatten({path: leaves.read(path) for path in leaves.shapes})
    _check_equal(config, params, theirs)
