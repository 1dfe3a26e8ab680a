# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Greedy decoding: ours, compiled, against `generate` of transformers with torch.

Both sides have the same T5 1.1 with the same weights (random ones, float32), encode the same
inputs (no padding) and decode a fixed number of tokens with a key-value cache on the same cores;
nothing ends a sequence early. The peer is eager torch (not compiled), with the attention that
transformers chooses. The tokens of both sides are compared, so that both did the same work.
"""

import argparse
import dataclasses
import math
import re
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import measuring
import numpy as np
from measuring import Spread, Table
from train_step import CASES, torch_t5

from flan_jax.core import errors

BATCH_SIZES = (1, 8, 64)
INPUT_LENGTH = 128
NUM_TOKENS = 32  # as the target length of the recipe `mini`
NO_TOKEN = -1  # as end of sequence: no row ends before its length
# A row must begin alike on both sides. Later, rounding may turn a near tie, and from there on the
# row differs; a few rows of many may do so at once.
NUM_FIRST, LEAST_EQUAL = 4, 0.9
ROUND_S = 1.0

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
class Shape:
    """What both sides decode."""

    batch_size: int
    vocab_size: int
    num_tokens: int

    def inputs(self) -> np.ndarray:
        """Returns inputs `[batch, length]` int32, none of them padding."""
        rng = np.random.default_rng(0)
        return rng.integers(2, self.vocab_size, (self.batch_size, INPUT_LENGTH), np.int32)


def weights(path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a parameter's values, float32: the same for a path wherever they are drawn."""
    noise = np.random.default_rng(zlib.crc32(path.encode())).normal(size=shape)
    if path.endswith("scale"):
        return (1 + 0.3 * noise).astype(np.float32)
    return (noise * shape[-2] ** -0.5).astype(np.float32)


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


def ours(config: Any, shape: Shape) -> Iterator[dict[str, Any]]:
    """Decodes with `flan_jax.inference.decode.greedy`."""
    import jax

    from flan_jax.core.tree import flatten, unflatten
    from flan_jax.inference.decode import greedy
    from flan_jax.models.t5 import T5

    model = T5(config)
    apart = model.other_layout if config.scan_layers else model
    shapes = flatten(jax.eval_shape(apart.init, jax.random.key(0)))
    params = unflatten({path: weights(path, leaf.shape) for path, leaf in shapes.items()})
    params = jax.device_put(model.from_other_layout(params) if config.scan_layers else params)
    inputs = jax.device_put(shape.inputs())

    def decode(params, inputs):
        return greedy(model, params, inputs, max_length=shape.num_tokens, eos_id=NO_TOKEN)

    start = time.perf_counter()
    compiled = jax.jit(decode).lower(params, inputs).compile()
    facts = {
        "compile_s": time.perf_counter() - start,
        "num_params": sum(leaf.size for leaf in jax.tree.leaves(params)),
    }
    yield from _rounds(lambda: np.asarray(compiled(params, inputs)), facts)


def peer(config: Any, shape: Shape) -> Iterator[dict[str, Any]]:
    """Decodes with the `generate` of transformers' T5."""
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
    inputs = torch.tensor(shape.inputs(), dtype=torch.long)
    mask = torch.ones_like(inputs)

    def decode() -> np.ndarray:
        found = model.generate(
            input_ids=inputs, attention_mask=mask, max_new_tokens=shape.num_tokens,
            do_sample=False, num_beams=1, use_cache=True,
        )  # fmt: skip
        return found.numpy()[:, 1:]  # without the start token

    yield from _rounds(decode, {"num_params": sum(p.numel() for p in model.parameters())})


