# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`flan-jax convert`: bit-equal around all formats, the model known or found, refusals clear."""

import dataclasses
import json
import os
import shutil

import jax
import numpy as np
import pytest

from flan_jax import main
from flan_jax.commands import convert
from flan_jax.convert import deducing, huggingface, t5x
from flan_jax.convert.leaves import Arrays, laid_out
from flan_jax.core.tree import flatten
from flan_jax.models.decoder import DecoderConfig, DecoderLM
from flan_jax.models.t5 import T5, T5Config
from flan_jax.training import checkpoints, params_files
from tests.convert.t5x_files import write_checkpoint

CONFIG = T5Config(
    vocab_size=40,
    emb_dim=12,
    num_heads=3,
    head_dim=5,
    num_encoder_layers=2,
    num_decoder_layers=3,
    mlp_dim=20,
    relpos_buckets=8,
    dropout_rate=0.1,
)


def make_arrays(config, model=T5):
    """Returns parameters of a model, all of them random, layers as the configuration says."""
    rng = np.random.default_rng(0)
    shapes = flatten(jax.eval_shape(model(config).init, jax.random.key(0)))
    return {n: rng.standard_normal(leaf.shape).astype(np.float32) for n, leaf in shapes.items()}


def make_native(folder, arrays):
    step = int(folder.name.split("_")[1])
    write_checkpoint(folder, {f"target/{n}": a for n, a in arrays.items()}, step=step)
    return str(folder)


def run(*arguments, code=0):
    assert main.main(["convert", *map(str, arguments)]) == code


def assert_bit_equal(leaves, arrays):
    assert leaves.shapes.keys() == arrays.keys()
    for name, array in arrays.items():
        got = leaves.read(name)
        assert got.dtype == array.dtype, name
        np.testing.assert_array_equal(got.view(np.uint8), array.view(np.uint8))


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("is_tied", [False, True])
def test_the_round_trip_is_bit_equal(tmp_path, is_tied, scan_layers, capsys):
    activations = ("relu",) if is_tied else ("gelu", "linear")
    config = dataclasses.replace(
        CONFIG,
        logits_via_embedding=is_tied,
        mlp_activations=activations,
        scan_layers=scan_layers,
    )
    arrays = make_arrays(config)
    native = make_native(tmp_path / "native" / "checkpoint_1000", arrays)
    scan = ["--scan_layers", "true" if scan_layers else "false"]
    out = [str(tmp_path / name) for name in ("a", "b", "c", "d")]
    run("--source", native, "--to", "flan_jax", "--out", out[0])
    run("--source", out[0], "--to", "huggingface", "--out", out[1])
    run("--source", out[1], "--to", "flan_jax", "--out", out[2], *scan)
    run("--source", out[2], "--to", "t5x", "--out", f"{out[3]}/checkpoint_1000")
    assert_bit_equal(params_files.open_params(out[0]), arrays)
    assert huggingface.read(out[1]).config == dataclasses.replace(config, scan_layers=False)
    assert_bit_equal(params_files.open_params(out[2]), arrays)
    back = t5x.open_checkpoint(out[3])
    assert_bit_equal(back.params, arrays)
    assert checkpoints.step_of(checkpoints.find(out[0])) == 1000
    assert back.step == 1000  # Hugging Face keeps none; the folder's name says it
    assert "step 0; the flan_jax checkpoint is" in capsys.readouterr().err


@pytest.mark.parametrize("scan_layers", [False, True])
def test_layers_are_stored_as_asked(tmp_path, scan_layers):
    arrays = make_arrays(dataclasses.replace(CONFIG, scan_layers=not scan_layers))
    native = make_native(tmp_path / "checkpoint_7", arrays)
    word = "true" if scan_layers else "false"
    for to, read in (
        ("t5x", lambda path: t5x.open_checkpoint(path).params),
        ("flan_jax", params_files.open_params),
    ):
        run("--source", native, "--to", to, "--out", tmp_path / to, "--scan_layers", word)
        wanted = laid_out(Arrays(arrays), stacked=scan_layers)
        assert_bit_equal(
            read(tmp_path / to / "checkpoint_7"), {n: wanted.read(n) for n in wanted.shapes}
        )


def test_what_t5x_optimizer_keeps_goes_along_to_t5x(tmp_path, capsys):
    name = "param_states/token_embedder/embedding/v_row"
    arrays = {"target/token_embedder/embedding": np.ones((4, 3), np.float32)}
    arrays |= {f"state/{name}": np.arange(4, dtype=np.float32)}
    write_checkpoint(tmp_path / "source", arrays, step=9)
    run("--source", tmp_path / "source", "--to", "t5x", "--out", tmp_path / "out")
    again = t5x.open_checkpoint(tmp_path / "out")
    assert again.step == 9
    np.testing.assert_array_equal(again.state.read(name), arrays[f"state/{name}"])
    run("--source", tmp_path / "source", "--to", "flan_jax", "--out", tmp_path / "checkpoint_9")
    assert "the optimizer's state is left out" in capsys.readouterr().err


