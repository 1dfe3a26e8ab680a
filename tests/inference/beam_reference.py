# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Beam search for one prompt in plain lists, to compare the compiled one with.

It follows what transformers documents of `early_stopping=False`; it shares no code with
`flan_jax.inference.beam`, and nothing of it is fast.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np


def beam_search(
    log_probabilities: Callable[[Sequence[int]], np.ndarray],
    *,
    num_beams: int,
    length_penalty: float,
    max_length: int,
    eos_id: int,
) -> list[tuple[tuple[int, ...], float]]:
    """Returns the best `num_beams` answers and their scores, best first.

    Args:
        log_probabilities: `[vocab]` of the next token after these; -inf where it may not come. The
            vocabulary has more than `num_beams` tokens that may.
        num_beams: how many hypotheses run, and how many answers there are.
        length_penalty: an answer's score is its log-probability / its length ** this.
        max_length: tokens of an answer at most.
        eos_id: the token that ends an answer, of which it is the last.
    """
    running: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    finished: list[tuple[tuple[int, ...], float]] = []
    for length in range(1, max_length + 1):
        continued = [
            ((*tokens, token), total + float(gained))
            for tokens, total in running
            for token, gained in enumerate(log_probabilities(tokens))
            if gained > -math.inf
        ]
        continued.sort(key=lambda found: -found[1])
        at_end = length == max_length
        for rank, (tokens, total) in enumerate(continued):
            if rank < num_beams and (tokens[-1] == eos_id or at_end):
                finished.append((tokens, total / length**length_penalty))
        finished = sorted(finished, key=lambda found: -found[1])[:num_beams]
        running = [found for found in continued if found[0][-1] != eos_id][:num_beams]
        if len(finished) == num_beams:
            if running[0][1] / length**length_penalty <= finished[-1][1]:
                break
    return finished
