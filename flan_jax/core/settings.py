# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What decides a result, as JSON: frozen dataclasses described, compared and told apart.

A field that changes no result (a folder, a period, a number of workers) is named in its class's
`MAY_CHANGE` and left out.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

CLASS = "class"  # key of a described dataclass that holds its name
ABSENT = "absent"
_DIGEST = re.compile("[0-9a-f]{64}")


def describe(value: Any) -> Any:
    """Returns JSON values for a value made of dataclasses, mappings, sequences and scalars.

    Example:
        >>> from flan_jax.parallel.mesh import MeshShape
        >>> describe({"mesh": MeshShape(data=2)})
        {'mesh': {'class': 'MeshShape', 'num_slices': 1, 'data': 2, 'model': 1}}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        left_out = getattr(value, "MAY_CHANGE", ())
        fields = [f.name for f in dataclasses.fields(value) if f.name not in left_out]
        return {CLASS: type(value).__name__} | {n: describe(getattr(value, n)) for n in fields}
    if isinstance(value, Mapping):
        return {str(name): describe(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [describe(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return repr(value)


def flattened(description: Any, name: str = "") -> dict[str, str]:
    """Returns a description's values by their full names.

    Example:
        >>> from flan_jax.parallel.mesh import MeshShape
        >>> flattened(describe({"mesh": MeshShape(data=2)}))["mesh.data"]
        '2'
    """
    if not isinstance(description, dict):
        return {name: _shown(description)}
    found: dict[str, str] = {}
    for key, value in description.items():
        found.update(flattened(value, f"{name}.{key}" if name else str(key)))
    return found


def differences(there: Any, here: Any, name: str = "settings") -> Iterator[str]:
    """Yields a line for each difference of two descriptions: `AdamW.beta2 is 0.99 there, 0.9 here`.

    Args:
        there: a description, such as one read from a file.
        here: the description to compare it with.
        name: what the whole is called.
    """
    if isinstance(there, dict) and isinstance(here, dict):
        if there.get(CLASS) == here.get(CLASS):
            prefix = f"{here[CLASS]}." if CLASS in here else ""
            for key in dict.fromkeys([*there, *here]):
                pair = there.get(key, ABSENT), here.get(key, ABSENT)
                yield from differences(*pair, name=f"{prefix}{key}")
            return
    elif there == here:
        return
    yield f"{name} is {_shown(there)} there, {_shown(here)} here"


def _shown(value: Any) -> str:
    if isinstance(value, dict) and CLASS in value:
        return value[CLASS]
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return f"{value[:8]}.."
    return value if value == ABSENT else repr(value)
