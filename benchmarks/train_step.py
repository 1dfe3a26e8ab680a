# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training steps: ours, compiled, against transformers' T5 with torch, at the same shapes.

Both sides make whole updates in float32 (forward, loss, backward, optimizer) of a T5 1.1 with the
same number of parameters, on the same random tokens, no padding, no dropout, the same cores. Ours
also computes the z-loss, accuracy, loss per mixture member and three norms, as it does in every
run. The peer is eager torch with its fastest AdamW (the fused one), or transformers' Adafactor.

A second table: how the time to compile grows with depth, layers scanned and not.
"""

import argparse
import dataclasses
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import measuring
import numpy as np
from measuring import Spread, Table

LEARNING_RATE = 1e-3
OPTIMIZERS = ("adamw", "adafactor")
DEPTHS = (2, 4, 8, 16)
ROUND_S = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """What both sides train."""

    preset: str
    vocab_size: int
    batch_size: int
    input_length: int
    target_length: int
    optimizer: str = "adamw"
    scan_layers: bool = False
    num_layers: int | None = None  # of each stack; None: the preset's

    def config(self):
        """Returns the model's configuration."""
        from flan_jax.models.presets import t5_config

        stacks = ("num_encoder_layers", "num_decoder_layers") if self.num_layers else ()
        return t5_config(
            self.preset,
            vocab_size=self.vocab_size,
            dtype="float32",
            dropout_rate=0.0,
            scan_layers=self.scan_layers,
            **dict.fromkeys(stacks, self.num_layers),
        )

    def tokens(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns inputs and targets `[batch, length]` int32, none of them padding."""
        rng = np.random.default_rng(0)
        shapes = [(self.batch_size, n) for n in (self.input_length, self.target_length)]
        inputs, targets = (rng.integers(2, self.vocab_size, shape, np.int32) for shape in shapes)
        return inputs, targets

    @property
    def tokens_per_step(self) -> int:
        """Input and target tokens of a batch."""
        return self.batch_size * (self.input_length + self.target_length)


# The shapes of the recipes `mini` and `niv2_mini`, and the smallest T5 1.1 that is published.
CASES = {
    "tiny": Case(
        preset="tiny", vocab_size=896, batch_size=8, input_length=128, target_length=32
    ),
    "mini": Case(
        preset="mini", vocab_size=4224, batch_size=8, input_length=512, target_length=128
    ),
    "t5_1_1_small": Case(
        preset="t5_1_1_small", vocab_size=32128, batch_size=8, input_length=128, target_length=32,
        scan_layers=True,
    ),
}  # fmt: skip


def ours(case: Case) -> Iterator[dict[str, Any]]:
    """Trains with `flan_jax.training.step.jitted_train_step`."""
    import jax

    from flan_jax.training.state import num_params

    mesh, step, state, batch, key = _compiled(case)
    facts = {"num_params": num_params(state.params)}
    kept = {"state": state}

    def update() -> None:
        kept["state"], kept["metrics"] = step(kept["state"], batch, key)

    with jax.set_mesh(mesh):
        yield from _rounds(update, lambda: jax.block_until_ready(kept["metrics"]), facts)


def created(case: Case):
    """Returns mesh, spec, state and key of our side."""
    import jax

    from flan_jax.models.t5 import T5
    from flan_jax.parallel.mesh import MeshShape, make_mesh
    from flan_jax.parallel.rules import preset
    from flan_jax.training.losses import TOKENS, LossConfig
    from flan_jax.training.optimizers import Adafactor, AdamW
    from flan_jax.training.schedules import Constant
    from flan_jax.training.state import create_state
    from flan_jax.training.step import StepSpec

    optimizer = {"adamw": AdamW, "adafactor": Adafactor}[case.optimizer]
    spec = StepSpec(
        model=T5(case.config(), rules=preset("replicated")),
        optimizer=optimizer(learning_rate=Constant(learning_rate=LEARNING_RATE)),
        loss=LossConfig(loss_normalizing_factor=TOKENS),
    )
    mesh, key = make_mesh(MeshShape(), jax.devices()[:1]), jax.random.key(0)
    with jax.set_mesh(mesh):
        return mesh, spec, create_state(spec.model, spec.optimizer, key, mesh), key


def _compiled(case: Case, timings: dict[str, float] | None = None):
    """Returns mesh, compiled step, state, batch and key of our side."""
    import jax

    from flan_jax.parallel import arrays
    from flan_jax.training.step import jitted_train_step

    mesh, spec, state, key = created(case)
    inputs, targets = case.tokens()
    rows = {
        "encoder_input_tokens": inputs,
        "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
        "decoder_target_tokens": targets,
    }
    with jax.set_mesh(mesh):
        batch = arrays.global_batch(rows, spec.model.rules, mesh)
        start = time.perf_counter()
        step = jitted_train_step(spec, mesh).lower(state, batch, key).compile()
        if timings is not None:
            timings["compile_s"] = time.perf_counter() - start
    return mesh, step, state, batch, key


def peer(case: Case, config: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Trains transformers' T5 with torch; `config` has the model's shapes."""
    import torch

    model = torch_t5(config).train()
    optimizer = torch_optimizer(model, case.optimizer)
    inputs, targets = (torch.tensor(tokens, dtype=torch.long) for tokens in case.tokens())

    def update() -> None:
        model(input_ids=inputs, labels=targets).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    facts = {"num_params": sum(p.numel() for p in model.parameters())}
    yield from _rounds(update, lambda: None, facts)


def torch_t5(config):
    """Returns transformers' T5 with the shapes of our configuration, on all cores."""
    import torch
    import transformers

    torch.set_num_threads(measuring.num_cores())
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=config.vocab_size, d_model=config.emb_dim, d_kv=config.head_dim,
            d_ff=config.mlp_dim, num_layers=config.num_encoder_layers,
            num_decoder_layers=config.num_decoder_layers, num_heads=config.num_heads,
            feed_forward_proj="gated-gelu", dropout_rate=config.dropout_rate,
            tie_word_embeddings=False, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
        )
    )  # fmt: skip
    # transformers 5 shares one tensor even when told not to; T5 1.1 has an output matrix.
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    return model


