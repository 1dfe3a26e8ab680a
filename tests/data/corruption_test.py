# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Corruption: T5's lengths and structure, nothing lost, and a function of (seed, example)."""

import collections
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.core.errors import UsageError
from flan_jax.core.rng import ExampleKey
from flan_jax.data import corruption
from flan_jax.data.corruption import Denoiser, Room

NUM_SENTINELS = 100
FIRST_SENTINEL = 9999
PUBLISHED = (corruption.T5_SPANS, corruption.PREFIX_LM, *corruption.UL2, *corruption.UL2R)

spans = st.builds(
    Denoiser,
    name=st.just("spans"),
    density=st.floats(0.01, 0.99),
    mean_span=st.floats(1.0, 70.0),
)
denoisers = st.one_of(
    spans,
    st.sampled_from(PUBLISHED),
    st.builds(
        Denoiser,
        name=st.just("suffix"),
        kind=st.just(corruption.SUFFIX),
        density=st.one_of(st.none(), st.floats(0.01, 0.99)),
    ),
)
rooms = st.builds(
    Room,
    inputs=st.integers(8, 300),
    targets=st.integers(8, 300),
    num_sentinels=st.integers(2, NUM_SENTINELS),
    num_mode_tokens=st.integers(0, 4),
)
keys = st.builds(ExampleKey, st.integers(0, 9), st.just("task"), st.integers(0, 10**6))


def restored(denoiser, inputs, targets):
    """The chunk that a pair was made of."""
    if denoiser.kind != corruption.SPANS:
        return [*inputs, *targets]
    noise = collections.defaultdict(list)
    for token in targets:
        if token > FIRST_SENTINEL - NUM_SENTINELS:
            sentinel = int(token)
        else:
            noise[sentinel].append(int(token))
    return [piece for token in inputs for piece in noise.pop(int(token), [int(token)])]


@given(denoisers, rooms, keys, st.data())
def test_a_pair_holds_its_chunk_and_has_room(denoiser, room, key, data):
    longest = corruption.chunk_length(denoiser, room)
    length = data.draw(st.integers(1, longest))
    tokens = np.arange(3, 3 + length, dtype=np.int32)
    inputs, targets = corruption.denoise(denoiser, tokens, key, room, FIRST_SENTINEL)
    assert restored(denoiser, inputs, targets) == tokens.tolist()
    assert len(inputs) + room.num_mode_tokens + 1 <= room.inputs
    assert 1 < len(targets) + 1 <= room.targets
    assert max([0, *inputs, *targets]) <= FIRST_SENTINEL
    sentinels = [t for t in targets if t > FIRST_SENTINEL - NUM_SENTINELS]
    assert sentinels == [FIRST_SENTINEL - i for i in range(len(sentinels))]
    assert len(sentinels) <= room.num_sentinels
    assert inputs.dtype == targets.dtype == np.int32


@given(denoisers, rooms)
def test_the_chunk_is_the_longest_that_fits(denoiser, room):
    length = corruption.chunk_length(denoiser, room)
    if denoiser.kind == corruption.SPANS:
        num_spans = corruption.span_counts(length + 1, denoiser.density, denoiser.mean_span)[1]
    else:
        num_spans = 0
    inputs, targets = corruption.pair_lengths(denoiser, length + 1, room)
    assert inputs > room.inputs or targets > room.targets or num_spans > room.num_sentinels


@given(spans, st.integers(2, 600), keys)
def test_masks_have_the_counts_of_t5_and_begin_with_text(denoiser, length, key):
    mask = corruption.noise_mask(key, length, denoiser.density, denoiser.mean_span)
    # As T5's `random_spans_noise_mask` says it, and no more spans than tokens of text.
    num_noise = min(max(round(length * denoiser.density), 1), length - 1)
    num_spans = min(max(round(num_noise / denoiser.mean_span), 1), length - num_noise)
    starts = mask & ~np.concatenate([[False], mask[:-1]])
    assert (len(mask), mask.sum(), starts.sum()) == (length, num_noise, num_spans)
    assert not mask[0] and mask[-1]


def random_spans_helper(inputs_length, density, mean_span):
    """T5's rule: the most tokens whose corrupted inputs, EOS included, are no longer than asked."""

    def lengths(tokens):
        num_noise = int(round(tokens * density))
        num_spans = int(round(num_noise / mean_span))
        return tokens - num_noise + num_spans + 1, num_noise + num_spans + 1

    tokens = inputs_length
    while lengths(tokens + 1)[0] <= inputs_length:
        tokens += 1
    return tokens, lengths(tokens)[1]


def test_t5_makes_512_tokens_of_568_and_114_targets():
    room = Room(512, 114, NUM_SENTINELS)
    assert random_spans_helper(512, 0.15, 3.0) == (568, 114)  # as T5's code documents it
    assert corruption.chunk_length(corruption.T5_SPANS, room) == 568
    assert corruption.pair_lengths(corruption.T5_SPANS, 568, room) == (512, 114)


@given(st.integers(32, 1024), st.sampled_from([(0.15, 3.0), (0.15, 8.0), (0.3, 5.0)]))
def test_chunk_lengths_are_those_of_random_spans_helper(inputs, scheme):
    denoiser = Denoiser(name="spans", density=scheme[0], mean_span=scheme[1])
    room = Room(inputs, inputs, num_sentinels=1000)
    tokens, targets = random_spans_helper(inputs, *scheme)
    assert corruption.chunk_length(denoiser, room) == tokens
    assert corruption.pair_lengths(denoiser, tokens, room)[1] == targets


def test_a_chunk_has_no_more_spans_than_there_are_sentinels():
    # 15 % of 70 tokens are 10.5, rounded to the even 10: three spans; of 71 they are 11: four.
    room = Room(500, 500, num_sentinels=3)
    assert corruption.chunk_length(corruption.T5_SPANS, room) == 70


