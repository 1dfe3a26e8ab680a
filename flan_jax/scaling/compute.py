# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run computed: operations, positions, tokens, device-hours, and what these cost.

Operations are counted twice. Exactly: three times the matrix products of a forward pass over the
model's own shapes, once for it and twice for the gradients, padding counted, nothing for what
rematerialization computes again. And by the rule behind the paper's Table 2, which needs numbers of
parameters alone (`paper.finetuning`). Both are of arithmetic that the result needs; how fast it was
done is in `mfu`.
"""

import dataclasses
import itertools
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from flan_jax.aot import compiling, flops, slices
from flan_jax.core import errors
from flan_jax.data.loader import TrainInput
from flan_jax.data.seqio_loader import SeqioInput
from flan_jax.models.model import Model
from flan_jax.paper import finetuning
from flan_jax.parallel.mesh import MeshShape, make_mesh
from flan_jax.scaling.tables import Table
from flan_jax.training.loop import step_spec
from flan_jax.training.state import num_params
from flan_jax.training.step import eval_step
from flan_jax.training.train_config import TrainConfig

_INPUTS, _TARGETS = "encoder_input_tokens", "decoder_target_tokens"
# How jax calls the devices of a generation, in part (jax.Device.device_kind).
_KINDS = {
    "TPU v2": "v2", "TPU v3": "v3", "TPU v4": "v4", "TPU v5 lite": "v5litepod", "TPU v5p": "v5p",
    "TPU v5": "v5p", "TPU v6 lite": "v6e", "TPU7x": "tpu7x",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunCompute:
    """What one run computed, in JSON values."""

    architecture: str  # 'enc-dec' or 'decoder'
    num_params: int
    num_steps: int
    num_positions: int  # of all steps, padding counted: of inputs and of targets
    # The same without padding, from how full rows were since the run's last start; None: not known.
    num_tokens: int | None = None
    train_flops: float  # exact
    rule_flops: float  # by the rule behind the paper's Table 2
    train_s: float | None = None  # the steps alone, without compilation and evaluation
    num_devices: int | None = None
    device_kind: str = ""

    @property
    def mfu(self) -> float | None:
        """Share of the devices' peak that `train_flops` are; None where that is not known."""
        peak = peak_flops(self.device_kind)
        if peak is None or not self.train_s or not self.num_devices:
            return None
        return self.train_flops / (self.train_s * self.num_devices * peak)

    @property
    def device_hours(self) -> float | None:
        """Hours of the steps times devices."""
        if self.train_s is None or self.num_devices is None:
            return None
        return self.train_s * self.num_devices / 3600

    def as_json(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RunCompute":
        """Returns what `as_json` gave.

        Raises:
            DataError: it is something else.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise errors.DataError(
                f"not what a run computed ({error}); run the same flan-jax sweep again"
            ) from None


def planned(
    model: Model, data: TrainInput | SeqioInput, config: TrainConfig, num_steps: int | None = None
) -> RunCompute:
    """Returns what a run will compute: traced from shapes, nothing is compiled or read.

    Args:
        model: the model.
        data: its rows.
        config: its steps.
        num_steps: if not all of them.
    """
    num_steps = config.train_steps if num_steps is None else num_steps
    config = dataclasses.replace(config, mesh=MeshShape(), num_microbatches=1)
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    spec = step_spec(model, config, batch_size=data.batch_size, mesh=mesh)
    state, batch, _ = compiling.abstract_inputs(spec, data, mesh)
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        forward = jax.make_jaxpr(lambda *given: eval_step(*given, spec=spec))(state.params, batch)
    per_step = sum(batch[name].size for name in (_INPUTS, _TARGETS) if name in batch)
    parameters = num_params(state.params)
    architecture = finetuning.ENC_DEC if _INPUTS in batch else finetuning.DECODER
    return RunCompute(
        architecture=architecture,
        num_params=parameters,
        num_steps=num_steps,
        num_positions=num_steps * per_step,
        train_flops=float(num_steps * 3 * flops.matrix_flops(forward)),
        rule_flops=finetuning.rule_flops(architecture, parameters, num_steps * per_step),
    )


def of_run(
    model: Model,
    data: TrainInput | SeqioInput,
    config: TrainConfig,
    metrics: str | os.PathLike,
    num_steps: int | None = None,
) -> RunCompute:
    """Returns what a run computed that is done.

    Args:
        model: the model.
        data: its rows.
        config: its steps.
        metrics: the run's metrics.jsonl, for its time and fill; it may be absent.
        num_steps: if not all of them.
    """
    plan = planned(model, data, config, num_steps)
    lengths = dict(data.feature_lengths or {})
    seconds, fill = _read_metrics(Path(metrics), config.step_offset)
    tokens = None
    if fill is not None and lengths:
        lengths["rows"] = sum(lengths.values())  # of a decoder: inputs and targets in one
        each = sum(share * lengths[side] for side, share in fill.items())
        tokens = round(plan.num_steps * data.batch_size * each)
    return dataclasses.replace(
        plan,
        num_tokens=tokens,
        train_s=seconds,
        num_devices=jax.device_count(),
        device_kind=jax.devices()[0].device_kind,
    )


def table(runs: Sequence[tuple[str, RunCompute]], price: float | None = None) -> Table | None:
    """Returns what runs computed: a row for each size and number of steps, the mean of its runs.

    Args:
        runs: (size, what it computed) of each.
        price: of a device-hour; with it the cost of all runs of a row stands there.

    Returns:
        None if there are no runs.
    """
    alike: dict[tuple, list[RunCompute]] = {}
    for size, run in runs:
        alike.setdefault((size, run.num_params, run.num_steps), []).append(run)
    if not alike:
        return None
    rows = []
    for (size, _, _), found in alike.items():
        one = found[0]
        hours = [each.device_hours for each in found]
        total = None if None in hours else sum(hours)
        mfus = [each.mfu for each in found if each.mfu is not None]
        tokens = [each.num_tokens for each in found if each.num_tokens is not None]
        cells = [
            size, f"{len(found)}", f"{one.num_params:,}", f"{one.num_steps:,}",
            f"{one.num_positions:,}", f"{round(statistics.fmean(tokens)):,}" if tokens else "",
            f"{one.train_flops:.2e}", f"{one.rule_flops:.2e}",
            "" if total is None else f"{total:.3g}",
            f"{statistics.fmean(mfus):.1%}" if mfus else "",
        ]  # fmt: skip
        if price is not None:
            cells.append("" if total is None else f"{total * price:,.2f}")
        rows.append((tuple(cells), ()))
    names = ("Size", "Runs", "Parameters", "Steps", "Positions", "Tokens", "FLOPs",
             "FLOPs by the rule", "Device-hours, all runs", "MFU")  # fmt: skip
    return Table(
        title="What each run computed in training",
        names=names if price is None else (*names, "Cost, all runs"),
        columns=(),
        rows=tuple(rows),
        note="Positions count padding, tokens do not. FLOPs: three times the matrix products of a "
        "forward pass; by the rule behind the paper's Table 2: 6 (decoder) or 3 (encoder-decoder) "
        "for each parameter and position. Device-hours are those of the steps alone. MFU: FLOPs "
        "against the devices' peak, where that is known.",
    )


def peak_flops(device_kind: str) -> float | None:
    """Returns the dense bfloat16 peak of one jax device, in FLOP/s; None if it is not known.

    Example:
        >>> peak_flops("TPU v4"), peak_flops("TPU v5 lite"), peak_flops("cpu")
        (275000000000000.0, 197000000000000.0, None)
    """
    generation = _KINDS.get(device_kind)
    return None if generation is None else slices.GENERATIONS[generation].peak_flops


def _read_metrics(path: Path, first: int) -> tuple[float | None, dict[str, float] | None]:
    """Returns the seconds of the steps and how full rows were, None where the file lacks them.

    A step that is there twice (a resumed run) counts once, as it was done last. The run began at
    total step `first`.
    """
    if not path.is_file():
        return None, None
    rates: dict[int, float] = {}
    fill = None
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["kind"] == "train" and "steps_per_s" in row:
            rates[row["step"]] = row["steps_per_s"]
        elif row["kind"] == "data":
            fill = row.get("fill", fill)
    if not rates:
        return None, fill
    steps = [first, *sorted(rates)]
    return sum((b - a) / rates[b] for a, b in itertools.pairwise(steps)), fill
