# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Decoding to a fixed length: `Engine.generate`, against `generate` of transformers with torch.

Both sides have the same T5 1.1 with the same weights (random ones, float32), and answer the same
prompts, none of them padded, on the same cores: greedily, by beam search, and by sampling, once and
40 times a prompt. Nothing ends an answer before its length. A call is whole, from lists of tokens
to answers in numpy, but for text: neither side turns tokens into it. The peer is eager torch (not
compiled) in inference mode, with the attention that transformers chooses (torch's own, fused) and
its dynamic cache (its static one took as long where both were measured).

Tokens decoded greedily and by beam search are compared, and so are the scores of beams, so that
both did the same work. Samples cannot be equal, as both draw in their own way: they are counted.
"""

import argparse
import dataclasses
import math
import re
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import measuring
import numpy as np
from measuring import Spread, Table
from train_step import CASES, torch_t5

from flan_jax.core import errors

# A row must begin alike on both sides. Later, rounding may turn a near tie, and from there on the
# row differs; a few rows of many may do so at once.
NUM_FIRST, LEAST_EQUAL = 4, 0.9
MOST_APART = 1e-3  # of the scores of beams, relative
ROUND_S = 1.0
HEAD_DIM = 64  # of T5 1.1

# Ours by transformers' place in a block: the sublayer, and what its norm is called after.
_SUBLAYERS = {
    "encoder": (("attention", "attention"), ("mlp", "mlp")),
    "decoder": (
        ("self_attention", "self_attention"),
        ("encoder_decoder_attention", "cross_attention"),
        ("mlp", "mlp"),
    ),
}
_KERNELS = {"q": "query", "k": "key", "v": "value", "o": "out"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """How tokens are chosen."""

    num_beams: int = 1
    num_samples: int = 1
    temperature: float = 0.0  # 0: the likeliest token
    top_k: int = 0
    # Prompts that the peer takes at a time; None: all. Of 40 samples each, four fill a batch, and
    # are two per cent faster than one: more cost gigabytes, as each sample has keys and values of
    # its prompt.
    peer_prompts: int | None = None


WAYS = {
    "greedy": Way(),
    "beam_4": Way(num_beams=4),
    "sampling": Way(temperature=0.7, top_k=40),
    "samples_40": Way(temperature=0.7, top_k=40, num_samples=40, peer_prompts=4),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """How much both sides decode."""

    num_prompts: int
    input_length: int
    num_tokens: int


SHAPES = {
    "tiny": Shape(num_prompts=8, input_length=128, num_tokens=32),
    "t5_1_1_small": Shape(num_prompts=8, input_length=512, num_tokens=128),
}
QUICK_SHAPE = Shape(num_prompts=2, input_length=32, num_tokens=8)


class NoText:
    """In place of a vocabulary: no token ends an answer, and none is turned into text."""

    eos_id = -1

    def decode(self, ids: Sequence[int]) -> str:
        """Returns nothing."""
        del ids
        return ""


def weights(path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a parameter's values, float32: the same for a path wherever they are drawn."""
    noise = np.random.default_rng(zlib.crc32(path.encode())).normal(size=shape)
    if path.endswith("scale"):
        return (1 + 0.3 * noise).astype(np.float32)
    noise *= shape[-2] ** -0.5
    if "/query/" in path:
        # As T5 draws them: heads whose weights are of order one. Without this a head looks at one
        # token at a time, which of two may hang on rounding, and answers differ after few tokens.
        noise *= HEAD_DIM**-0.5
    return noise.astype(np.float32)


def our_path(name: str) -> str:
    """Returns our path of a parameter that transformers calls `name`."""
    if name == "shared.weight":
        return "token_embedder/embedding"
    if name == "lm_head.weight":
        return "decoder/logits_dense/kernel"
    stack = name.split(".")[0]
    if name.endswith("final_layer_norm.weight"):
        return f"{stack}/{stack}_norm/scale"
    if name.endswith("relative_attention_bias.weight"):
        return f"{stack}/relpos_bias/rel_embedding"
    found = re.fullmatch(rf"{stack}\.block\.(\d+)\.layer\.(\d)\.(?:\w+\.)?(\w+)\.weight", name)
    block, place, last = found.groups()
    sublayer, norm = _SUBLAYERS[stack][int(place)]
    if last == "layer_norm":
        return f"{stack}/layers_{block}/pre_{norm}_layer_norm/scale"
    return f"{stack}/layers_{block}/{sublayer}/{_KERNELS.get(last, last)}/kernel"


def our_engine(config: Any, **engine: Any):
    """Returns an `Engine` of our T5, which gives no log-probabilities, and its parameter count."""
    import jax

    from flan_jax.core.tree import flatten, unflatten
    from flan_jax.inference.engine import Engine
    from flan_jax.models.t5 import T5

    # Its layers apart, as `for_decoding` would have them.
    model = T5(dataclasses.replace(config, scan_layers=False))
    shapes = flatten(jax.eval_shape(model.init, jax.random.key(0)))
    drawn = {path: jax.device_put(weights(path, leaf.shape)) for path, leaf in shapes.items()}
    num_params = sum(leaf.size for leaf in drawn.values())
    return Engine(model, unflatten(drawn), NoText(), with_logprobs=False, **engine), num_params


def peer_model(config: Any):
    """Returns transformers' T5 with our weights, and how many parameters it has."""
    import torch

    model = torch_t5(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            path = our_path(name)
            # Its matrices are transposed, but for the embeddings of tokens.
            turned = name != "shared.weight"
            ours = tuple(parameter.shape)[:: -1 if turned else 1]
            drawn = weights(path, ours)
            parameter.copy_(torch.from_numpy(drawn.T if turned else drawn))
    model.generation_config.eos_token_id = None  # no row ends before its length
    return model, sum(parameter.numel() for parameter in model.parameters())


def ours(config: Any, shape: Shape, way: Way) -> Iterator[dict[str, Any]]:
    """Answers with `flan_jax.inference.engine.Engine`."""
    from flan_jax.inference.decode_config import DecodeConfig

    request = DecodeConfig(
        max_length=shape.num_tokens, num_beams=way.num_beams, num_samples=way.num_samples,
        temperature=way.temperature, top_k=way.top_k,
    )  # fmt: skip
    engine, num_params = our_engine(
        config,
        max_input_length=shape.input_length,
        length_buckets=(shape.input_length,),
        num_rows=shape.num_prompts * max(way.num_beams, way.num_samples),
    )
    prompts = inputs(config, shape).tolist()

    def answer() -> dict[str, Any]:
        answers = engine.generate(prompts, request)
        return {
            "tokens": [tokens for found in answers for tokens in found.tokens],
            "scores": [found.scores[0] for found in answers],
        }

    yield from rounds(answer, {"num_params": num_params})


def peer(config: Any, shape: Shape, way: Way) -> Iterator[dict[str, Any]]:
    """Answers with the `generate` of transformers' T5."""
    import torch

    model, num_params = peer_model(config)
    prompts = inputs(config, shape).tolist()
    at_once = way.peer_prompts or shape.num_prompts
    sampled = {"temperature": way.temperature, "top_k": way.top_k} if way.temperature else {}

    def answer() -> dict[str, Any]:
        found: list[np.ndarray] = []
        for start in range(0, len(prompts), at_once):
            batch = torch.tensor(prompts[start : start + at_once])
            with torch.inference_mode():
                rows = model.generate(
                    input_ids=batch, attention_mask=torch.ones_like(batch), use_cache=True,
                    max_new_tokens=shape.num_tokens, num_beams=way.num_beams,
                    num_return_sequences=way.num_samples, do_sample=bool(sampled), **sampled,
                )  # fmt: skip
            found.extend(rows.numpy()[:, 1:])  # without the start token
        return {"tokens": found}

    def scores(tokens: list[np.ndarray]) -> list[float]:
        """Returns the mean log-probability of an answer's tokens: as a beam of it ranks."""
        found = []
        for prompt, answer in zip(prompts, tokens, strict=True):  # by one, as logits are large
            labels = torch.tensor(answer[None], dtype=torch.long)
            with torch.inference_mode():
                found.append(-float(model(input_ids=torch.tensor([prompt]), labels=labels).loss))
        return found

    facts = {"num_params": num_params}
    yield from rounds(answer, facts, scores if way.num_beams > 1 else None)


def inputs(config: Any, shape: Shape) -> np.ndarray:
    """Returns prompts `[num_prompts, length]` int32, none of them padding."""
    rng = np.random.default_rng(0)
    return rng.integers(2, config.vocab_size, (shape.num_prompts, shape.input_length), np.int32)


def rounds(
    answer: Callable[[], dict[str, Any]],
    facts: dict[str, Any],
    scores: Callable[[list[np.ndarray]], list[float]] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yields `facts` and what a warm call gave, then the seconds a call takes, round by round.

    Args:
        answer: the call; gives "tokens".
        facts: of the side.
        scores: what gives the scores of tokens, if the call does not.
    """

    def timed() -> tuple[float, dict[str, Any]]:
        start = time.perf_counter()
        found = answer()
        return time.perf_counter() - start, found

    first_s, _ = timed()
    warm_s, found = timed()
    num_calls = max(1, math.ceil(ROUND_S / warm_s))
    if scores is not None:
        found = {**found, "scores": scores(found["tokens"])}
    yield {**facts, **found, "more_at_first_s": max(0.0, first_s - warm_s)}
    while True:
        start = time.perf_counter()
        for _ in range(num_calls):
            answer()
        yield {"call_s": (time.perf_counter() - start) / num_calls}


def check_counts(case: str, found: dict[str, dict[str, Any]], lengths: Sequence[int]) -> None:
    """Checks that both sides have as many parameters and gave answers of these lengths.

    Raises:
        FlanError: they do not; then the comparison would say nothing.
    """
    counts = {name: facts["num_params"] for name, facts in found.items()}
    if len(set(counts.values())) > 1:
        raise errors.FlanError(f"{case}: the sides differ in parameters: {counts}")
    for name, facts in found.items():
        lengths_found = [len(tokens) for tokens in facts["tokens"]]
        if lengths_found != list(lengths):
            raise errors.FlanError(
                f"{case}: {name} gave {len(lengths_found)} answers of {sum(lengths_found):,} "
                f"tokens, not {len(lengths)} of {sum(lengths):,}, or of other lengths each"
            )


def share_equal(case: str, mine: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """Returns the share of tokens that are the same on both sides.

    Raises:
        FlanError: too many answers begin differently.
    """
    same = [a == b for a, b in zip(mine, theirs, strict=True)]
    if (equal := np.mean([row[:NUM_FIRST].all() for row in same])) < LEAST_EQUAL:
        raise errors.FlanError(
            f"{case}: only {equal:.0%} of the answers begin alike on both sides, with the same "
            f"weights and inputs; {LEAST_EQUAL:.0%} are needed"
        )
    return float(np.concatenate(same).mean())


def check_scores(case: str, mine: Sequence[float], theirs: Sequence[float]) -> None:
    """Checks that the best beams of both sides score alike, whichever tokens they are of.

    Raises:
        FlanError: they do not.
    """
    apart = np.abs(np.subtract(mine, theirs) / theirs)
    if apart.max() > MOST_APART:
        worst = int(apart.argmax())
        raise errors.FlanError(
            f"{case}: the best beam of prompt {worst} scores {mine[worst]:.4f} on our side and "
            f"{theirs[worst]:.4f} on the peer's, {apart[worst]:.1%} apart; at most "
            f"{MOST_APART:.1%} is rounding"
        )


def compared(case: str, found: dict[str, dict[str, Any]], shape: Shape, way: Way) -> float | None:
    """Returns the share of equal tokens, None of samples, once both sides are alike otherwise."""
    check_counts(case, found, [shape.num_tokens] * (shape.num_prompts * way.num_samples))
    if way.temperature:
        return None
    if way.num_beams > 1:
        check_scores(case, *(found[side]["scores"] for side in ("ours", "peer")))
    return share_equal(case, *(found[side]["tokens"] for side in ("ours", "peer")))


def plain(config: Any) -> argparse.Namespace:
    """Returns a configuration's fields alone: the peer unpickles them without importing jax."""
    return argparse.Namespace(**dataclasses.asdict(config))


def measure_decoding(
    models: Sequence[str], ways: Sequence[str], num_rounds: int, quick: bool
) -> Table:
    """Returns decoded tokens per second of both sides."""
    table = Table(
        "Decoding to a fixed length: ours (flan_jax) against the peer (transformers + torch, "
        "eager), float32",
        {
            "model": "", "parameters": ",d", "prompts": "d", "tokens": "", "how": "",
            "ours tok/s": ",.1f", "peer tok/s": ",.1f", "ratio": ".2f", "ours s/call": ".2f",
            "peer s/call": ".2f", "ours compile s": ".1f", "equal tokens": ".1%",
            "ours peak MB": ",.0f", "peer peak MB": ",.0f",
        },
        "tokens: of a prompt, and of an answer. tok/s: tokens of all answers, of the best beam "
        "alone; a call encodes its prompts too.\nratio: ours / peer in tok/s, above 1 ours is "
        f"faster. median (min-max) over {num_rounds} alternating rounds of at least {ROUND_S:g} s, "
        "warm.\nsampling: at temperature 0.7 among the 40 likeliest; samples_40: so many of each "
        "prompt, of which the peer takes four at a time.\n"
        "compile: what the first call takes more than the second; the peer compiles nothing.\n"
        "equal tokens: of both sides, from the same weights and prompts; a row differs from where "
        "rounding turns a near tie.\n"
        "peak MB: resident memory of the process, imports and compilation included.",
    )  # fmt: skip
    for name in models:
        config = CASES[name].config()
        shape = QUICK_SHAPE if quick else SHAPES[name]
        for how in ways:
            way = WAYS[how]
            label = f"{name}, {how}"
            measuring.step(f"decode: {label}")
            sides = {
                "ours": (ours, (config, shape, way)),
                "peer": (peer, (plain(config), shape, way)),
            }
            with measuring.contenders(sides) as both:
                found = {side: contender.facts for side, contender in both.items()}
                equal = compared(label, found, shape, way)
                runs = {side: contender.round for side, contender in both.items()}
                measured = measuring.alternate(runs, num_rounds)
            seconds = {side: [r["call_s"] for r in measured[side]] for side in sides}
            num_tokens = shape.num_prompts * way.num_samples * shape.num_tokens
            rates = {side: [num_tokens / s for s in seconds[side]] for side in sides}
            table.add(
                name,
                found["ours"]["num_params"],
                shape.num_prompts,
                f"{shape.input_length} + {shape.num_tokens}",
                how,
                *(Spread.of(rates[side]) for side in sides),
                Spread.ratio(rates["ours"], rates["peer"]),
                *(Spread.of(seconds[side]) for side in sides),
                found["ours"]["more_at_first_s"],
                equal,
                *(measured[side][-1]["peak_rss_mb"] for side in sides),
            )
    return table


def measure(args: argparse.Namespace) -> list[Table]:
    """Returns the table."""
    measuring.require("torch", "transformers")
    models = args.models[:1] if args.quick else args.models
    return [measure_decoding(models, args.ways, args.rounds, args.quick)]


def main() -> int:
    """Runs the benchmark."""
    parser = measuring.make_parser(__doc__, num_rounds=3)
    for name, known in (("models", SHAPES), ("ways", WAYS)):
        parser.add_argument(
            f"--{name}", choices=known, default=list(known), nargs="+", metavar="NAME",
            help=f"of {', '.join(known)}",
        )  # fmt: skip
    return measuring.run(
        __file__, parser, measure, libraries=("jax", "flax", "torch", "transformers", "numpy")
    )


if __name__ == "__main__":
    sys.exit(main())