def test_ours_keeps_what_model_it_is_of(tmp_path):
    config = dataclasses.replace(CONFIG, relpos_max_distance=77, dropout_rate=0.25)
    huggingface.write(tmp_path / "hf", Arrays(make_arrays(config)), config)
    run("--source", tmp_path / "hf", "--to", "flan_jax", "--out", tmp_path / "ours")
    run("--source", tmp_path / "ours", "--to", "huggingface", "--out", tmp_path / "hf2")
    assert huggingface.read(tmp_path / "hf2").config == config
    assert checkpoints.read_config(tmp_path / "ours")["converted_from"] == str(tmp_path / "hf")


@pytest.mark.parametrize(
    ("text", "code"), [("[]", 1), ('{"model": "T5"}', 0), ('{"model": {"T5Config": [1]}}', 0)]
)
def test_what_ours_says_of_itself_may_be_damaged(tmp_path, capsys, text, code):
    params_files.write_params(tmp_path / "checkpoint_1", Arrays({"a": np.ones((2, 2))}), {})
    (tmp_path / "checkpoint_1" / "config" / "metadata").write_text(text)
    run("--source", tmp_path / "checkpoint_1", "--to", "t5x", "--out", tmp_path / "a", code=code)
    wanted = "holds no JSON object" if code else "own word on its model is not understood"
    assert wanted in capsys.readouterr().err


def test_a_recipe_says_the_model_and_must_fit(tmp_path, capsys):
    gin = tmp_path / "model.gin"
    gin.write_text(
        "train.model = @T5()\nT5.config = @T5Config()\nT5Config.vocab_size = 40\n"
        "T5Config.emb_dim = 12\nT5Config.num_heads = 3\nT5Config.head_dim = 5\n"
        "T5Config.num_encoder_layers = 2\nT5Config.num_decoder_layers = 3\n"
        "T5Config.mlp_dim = 20\nT5Config.relpos_buckets = 8\nT5Config.scan_layers = True\n"
        "T5Config.mlp_activations = ('silu', 'linear')\n"
    )
    native = make_native(tmp_path / "checkpoint_7", make_arrays(CONFIG))
    common = ["--source", native, "--to", "huggingface", "--gin_file", gin, "--out"]
    run(*common, tmp_path / "hf")
    assert huggingface.read(tmp_path / "hf").config.mlp_activations == ("silu", "linear")
    capsys.readouterr()
    run(*common, tmp_path / "hf2", "--gin.T5Config.vocab_size=48", code=2)
    err = capsys.readouterr().err
    assert (
        "decoder/logits_dense/kernel is float32[12, 40] there but float32[12, 48] in this run"
        in err
    )
    assert not (tmp_path / "hf2").exists()


def test_the_model_is_found_from_its_shapes():
    for config in (
        CONFIG,
        dataclasses.replace(CONFIG, scan_layers=True),
        dataclasses.replace(CONFIG, logits_via_embedding=True, mlp_activations=("relu",)),
    ):
        shapes = flatten(jax.eval_shape(T5(config).init, jax.random.key(0)))
        assert deducing.t5_config(shapes) == config


def line(capsys):
    """Returns the one line of an error."""
    lines = [text for text in capsys.readouterr().err.splitlines() if "error" in text]
    assert len(lines) == 1
    return lines[0]


