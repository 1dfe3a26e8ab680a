# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Memory of a training step as compiled: remat policies, and the logits whole or in chunks.

Nothing runs: the step is compiled from shapes alone, for one CPU, and XLA says how many bytes it
will allocate beside the state and the batch (`temporaries`). The state is updated in place. Layers
are scanned, activations bfloat16, dropout 0.05, the optimizer Adafactor. The rows are those of one
of 16 devices at the paper's batch of 64. The peer is our own step with nothing computed again.
"""

import argparse
import dataclasses
import sys
import time
from typing import Any

import measuring
from measuring import Spread, Table

CHUNK = 128
# What is computed again: the remat policy, and whether the logits are.
VARIANTS = (("none", None), ("minimal", None), ("minimal", CHUNK), ("full", CHUNK))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """What is compiled."""

    name: str
    preset: str
    rows: int
    input_length: int
    target_length: int
    overrides: tuple[tuple[str, Any], ...] = ()


CASES = {
    "t5_1_1_small": Case(
        name="T5 1.1 Small", preset="t5_1_1_small", rows=4, input_length=2048, target_length=512
    ),
    "t5_1_1_base": Case(
        name="T5 1.1 Base", preset="t5_1_1_base", rows=4, input_length=2048, target_length=512
    ),
    # Targets as long as inputs, and eight times the vocabulary: here the logits are what is large.
    "mt5_small": Case(
        name="mT5 Small", preset="t5_1_1_small", rows=4, input_length=512, target_length=512,
        overrides=(("vocab_size", 250112),),
    ),
}  # fmt: skip
DEFAULT = ("t5_1_1_small", "mt5_small")
QUICK = Case(name="tiny", preset="tiny", rows=2, input_length=128, target_length=256,
             overrides=(("vocab_size", 4224),))  # fmt: skip


def compiled_memory(case: Case, remat_policy: str, chunk_length: int | None) -> dict[str, float]:
    """Returns bytes of the state, of what is updated in place and of temporaries, and seconds."""
    import jax
    import numpy as np

    from flan_jax.models.presets import t5_config
    from flan_jax.models.t5 import T5
    from flan_jax.parallel.mesh import MeshShape, make_mesh
    from flan_jax.parallel.rules import preset
    from flan_jax.training.losses import TOKENS, LossConfig
    from flan_jax.training.optimizers import Adafactor
    from flan_jax.training.schedules import Constant
    from flan_jax.training.state import abstract_state
    from flan_jax.training.step import StepSpec, jitted_train_step

    config = t5_config(
        case.preset, dtype="bfloat16", dropout_rate=0.05, scan_layers=True,
        remat_policy=remat_policy, **dict(case.overrides),
    )  # fmt: skip
    spec = StepSpec(
        model=T5(config, rules=preset("replicated")),
        optimizer=Adafactor(learning_rate=Constant(learning_rate=1e-3)),
        loss=LossConfig(loss_normalizing_factor=TOKENS, chunk_length=chunk_length),
    )
    lengths = dict(encoder=case.input_length, decoder=case.target_length)
    features = [(f"{side}_{what}", n) for side, n in lengths.items()
                for what in ("input_tokens", "segment_ids")]  # fmt: skip
    features.append(("decoder_target_tokens", case.target_length))
    batch = {name: jax.ShapeDtypeStruct((case.rows, n), np.int32) for name, n in features}
    mesh = make_mesh(MeshShape(), jax.devices()[:1])
    state = abstract_state(spec.model, spec.optimizer, mesh)
    start = time.perf_counter()
    with jax.set_mesh(mesh):
        lowered = jitted_train_step(spec, mesh).lower(state, batch, jax.random.key(0))
        memory = lowered.compile().memory_analysis()
    return {
        "state": sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)),
        "in_place": memory.alias_size_in_bytes,
        "temporaries": memory.temp_size_in_bytes,
        "compile_s": time.perf_counter() - start,
    }


def measure(args: argparse.Namespace) -> list[Table]:
    """Returns the table."""
    cases = [QUICK] if args.quick else [CASES[name] for name in args.models]
    table = Table(
        "Memory of a compiled train step: layers and logits computed again or kept",
        {
            "model": "", "batch": "", "remat": "", "logits": "", "state MB": ",.0f",
            "in place MB": ",.0f", "temporaries MB": ",.0f", "ratio": ".2f",
        },
        "ratio: temporaries / those of the same model with nothing computed again, below 1 less.\n"
        f"logits in chunks: of {CHUNK} positions of each row at a time. Compiled, not run.",
    )  # fmt: skip
    for case in cases:
        first = None
        for remat_policy, chunk_length in VARIANTS:
            measuring.step(f"step memory: {case.name}, remat {remat_policy}, chunk {chunk_length}")
            found = compiled_memory(case, remat_policy, chunk_length)
            first = first or found["temporaries"]
            table.add(
                case.name,
                f"{case.rows} x ({case.input_length} + {case.target_length})",
                remat_policy,
                "in chunks" if chunk_length else "whole",
                *(found[what] / 1e6 for what in ("state", "in_place", "temporaries")),
                Spread.of([found["temporaries"] / first]),
            )
    return [table]


def main() -> int:
    """Runs the benchmark."""
    parser = measuring.make_parser(__doc__, num_rounds=1)
    parser.add_argument(
        "--models", choices=CASES, default=list(DEFAULT), nargs="+", metavar="NAME",
        help=f"of {', '.join(CASES)} (default: {' '.join(DEFAULT)})",
    )  # fmt: skip
    return measuring.run(__file__, parser, measure, libraries=("jax", "flax", "optax"))


if __name__ == "__main__":
    sys.exit(main())
