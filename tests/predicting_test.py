# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints are made ready to answer: whichever the format, the same parameters answer alike."""

import dataclasses
import re

import jax
import ml_dtypes
import numpy as np
import pytest

from flan_jax import predicting
from flan_jax.collection.vocabularies import load_vocabulary
from flan_jax.core.errors import UsageError
from flan_jax.inference.conversation import Exchange
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.models.t5 import T5
from flan_jax.parallel.mesh import MeshShape
from tests import smollm2, tiny_checkpoints
from tests.collection import tokenizer_json_test

VOCABULARY = tiny_checkpoints.VOCABULARY
QUESTIONS = ("Anna has two cats.", "Go step by step.")


def answers(predictor):
    prompts = [predictor.encode(question) for question in QUESTIONS]
    with predictor.on_mesh():
        found = predictor.engine.generate(prompts, DecodeConfig(max_length=6))
    return [tokens.tolist() for answer in found for tokens in answer.tokens]


def load(path, **given):
    return predicting.load(checkpoint_path=str(path), max_input_length=32, batch_size=2, **given)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    found = answers(load(tiny_checkpoints.ours(tmp_path_factory.mktemp("expected"))))
    assert len(set(map(tuple, found))) == len(QUESTIONS) and all(map(len, found))
    return found


def test_t5x_and_hugging_face_answer_as_ours(tmp_path, expected):
    assert answers(load(tiny_checkpoints.hf(tmp_path / "hf"))) == expected
    native = tiny_checkpoints.native(tmp_path / "native")
    assert answers(load(native, vocabulary=VOCABULARY)) == expected
    # Without the prefix what it is, is found out.
    assert answers(load(tmp_path / "native", vocabulary=VOCABULARY)) == expected


def test_layers_may_be_stacked(tmp_path, expected):
    arrays = tiny_checkpoints.drawn(tiny_checkpoints.T5_CONFIG)
    predictor = load(tiny_checkpoints.ours(tmp_path / "apart"))
    stacked = T5(dataclasses.replace(tiny_checkpoints.T5_CONFIG, scan_layers=True))
    again = load(tmp_path / "apart", model=stacked)
    assert jax.tree.structure(predictor.params) != jax.tree.structure(again.params)
    assert answers(again) == answers(predictor) == expected
    assert len(arrays) > len(jax.tree.leaves(again.params))


def test_bfloat16_becomes_float32_and_that_is_said(tmp_path, capsys):
    predictor = load(tiny_checkpoints.hf(tmp_path / "hf", dtype=ml_dtypes.bfloat16))
    assert "arrays cast from bfloat16 to float32" in capsys.readouterr().err
    assert {leaf.dtype for leaf in jax.tree.leaves(predictor.params)} == {np.dtype(np.float32)}
    assert predictor.model.config.dtype == "float32"


@pytest.mark.slow  # compiles for eight devices
@pytest.mark.parametrize("rules", ["", "tensor"])
def test_a_mesh_answers_as_one_device(tmp_path, expected, rules):
    mesh = MeshShape(data=2, model=4)
    predictor = load(tiny_checkpoints.ours(tmp_path), mesh=mesh, rules=rules)
    leaf = predictor.params["decoder"]["layers_0"]["mlp"]["wi_0"]["kernel"]
    assert leaf.sharding.is_fully_replicated == (rules != "tensor")
    assert len(leaf.sharding.device_set) == 8
    assert answers(predictor) == expected


@pytest.mark.parametrize("config", [tiny_checkpoints.T5_CONFIG, tiny_checkpoints.DECODER_CONFIG])
@pytest.mark.parametrize("make", [tiny_checkpoints.ours, tiny_checkpoints.hf])
def test_what_was_trained_here_gets_the_end_of_sequence(tmp_path, config, make):
    predictor = load(make(tmp_path / "a", config))
    words = load_vocabulary(VOCABULARY)
    assert predictor.encode("Is it?") == [*words.encode("Is it?"), words.eos_id]
    assert predictor.encode_answer("Yes.") == [*words.encode("Yes."), words.eos_id]


@pytest.mark.slow  # reads the tokenizer of 49,152 pieces twice
def test_smollm2_gets_its_template_and_nothing_after(tmp_path):
    pytest.importorskip("gguf", reason="the package gguf reads the file")
    path = smollm2.gguf_file()
    words = load_vocabulary(str(path))
    end = "<|im_start|>user\nIs it?<|im_end|>\n<|im_start|>assistant\n"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predicting, "restore", lambda *_: {})  # half a gigabyte, not needed here
        found = predicting.load(checkpoint_path=f"gguf:{path}")
        raw = predicting.load(checkpoint_path=str(path), raw=True)
    ids = found.encode("Is it?")
    assert ids[-len(words.encode(end)) :] == words.encode(end) and ids[0] == 1
    assert raw.encode("Is it?") == words.encode("Is it?")
    several = found.phrase([Exchange("One?", "1")], "Two?")
    assert "One?<|im_end|>\n<|im_start|>assistant\n1<|im_end|>\n<|im_start|>user\nTwo?" in several
    # A tokenizer that puts a token before every text has it put there.
    source = dataclasses.replace(raw.source, bos_id=1)
    with_bos = dataclasses.replace(raw, source=source)
    assert with_bos.encode("a") == [1, *words.encode("a")]
    assert with_bos.encode("<|im_start|>a") == words.encode("<|im_start|>a")
    assert raw.source.special_tokens == {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}


