# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Published decoders have the published numbers of parameters, in code and in Gin."""

import math

import jax
import pytest

from flan_jax import config as gin_config
from flan_jax.core.errors import UsageError
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_presets import PRESETS, decoder_config


def _num_params(config):
    shapes = jax.eval_shape(DecoderLM(config).init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize(
    ("name", "num_params"),
    [
        ("palm_8b", 8_632_012_800),
        ("palm_62b", 62_495_662_080),
        ("palm_540b", 540_356_474_880),
        ("u_palm_62b", 62_495_662_080),
        ("smollm2_135m", 134_515_008),
    ],
)
def test_published_sizes(name, num_params, scan_layers):
    assert _num_params(decoder_config(name, scan_layers=scan_layers)) == num_params


def test_palms_are_as_large_as_the_paper_says():
    """Chowdhery et al. 2022, Table 1, in billions, within 0.01 % or the last digit."""
    for name, published in (("palm_8b", 8.63), ("palm_62b", 62.50), ("palm_540b", 540.35)):
        num_params = _num_params(decoder_config(name, scan_layers=True))
        assert num_params / 1e9 == pytest.approx(published, rel=1e-4, abs=0.005), name


def test_the_tiny_size():
    assert _num_params(decoder_config("tiny_decoder", vocab_size=512)) == 237_888 + 64 * 512


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_gin_file_says_the_same(name, tmp_path):
    file = name if name in ("smollm2_135m", "tiny_decoder") else "/".join(name.rsplit("_", 1))
    recipe = tmp_path / "recipe.gin"
    recipe.write_text(
        f"include 'models/{file}.gin'\nDROPOUT_RATE = 0.0\nVOCAB_SIZE = 1280\n"
        "train.model = %MODEL\ntrain.data = @TrainInput()\nTrainInput.store = 'none'\n"
        "TrainInput.batch_size = 1\n"
    )
    gin_config.parse([str(recipe)], roots=())
    made = gin_config.configured("DecoderLM")()
    want = decoder_config(name, vocab_size=1280, scan_layers=made.config.scan_layers)
    assert made.config == want
    assert made.config.scan_layers == (name != "tiny_decoder")


def test_names_are_checked():
    with pytest.raises(UsageError, match="unknown decoder preset 'palm_8'; did you mean 'palm_8b"):
        decoder_config("palm_8")
    with pytest.raises(UsageError, match="'tiny_decoder' has no vocabulary of its own"):
        decoder_config("tiny_decoder")
