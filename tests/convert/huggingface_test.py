# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Hugging Face folders made by hand are read, written ones hold what they should, bad ones fail."""

import dataclasses
import json
import re
import struct

import ml_dtypes
import numpy as np
import pytest

from flan_jax.collection.vocabularies import load_vocabulary
from flan_jax.convert import huggingface
from flan_jax.convert.leaves import Arrays, laid_out
from flan_jax.core.errors import DataError, FlanError, UsageError
from flan_jax.models.t5 import T5Config
from tests.convert.safetensors_files import (
    CONFIG,
    file_bytes,
    make_folder,
    parse,
    t5_tensors,
)

TIED = CONFIG | {"tie_word_embeddings": True, "feed_forward_proj": "relu"}


def _read_all(leaves):
    return {name: leaves.read(name) for name in leaves.shapes}


def _written(folder):
    """Returns the tensors of a folder, and by tensor the file that holds it."""
    tensors, files = {}, {}
    for file in sorted(folder.glob("*.safetensors")):
        found, metadata = parse(file.read_bytes())
        assert metadata == {"format": "pt"}
        tensors |= found
        files |= dict.fromkeys(found, file.name)
    return tensors, files


@pytest.mark.parametrize("num_files", [1, 3])
def test_a_folder_is_read_under_our_names(tmp_path, num_files):
    tensors = t5_tensors(CONFIG)
    folder = make_folder(tmp_path, CONFIG, tensors, num_files)
    checkpoint = huggingface.read(folder)
    assert checkpoint.config == T5Config(
        vocab_size=20, emb_dim=6, num_heads=2, head_dim=4, num_encoder_layers=1,
        num_decoder_layers=2, mlp_dim=10, mlp_activations=("gelu", "linear"), dropout_rate=0.05,
        logits_via_embedding=False, relpos_buckets=8, relpos_max_distance=30,
    )  # fmt: skip
    params = _read_all(checkpoint.leaves)
    assert len(params) == len(tensors)
    for ours, theirs, transposed in [
        ("token_embedder/embedding", "shared.weight", False),
        ("decoder/logits_dense/kernel", "lm_head.weight", True),
        (
            "encoder/relpos_bias/rel_embedding",
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            True,
        ),
        (
            "encoder/layers_0/attention/query/kernel",
            "encoder.block.0.layer.0.SelfAttention.q.weight",
            True,
        ),
        (
            "decoder/layers_1/encoder_decoder_attention/out/kernel",
            "decoder.block.1.layer.1.EncDecAttention.o.weight",
            True,
        ),
        (
            "decoder/layers_1/pre_cross_attention_layer_norm/scale",
            "decoder.block.1.layer.1.layer_norm.weight",
            False,
        ),
        (
            "decoder/layers_0/mlp/wi_1/kernel",
            "decoder.block.0.layer.2.DenseReluDense.wi_1.weight",
            True,
        ),
        ("decoder/decoder_norm/scale", "decoder.final_layer_norm.weight", False),
    ]:
        wanted = tensors[theirs].T if transposed else tensors[theirs]
        np.testing.assert_array_equal(params[ours], wanted)
        assert checkpoint.leaves.shapes[ours].shape == wanted.shape


def test_a_part_is_read_of_what_is_transposed(tmp_path):
    tensors = t5_tensors(CONFIG, "bfloat16")
    leaves = huggingface.read(make_folder(tmp_path, CONFIG, tensors)).leaves
    index = slice(2, 4), slice(5, 20)
    part = leaves.read("decoder/logits_dense/kernel", index)
    np.testing.assert_array_equal(part, tensors["lm_head.weight"].T[index])
    assert part.dtype == ml_dtypes.bfloat16 and part.flags.c_contiguous


def test_float16_is_cast_and_said(tmp_path, capsys):
    tensors = t5_tensors(TIED, "float16")
    leaves = huggingface.read(make_folder(tmp_path, TIED, tensors)).leaves
    assert "cast from float16 to float32" in capsys.readouterr().err
    embedding = leaves.read("token_embedder/embedding")
    assert embedding.dtype == np.float32 == leaves.shapes["token_embedder/embedding"].dtype
    np.testing.assert_array_equal(embedding, tensors["shared.weight"].astype(np.float32))


def test_what_old_files_have_besides_is_understood(tmp_path, capsys):
    tensors = t5_tensors(TIED)
    table = tensors.pop("shared.weight")
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = table
    unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    tensors[unused] = np.zeros((8, 2), np.float32)
    checkpoint = huggingface.read(make_folder(tmp_path, TIED, tensors))
    assert checkpoint.config.logits_via_embedding
    np.testing.assert_array_equal(checkpoint.leaves.read("token_embedder/embedding"), table)
    assert unused in capsys.readouterr().err