def test_a_decoder_with_a_byte_level_bpe_gets_nothing_after(tmp_path):
    path = tiny_checkpoints.hf(tmp_path / "hf", tiny_checkpoints.DECODER_CONFIG, vocabulary="")
    tokenizer_json_test.write(tmp_path / "hf")
    words = load_vocabulary(str(tmp_path / "hf" / "tokenizer.json"))
    assert load(path).encode("hell?") == words.encode("hell?")
    (tmp_path / "hf" / "chat_template.jinja").write_text("{{ messages[-1].content }}<|end|>")
    assert load(path).encode("hell?") == [*words.encode("hell?"), 0]
    (tmp_path / "hf" / "chat_template.jinja").write_text(
        "{{ messages[-1].content }}{{ eos_token }}"
    )
    assert load(path).encode("hell?") == [*words.encode("hell?"), words.eos_id]
    predictor = load(path)
    predictor = dataclasses.replace(
        predictor, source=dataclasses.replace(predictor.source, bos_id=words.encode("h")[0])
    )
    assert predictor.encode_as_is("hi") == words.encode("hi")
    assert predictor.encode_as_is("ih") == [*words.encode("h"), *words.encode("ih")]
    assert load(path, raw=True).encode("hell?") == words.encode("hell?")


def test_choices_follow_the_prompt_or_begin_an_answer_of_a_template(tmp_path):
    path = tiny_checkpoints.hf(tmp_path / "hf", tiny_checkpoints.DECODER_CONFIG, vocabulary="")
    tokenizer_json_test.write(tmp_path / "hf")
    words = load_vocabulary(str(tmp_path / "hf" / "tokenizer.json"))
    assert words.encode(" hi") != words.encode("hi")
    assert load(path).encode_choice(" hi") == words.encode(" hi")
    (tmp_path / "hf" / "chat_template.jinja").write_text("{{ messages[-1].content }}<|end|>")
    assert load(path).encode_choice(" hi") == words.encode("hi")
    assert load(path).encode_choice(" ") == words.encode(" ")  # an empty option has a token too
    assert load(path, raw=True).encode_choice(" hi") == words.encode(" hi")
    ours = load(tiny_checkpoints.ours(tmp_path / "ours"))
    assert ours.encode_choice("Yes.")[-1] == ours.vocabulary.eos_id


def test_what_decides_an_answer_is_told_apart(tmp_path):
    predictor = load(tiny_checkpoints.ours(tmp_path / "a"))
    deciding = predictor.deciding()
    assert deciding == load(tmp_path / "a").deciding()
    params = next(path for path in (tmp_path / "a").rglob("*") if path.is_file())
    params.touch()
    assert deciding["files"] != predictor.deciding()["files"]


@pytest.mark.parametrize(
    ("name", "is_told_apart"),
    [("b.jsonl", True), ("deep/b", True), (".b.jsonl.partial/answers.jsonl", False), (".b", False),
     ("deep/.b", False)],
)  # fmt: skip
def test_hidden_files_decide_no_answer(tmp_path, monkeypatch, name, is_told_apart):
    tiny_checkpoints.hf(tmp_path / ".hidden" / "hf")
    for folder in (".", tmp_path / ".hidden" / "hf"):  # a folder of a cache is seen all the same
        monkeypatch.chdir(tmp_path / ".hidden" / "hf")
        before = predicting._fingerprint(str(folder))
        path = tmp_path / ".hidden" / "hf" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"of {folder}")
        assert (predicting._fingerprint(str(folder)) != before) == is_told_apart


@pytest.mark.parametrize(
    ("path", "given", "message"),
    [
        ("none", {}, "no checkpoint at 'none'; give a checkpoint_<step> folder"),
        ("hf:none", {}, "none"),
        ("t5x:none", {}, "no T5X checkpoint at 'none'"),
        ("ours", {"vocabulary": "bytes"}, "was trained with the vocabulary"),
        ("ours", {"rules": "tensor"}, "infer.rules 'tensor' without a mesh to apply to"),
        ("ours", {"mesh": MeshShape(model=3)}, "does not cover 8 device"),
        ("native", {}, "brings no vocabulary that can be read; give --vocabulary"),
        ("decoder", {"vocabulary": VOCABULARY}, "the parameters are no T5's"),
        ("small", {"vocabulary": VOCABULARY}, "vocab_size is 128, but the vocabulary"),
        ("ours", {"feature_lengths": {"input": 3}}, "feature lengths must be of 'inputs'"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, monkeypatch, path, given, message):
    monkeypatch.chdir(tmp_path)
    small = dataclasses.replace(tiny_checkpoints.T5_CONFIG, vocab_size=128)
    decoder = tiny_checkpoints.DECODER_CONFIG
    made = {
        "ours": lambda: tiny_checkpoints.ours(tmp_path / "ours"),
        "native": lambda: tiny_checkpoints.native(tmp_path / "native"),
        "decoder": lambda: tiny_checkpoints.native(tmp_path / "decoder", decoder),
        "small": lambda: tiny_checkpoints.hf(tmp_path / "small", small, vocabulary=""),
    }
    name = made[path]() if path in made else path
    with pytest.raises(UsageError, match=re.escape(message)):
        load(name, **given)
