# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training steps on one accelerator in bfloat16: tokens/s, memory, model-FLOPs utilization (MFU).

T5 1.1 XL (2.8 B parameters) at the paper's lengths, 2048 + 512, with plain and fused attention and
more and less computed again, and a decoder of PaLM's shape with 2.9 B parameters at 2048. Whole
updates with Adafactor, master weights float32, no dropout, random tokens without padding.

    python benchmarks/gpu_step.py --json gpu_step.json

Runs alone from start to end: each case in a process of its own, so that one that does not fit is a
row that says so. MFU counts six operations per weight and position (attention scores left out, so
it is on the low side) against the dense bfloat16 peak of the card.
"""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import measuring
from measuring import Spread, Table

from flan_jax.core import errors

# FLOP/s, dense bfloat16, of the makers' data sheets; by the device's whole name, as cards of one
# chip differ (H100 PCIe and NVL are slower than SXM). Others have no MFU.
PEAKS = {"NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H200": 989e12}
ROUND_STEPS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained."""

    model: str
    rows: int
    lengths: tuple[int, ...]  # inputs and targets; or of the one sequence of a decoder
    remat_policy: str
    attention: str = "plain"

    def build(self):
        """Returns the model."""
        from flan_jax.models.decoder import DecoderLM
        from flan_jax.models.decoder_network import DecoderConfig
        from flan_jax.models.presets import t5_config
        from flan_jax.models.t5 import T5
        from flan_jax.parallel.rules import preset

        shared = dict(
            dtype="bfloat16", scan_layers=True, remat_policy=self.remat_policy,
            attention=self.attention,
        )  # fmt: skip
        if len(self.lengths) == 2:
            shape = dict(vocab_size=512) if self.model == "tiny" else {}
            config = t5_config(self.model, **shared | shape)
            return T5(config, rules=preset("replicated"))
        config = DecoderConfig(**DECODERS[self.model], **shared)
        return DecoderLM(config, rules=preset("replicated"))

    def batch(self, vocab_size: int) -> dict[str, Any]:
        """Returns random tokens, each row one example as long as the row."""
        import numpy as np

        rng, batch = np.random.default_rng(0), {}
        sides = ("encoder", "decoder")[-len(self.lengths) :]
        for side, length in zip(sides, self.lengths, strict=True):
            tokens = rng.integers(2, vocab_size, (self.rows, length + 1), np.int32)
            batch[f"{side}_input_tokens"] = tokens[:, :-1]
            batch[f"{side}_segment_ids"] = np.ones_like(tokens[:, 1:])
            batch[f"{side}_positions"] = np.tile(np.arange(length, dtype=np.int32), (self.rows, 1))
            batch["decoder_target_tokens"] = tokens[:, 1:]
        batch["decoder_loss_weights"] = np.ones_like(batch["decoder_target_tokens"])
        return batch


DECODERS = {
    "palm_3b": dict(
        vocab_size=256000, emb_dim=2560, num_heads=20, head_dim=128, num_layers=24, mlp_dim=10240
    ),
    "tiny_palm": dict(
        vocab_size=512, emb_dim=64, num_heads=4, head_dim=16, num_layers=2, mlp_dim=128
    ),
}
_XL = dict(model="t5_1_1_xl", lengths=(2048, 512))
CASES = (
    Case(**_XL, rows=8, remat_policy="minimal"),
    Case(**_XL, rows=8, remat_policy="minimal", attention="fused"),
    Case(**_XL, rows=16, remat_policy="full"),
    Case(**_XL, rows=16, remat_policy="full", attention="fused"),
    Case(model="palm_3b", lengths=(2048,), rows=8, remat_policy="minimal"),
    Case(model="palm_3b", lengths=(2048,), rows=16, remat_policy="full"),
)
QUICK = (
    Case(model="tiny", lengths=(32, 16), rows=2, remat_policy="minimal", attention="fused"),
    Case(model="tiny_palm", lengths=(32,), rows=2, remat_policy="full"),
)


