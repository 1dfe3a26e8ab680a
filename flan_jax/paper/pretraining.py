# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What pre-training took before the paper's finetunings (Chung et al. 2022, Table 2)."""

import dataclasses
import functools

from flan_jax.paper import finetuning, reading

# Tokens that a model was pre-trained on. T5: 1M steps of 2,048 rows come to about 1T (derived from
# Table 2). PaLM: 780B; cont-PaLM 500B more; U-PaLM 20k steps of 32 rows of 2,048 more (Tay et al.
# 2022, arXiv:2210.11399).
_TOKENS = {
    "Flan-PaLM": 780e9,
    "Flan-cont-PaLM": 1.28e12,
    "Flan-U-PaLM": 780e9 + 20_000 * 32 * 2_048,
}
_T5_TOKENS = 1e12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretraining:
    """A row of Table 2: a finetuned model and its pre-training, as printed."""

    model: str  # as in Table 5
    params: str
    pretrain_flops: float
    percent: float  # finetuning's FLOPs of pre-training's
    source: str
    note: str

    @property
    def num_tokens(self) -> float:
        """Tokens of pre-training."""
        return _TOKENS.get(self.model, _T5_TOKENS)

    @property
    def finetuning(self) -> finetuning.Finetuning:
        """The finetuning of the same model."""
        return next(
            row
            for row in finetuning.finetunings()
            if (row.model, row.params) == (self.model, self.params)
        )

    @property
    def rule_flops(self) -> float:
        """FLOPs by the rule behind Table 2 (`finetuning.rule_flops`)."""
        tuned = self.finetuning
        return finetuning.rule_flops(tuned.architecture, tuned.flops_params, self.num_tokens)


@functools.cache
def pretrainings() -> tuple[Pretraining, ...]:
    """Returns Table 2: every finetuned model."""
    return tuple(
        Pretraining(
            **{name: row[name] for name in ("model", "params", "source", "note")},
            **{name: float(row[name]) for name in ("pretrain_flops", "percent")},
        )
        for row in reading.rows("table2_pretraining.csv")
    )


# Finetuning PaLM 540B took about so many TPU v4 chips and hours (Chung et al. 2022, section 2.2).
FLAN_PALM_540B_CHIPS = 512
FLAN_PALM_540B_HOURS = 37
