# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Decoder-only models against a forward pass in plain numpy, and against themselves."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.core.errors import UsageError
from flan_jax.core.tree import flatten, unflatten
from flan_jax.data import packing
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_network import DecoderConfig, DecoderLayer, DecoderStack
from flan_jax.models.rotary import rotation
from tests.models.drawn import drawn_params

PALM = DecoderConfig(
    vocab_size=64, emb_dim=24, num_heads=3, head_dim=8, num_layers=2, mlp_dim=40, dtype="float32"
)
U_PALM = dataclasses.replace(PALM, prefix_lm=True)
LLAMA = DecoderConfig(
    vocab_size=64, emb_dim=24, num_heads=4, num_kv_heads=2, head_dim=6, num_layers=2, mlp_dim=40,
    block="serial", norm="rms", norm_epsilon=1e-5, rotary_pairing="halves", rotary_theta=500.0,
    logits_via_embedding=False, scale_logits=False, dtype="float32",
)  # fmt: skip
FAMILIES = {"palm": PALM, "u_palm": U_PALM, "llama": LLAMA}


@functools.cache
def _params(config):
    return unflatten(drawn_params(DecoderLM(config), unit_embedding=True))


@functools.partial(jax.jit, static_argnames=("model", "train"))
def _apply(model, params, batch, train=False, dropout_key=None):
    return model.apply(params, batch, train=train, dropout_key=dropout_key)


EXAMPLES = ((5, 3), (2, 4), (6, 1), (3, 5), (0, 4))  # lengths of inputs and targets


def _batch(splits=(0, 2, 3, 5), width=14):
    """Packed rows of `EXAMPLES`, as training has them."""
    inputs, targets = np.array(EXAMPLES).T
    tokens = np.random.default_rng(1).integers(2, 64, inputs.sum() + targets.sum())
    return packing.pack_decoder_rows(
        tokens=tokens.astype(np.int32), input_lengths=inputs, target_lengths=targets,
        task_ids=np.zeros(len(inputs), np.int32), splits=np.array(splits), max_length=width,
    )  # fmt: skip


# An independent forward pass, of PaLM by the paper's section 2: loops, float64, one example.


def _norm(config, scale, x):
    if config.norm == "layer":
        x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + config.norm_epsilon) * scale


def _swiglu(p, x):
    gate = x @ p["wi_0"]["kernel"]
    return (gate / (1 + np.exp(-gate)) * (x @ p["wi_1"]["kernel"])) @ p["wo"]["kernel"]


def _rope(config, x):
    """Turns `[length, head_dim]`, pair by pair."""
    half, out = config.head_dim // 2, np.zeros_like(x)
    for position, row in enumerate(x):
        for i in range(half):
            pair = (2 * i, 2 * i + 1) if config.rotary_pairing == "interleaved" else (i, half + i)
            angle = position * config.rotary_theta ** (-2 * i / config.head_dim)
            turn = np.exp(1j * angle) * (row[pair[0]] + 1j * row[pair[1]])
            out[position, pair[0]], out[position, pair[1]] = turn.real, turn.imag
    return out