def test_what_transformers_5_ties_unscaled_has_an_output_matrix(tmp_path, capsys):
    tensors = t5_tensors(CONFIG)
    del tensors["lm_head.weight"]
    config = CONFIG | {"tie_word_embeddings": True, "scale_decoder_outputs": False}
    checkpoint = huggingface.read(make_folder(tmp_path, config, tensors))
    assert not checkpoint.config.logits_via_embedding
    kernel = checkpoint.leaves.read("decoder/logits_dense/kernel")
    np.testing.assert_array_equal(kernel, tensors["shared.weight"].T)
    assert "shared.weight serves" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bart"}, "model_type 'bart' cannot be used: known are t5"),
        ({"d_model": None}, "no 'd_model'; is it 'model_type'"),
        ({"d_model": "6"}, "d_model '6' cannot be used"),
        ({"num_layers": 0}, "num_layers 0 cannot be used: it must be at least 1"),
        (
            {"num_layers": 10**9},
            r"says 1000000000 layers \(num_encoder_layers\), but .* 43 tensors",
        ),
        ({"vocab_size": 10**12}, r"vocab_size 1000000000000 cannot be used: .*below 2\*\*31"),
        ({"relative_attention_num_buckets": 1}, "relpos_buckets must be at least 4, .* 1 and 30"),
        ({"num_heads": True}, "num_heads True cannot be used"),
        ({"feed_forward_proj": "gated-tanh"}, "feed_forward_proj 'gated-tanh' cannot be used"),
        ({"is_gated_act": False}, "is_gated_act False cannot be used: .* means True"),
        ({"dense_act_fn": "relu"}, "dense_act_fn 'relu' cannot be used: .* means 'gelu_new'"),
        ({"scale_decoder_outputs": True}, "only tied ones are scaled"),
        ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon 1e-05 cannot be used"),
        ({"architectures": ["T5EncoderModel"]}, "must be a T5ForConditionalGeneration"),
        ({"quantization_config": {"bits": 4}}, "quantization_config .* unquantized"),
        ({"vocab_size": 21}, r"'shared.weight' is \[20, 6\], but config.json makes it \[21, 6\]"),
        ({"tie_word_embeddings": True}, "'lm_head.weight' and 'shared.weight' differ"),
        ({"num_layers": 2}, "no tensor 'encoder.block.1.layer.0.layer_norm.weight'"),
        ({"num_decoder_layers": 1}, "'decoder.block.1.* belongs to no parameter"),
        ({"dropout_rate": 1.5}, "dropout_rate"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_clear_line(tmp_path, change, message):
    make_folder(tmp_path, CONFIG | change, t5_tensors(CONFIG))
    with pytest.raises(UsageError, match=message) as caught:
        huggingface.read(tmp_path)
    assert "\n" not in str(caught.value)


def _cut(folder):
    file = folder / "model-00002-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-5])


def _empty(folder):
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"")


def _no_json(folder):
    file = folder / "model-00001-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:8] + b"#" * 10_000)


def _lost(folder):
    (folder / "model-00002-of-00002.safetensors").unlink()


def _indexed(folder, file_of_embedding):
    file = folder / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    index["weight_map"]["shared.weight"] = file_of_embedding
    file.write_text(json.dumps(index))


def _twice(folder):
    """The embedding is in the second file too, with other numbers."""
    file = folder / "model-00002-of-00002.safetensors"
    tensors, _ = parse(file.read_bytes())
    file.write_bytes(file_bytes(tensors | {"shared.weight": np.ones((20, 6), np.float32)}))


def _header(folder, text):
    file = folder / "model-00001-of-00002.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))


def _outside(folder):
    file = folder / "model.safetensors.index.json"
    file.write_text(json.dumps({"weight_map": {"shared.weight": "../x.safetensors"}}))