def test_half_noise_leaves_targets_no_longer_than_inputs_as_in_t5():
    denoiser = Denoiser(name="spans", density=0.5, mean_span=8.0)
    room = Room(512, 512, NUM_SENTINELS)
    length = corruption.chunk_length(denoiser, room)
    assert corruption.pair_lengths(denoiser, length, room) == (512, 512)


def test_spans_read_as_in_the_paper():
    # Raffel et al. 2020, figure 2, in tokens; our last span ends the text, as in T5's code.
    tokens = np.array([10, 11, 12, 13, 14, 15, 16, 17, 18, 19])
    mask = np.isin(tokens, [12, 13, 17, 18, 19])
    assert corruption.mark_spans(tokens, mask, 99).tolist() == [10, 11, 99, 14, 15, 16, 98]
    assert corruption.mark_spans(tokens, ~mask, 99).tolist() == [99, 12, 13, 98, 17, 18, 19]


def test_every_mask_is_equally_likely():
    # 8 tokens, 4 of noise in 2 spans: 3 ways to part the noise times 3 to part the text.
    num = 4500
    found = collections.Counter(
        corruption.noise_mask(ExampleKey(0, "t", i), 8, 0.5, 2.0).tobytes() for i in range(num)
    )
    assert len(found) == 9
    # 500 each, with a standard deviation of 21.
    assert min(found.values()) > 400 and max(found.values()) < 600


def test_every_split_is_equally_likely_and_none_is_empty():
    tokens, num = np.arange(6), 5000
    room = Room(6, 6, 0)
    found = collections.Counter(
        len(corruption.denoise(corruption.PREFIX_LM, tokens, ExampleKey(0, "t", i), room, 9)[0])
        for i in range(num)
    )
    assert sorted(found) == [1, 2, 3, 4, 5]
    assert min(found.values()) > 850 and max(found.values()) < 1150


def test_1024_tokens_hold_what_the_page_says():
    # docs/pretraining.md; half noise in spans of three runs out of sentinels first.
    room = Room(1024, 1024, NUM_SENTINELS)
    assert corruption.chunk_length(corruption.T5_SPANS, room) == 1137
    assert corruption.chunk_length(corruption.UL2R[3], room) == 602


def test_ul2r_fills_both_sides():
    # 2,048 tokens are 1,024 in and 1,024 out, EOS and mode among them.
    denoiser, room = corruption.UL2R[0], Room(1024, 1024, NUM_SENTINELS, 3)
    length = corruption.chunk_length(denoiser, room)
    assert length == 2048 - 2 - 3
    assert corruption.pair_lengths(denoiser, length, room) == (1024, 1024)


def test_shares_are_those_of_the_papers():
    shares = collections.Counter()
    for denoiser in corruption.UL2R:
        shares[denoiser.mode] += denoiser.share
    assert shares == {"[S2S]": 0.5, "[NLU]": 0.25, "[NLG]": 0.25}
    assert {d.share for d in corruption.UL2} == {1.0}
    assert collections.Counter(d.mode for d in corruption.UL2) == {
        "[NLU]": 2, "[S2S]": 1, "[NLG]": 4,
    }  # fmt: skip


@pytest.mark.parametrize("denoiser", [corruption.T5_SPANS, corruption.PREFIX_LM])
def test_a_pair_is_a_function_of_seed_and_example(denoiser):
    tokens, room = np.arange(100, 200, dtype=np.int32), Room(200, 200, NUM_SENTINELS)

    def pair(seed, index):
        key = ExampleKey(seed, "task", index)
        return [side.tobytes() for side in corruption.denoise(denoiser, tokens, key, room, 9999)]

    assert pair(3, 5) == pair(3, 5)
    assert pair(3, 5) != pair(3, 6) and pair(3, 5) != pair(4, 5)


@given(
    st.lists(st.integers(0, 40), max_size=12),
    st.integers(2, 15),
    st.booleans(),
)
def test_chunks_lose_nothing_and_are_full(lengths, length, join):
    ends = np.cumsum([0, *lengths])
    documents = [np.arange(a, b) for a, b in zip(ends, ends[1:], strict=False)]
    found = list(corruption.chunks(iter(documents), length, join=join))
    assert np.concatenate([*found, []]).tolist() == list(range(ends[-1]))
    assert all(1 <= len(chunk) <= length for chunk in found)
    whole = [ends[-1]] if join else lengths
    assert len(found) == sum(-(-num // length) for num in whole)
    if length >= 4:  # one token alone teaches nothing
        assert all(len(chunk) > 1 for chunk in found) or 1 in [*whole]
    if not join:
        assert all(np.searchsorted(ends, c[0], "right") > 0 for c in found)
        inside = [np.searchsorted(ends, [c[0], c[-1]], "right") for c in found]
        assert all(first == last for first, last in inside)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(
            {"kind": "words"}, "denoiser 'span_corruption': unknown kind 'words'", id="kind"
        ),
        pytest.param({"density": 1.5}, "density must be between 0 and 1, got 1.5", id="density"),
        pytest.param({"mean_span": 0.5}, "mean_span >= 1", id="short spans"),
        pytest.param({"density": None}, "spans need a density", id="no density"),
    ],
)
def test_denoisers_that_make_no_sense_are_refused(change, told):
    with pytest.raises(UsageError, match=told):
        dataclasses.replace(corruption.T5_SPANS, **change)


def test_too_little_room_is_said():
    with pytest.raises(UsageError, match="no text has room in 2 tokens of inputs"):
        corruption.chunk_length(corruption.T5_SPANS, Room(2, 100, NUM_SENTINELS))
