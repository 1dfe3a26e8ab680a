# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How examples lie in a row: inputs and targets apart, or behind each other.

Everything that makes rows asks here which functions of `data/packing.py` make its kind.
"""

import dataclasses

import numpy as np

from flan_jax.core.errors import unknown_name
from flan_jax.data import packing
from flan_jax.data.packing import Batch, RowPlan

# One row of inputs and one of targets; or, for decoder-only models, one row of both.
LAYOUTS = ("encoder_decoder", "decoder")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowLayout:
    """A layout and the lengths of its rows."""

    # Of `LAYOUTS`. Rows of "decoder" hold max_input + max_target tokens, as SeqIO has it.
    name: str = LAYOUTS[0]
    # Tokens of inputs and of targets a row holds.
    max_input: int
    max_target: int

    def __post_init__(self):
        if self.name not in LAYOUTS:
            raise unknown_name("layout", self.name, LAYOUTS)

    @property
    def is_decoder(self) -> bool:
        """Whether inputs and targets share a row."""
        return self.name == "decoder"

    @property
    def lengths(self) -> dict[str, int]:
        """What `data/packing.py` is told of a row."""
        if self.is_decoder:
            return {"max_length": self.max_input + self.max_target}
        return {"max_input": self.max_input, "max_target": self.max_target}

    def plan(self, inputs: np.ndarray, targets: np.ndarray) -> RowPlan:
        """Returns which of the examples of these lengths go together."""
        plan_rows = packing.plan_decoder_rows if self.is_decoder else packing.plan_rows
        return plan_rows(inputs, targets, **self.lengths)

    def pack(self, **examples: np.ndarray) -> Batch:
        """Returns the features of rows; arguments as of `packing.pack_rows`, without lengths."""
        pack_rows = packing.pack_decoder_rows if self.is_decoder else packing.pack_rows
        return pack_rows(**examples, **self.lengths)

    def empty(self, num_rows: int) -> Batch:
        """Returns rows of padding."""
        empty_rows = packing.empty_decoder_rows if self.is_decoder else packing.empty_rows
        return empty_rows(num_rows, **self.lengths)
