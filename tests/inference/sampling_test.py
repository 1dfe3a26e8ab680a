# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sampling, against distributions and masks of a plain numpy reference and of transformers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from flan_jax.core import errors
from flan_jax.inference import processors, sampling
from flan_jax.inference.decode_config import DecodeConfig, RowSettings
from flan_jax.inference.lane import Request, row_settings
from flan_jax.inference.sampling import BLOCK, Sampling
from flan_jax.inference.strategy import Choice

EOS_ID = 1

choose = jax.jit(Sampling.choose, static_argnums=0)


def _rows(configs, *, prompts=None, first_member=0) -> RowSettings:
    prompts = prompts or [[7, 8, 9]] * len(configs)
    requests = [
        Request(prompt=p, config=c, key=sampling.row_key(c.seed, p), first_member=first_member)
        for c, p in zip(configs, prompts, strict=True)
    ]
    return jax.tree.map(jnp.asarray, row_settings(requests))


def _choose(
    configs, logits, *, num_members=1, program=(), position=0, logprobs=False, ended=None, **rows
) -> Choice:
    """Returns the choice of a program for these requests, and for those of `program` if given.

    `logits` are `[batch, vocab]`, the same for all members, or have an axis for them.
    """
    logits = jnp.asarray(logits, jnp.float32)
    if logits.ndim == 2:
        shape = (len(configs), num_members, logits.shape[-1])
        logits = jnp.broadcast_to(logits[:, None], shape)
    strategy = sampling.strategy([*(program or configs)], eos_id=EOS_ID, with_logprobs=logprobs)
    strategy = dataclasses.replace(strategy, num_members=num_members)
    ended = jnp.zeros(logits.shape[:2], bool) if ended is None else jnp.asarray(ended)
    tokens = jnp.zeros((*logits.shape[:2], 4), jnp.int32)
    positions = jnp.full(len(configs), position, jnp.int32)
    state = strategy.start(len(configs), 4)
    return choose(strategy, logits, state, _rows(configs, **rows), tokens, positions, ended)


def _probabilities(logits, config: DecodeConfig) -> np.ndarray:
    """Returns the probability `[vocab]` of each token, by sorting: the order transformers uses."""
    scaled = np.asarray(logits, np.float64) / config.temperature
    order = np.argsort(-scaled, kind="stable")
    kept = order[: config.top_k or None]
    weights = np.exp(scaled[kept] - scaled[kept[0]])
    weights /= weights.sum()
    before = np.concatenate([[0.0], np.cumsum(weights)[:-1]])
    if config.top_p < 1:
        weights[before >= config.top_p] = 0
    result = np.zeros(len(scaled))
    result[kept] = weights / weights.sum()
    return result


def _logits(vocab_size, scale=1.0, seed=0):
    return np.random.default_rng(seed).normal(size=vocab_size).astype(np.float32) * scale


SETTINGS = {
    "plain": DecodeConfig(temperature=1.0),
    "cool": DecodeConfig(temperature=0.5),
    "hot": DecodeConfig(temperature=3.0),
    "top-k": DecodeConfig(temperature=0.7, top_k=5),
    "top-p": DecodeConfig(temperature=1.0, top_p=0.7),
    "small top-p": DecodeConfig(temperature=1.0, top_p=0.2),
    "both": DecodeConfig(temperature=1.3, top_k=7, top_p=0.6),
    "top-k of all": DecodeConfig(temperature=1.0, top_k=1000),
}
ALL = tuple(SETTINGS.values())


@pytest.mark.parametrize("vocab_size", [6, 2 * BLOCK, 2 * BLOCK + 7])
def test_tokens_follow_the_distribution(vocab_size):
    num = 20_000
    logits = _logits(vocab_size)
    tokens = np.asarray(_choose(ALL, np.tile(logits, (len(ALL), 1)), num_members=num).tokens)
    for row, (name, config) in enumerate(SETTINGS.items()):
        expected = _probabilities(logits, config) * num
        counts = np.bincount(tokens[row], minlength=vocab_size)
        assert not counts[expected == 0].any(), name
        common = expected >= 5
        observed = [*counts[common], counts[~common].sum()]
        wanted = [*expected[common], expected[~common].sum()]
        if not wanted[-1]:
            del observed[-1], wanted[-1]
        if len(wanted) == 1:
            assert observed == [num], name
        else:
            assert scipy.stats.chisquare(observed, wanted).pvalue > 1e-3, name