def torch_optimizer(model, name: str):
    """Returns torch's fastest AdamW, or transformers' Adafactor."""
    import torch
    from transformers.optimization import Adafactor

    parameters = list(model.parameters())
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    return Adafactor(parameters, lr=LEARNING_RATE, scale_parameter=True, relative_step=False)


def _rounds(
    update: Callable[[], None], finish: Callable[[], None], facts: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Warms up, yields `facts`, then the seconds a step takes, round after round."""
    for _ in range(2):
        start = time.perf_counter()
        update()
        finish()
        step_s = time.perf_counter() - start
    yield facts
    num_steps = max(1, math.ceil(ROUND_S / step_s))
    while True:
        start = time.perf_counter()
        for _ in range(num_steps):
            update()
        finish()
        yield {"step_s": (time.perf_counter() - start) / num_steps}


def measure_steps(cases: list[Case], num_rounds: int) -> Table:
    """Returns tokens per second of both sides."""
    table = Table(
        "Train step: ours (flan_jax) against the peer (transformers + torch, eager), float32",
        {
            "model": "", "parameters": ",d", "batch": "", "optimizer": "", "ours tok/s": ",.0f",
            "peer tok/s": ",.0f", "ratio": ".2f", "ours ms": ",.0f", "peer ms": ",.0f",
            "ours peak MB": ",.0f", "peer peak MB": ",.0f",
        },
        "ratio: ours / peer in tokens/s, above 1 ours is faster. median (min-max) over "
        f"{num_rounds} alternating rounds of at least {ROUND_S:g} s.\n"
        "peak MB: resident memory of the process, imports and compilation included.",
    )  # fmt: skip
    for case in cases:
        measuring.step(f"train step: {case.preset} with {case.optimizer}")
        # Not as our class: the peer's process would import jax for it.
        config = argparse.Namespace(**dataclasses.asdict(case.config()))
        sides = {"ours": (ours, (case,)), "peer": (peer, (case, config))}
        with measuring.contenders(sides) as both:
            counts = {name: side.facts["num_params"] for name, side in both.items()}
            if len(set(counts.values())) > 1:
                raise ValueError(f"{case.preset}: the sides differ in parameters: {counts}")
            rounds = measuring.alternate({n: side.round for n, side in both.items()}, num_rounds)
        seconds = {name: [r["step_s"] for r in found] for name, found in rounds.items()}
        rates = {n: [case.tokens_per_step / s for s in found] for n, found in seconds.items()}
        table.add(
            case.preset + (", scanned" if case.scan_layers else ""),
            counts["ours"],
            f"{case.batch_size} x ({case.input_length} + {case.target_length})",
            case.optimizer,
            *(Spread.of(rates[name]) for name in sides),
            Spread.ratio(rates["ours"], rates["peer"]),
            *(Spread.of([s * 1e3 for s in seconds[name]]) for name in sides),
            *(rounds[name][-1]["peak_rss_mb"] for name in sides),
        )
    return table


def compilation(case: Case, depths: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Compiles our step at each depth and yields the seconds, all depths a round."""
    import jax

    _compiled(dataclasses.replace(case, num_layers=1))  # what is traced and loaded once only
    yield {}
    while True:
        found = {}
        for depth in depths:
            jax.clear_caches()
            timings: dict[str, float] = {}
            _compiled(dataclasses.replace(case, num_layers=depth), timings)
            found[f"{depth}"] = timings["compile_s"]
        yield found


def measure_compilation(case: Case, depths: tuple[int, ...], num_rounds: int) -> Table:
    """Returns the seconds of compilation by depth, layers scanned and not."""
    table = Table(
        f"Compile time of our train step by depth: {case.preset} width, {case.optimizer}",
        {"layers a stack": "d", "scanned s": ".1f", "one by one s": ".1f", "ratio": ".2f"},
        "tracing, lowering and compiling together. ratio: scanned / one by one, below 1 scanned is "
        f"faster.\nmedian (min-max) over {num_rounds} alternating rounds.",
    )
    measuring.step(f"compile time at {', '.join(map(str, depths))} layers")
    variants = {scan: dataclasses.replace(case, scan_layers=scan) for scan in (True, False)}
    sides = {str(scan): (compilation, (v, depths)) for scan, v in variants.items()}
    with measuring.contenders(sides) as both:
        rounds = measuring.alternate({n: side.round for n, side in both.items()}, num_rounds)
    for depth in depths:
        scanned, looped = ([r[f"{depth}"] for r in rounds[n]] for n in sides)
        table.add(depth, Spread.of(scanned), Spread.of(looped), Spread.ratio(scanned, looped))
    return table


def measure(args: argparse.Namespace) -> list[Table]:
    """Returns the tables that were asked for."""
    measuring.require("torch", "transformers")
    models, optimizers, depths = args.models, args.optimizers, DEPTHS
    if args.quick:
        models, optimizers, depths = models[:1], optimizers[:1], DEPTHS[:2]
    cases = [dataclasses.replace(CASES[m], optimizer=o) for m in models for o in optimizers]
    tables = [measure_steps(cases, args.rounds)]
    if not args.no_compile:
        # Compiling takes long and varies little: fewer rounds.
        tables.append(measure_compilation(CASES["tiny"], depths, min(args.rounds, 2)))
    return tables


def main() -> int:
    """Runs the benchmark."""
    parser = measuring.make_parser(__doc__, num_rounds=5)
    choices = {"nargs": "+", "metavar": "NAME"}
    parser.add_argument(
        "--models", choices=CASES, default=list(CASES), help=f"of {', '.join(CASES)}", **choices
    )
    parser.add_argument(
        "--optimizers", choices=OPTIMIZERS, default=list(OPTIMIZERS),
        help=f"of {', '.join(OPTIMIZERS)}", **choices,
    )  # fmt: skip
    parser.add_argument("--no_compile", action="store_true", help="leave out the second table")
    return measuring.run(
        __file__,
        parser,
        measure,
        libraries=("jax", "flax", "optax", "torch", "transformers", "numpy"),
    )


if __name__ == "__main__":
    sys.exit(main())
