# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Many prompts answered or scored, by all processes of a job, each result handed on as it comes.

Of several processes each calls these with the same prompts and gets every result. With `by_shares`
each takes its share, a round at a time; otherwise all do the same together, on a mesh.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from flan_jax.core import files
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.engine import Answer, Engine
from flan_jax.inference.scoring import Scorer
from flan_jax.parallel import hosts, preemption

Tokens = Sequence[int]
_ROUND = 8  # batches that a process answers before it hands on what came of them


def answers(
    engine: Engine,
    prompts: Mapping[int, Tokens],
    decodings: Mapping[int, DecodeConfig],
    *,
    by_shares: bool,
) -> Iterator[tuple[int, dict[str, list[Any]]]]:
    """Yields (key, answers as `in_json`) of prompts, as they are done.

    Args:
        engine: the model.
        prompts: their tokens, by any key.
        decodings: how each is answered.
        by_shares: see above.

    Raises:
        PreemptedError: asked to stop; on all processes after the same prompts.
    """
    if by_shares:

        def ask(mine: Sequence[int]) -> list[Any]:
            found = engine.generate([prompts[i] for i in mine], [decodings[i] for i in mine])
            return [in_json(answer) for answer in found]

        size = _ROUND * engine.num_rows
        yield from _in_rounds(list(prompts), size, ask, by_shares=True)
        return
    keys = list(prompts)
    with preemption.stoppable():
        stream = engine.stream(list(prompts.values()), [decodings[i] for i in keys])
        for position, answer in stream:
            yield keys[position], in_json(answer)
            preemption.stop_if_asked()


def scores(
    scorer: Scorer,
    prompts: Mapping[int, Tokens],
    choices: Mapping[int, Sequence[Tokens]],
    *,
    by_shares: bool,
) -> Iterator[tuple[int, list[list[float]]]]:
    """Yields (key, log-probabilities of the tokens of each choice) of prompts, as `answers` does.

    Raises:
        PreemptedError: as of `answers`.
    """

    def ask(mine: Sequence[int]) -> list[Any]:
        found = scorer.score([prompts[i] for i in mine], [choices[i] for i in mine])
        return [[score.token_logprobs.tolist() for score in of_prompt] for of_prompt in found]

    # Prompts of like length are padded least, so a round should hold such.
    longest_first = sorted(prompts, key=lambda i: len(prompts[i]), reverse=True)
    size = _ROUND * scorer.num_rows
    yield from _in_rounds(longest_first, size, ask, by_shares=by_shares)


def _in_rounds(
    keys: Sequence[int],
    num_each: int,
    ask: Callable[[Sequence[int]], list[Any]],
    *,
    by_shares: bool,
) -> Iterator[tuple[int, Any]]:
    """Yields (key, result) of keys that `ask` is given so many of at a time, on each process."""
    rank, count = (jax.process_index(), jax.process_count()) if by_shares else (0, 1)
    size = num_each * count
    with preemption.stoppable():
        for start in range(0, len(keys), size):
            mine = keys[start : start + size][rank::count]
            with hosts.all_or_none():
                found = [[i, each] for i, each in zip(mine, ask(mine), strict=True)]
            shares = hosts.gathered(files.dumps(found)) if count > 1 else [files.dumps(found)]
            for share in shares:
                yield from map(tuple, json.loads(share))
            preemption.stop_if_asked()


def in_json(answer: Answer) -> dict[str, list[Any]]:
    """Returns the answers to a prompt, the best beam or the first sample first, as JSON."""
    return {
        "predictions": list(answer.texts),
        "scores": [round(float(score), 6) for score in answer.scores],
        "finish_reasons": list(answer.finish_reasons),
    }