def test_successive_positions_and_members_are_independent():
    """Pairs of draws are uniform too, over positions, members and prompts."""
    config = DecodeConfig(temperature=1.0)
    num, vocab_size = 3000, 5
    logits = np.zeros((1, vocab_size))
    prompts = [[[5, 6]], [[5, 7]]]
    draws = {
        (position, i): np.asarray(
            _choose([config], logits, num_members=num, position=position, prompts=prompt).tokens[0]
        )
        for position in (0, 1)
        for i, prompt in enumerate(prompts)
    }
    first = draws[0, 0]
    for second in (draws[1, 0], draws[0, 1], np.roll(first, 1)):
        counts = np.bincount(first * vocab_size + second, minlength=vocab_size**2)
        assert scipy.stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("name", SETTINGS)
def test_a_row_chooses_alone_as_among_others(name):
    """Whatever the other rows of its program want, and whatever its program can."""
    row = list(SETTINGS).index(name)
    logits = np.stack([_logits(300, 2.0, seed) for seed in range(len(ALL))])
    among = _choose(ALL, logits, num_members=500)
    alone = _choose([SETTINGS[name]], logits[row : row + 1], num_members=500)
    np.testing.assert_array_equal(alone.tokens[0], among.tokens[row])


def test_a_draw_depends_on_seed_prompt_member_and_position():
    config = DecodeConfig(temperature=1.0)
    logits = np.zeros((1, 1000))

    def drawn(seed=0, prompt=(7, 8, 9), **more):
        request = dataclasses.replace(config, seed=seed)
        choice = _choose([request], logits, num_members=8, prompts=[prompt], **more)
        return np.asarray(choice.tokens[0]).tolist()

    base = drawn()
    assert drawn() == base and len(set(base)) == 8
    assert drawn(first_member=3)[:5] == base[3:]  # the same eight, and three more
    for other in (drawn(seed=1), drawn(prompt=(7, 8)), drawn(prompt=(8, 7, 9)), drawn(position=1)):
        assert not set(zip(other, range(8), strict=True)) & set(zip(base, range(8), strict=True))


def test_row_key():
    args = ((0, [1]), (0, []), (1, [1]), (0, [1, 0]), (1, [0]), (2**80, [2**31 - 1]))
    keys = [sampling.row_key(*each) for each in args]
    assert {key.dtype for key in keys} == {np.dtype(np.uint32)} and keys[0].shape == (2,)
    assert len({key.tobytes() for key in keys}) == len(keys)
    # A seed gives the same answers tomorrow.
    assert sampling.row_key(0, (1,)).tolist() == [3565433618, 84671588]
    assert sampling.row_key(0, np.array([1], np.int32)).tolist() == [3565433618, 84671588]


def test_greedy_rows_take_the_likeliest_in_a_program_that_samples():
    logits = _logits(100)[None]
    hot = DecodeConfig(temperature=9.0, top_k=50)
    rows = [DecodeConfig(), DecodeConfig(temperature=9.0), DecodeConfig(), hot]
    tokens = np.asarray(_choose(rows, np.repeat(logits, 4, 0), num_members=50).tokens)
    assert (tokens[[0, 2]] == logits.argmax()).all()
    assert len(set(tokens[1])) > 5 and len(set(tokens[3])) > 5


def test_ties_go_to_the_lowest_id():
    logits = np.zeros((4, 200))
    logits[:3, [3, 150]] = -1.0
    configs = [
        DecodeConfig(),
        DecodeConfig(temperature=1.0, top_k=4),
        DecodeConfig(temperature=1.0, top_k=4, top_p=0.74),
        # Three of 200 equal ones weigh 0.0150; of the first two, 0.0100, is too little.
        DecodeConfig(temperature=1.0, top_p=0.0149),
    ]
    tokens = np.asarray(_choose(configs, logits, num_members=200).tokens)
    assert [set(row) for row in tokens] == [{0}, {0, 1, 2, 4}, {0, 1, 2}, {0, 1, 2}]


