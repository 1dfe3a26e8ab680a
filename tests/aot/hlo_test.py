# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts in HLO text, on a module written by hand whose every number is plain to see."""

import dataclasses
from pathlib import Path

import pytest

from flan_jax.aot import hlo

# A scan of 24 rounds, in each a windowed product of 4 rounds; a fusion that reads a layer of a
# stack; collectives in three places, one of them split into start and done.
MODULE = Path(__file__).with_name("scan_and_window.hlo").read_text()


def test_collectives_count_as_often_as_their_loops_run():
    found = {k: dataclasses.astuple(c) for k, c in hlo.count(MODULE).collectives.items()}
    stack = 24 * 64 * 4
    assert found == {
        "all-gather": (24, 24 * 4 * 64 * 2),  # in the scan: what comes out, bfloat16
        "all-reduce": (1, 2 * stack),  # two operands at once; the results are declared smaller
        "collective-permute": (24 * 4, 24 * 4 * 16 * 4),  # in a loop within; its done is no second
        "reduce-scatter": (1, stack),  # what goes in
    }


def test_bytes_of_a_layer_taken_from_a_stack_are_the_layers():
    found = hlo.count(MODULE)
    take = 64 * 4 + 4 + 64 * 2  # a layer, its number, and the same layer in bfloat16
    gather = 64 * 2 + 4 * 64 * 2
    permute = 16 * 4 + 2 * 16 * 4  # operand, and the start's two buffers; its flags are not in HBM
    # all-reduce: two operands, a result of each shape; reduce-scatter: operand and result.
    end = 2 * 24 * 64 * 4 + (24 * 64 + 64) * 4 + (24 * 64 + 6 * 64) * 4
    assert found.bytes_once == take + gather + permute + end
    assert found.bytes_accessed == 24 * (take + gather) + 24 * 4 * permute + end
    assert found.unknown_loops == 0


def test_a_loop_of_unknown_length_counts_once_and_is_told_of():
    found = hlo.count(MODULE.replace("constant(24)", "rng-bit-generator()"))
    assert found.unknown_loops == 1
    assert found.collectives["all-gather"].count == 1
    assert found.collectives["collective-permute"].count == 4


def test_the_compilers_own_number_of_rounds_wins():
    known = MODULE.replace(
        "body=%layer_body\n",
        'body=%layer_body, backend_config={"known_trip_count":{"n":"3"}}\n',
    )
    assert hlo.count(known).collectives["all-gather"].count == 3


def test_text_without_an_entry_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.count("HloModule empty\n")


def test_parts_of_one_collective_count_once():
    again = "  %done = f32[64]{0:T(128)} all-reduce(%p), channel_id=9, to_apply=%add\n"
    text = MODULE.replace("  ROOT %scattered", f"{again}  ROOT %scattered")
    assert hlo.count(text).collectives["all-reduce"].count == 1
    other = text.replace("(%p), channel_id=9", "(%p), channel_id=8")
    assert hlo.count(other).collectives["all-reduce"].count == 2
