# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the paper finetuned its models, and what that took (Chung et al. 2022, Tables 2 and 22)."""

import dataclasses
import functools

from flan_jax.paper import reading

ENC_DEC, DECODER = "enc-dec", "decoder"
_PER_POSITION = {ENC_DEC: 3, DECODER: 6}


def rule_flops(architecture: str, num_params: float, num_positions: float) -> float:
    """Returns FLOPs of a training by the rule behind Table 2 (derived).

    Six for each parameter and position, two forward and four backward; of an encoder-decoder half
    the parameters see each position.

    Args:
        architecture: ENC_DEC or DECODER.
        num_params: all of them, embeddings too.
        num_positions: of inputs and targets, padding counted.

    Example:
        >>> f"{rule_flops(DECODER, 8e9, 40_000 * 32 * 2560):.1e}"  # Flan-PaLM 8B
        '1.6e+20'
    """
    return _PER_POSITION[architecture] * num_params * num_positions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetuning:
    """How the paper finetuned one model (Table 22), and what that took (Table 2)."""

    model: str  # as in Table 5
    params: str  # as in Table 5: '80M'
    architecture: str  # 'enc-dec' or 'decoder'
    flops_params: float  # parameters that Table 2 counts
    batch_size: int  # packed sequences
    dropout_rate: float
    learning_rate: float
    train_steps: int
    released_step: int | None  # of the public checkpoint, counted from pre-training; T5 only
    flops: float  # as printed
    source: str
    note: str

    # Derived: with it all rows of Table 2 but one are what the rule below gives. The paper states
    # no lengths; the released code has 2,048 + 512.
    SEQUENCE_LENGTH = 2560

    @property
    def num_positions(self) -> int:
        """Positions of all batches, padding counted."""
        return self.train_steps * self.batch_size * self.SEQUENCE_LENGTH

    @property
    def rule_flops(self) -> float:
        """FLOPs by the rule behind Table 2, see `rule_flops`."""
        return rule_flops(self.architecture, self.flops_params, self.num_positions)


@functools.cache
def finetunings() -> tuple[Finetuning, ...]:
    """Returns Table 22: every finetuned model."""
    return tuple(
        Finetuning(
            **{name: row[name] for name in ("model", "params", "architecture", "source", "note")},
            **{name: int(row[name]) for name in ("batch_size", "train_steps")},
            **{
                name: float(row[name])
                for name in ("flops_params", "dropout_rate", "learning_rate", "flops")
            },
            released_step=int(row["released_step"]) if row["released_step"] else None,
        )
        for row in reading.rows("table22_finetuning.csv")
    )