def _entry(folder, old, new):
    file = folder / "model-00001-of-00002.safetensors"
    file.write_bytes(file.read_bytes().replace(old, new, 1))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "model-00002.*: cut off: .* ends at byte"),
        (_empty, "model-00001.*: no safetensors file, or cut off"),
        (_no_json, "header is no JSON object"),
        (_lost, "names the file 'model-00002-of-00002.safetensors', which is not in"),
        (
            lambda folder: _indexed(folder, "model-00002-of-00002.safetensors"),
            "model-00001.* holds 'shared.weight', which .*index.json does not say",
        ),
        (
            lambda folder: _indexed(folder, ["a"]),
            r"the file of 'shared.weight' is \['a'\], no name",
        ),
        (_twice, "model-00002.* holds 'shared.weight', which .*index.json does not say"),
        (lambda folder: _header(folder, b"[]"), "header is no JSON object"),
        (
            lambda folder: _header(folder, b'{"a": {}, "a": {}}'),
            "no JSON object of different names",
        ),
        (lambda folder: _entry(folder, b'"F32"', b"[320]"), "entry for .* is malformed"),
        (_outside, "names the file '../x.safetensors', which is not in"),
        (lambda folder: _entry(folder, b"[20, 6]", b"[20, 5]"), r"has 480 bytes, not those of F32"),
        (lambda folder: _entry(folder, b"[20, 6]", b"[20, x]"), "header is no JSON object"),
        (lambda folder: _entry(folder, b"[20, 6]", b"[20,-6]"), "entry for .* is malformed"),
        (lambda folder: _entry(folder, b'"F32"', b'"I64"'), "stored as I64; only F32, BF16, F16"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("[]"), "not a JSON object"),
    ],
)
def test_damage_is_one_clear_line(tmp_path, damage, message):
    make_folder(tmp_path, CONFIG, t5_tensors(CONFIG), num_files=2)
    damage(tmp_path)
    with pytest.raises(FlanError, match=message) as caught:
        huggingface.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_pickles_are_refused(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(UsageError, match=r"pytorch_model.bin holds pickles.*model.safetensors"):
        huggingface.read(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(UsageError, match="has neither model.safetensors nor"):
        huggingface.read(tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        huggingface.read(tmp_path / "absent")


@pytest.mark.parametrize("stacked", [False, True], ids=["apart", "stacked"])
@pytest.mark.parametrize("json_config", [CONFIG, TIED], ids=["untied", "tied"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_read_and_written_again_is_the_same(tmp_path, json_config, stacked, dtype):
    tensors = t5_tensors(json_config, dtype)
    # A stack needs two layers only to be one; the encoder has one, the decoder two.
    checkpoint = huggingface.read(make_folder(tmp_path / "in", json_config, tensors))
    leaves = laid_out(checkpoint.leaves, stacked=stacked)
    out = tmp_path / "out"
    huggingface.write(out, leaves, checkpoint.config, max_file_bytes=1500)
    written, files = _written(out)
    if json_config is TIED:
        tensors["lm_head.weight"] = tensors["shared.weight"]
    assert written.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(written[name], array)
        assert written[name].dtype == array.dtype
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == files and len(set(files.values())) > 1
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in tensors.values())
    for file in set(files.values()):
        size = sum(written[name].nbytes for name in files if files[name] == file)
        assert size <= 1500
        assert re.fullmatch(rf"model-0\d\d\d\d-of-{len(set(files.values())):05}.safetensors", file)
    json_written = json.loads((out / "config.json").read_text())
    assert json_written["torch_dtype"] == dtype
    ignored = {"transformers_version"}
    assert {k: json_written[k] for k in json_config.keys() - ignored} == {
        k: v for k, v in json_config.items() if k not in ignored
    }
    generation = json.loads((out / "generation_config.json").read_text())
    assert generation == {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    again = huggingface.read(out)
    assert again.config == checkpoint.config


def test_small_models_are_one_file(tmp_path):
    checkpoint = huggingface.read(make_folder(tmp_path / "in", CONFIG, t5_tensors(CONFIG)))
    huggingface.write(tmp_path / "out", checkpoint.leaves, checkpoint.config)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"config.json", "generation_config.json", "model.safetensors"}


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    checkpoint = huggingface.read(make_folder(tmp_path / "in", CONFIG, t5_tensors(CONFIG)))
    params = _read_all(checkpoint.leaves)
    config, out = checkpoint.config, tmp_path / "deep" / "out"
    lacking = {n: a for n, a in params.items() if n != "decoder/logits_dense/kernel"}
    with pytest.raises(UsageError, match=r"logits_dense/kernel is absent there but \[6, 20\] in"):
        huggingface.write(out, Arrays(lacking), config)
    wider = dataclasses.replace(config, mlp_dim=12)
    with pytest.raises(UsageError, match=r"\[6, 10\] there but \[6, 12\] in the model's"):
        huggingface.write(out, Arrays(params), wider)
    odd = dataclasses.replace(config, mlp_activations=("linear", "gelu"))
    with pytest.raises(UsageError, match="has no name in transformers"):
        huggingface.write(out, Arrays(params), odd)
    whole = {name: np.zeros(array.shape, np.int8) for name, array in params.items()}
    with pytest.raises(UsageError, match="is int8, which no safetensors file"):
        huggingface.write(out, Arrays(whole), config)
    vocabulary = load_vocabulary("bytes")
    with pytest.raises(UsageError, match="is 20, but the vocabulary 'bytes' has 384 ids"):
        huggingface.write(out, Arrays(params), config, vocabulary)
    assert not out.parent.exists()

    class Failing(Arrays):
        def read(self, name, index=None):
            raise DataError("a chunk is cut off")

    with pytest.raises(DataError, match="a chunk is cut off"):
        huggingface.write(out, Failing(params), config)
    assert list(out.parent.iterdir()) == []
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="--out .* is not empty"):
        huggingface.write(out, Arrays(params), config)


def test_the_vocabulary_travels_with_the_model(tmp_path):
    vocabulary = load_vocabulary("package:tasks/mini/vocabulary/sentencepiece.model")
    config = CONFIG | {"vocab_size": vocabulary.padded_size}
    checkpoint = huggingface.read(make_folder(tmp_path / "in", config, t5_tensors(config)))
    assert checkpoint.vocabulary is None
    out = tmp_path / "out"
    huggingface.write(out, checkpoint.leaves, checkpoint.config, vocabulary)
    assert huggingface.read(out).vocabulary.fingerprint == vocabulary.fingerprint
    make_folder(out, CONFIG, t5_tensors(CONFIG))
    with pytest.raises(UsageError, match=rf"vocab_size is 20, but .* has {vocabulary.size} ids"):
        huggingface.read(out)