def trained(case: Case) -> Iterator[dict[str, Any]]:
    """Yields facts about the compiled step, then the seconds a step takes, round after round."""
    import jax

    from flan_jax.parallel import arrays
    from flan_jax.parallel.mesh import MeshShape, make_mesh
    from flan_jax.training.losses import TOKENS, LossConfig
    from flan_jax.training.metrics import step_flops
    from flan_jax.training.optimizers import Adafactor
    from flan_jax.training.schedules import Constant
    from flan_jax.training.state import create_state, num_params
    from flan_jax.training.step import StepSpec, jitted_train_step

    model, device = case.build(), jax.devices()[0]
    spec = StepSpec(
        model=model,
        optimizer=Adafactor(learning_rate=Constant(learning_rate=1e-3)),
        loss=LossConfig(loss_normalizing_factor=TOKENS),
    )
    mesh, key = make_mesh(MeshShape(), [device]), jax.random.key(0)
    positions = [case.rows * length for length in (0, *case.lengths)[-2:]]
    try:
        with jax.set_mesh(mesh):
            state = create_state(model, spec.optimizer, key, mesh)
            batch = arrays.global_batch(case.batch(model.config.vocab_size), model.rules, mesh)
            start = time.perf_counter()
            step = jitted_train_step(spec, mesh).lower(state, batch, key).compile()
            facts = {
                "device": device.device_kind,
                "num_params": num_params(state.params),
                "flops": step_flops(
                    state.params, num_encoder_positions=positions[0],
                    num_decoder_positions=positions[1],
                    tied_output=model.config.logits_via_embedding,
                ),
                "compile_s": time.perf_counter() - start,
            }  # fmt: skip
            state, metrics = step(state, batch, key)
            facts["loss"] = float(metrics["objective"])
            yield facts
            while True:
                start = time.perf_counter()
                for _ in range(ROUND_STEPS):
                    state, metrics = step(state, batch, key)
                jax.block_until_ready(metrics)
                step_s = (time.perf_counter() - start) / ROUND_STEPS
                peak = (device.memory_stats() or {}).get("peak_bytes_in_use")  # None on a CPU
                yield {"step_s": step_s, "peak_bytes": peak}
    except jax.errors.JaxRuntimeError as error:
        raise errors.FlanError(f"{case}: {str(error).splitlines()[0]}") from None


def measure(args: argparse.Namespace) -> list[Table]:
    """Returns the table."""
    table = Table(
        "Train step on one accelerator, bfloat16, Adafactor",
        {
            "model": "", "parameters": ",d", "batch": "", "remat": "", "attention": "",
            "device": "", "loss": ".2f", "tok/s": ",.0f", "ms": ",.0f", "TFLOP/s": ".3g",
            "MFU": ".3f", "peak GB": ".1f", "compile s": ".0f",
        },
        f"median (min-max) over {args.rounds} rounds of {ROUND_STEPS} steps. MFU: attention scores "
        "not counted.\nloss: of the first batch, before its update. Rows without numbers failed.",
    )  # fmt: skip
    for case in QUICK if args.quick else CASES:
        measuring.step(f"accelerator step: {case}")
        rows = f"{case.rows} x ({' + '.join(map(str, case.lengths))})"
        what = (case.remat_policy, case.attention)
        try:
            with measuring.contenders({case.model: (trained, (case,))}) as sides:
                (side,) = sides.values()
                facts, rounds = side.facts, [side.round() for _ in range(args.rounds)]
        except errors.FlanError as error:
            measuring.step(f"failed: {error}")
            table.add(case.model, None, rows, *what, "failed", *[None] * 7)
            continue
        seconds = [found["step_s"] for found in rounds]
        peak = PEAKS.get(facts["device"])
        rates = [facts["flops"] / s for s in seconds]
        peak_bytes = rounds[-1]["peak_bytes"]
        table.add(
            case.model, facts["num_params"], rows, *what, facts["device"], facts["loss"],
            Spread.of([case.rows * sum(case.lengths) / s for s in seconds]),
            Spread.of([s * 1e3 for s in seconds]),
            Spread.of([rate / 1e12 for rate in rates]),
            Spread.of([rate / peak for rate in rates]) if peak else None,
            peak_bytes / 1e9 if peak_bytes else None,
            facts["compile_s"],
        )  # fmt: skip
    return [table]


def main() -> int:
    """Runs the benchmark."""
    # The state and the largest cases take most of a card of 80 GB.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")
    parser = measuring.make_parser(__doc__, num_rounds=4)
    return measuring.run(__file__, parser, measure, libraries=("jax", "flax", "optax"))


if __name__ == "__main__":
    sys.exit(main())
