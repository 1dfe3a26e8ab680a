# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answering a set of prompts of mixed lengths: ours, against transformers with torch.

The lengths are those of real examples: prompts as those of Natural Instructions, and answers of
which four in five are as short as theirs and one is a chain of thought. Random weights never end an
answer, so each prompt has a number of tokens after which its answer is over, on both sides: a
`DecodeConfig.max_length` in ours, in the peer's `generate` a stopping criterion that looks at each
row. Both decode greedily, up to 16 prompts at once, with the weights of decode.py.

The peer takes batches of 16, padded to the longest prompt of the batch, until the last of its
answers is over: as the prompts come, and, as a careful user does, sorted by the prompts' lengths.
Ours takes prompts as they come, and refills a row when its answer is over.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

import decode
import measuring
import numpy as np
from measuring import Spread, Table
from train_step import CASES

NUM_ROWS = 16  # prompts at once, on both sides
MAX_INPUT, MAX_ANSWER = 512, 128
ORDERS = ("as they come", "sorted")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lengths:
    """A log-normal distribution of numbers of tokens."""

    median: float
    sigma: float  # of the logarithm
    least: int
    most: int

    def draw(self, rng: np.random.Generator, num: int) -> np.ndarray:
        """Returns `num` lengths."""
        drawn = rng.lognormal(np.log(self.median), self.sigma, num)
        return np.clip(np.rint(drawn), self.least, self.most).astype(int)


# Answers are fitted to samples, with T5's vocabulary: outputs of 120 tasks of Natural Instructions
# (median 7, mean 10), and chains of thought of seven data sets of FLAN's (median 35, mean 43).
# Definition and input of the same tasks have median 112 and mean 133; prompts here are longer by a
# half, as if some had exemplars.
INPUTS = Lengths(median=160, sigma=0.65, least=16, most=MAX_INPUT)
SHORT = Lengths(median=7, sigma=0.83, least=2, most=MAX_ANSWER)
RATIONALE = Lengths(median=35, sigma=0.57, least=8, most=MAX_ANSWER)
SHARE_OF_RATIONALES = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompts:
    """What both sides answer."""

    tokens: list[list[int]]
    budgets: list[int]  # tokens of each answer

    @classmethod
    def draw(cls, num: int, vocab_size: int) -> "Prompts":
        """Returns the same prompts for the same arguments."""
        rng = np.random.default_rng(0)
        inputs = INPUTS.draw(rng, num)
        is_long = rng.random(num) < SHARE_OF_RATIONALES
        budgets = np.where(is_long, RATIONALE.draw(rng, num), SHORT.draw(rng, num))
        tokens = [rng.integers(2, vocab_size, length).tolist() for length in inputs]
        return cls(tokens=tokens, budgets=budgets.tolist())


def ours(config: Any, prompts: Prompts) -> Iterator[dict[str, Any]]:
    """Answers with `flan_jax.inference.engine.Engine`."""
    from flan_jax.inference.decode_config import DecodeConfig

    engine, num_params = decode.our_engine(config, max_input_length=MAX_INPUT, num_rows=NUM_ROWS)
    configs = [DecodeConfig(max_length=budget) for budget in prompts.budgets]

    def answer() -> dict[str, Any]:
        return {"tokens": [a.tokens[0] for a in engine.generate(prompts.tokens, configs)]}

    yield from decode.rounds(answer, {"num_params": num_params})


def peer(config: Any, prompts: Prompts, is_sorted: bool) -> Iterator[dict[str, Any]]:
    """Answers with the `generate` of transformers' T5."""
    import torch
    import transformers

    model, num_params = decode.peer_model(config)

    class Over(transformers.StoppingCriteria):
        """Says which rows have as many tokens as their answers."""

        def __init__(self, budgets: list[int]):
            self._budgets = torch.tensor(budgets)

        def __call__(self, input_ids, scores, **kwargs):
            del scores, kwargs
            return input_ids.shape[1] - 1 >= self._budgets  # without the start token

    order = list(range(len(prompts.tokens)))
    if is_sorted:
        order.sort(key=lambda i: len(prompts.tokens[i]))

    def answer() -> dict[str, Any]:
        found: list[np.ndarray] = [np.empty(0)] * len(order)
        for start in range(0, len(order), NUM_ROWS):
            chosen = order[start : start + NUM_ROWS]
            longest = max(len(prompts.tokens[i]) for i in chosen)
            batch = torch.zeros((len(chosen), longest), dtype=torch.long)
            for row, i in enumerate(chosen):
                batch[row, : len(prompts.tokens[i])] = torch.tensor(prompts.tokens[i])
            budgets = [prompts.budgets[i] for i in chosen]
            with torch.inference_mode():
                rows = model.generate(
                    input_ids=batch, attention_mask=(batch > 0).long(), use_cache=True,
                    max_new_tokens=max(budgets), do_sample=False, num_beams=1,
                    stopping_criteria=transformers.StoppingCriteriaList([Over(budgets)]),
                ).numpy()  # fmt: skip
            for row, i in enumerate(chosen):
                found[i] = rows[row, 1 : 1 + prompts.budgets[i]]
        return {"tokens": found}

    yield from decode.rounds(answer, {"num_params": num_params})