def _rounds(decode: Callable[[], np.ndarray], facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Warms up, yields `facts` with the tokens, then the seconds a call takes, round by round."""
    decode()
    start = time.perf_counter()
    tokens = decode()
    num_calls = max(1, math.ceil(ROUND_S / (time.perf_counter() - start)))
    yield {**facts, "tokens": tokens}
    while True:
        start = time.perf_counter()
        for _ in range(num_calls):
            decode()
        yield {"call_s": (time.perf_counter() - start) / num_calls}


def share_equal(case: str, found: dict[str, dict[str, Any]], shape: Shape) -> float:
    """Returns the share of tokens that are the same on both sides.

    Raises:
        FlanError: the sides differ in parameters, a side decoded fewer tokens than asked, or too
            many rows begin differently; then the comparison would say nothing.
    """
    counts = {name: facts["num_params"] for name, facts in found.items()}
    if len(set(counts.values())) > 1:
        raise errors.FlanError(f"{case}: the sides differ in parameters: {counts}")
    expected = (shape.batch_size, shape.num_tokens)
    for name, facts in found.items():
        if facts["tokens"].shape != expected:
            raise errors.FlanError(
                f"{case}: {name} decoded tokens of shape {facts['tokens'].shape}, not {expected}"
            )
        if not facts["tokens"][:, -1].any():  # a row that ended is filled with padding, 0
            raise errors.FlanError(f"{case}: {name} decoded fewer than {shape.num_tokens} tokens")
    same = found["ours"]["tokens"] == found["peer"]["tokens"]
    if (equal := same[:, :NUM_FIRST].all(axis=1).mean()) < LEAST_EQUAL:
        raise errors.FlanError(
            f"{case}: only {equal:.0%} of the rows begin alike on both sides, with the same "
            f"weights and inputs; {LEAST_EQUAL:.0%} are needed"
        )
    return float(same.mean())


def measure_decoding(
    models: list[str], batch_sizes: tuple[int, ...], num_tokens: int, num_rounds: int
) -> Table:
    """Returns decoded tokens per second of both sides."""
    table = Table(
        f"Greedy decoding of {num_tokens} tokens from {INPUT_LENGTH} input tokens: ours (flan_jax) "
        "against the peer (transformers + torch, eager), float32",
        {
            "model": "", "parameters": ",d", "batch": "d", "ours tok/s": ",.0f",
            "peer tok/s": ",.0f", "ratio": ".2f", "ours ms/step": ".2f", "peer ms/step": ".2f",
            "ours compile s": ".1f", "equal tokens": ".1%", "ours peak MB": ",.0f",
            "peer peak MB": ",.0f",
        },
        "tok/s: decoded tokens of all rows; a call encodes its inputs too. ratio: ours / peer in "
        f"tok/s, above 1 ours is faster.\nmedian (min-max) over {num_rounds} alternating rounds "
        f"of at least {ROUND_S:g} s, warm.\n"
        "ms/step: a call's time over its tokens a row. compile: paid once a shape, before these "
        "times; the peer has none.\n"
        "equal tokens: of both sides, from the same weights and inputs; a row differs from where "
        "rounding turns a near tie.\n"
        "peak MB: resident memory of the process, imports and compilation included.",
    )  # fmt: skip
    for name in models:
        case = CASES[name]
        config = case.config()
        # The peer's process gets plain fields, as unpickling our configuration would import jax.
        plain = argparse.Namespace(**dataclasses.asdict(config))
        for batch_size in batch_sizes:
            label = f"{name}, batch {batch_size}"
            measuring.step(f"decode: {label}")
            shape = Shape(
                batch_size=batch_size, vocab_size=case.vocab_size, num_tokens=num_tokens
            )  # fmt: skip
            sides = {"ours": (ours, (config, shape)), "peer": (peer, (plain, shape))}
            with measuring.contenders(sides) as both:
                found = {side: contender.facts for side, contender in both.items()}
                equal = share_equal(label, found, shape)
                runs = {side: contender.round for side, contender in both.items()}
                rounds = measuring.alternate(runs, num_rounds)
            seconds = {side: [r["call_s"] for r in rounds[side]] for side in sides}
            rates = {s: [batch_size * num_tokens / t for t in seconds[s]] for s in sides}
            table.add(
                name + (", scanned" if config.scan_layers else ""),
                found["ours"]["num_params"],
                batch_size,
                *(Spread.of(rates[side]) for side in sides),
                Spread.ratio(rates["ours"], rates["peer"]),
                *(Spread.of([t * 1e3 / num_tokens for t in seconds[side]]) for side in sides),
                found["ours"]["compile_s"],
                equal,
                *(rounds[side][-1]["peak_rss_mb"] for side in sides),
            )
    return table


def measure(args: argparse.Namespace) -> list[Table]:
    """Returns the table."""
    measuring.require("torch", "transformers")
    if args.quick:
        return [measure_decoding(args.models[:1], BATCH_SIZES[:2], 16, args.rounds)]
    return [measure_decoding(args.models, BATCH_SIZES, NUM_TOKENS, args.rounds)]


def main() -> int:
    """Runs the benchmark."""
    parser = measuring.make_parser(__doc__, num_rounds=3)
    parser.add_argument(
        "--models", choices=CASES, default=list(CASES), nargs="+", metavar="NAME",
        help=f"of {', '.join(CASES)}",
    )  # fmt: skip
    return measuring.run(
        __file__, parser, measure, libraries=("jax", "flax", "torch", "transformers", "numpy")
    )


if __name__ == "__main__":
    sys.exit(main())
