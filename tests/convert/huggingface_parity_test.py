# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders go to and from transformers, live: the same logits, the same greedy answers."""

import dataclasses

import jax
import numpy as np
import pytest

from flan_jax.convert import huggingface
from flan_jax.convert.leaves import Arrays, laid_out
from flan_jax.core.tree import flatten, unflatten
from flan_jax.models.t5 import T5, T5Config
from tests.inference.tiny_models import greedy

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.parity

# With more decoder than encoder layers transformers 5.24 cannot generate: its cache is too short.
CONFIG = T5Config(
    vocab_size=96, emb_dim=24, num_heads=3, head_dim=8, num_encoder_layers=3, num_decoder_layers=2,
    mlp_dim=40, dtype="float32",
)  # fmt: skip
VARIANTS = {
    "untied": CONFIG,
    "tied": dataclasses.replace(CONFIG, logits_via_embedding=True, mlp_activations=("relu",)),
}


def _tokens(lengths, width, seed):
    rng = np.random.default_rng(seed)
    rows = np.zeros((len(lengths), width), np.int32)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = rng.integers(2, CONFIG.vocab_size, length)
    return rows


def _check_equal(model, params, theirs):
    """Checks logits of padded rows and greedy answers of our model against theirs."""
    inputs, targets = _tokens((30, 11, 3), 30, 0), _tokens((14, 5, 1), 14, 1)
    batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": targets}
    logits = np.asarray(jax.jit(lambda p, b: model.apply(p, b, train=False))(params, batch))
    theirs = theirs.eval()
    given = dict(
        input_ids=torch.tensor(inputs, dtype=torch.long), attention_mask=torch.tensor(inputs > 0)
    )
    with torch.no_grad():
        want = theirs(**given, decoder_input_ids=torch.tensor(targets, dtype=torch.long)).logits
    for i, row in enumerate(targets):
        n = (row > 0).sum()
        np.testing.assert_allclose(logits[i, :n], want.numpy()[i, :n], rtol=1e-5, atol=1e-5)
    answers = theirs.generate(**given, max_new_tokens=10, do_sample=False, num_beams=1).numpy()
    tokens = greedy(model, params, inputs, max_length=10, eos_id=1)
    padded = np.zeros((3, 10), answers.dtype)
    padded[:, : answers.shape[1] - 1] = answers[:, 1:]
    np.testing.assert_array_equal(tokens, padded)


@pytest.mark.parametrize("stacked", [False, True], ids=["apart", "stacked"])
@pytest.mark.parametrize("name", VARIANTS)
def test_transformers_loads_what_is_written(tmp_path, name, stacked):
    config = dataclasses.replace(VARIANTS[name], scan_layers=stacked)
    model = T5(config)
    rng = np.random.default_rng(0)
    shapes = flatten(jax.eval_shape(model.init, jax.random.key(0)))

    def draw(path, shape):
        noise = rng.normal(size=shape).astype(np.float32)
        return 1 + 0.3 * noise if path.endswith("scale") else 0.2 * noise

    params = {path: draw(path, leaf.shape) for path, leaf in shapes.items()}
    huggingface.write(tmp_path / "out", Arrays(params), config, max_file_bytes=20_000)
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 2
    theirs, said = transformers.T5ForConditionalGeneration.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(said.values()), said
    assert theirs.dtype == torch.float32
    assert theirs.generation_config.decoder_start_token_id == 0
    is_tied = theirs.lm_head.weight.data_ptr() == theirs.shared.weight.data_ptr()
    assert is_tied == config.logits_via_embedding
    _check_equal(model, unflatten(params), theirs)


@pytest.mark.parametrize("stacked", [False, True], ids=["apart", "stacked"])
@pytest.mark.parametrize("name", [*VARIANTS, "untied but tied by transformers"])
def test_what_transformers_saves_is_read(tmp_path, name, stacked):
    config = VARIANTS[name.split()[0]]
    torch.manual_seed(0)
    theirs = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=config.vocab_size, d_model=config.emb_dim, d_kv=config.head_dim,
            d_ff=config.mlp_dim, num_layers=config.num_encoder_layers,
            num_decoder_layers=config.num_decoder_layers, num_heads=config.num_heads,
            feed_forward_proj="gated-gelu" if len(config.mlp_activations) > 1 else "relu",
            tie_word_embeddings=config.logits_via_embedding, decoder_start_token_id=0,
        )
    )  # fmt: skip
    with torch.no_grad():
        for parameter in theirs.parameters():
            noise = 0.2 * torch.randn_like(parameter)
            parameter.copy_(1 + noise if parameter.ndim == 1 else noise)
    if name == "untied":
        theirs.lm_head.weight = torch.nn.Parameter(0.2 * torch.randn_like(theirs.lm_head.weight))
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    checkpoint = huggingface.read(tmp_path)
    config = dataclasses.replace(checkpoint.config, dtype="float32", scan_layers=stacked)
    assert config.logits_via_embedding == (name == "tied")
    leaves = laid_out(checkpoint.leaves, stacked=stacked)
    params = unflatten({path: leaves.read(path) for path in leaves.shapes})
    _check_equal(T5(config), params, theirs)