def test_odd_logits_break_nothing():
    some = np.full(70, -np.inf)
    some[[20, 69]] = 3.0
    one = np.full(70, processors.BANNED)
    one[33] = -2e4
    everything = np.full(70, -np.inf)
    banned = np.full(70, processors.BANNED)
    huge = np.full(70, -3e38)
    huge[5] = 3e38
    nan = np.full(70, np.nan)
    logits = np.stack([some, one, everything, banned, huge, nan])
    configs = [*ALL, DecodeConfig()]
    choice = _choose(np.repeat(configs, 6), np.tile(logits, (len(configs), 1)), num_members=300)
    tokens = np.asarray(choice.tokens).reshape(len(configs), 6, 300)
    assert (tokens >= 0).all() and (tokens < 70).all()
    assert set(tokens[:, 0].flat) == {20, 69}
    assert set(tokens[:, 1].flat) == {33} and set(tokens[:, 4].flat) == {5}
    assert tokens[-1, :5, 0].tolist() == [20, 33, 0, 0, 5]
    broken = np.asarray(choice.broken).reshape(len(configs), 6)
    assert (broken == [False, False, True, False, False, True]).all()


def test_a_row_is_broken_by_one_number_of_one_member_that_has_not_ended():
    logits = np.zeros((4, 2, 70), np.float32)
    logits[0, 1, 40], logits[1, 1, 69], logits[2, 0, 3] = np.nan, np.inf, np.nan
    logits[3, 0, 5] = -np.inf  # which a model may mean
    ended = [[False, False], [False, False], [True, False], [False, False]]
    choice = _choose([DecodeConfig()] * 4, logits, num_members=2, ended=ended)
    assert choice.broken.tolist() == [True, True, False, False]


def test_extreme_temperatures():
    logits = _logits(70)
    logits[40] = processors.BANNED
    limits = ({}, {"top_k": 20}, {"top_p": 0.9})
    configs = [DecodeConfig(temperature=t, **more) for t in (1e-4, 1e-38, 1e38) for more in limits]
    choice = _choose(configs, np.tile(logits, (9, 1)), num_members=300)
    tokens = [set(row) for row in np.asarray(choice.tokens)]
    assert tokens[:6] == [{logits.argmax()}] * 6
    assert all(len(row) > 15 and 40 not in row for row in tokens[6:])


def test_a_weight_of_zero_is_never_picked():
    rng = np.random.default_rng(0)
    weights = rng.uniform(size=(500, 1004)).astype(np.float32)
    weights[rng.uniform(size=weights.shape) < 0.7] = 0
    weights[:, 5] = 1e-20  # a positive one that rounding swallows
    weights[:100] = 0
    weights[np.arange(100), rng.integers(0, 1004, 100)] = 1e-30
    # Sums of many are not rounded alike: that before a weight of 0 may be below that after it.
    sums = np.asarray(jnp.cumsum(jnp.asarray(weights), axis=-1))
    at_sums = [sums[:, at] / sums[:, -1] for at in rng.integers(0, 1004, 50)]
    for uniform in (0.0, 0.5, 1 - 2.0**-24, 1.0, *at_sums):
        uniforms = jnp.full(500, uniform, jnp.float32)
        picked = np.asarray(sampling._pick(jnp.asarray(weights), uniforms))
        assert (weights[np.arange(500), picked] > 0).all()


def test_logprobs_are_of_the_model_alone():
    """Whatever the temperature, the limits and the processors make of it."""
    logits = _logits(70, 3.0)
    config = DecodeConfig(temperature=0.3, top_k=4, min_length=3, repetition_penalty=1.5)
    for configs in ([config], [DecodeConfig()]):
        choice = _choose(configs, logits[None], num_members=20, logprobs=True)
        expected = np.asarray(jax.nn.log_softmax(logits))[np.asarray(choice.tokens)]
        np.testing.assert_allclose(choice.logprobs, expected, rtol=1e-5)
    assert _choose([config], logits[None]).logprobs is None