def _attention(p, config, x, num_prefix):
    size, mixed = config.head_dim, []
    sees = np.tri(len(x), dtype=bool)
    if config.prefix_lm:
        sees[:num_prefix, :num_prefix] = True
    for head in range(config.num_heads):
        shared = head * config.num_kv_heads // config.num_heads
        own, at = (slice(n * size, (n + 1) * size) for n in (head, shared))
        query = _rope(config, x @ p["query"]["kernel"][:, own])
        key = _rope(config, x @ p["key"]["kernel"][:, at])
        scores = np.where(sees, query @ key.T / math.sqrt(size), -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        mixed.append(weights @ (x @ p["value"]["kernel"][:, at]))
    return np.concatenate(mixed, -1) @ p["out"]["kernel"]


def _forward(params, config, tokens, num_prefix=0):
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    table, decoder = params["token_embedder"]["embedding"], params["decoder"]
    x = table[tokens]
    for i in range(config.num_layers):
        p = decoder[f"layers_{i}"]
        if config.block == "parallel":
            y = _norm(config, p["layer_norm"]["scale"], x)
            x = x + _swiglu(p["mlp"], y) + _attention(p["self_attention"], config, y, num_prefix)
        else:
            y = _norm(config, p["pre_self_attention_layer_norm"]["scale"], x)
            x = x + _attention(p["self_attention"], config, y, num_prefix)
            x = x + _swiglu(p["mlp"], _norm(config, p["pre_mlp_layer_norm"]["scale"], x))
    x = _norm(config, decoder["decoder_norm"]["scale"], x)
    tied = config.logits_via_embedding
    logits = x @ (table.T if tied else decoder["logits_dense"]["kernel"])
    return logits / math.sqrt(config.emb_dim) if config.scale_logits else logits


def _examples(batch):
    """Yields (row, its place there) of each example of packed rows."""
    for row, segments in enumerate(batch["decoder_segment_ids"]):
        for segment in range(1, segments.max() + 1):
            at = np.flatnonzero(segments == segment)
            yield row, slice(at[0], at[-1] + 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_give_each_example_what_numpy_gives_it_alone(family):
    config, batch = FAMILIES[family], _batch()
    params = _params(config)
    logits = _apply(DecoderLM(config), params, batch)
    assert logits.dtype == jnp.float32 and logits.shape == (3, 14, 64)
    examples = list(_examples(batch))
    assert len(examples) == len(EXAMPLES)
    for (row, at), (num_inputs, _) in zip(examples, EXAMPLES, strict=True):
        tokens = batch["decoder_input_tokens"][row, at]
        want = _forward(params, config, tokens, num_inputs + 1)
        np.testing.assert_allclose(logits[row, at], want, rtol=1e-5, atol=2e-5)


def test_unpacked_rows_need_tokens_alone_and_padding_changes_nothing():
    params, rows = _params(PALM), _batch(range(6), width=14)
    packed = _apply(DecoderLM(PALM), params, rows)
    alone = _apply(DecoderLM(PALM), params, {"decoder_input_tokens": rows["decoder_input_tokens"]})
    narrow = {name: whole[:, :9] for name, whole in rows.items()}
    cut = _apply(DecoderLM(PALM), params, narrow)
    for row, at in _examples(rows):
        np.testing.assert_allclose(alone[row, at], packed[row, at], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(cut[row, at], packed[row, at], rtol=1e-5, atol=1e-5)


def test_a_prefix_sees_itself_and_a_causal_model_does_not():
    """Another last token of the prompt changes what earlier ones of a prefix LM see."""
    batch = _batch()
    changed = batch | {"decoder_input_tokens": batch["decoder_input_tokens"].copy()}
    changed["decoder_input_tokens"][0, 5] += 1  # the last of the first prompt
    differ = {}
    for config in (PALM, U_PALM):
        both = [np.asarray(_apply(DecoderLM(config), _params(PALM), b)) for b in (batch, changed)]
        differ[config] = np.abs(both[0] - both[1]).max(-1)[0] > 1e-6
    assert differ[PALM].tolist() == [False] * 5 + [True] * 3 + [False] * 6
    assert differ[U_PALM].tolist() == [True] * 8 + [False] * 6


# Against itself.


def test_names_and_axes():
    names = flatten(DecoderLM(PALM).logical_axes())
    assert names["token_embedder/embedding"] == ("vocab", "embed")
    assert names["decoder/layers_1/self_attention/query/kernel"] == ("embed", "joined_kv")
    # One key-value head is whole on every device; several are split as the query heads.
    assert names["decoder/layers_1/self_attention/key/kernel"] == ("embed", "kv")
    several = flatten(DecoderLM(LLAMA).logical_axes())
    assert several["decoder/layers_1/self_attention/key/kernel"] == ("embed", "joined_kv")
    scanned = flatten(DecoderLM(dataclasses.replace(PALM, scan_layers=True)).logical_axes())
    assert scanned["decoder/layers/mlp/wi_0/kernel"] == ("embed", "layers", "mlp")
    assert {path.split("/")[-1] for path in names} == {"embedding", "kernel", "scale"}, "no bias"


@pytest.fixture(scope="module")
def dropped():
    """Logits with dropout under keys 0, 0 again and 1."""
    model = DecoderLM(dataclasses.replace(LLAMA, dropout_rate=0.2))
    keys = [jax.random.key(i) for i in (0, 0, 1)]
    return [_apply(model, _params(LLAMA), _batch(), train=True, dropout_key=key) for key in keys]


def test_dropout_follows_its_key_and_acts_in_training_alone(dropped):
    first, again, other = map(np.asarray, dropped)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    model = DecoderLM(dataclasses.replace(LLAMA, dropout_rate=0.2))
    plain = _apply(model, _params(LLAMA), _batch(), dropout_key=jax.random.key(0))
    np.testing.assert_array_equal(plain, _apply(DecoderLM(LLAMA), _params(LLAMA), _batch()))


@pytest.mark.parametrize("family", ["palm", "llama"])
def test_each_place_of_dropout_zeroes_what_it_is_named_for(family):
    """With what attention and MLP add dropped whole, at either place, a layer changes nothing."""
    config = FAMILIES[family]
    x = np.random.default_rng(3).normal(size=(1, 5, config.emb_dim)).astype(np.float32)
    shapes = dict(attention=(config.num_heads, 1, 5), attention_out=(1, config.emb_dim))
    shapes |= dict(mlp=(1, config.mlp_dim), mlp_out=(1, config.emb_dim))
    turned = rotation(np.arange(5)[None], config.head_dim, config.rotary_theta)
    stack = DecoderStack(dataclasses.replace(config, num_layers=1))
    params = {"decoder_norm": {"scale": np.ones(config.emb_dim, np.float32)}}
    params["layers_0"] = _params(config)["decoder"]["layers_0"]

    @jax.jit
    def layer(kept):
        layer_params = {"params": params["layers_0"]}
        return DecoderLayer(config).apply(layer_params, x, kept, np.tri(5)[None, None] > 0, turned)

    @jax.jit
    def whole(kept):
        mask, positions = np.tri(5)[None, None] > 0, np.arange(5)[None]
        return stack.apply({"params": params}, x, mask, positions, kept)

    def kept(*dropped):
        return {n: np.full((1, *shape), n not in dropped) for n, shape in shapes.items()}

    for attention in ("attention", "attention_out"):
        for mlp in ("mlp", "mlp_out"):
            np.testing.assert_array_equal(layer(kept(attention, mlp))[0], x)
            assert np.abs(layer(kept(attention))[0] - x).max() > 0.1
            assert np.abs(layer(kept(mlp))[0] - x).max() > 0.1
    for place in ("embedded", "output"):
        masks = {"embedded": np.ones((1, 1, config.emb_dim), bool)}
        masks |= {"output": masks["embedded"], "layers": [kept()]}
        assert np.abs(whole(masks)).max() > 0.1
        assert not np.any(whole(masks | {place: ~masks[place]}))


def test_scanned_layers_are_those_of_a_loop_with_dropout_on(dropped):
    model = DecoderLM(dataclasses.replace(LLAMA, dropout_rate=0.2, scan_layers=True))
    params = model.from_other_layout(_params(LLAMA))
    assert params["decoder"]["layers"]["mlp"]["wo"]["kernel"].shape == (40, 2, 24)
    scanned = _apply(model, params, _batch(), train=True, dropout_key=jax.random.key(0))
    np.testing.assert_allclose(scanned, dropped[0], rtol=1e-5, atol=2e-5)
    back = flatten(model.other_layout.from_other_layout(params))
    for path, leaf in flatten(_params(LLAMA)).items():
        np.testing.assert_array_equal(back[path], leaf)


def test_initial_parameters_are_drawn_as_the_paper_has_it():
    """Embeddings N(0, 1), kernels N(0, 1 / inputs), scales 1; the same stacked or not."""
    config = dataclasses.replace(PALM, vocab_size=512, emb_dim=64, scan_layers=True)
    drawn = flatten(jax.jit(DecoderLM(config).init)(jax.random.key(0)))
    for path, leaf in drawn.items():
        if path.endswith("scale"):
            assert (leaf == 1).all()
            continue
        std = 1.0 if path.endswith("embedding") else leaf.shape[0] ** -0.5
        assert leaf.std() == pytest.approx(std, rel=5 / math.sqrt(leaf.size)), path
    kernel = drawn["decoder/layers/mlp/wi_0/kernel"]
    assert (kernel[:, 0] != kernel[:, 1]).all(), "layers must differ"


def test_computing_again_changes_no_gradient():
    def gradient(config):
        def loss(params):
            logits = DecoderLM(config).apply(
                params, _batch(), train=True, dropout_key=jax.random.key(3)
            )
            return jnp.sum(jnp.square(jax.nn.logsumexp(logits, axis=-1)))

        return flatten(jax.jit(jax.grad(loss))(_params(dataclasses.replace(PALM, num_layers=1))))

    config = dataclasses.replace(PALM, num_layers=1, dropout_rate=0.1)
    want, got = gradient(config), gradient(dataclasses.replace(config, remat_policy="full"))
    for path, leaf in want.items():
        np.testing.assert_allclose(got[path], leaf, rtol=1e-4, atol=1e-4, err_msg=path)


@pytest.mark.parametrize("family", ["u_palm", "llama"])
def test_fused_attention_is_the_plain_one(family):
    config = FAMILIES[family]
    fused = DecoderLM(dataclasses.replace(config, attention="fused"))
    want = _apply(DecoderLM(config), _params(config), _batch())
    got = _apply(fused, _params(config), _batch())
    is_token = _batch()["decoder_segment_ids"] > 0
    np.testing.assert_allclose(got[is_token], want[is_token], rtol=1e-5, atol=1e-5)
    programs = [
        str(jax.make_jaxpr(lambda p, m=m: m.features(p, _batch(), train=False))(_params(config)))
        for m in (DecoderLM(config), fused)
    ]
    assert programs[0] != programs[1]


@pytest.mark.parametrize("family", ["palm", "llama"])
def test_bfloat16_stays_near_float32(family):
    config = FAMILIES[family]
    exact = np.asarray(_apply(DecoderLM(config), _params(config), _batch()))
    rough_model = DecoderLM(dataclasses.replace(config, dtype="bfloat16"))
    rough = _apply(rough_model, _params(config), _batch())
    assert rough.dtype == jnp.float32
    error = np.asarray(rough) - exact
    # Bound: 1 % of the spread of the logits; it was 0.73 % for both when this was written.
    assert 0 < np.sqrt((error**2).mean()) < 0.01 * exact.std()


# Misuse.


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("dtype", "float16", "'float16' is not supported; float16 overflows.*use bfloat16"),
        ("num_layers", 0, "DecoderConfig.num_layers must be a positive integer, got 0"),
        ("dropout_rate", 1.0, "dropout_rate must be at least 0 and below 1, got 1.0"),
        ("num_kv_heads", 2, "num_heads 3 is no multiple of num_kv_heads 2"),
        ("head_dim", 7, "head_dim must be even.*got 7"),
        ("rotary_theta", 0.0, "DecoderConfig.rotary_theta must be > 0, got 0.0"),
        ("norm", "rmsnorm", "unknown norm 'rmsnorm'; did you mean 'rms'"),
        ("block", "paralel", "unknown decoder block 'paralel'; did you mean 'parallel'"),
        ("rotary_pairing", "half", "unknown rotary pairing 'half'; did you mean 'halves'"),
        ("mlp_activations", ("swish",), "unknown activation 'swish'"),
        ("mlp_activations", (), "mlp_activations is empty; name one"),
        ("attention", "flash", "unknown attention 'flash'; known: fused, plain"),
        ("prefix_lm", "False", "DecoderConfig.prefix_lm must be True or False, got 'False'"),
        ("remat_policy", "ful", "unknown remat policy 'ful'; did you mean 'full'"),
    ],
)
def test_a_wrong_configuration_is_refused(field, value, message):
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(PALM, **{field: value})


def test_what_a_batch_or_call_lacks_is_named():
    batch = dict(_batch())
    dropout = DecoderLM(dataclasses.replace(PALM, dropout_rate=0.1))
    with pytest.raises(UsageError, match="dropout_rate=0.1 needs a dropout_key"):
        dropout.features(_params(PALM), batch, train=True)
    del batch["decoder_causal_attention"]
    with pytest.raises(UsageError, match="no 'decoder_causal_attention', only .'decoder_input_tok"):
        DecoderLM(U_PALM).features(_params(PALM), batch, train=False)


def test_lists_from_a_configuration_file_become_hashable():
    config = dataclasses.replace(PALM, mlp_activations=["silu", "linear"])
    assert hash(DecoderLM(config)) == hash(DecoderLM(PALM)) and config == PALM