def measure_prompts(models: list[str], num_prompts: int, num_rounds: int) -> Table:
    """Returns answered prompts per second of both sides."""
    table = Table(
        f"Answering prompts of mixed lengths greedily, {NUM_ROWS} at once: ours (flan_jax) against "
        "the peer (transformers + torch, eager), float32",
        {
            "model": "", "peer's order": "", "prompts": "d", "input tokens": ".0f",
            "answer tokens": ".1f", "ours prompts/s": ".2f", "peer prompts/s": ".2f",
            "ratio": ".2f", "ours compile s": ".1f", "equal tokens": ".1%",
            "ours peak MB": ",.0f", "peer peak MB": ",.0f",
        },
        f"input, answer tokens: the means; at most {MAX_INPUT} and {MAX_ANSWER}. peer's order: in "
        "which it takes batches; ours takes prompts as they come.\nratio: ours / peer in "
        f"prompts/s, above 1 ours is faster. median (min-max) over {num_rounds} alternating rounds "
        "of at least one pass over all prompts, warm.\ncompile: what the first pass takes more "
        "than the second; the peer compiles nothing.\nequal tokens, peak MB: as of decode.",
    )  # fmt: skip
    for name in models:
        config, plain = CASES[name].config(), decode.plain(CASES[name].config())
        measuring.step(f"decode_mixed: {name}")
        prompts = Prompts.draw(num_prompts, config.vocab_size)
        sides = {"ours": (ours, (config, prompts))}
        sides |= {order: (peer, (plain, prompts, order == "sorted")) for order in ORDERS}
        with measuring.contenders(sides) as all_:
            found = {side: contender.facts for side, contender in all_.items()}
            decode.check_counts(name, found, prompts.budgets)
            runs = {side: contender.round for side, contender in all_.items()}
            measured = measuring.alternate(runs, num_rounds)
        rates = {side: [num_prompts / r["call_s"] for r in measured[side]] for side in sides}
        for order in ORDERS:
            table.add(
                name,
                order,
                num_prompts,
                float(np.mean([len(tokens) for tokens in prompts.tokens])),
                float(np.mean(prompts.budgets)),
                Spread.of(rates["ours"]),
                Spread.of(rates[order]),
                Spread.ratio(rates["ours"], rates[order]),
                found["ours"]["more_at_first_s"],
                decode.share_equal(name, found["ours"]["tokens"], found[order]["tokens"]),
                *(measured[side][-1]["peak_rss_mb"] for side in ("ours", order)),
            )
    return table


def measure(args: argparse.Namespace) -> list[Table]:
    """Returns the table."""
    measuring.require("torch", "transformers")
    models = args.models[:1] if args.quick else args.models
    return [measure_prompts(models, 12 if args.quick else args.prompts, args.rounds)]


def main() -> int:
    """Runs the benchmark."""
    parser = measuring.make_parser(__doc__, num_rounds=3)
    known = decode.SHAPES
    parser.add_argument(
        "--models", choices=known, default=list(known), nargs="+", metavar="NAME",
        help=f"of {', '.join(known)}",
    )  # fmt: skip
    parser.add_argument(
        "--prompts", type=measuring.positive, default=240, help="how many (default: 240)"
    )
    return measuring.run(
        __file__, parser, measure, libraries=("jax", "flax", "torch", "transformers", "numpy")
    )


if __name__ == "__main__":
    sys.exit(main())