def test_processors_come_first():
    logits = np.zeros((3, 8))
    logits[:, EOS_ID] = 90.0
    logits[:, 4] = 80.0
    configs = [DecodeConfig(min_length=1), DecodeConfig(min_length=1, temperature=0.1)]
    choice = _choose([*configs, DecodeConfig()], logits)
    assert np.asarray(choice.tokens).tolist() == [[4], [4], [EOS_ID]]
    assert np.asarray(choice.ended).tolist() == [[False], [False], [True]]


def test_answers_that_ended_stay_so():
    logits = np.zeros((1, 2, 5))
    logits[0, :, 3] = 1.0
    choice = _choose([DecodeConfig()], logits, num_members=2, ended=[[True, False]])
    assert np.asarray(choice.ended).tolist() == [[True, False]]


def test_results_are_the_tokens_of_the_loop():
    strategy = Sampling(num_members=3, eos_id=EOS_ID)
    tokens = jnp.asarray([[[5, 1, 0, 0], [5, 6, 7, 0], [1, 0, 0, 0]]], jnp.int32)
    logprobs = jnp.asarray([[[-1, -2, 0, 0], [-1, -1, -1, 0], [-4, 0, 0, 0]]], jnp.float32)
    position = jnp.asarray([3], jnp.int32)
    answers = strategy.result((), None, tokens, logprobs, position)
    assert np.asarray(answers.lengths).tolist() == [[2, 3, 1]]
    assert np.asarray(answers.scores).tolist() == [[-3, -3, -4]]
    assert answers.tokens is tokens and answers.logprobs is logprobs
    assert strategy.result((), None, tokens, None, position).scores is None


def test_argmax():
    rng = np.random.default_rng(0)
    for vocab_size in (1, 5, BLOCK, 7 * BLOCK + 3):
        logits = rng.integers(0, 9, (2, 50, vocab_size)).astype(np.float32)
        logits[0, 0] = -np.inf
        ids = jax.jit(lambda x: sampling._Blocks.of(x).argmax())(logits)
        np.testing.assert_array_equal(ids, logits.argmax(-1))
        assert ids.dtype == jnp.int32


def test_strategy_is_the_smallest_program():
    def program(*configs):
        return sampling.strategy(configs, eos_id=EOS_ID, with_logprobs=False)

    assert program(DecodeConfig(top_k=40, top_p=0.5)) == Sampling(num_members=1, eos_id=EOS_ID)
    sampled = program(
        DecodeConfig(), DecodeConfig(temperature=0.7, top_k=40, num_samples=5, min_length=2)
    )
    assert sampled == Sampling(
        num_members=5, eos_id=EOS_ID, sampled=True, max_top_k=64,
        features=processors.Features(min_length=True),
    )  # fmt: skip
    for top_k, rounded in ((0, 0), (1, 1), (2, 2), (3, 4), (64, 64), (65, 128)):
        assert program(DecodeConfig(temperature=1.0, top_k=top_k)).max_top_k == rounded
    assert program(DecodeConfig(temperature=1.0, top_p=0.9)).use_top_p
    assert sampling.strategy([DecodeConfig()], eos_id=EOS_ID, with_logprobs=True).with_logprobs


def test_strategy_refuses_what_is_not_sampling():
    with pytest.raises(errors.UsageError, match="got one of 4 beams; give beams to"):
        sampling.strategy([DecodeConfig(num_beams=4)], eos_id=EOS_ID, with_logprobs=False)
    with pytest.raises(errors.UsageError, match="got none"):
        sampling.strategy([], eos_id=EOS_ID, with_logprobs=False)


@pytest.mark.parity
@pytest.mark.parametrize("name", SETTINGS)
def test_reference_agrees_with_transformers(name):
    """The reference that the draws are compared with above is transformers' distribution."""
    torch = pytest.importorskip("torch", reason="live comparison")
    transformers = pytest.importorskip("transformers", reason="live comparison")
    config = SETTINGS[name]
    for seed in range(20):
        logits = _logits(71, 2.0, seed)
        scores = torch.from_numpy(logits)[None] / config.temperature
        if config.top_k:
            scores = transformers.TopKLogitsWarper(config.top_k)(None, scores)
        scores = transformers.TopPLogitsWarper(config.top_p)(None, scores)
        expected = torch.softmax(scores, -1)[0].numpy()
        np.testing.assert_allclose(_probabilities(logits, config), expected, rtol=1e-4)
