# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Importing a module that a user named: one line that says what to correct when it fails."""

import importlib
import pkgutil
import sys
import traceback
from types import ModuleType

from flan_jax.core import errors


def import_module(name: str, origin: str) -> ModuleType:
    """Imports a module; `origin` says who asked for it, such as `run.gin:3`.

    Raises:
        UsageError: there is no such module, it needs one that is not installed, or its code fails.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise errors.UsageError(
            f"{name!r} ({origin}) is no module name; write its packages with dots, such as "
            "tasks.mixtures"
        )
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or "?"
        if name != missing and not name.startswith(f"{missing}."):
            raise errors.UsageError(
                f"importing {name!r} ({origin}) needs the module {missing!r}, which is not "
                f"installed ({_place(error)})"
            ) from error
        near = _near(missing)
        hint = f"did you mean {' or '.join(map(repr, near))}? Else " if near else ""
        raise errors.UsageError(
            f"no module {missing!r} ({origin}); {hint}give an importable module, or set PYTHONPATH "
            "to the folder that holds it"
        ) from None
    except errors.FlanError as error:
        raise type(error)(f"importing {name!r} ({origin}): {error}") from error
    except Exception as error:  # the module is the user's: its code may raise anything
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        reason = (text.splitlines() or [""])[0]
        raise errors.UsageError(
            f"importing {name!r} ({origin}) failed at {_place(error)}: {type(error).__name__}: "
            f"{reason}; correct that file"
        ) from error


def _near(name: str) -> list[str]:
    """Returns the modules of the nearest names, of those where `name` was looked for."""
    parent, dot, last = name.rpartition(".")
    path = getattr(sys.modules.get(parent), "__path__", ()) if parent else None
    beside = [module.name for module in pkgutil.iter_modules(path)]
    return [f"{parent}{dot}{near}" for near in errors.closest(last, beside)]


def _place(error: Exception) -> str:
    """Returns the file and line that failed."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}"