def test_refusals_are_one_line_and_leave_nothing(tmp_path, capsys):
    native = make_native(tmp_path / "native" / "checkpoint_7", make_arrays(CONFIG))
    source, out = ["--source", native], ["--out", str(tmp_path / "out")]
    run("--source", tmp_path / "none", "--to", "t5x", *out, code=2)
    assert "no checkpoint of a known format (gguf, huggingface, t5x, flan_jax)" in line(capsys)
    run(*source, "--to", "t5x", "--out", tmp_path / "native", code=2)
    assert "checkpoint_7 exists already" in line(capsys)
    run(*source, "--from", "flan_jax", "--to", "t5x", *out, code=2)
    assert "is a checkpoint, but not one of flan_jax's" in line(capsys)
    run(*source, "--to", "huggingface", "--scan_layers", "true", *out, code=2)
    assert "huggingface holds layers apart" in line(capsys)
    run(*source, "--to", "t5x", "--vocabulary", "bytes", *out, code=2)
    assert "only huggingface's folders hold one" in line(capsys)
    run(*source, "--to", "t5x", "--out", "gs://b/x", code=2)
    assert "is not a local folder" in line(capsys)
    run(*source, "--to", "t5x", "--gin.SEED=1", *out, code=2)
    assert "--gin.SEED=1 binds nothing" in line(capsys)
    run(*source, "--to", "t5", *out, code=2)
    assert "invalid choice: 't5'" in line(capsys)
    run(*source, "--to", "t5x", "--out", tmp_path / "checkpoint_2147483648", code=2)
    assert "checkpoint_2147483648 is of a step too large for 32 bits" in line(capsys)
    make_native(tmp_path / "checkpoint_1", {"decoder/kernel": np.ones((2, 2), np.float32)})
    run("--source", tmp_path / "checkpoint_1", "--to", "huggingface", *out, code=2)
    assert "the parameters are no T5's: there is no token_embedder/embedding" in line(capsys)
    one = np.ones(4, np.float32)
    make_native(tmp_path / "checkpoint_3", {"token_embedder/embedding": one})
    run("--source", tmp_path / "checkpoint_3", "--to", "huggingface", *out, code=2)
    assert "no T5's: token_embedder/embedding is of shape [4]" in line(capsys)
    make_native(tmp_path / "checkpoint_4", {"encoder/layers/x": one})
    common = ["--source", tmp_path / "checkpoint_4", "--to", "t5x", "--scan_layers", "false"]
    run(*common, *out, code=1)
    assert "encoder/layers/x is of shape [4], with no axis 1" in line(capsys)
    for step in (1, 3, 4):
        shutil.rmtree(tmp_path / f"checkpoint_{step}")
    shutil.rmtree(os.path.join(native, "target.encoder.layers_1.mlp.wo.kernel"))
    (tmp_path / "there").mkdir()
    for to, folder in zip(convert.WRITTEN, ("there", "out", "new/out"), strict=True):
        run(*source, "--to", to, "--out", tmp_path / folder, code=1)
        assert "target/encoder/layers_1/mlp/wo/kernel is missing" in line(capsys)
    assert sorted(os.listdir(tmp_path)) == ["native", "there"]
    assert os.listdir(tmp_path / "there") == []


@pytest.mark.parametrize("scan_layers", ["true", "false"])
def test_a_decoder_goes_around(tmp_path, scan_layers):
    config = DecoderConfig(
        vocab_size=24, emb_dim=8, num_heads=4, num_kv_heads=2, head_dim=4, num_layers=3, mlp_dim=12,
        block="serial", norm="rms", rotary_pairing="halves", logits_via_embedding=False,
        scale_logits=False, norm_epsilon=1e-5,
    )  # fmt: skip
    arrays = make_arrays(config, DecoderLM)
    huggingface.write(tmp_path / "hf", Arrays(arrays), config)
    out = [tmp_path / name for name in ("a", "b", "c")]
    common = ["--to", "flan_jax", "--out", out[0], "--scan_layers", scan_layers]
    run("--source", tmp_path / "hf", *common)
    run("--source", out[0], "--to", "huggingface", "--out", out[1])
    run("--source", out[0], "--to", "t5x", "--out", out[2], "--scan_layers", "false")
    found = huggingface.read(out[1])
    assert found.config == huggingface.read(tmp_path / "hf").config
    assert_bit_equal(found.leaves, arrays)
    assert_bit_equal(t5x.open_checkpoint(out[2]).params, arrays)


def test_the_token_that_ends_an_answer_goes_along(tmp_path):
    config = DecoderConfig(
        vocab_size=24, emb_dim=8, num_heads=2, num_kv_heads=1, head_dim=4, num_layers=1, mlp_dim=12,
        block="serial", norm="rms", rotary_pairing="halves", scale_logits=False,
    )  # fmt: skip
    info = {"vocabulary": {"eos_id": 7}, "model": {"DecoderConfig": dataclasses.asdict(config)}}
    ours = tmp_path / "checkpoint_3"
    params_files.write_params(ours, Arrays(make_arrays(config, DecoderLM)), info)
    run("--source", ours, "--to", "huggingface", "--out", tmp_path / "hf")
    for name in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "hf" / name).read_text())["eos_token_id"] == 7


@pytest.mark.parametrize(
    "lost", ["encoder/layers_0/mlp/wo/kernel", "decoder/layers_2/mlp/wo/kernel"]
)
def test_a_layer_that_is_not_whole_is_named(tmp_path, capsys, lost):
    arrays = make_arrays(CONFIG)
    del arrays[lost]
    source = make_native(tmp_path / "checkpoint_5", arrays)
    run("--source", source, "--to", "flan_jax", "--out", tmp_path / "ours", code=1)
    assert f"{lost} is missing, though " in capsys.readouterr().err
    assert not (tmp_path / "ours").exists()
