# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How an answer is decoded, as a request says it, and as the rows of a compiled program carry it.

What varies from row to row is data (`RowSettings`), so that requests of all kinds share a program;
what changes the program itself is in `strategy.Strategy`.
"""

import dataclasses
from collections.abc import Sequence

import jax

from flan_jax.core import errors, ranges

MAX_BEAMS = 1024  # more is a slip of the finger


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """How one prompt is answered; the defaults are greedy decoding."""

    max_length: int = 128  # tokens decoded at most, the end of sequence included
    min_length: int = 0  # tokens decoded before the end of sequence may come
    num_samples: int = 1  # answers to the prompt; with beams, the best so many of them
    temperature: float = 0.0  # 0: the likeliest token each time
    top_k: int = 0  # sample among the k likeliest tokens; 0: among all
    top_p: float = 1.0  # sample among the likeliest tokens that make up this probability
    seed: int = 0  # of sampling: an answer depends on it, the prompt and the answer's number
    num_beams: int = 1  # above 1: beam search
    length_penalty: float = 1.0  # beams rank by log-probability / length ** this
    repetition_penalty: float = 1.0  # above 1: makes tokens of the answer less likely to come again
    no_repeat_ngram: int = 0  # no n tokens in a row occur twice in an answer; 0: they may
    forced_prefix: Sequence[int] = ()  # tokens that every answer begins with
    stop: Sequence[str] = ()  # an answer ends before the first of these texts

    def __post_init__(self):
        object.__setattr__(self, "forced_prefix", tuple(int(i) for i in self.forced_prefix))
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        object.__setattr__(self, "stop", stop)
        ranges.check(
            "DecodeConfig", "[1, inf)", max_length=self.max_length, num_samples=self.num_samples
        )
        ranges.check("DecodeConfig", f"[1, {MAX_BEAMS}]", num_beams=self.num_beams)
        ranges.check(
            "DecodeConfig", "[0, inf)", min_length=self.min_length, temperature=self.temperature,
            top_k=self.top_k, no_repeat_ngram=self.no_repeat_ngram, seed=self.seed,
        )  # fmt: skip
        ranges.check("DecodeConfig", "(0, inf)", repetition_penalty=self.repetition_penalty)
        ranges.check("DecodeConfig", "(0, 1]", top_p=self.top_p)
        if self.min_length > self.max_length:
            raise errors.UsageError(
                f"DecodeConfig.min_length {self.min_length} is above max_length {self.max_length}; "
                "change one"
            )
        if len(self.forced_prefix) >= self.max_length:
            raise errors.UsageError(
                f"DecodeConfig.forced_prefix has {len(self.forced_prefix)} tokens, which leaves "
                f"none of max_length {self.max_length}; raise it"
            )
        if any(not text for text in self.stop):
            raise errors.UsageError("DecodeConfig.stop has an empty text; leave it out")
        if self.num_beams > 1:
            if self.temperature > 0:
                raise errors.UsageError(
                    f"DecodeConfig has num_beams {self.num_beams} and temperature "
                    f"{self.temperature}: a beam search samples nothing; set one of them back"
                )
            if self.num_samples > self.num_beams:
                raise errors.UsageError(
                    f"DecodeConfig.num_samples {self.num_samples} is above num_beams "
                    f"{self.num_beams}; a beam search ends with as many answers as beams"
                )
        elif self.num_samples > 1 and self.temperature == 0:
            raise errors.UsageError(
                f"DecodeConfig.num_samples {self.num_samples} answers without a temperature would "
                "all be the same; set a temperature, or beams"
            )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class RowSettings:
    """What a `DecodeConfig` says, for each row `[batch]` of a program; a pytree."""

    key: jax.Array  # [batch, 2] uint32: of the seed and the prompt
    first_member: jax.Array  # int32: the number of the row's first answer among those to its prompt
    temperature: jax.Array  # float32
    top_k: jax.Array  # int32; 0: all
    top_p: jax.Array  # float32
    min_length: jax.Array  # int32
    max_length: jax.Array  # int32
    length_penalty: jax.Array  # float32
    repetition_penalty: jax.Array  # float32
    no_repeat_ngram: jax.Array  # int32; 0: none
    forced: jax.Array  # [batch, num_forced] int32, 0 after the last
    num_forced: jax.Array  # int32
