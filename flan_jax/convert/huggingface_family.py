# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What `convert/huggingface.py` needs to know of an architecture, and how to read its config.json.

An architecture is one file with a `Family` in it: `convert/huggingface_t5.py` is one.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flan_jax.core.errors import UsageError, closest
from flan_jax.models.model import Model

Json = Mapping[str, Any]
CONFIG = "config.json"
_REQUIRED = object()


@dataclasses.dataclass(frozen=True)
class Tensor:
    """How one of our parameters is stored there."""

    name: str
    transposed: bool = False
    copies: tuple[str, ...] = ()  # names under which it is written too
    aliases: tuple[str, ...] = ()  # names under which some files have it, besides or instead
    stand_in: str | None = None  # what serves where the tensor is absent, which is said


@dataclasses.dataclass(frozen=True)
class Family:
    """One architecture: its configuration and its names, both ways."""

    model: type[Model]
    # config.json and where it lies -> our model's configuration.
    read_config: Callable[["Fields"], Any]
    # Our model's configuration -> config.json, but for the dtype.
    write_config: Callable[[Any], dict[str, Any]]
    # How each is stored, by our name.
    tensors: Callable[[Any], Mapping[str, Tensor]]
    # Tensors that some files have and no model uses.
    unused: frozenset[str] = frozenset()

    def shapes(self, config: Any) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each parameter by our name, layers apart."""
        return {name: spec.shape for name, spec in self.model(config).param_specs().items()}


class Fields:
    """A config.json, read field by field; a value that cannot be used is one clear line."""

    def __init__(self, json: Json, path: Path):
        self.json, self.path = json, path

    def get(self, name: str, default: Any = _REQUIRED, *, kind: type | tuple = object) -> Any:
        """Returns a field's value of the type `kind`; `default` if it is absent or null."""
        value = self.json.get(name)
        if value is None:
            if default is not _REQUIRED:
                return default
            near = closest(name, self.json.keys() - {name}, 1)
            hint = f"; is it {near[0]!r}?" if near else ""
            raise UsageError(f"{self.path}: no {name!r}{hint}")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.refusal(name, "give one of the right kind")
        return value

    def size(self, name: str, default: Any = _REQUIRED) -> int:
        """Returns a field that counts something: a whole number above 0, and below 2**31."""
        value = self.get(name, default, kind=int)
        if value is not None and not 1 <= value < 2**31:
            raise self.refusal(name, "it must be at least 1, and below 2**31")
        return value

    def expect(self, reason: str, **values: Any) -> None:
        """Checks that each field has the one value that can be used, or is absent."""
        for name, wanted in values.items():
            if self.json.get(name) is not None and self.json[name] != wanted:
                raise self.refusal(name, f"{reason} {wanted!r}")

    def refusal(self, name: str, why: str) -> UsageError:
        """Returns the error for a field's value."""
        return UsageError(f"{self.path}: {name} {self.json.get(name)!r} cannot be used: {why}")
