# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Masks, drawn: one row of two packed examples and padding."""

import numpy as np

from flan_jax.models import masks

SEGMENTS = np.array([[1, 1, 2, 2, 0]])
TOKENS = np.array([[5, 6, 7, 8, 0]])


def _drawn(mask):
    return ["".join("x" if cell else "." for cell in row) for row in np.asarray(mask)[0, 0]]


def test_packed_encoder_sees_its_own_segment():
    drawn = _drawn(masks.encoder_mask(TOKENS, SEGMENTS))
    assert drawn == ["xx...", "xx...", "..xx.", "..xx.", "....x"]


def test_unpacked_encoder_sees_all_but_padding():
    assert _drawn(masks.encoder_mask(TOKENS, None)) == ["xxxx."]


def test_packed_decoder_sees_the_past_of_its_segment():
    drawn = _drawn(masks.decoder_mask(5, SEGMENTS))
    assert drawn == ["x....", "xx...", "..x..", "..xx.", "....x"]


def test_unpacked_decoder_sees_the_past():
    assert _drawn(masks.decoder_mask(3, None)) == ["x..", "xx.", "xxx"]


def test_packed_prefixes_see_all_of_themselves_and_nothing_of_the_next():
    segments = np.array([[1, 1, 1, 1, 2, 2, 2, 0]])
    prefix = np.array([[1, 1, 1, 0, 1, 1, 0, 0]])
    assert _drawn(masks.decoder_mask(8, segments, prefix)) == [
        "xxx.....",
        "xxx.....",
        "xxx.....",
        "xxxx....",
        "....xx..",
        "....xx..",
        "....xxx.",
        ".......x",
    ]


def test_an_unpacked_prefix_never_sees_what_follows_it():
    drawn = _drawn(masks.decoder_mask(5, None, np.array([[1, 1, 1, 0, 0]])))
    assert drawn == ["xxx..", "xxx..", "xxx..", "xxxx.", "xxxxx"]


def test_packed_cross_attention_sees_the_segment_of_the_same_number():
    drawn = _drawn(masks.cross_mask(TOKENS, SEGMENTS, np.array([[1, 2, 2, 0]])))
    assert drawn == ["xx...", "..xx.", "..xx.", "....x"]


def test_unpacked_cross_attention_sees_all_but_padding():
    assert _drawn(masks.cross_mask(TOKENS, None, None)) == ["xxxx."]
