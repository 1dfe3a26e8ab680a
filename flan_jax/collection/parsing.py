# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From the bytes of a file to rows: lines, JSON objects, Natural-Instructions files.

What is wrong with one row ends nothing: a `Malformed` stands in its place, to be counted. What is
wrong with a file as a whole is a `DataError` that names the file and the fault.

Of a JSON key that is given twice the last value counts, and NaN is a number, as for Python's json.
"""

import codecs
import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flan_jax.core import files
from flan_jax.core.errors import DataError

NOT_UTF8 = "not UTF-8 text"
LONE_SURROGATE = "text with a lone surrogate, which UTF-8 cannot hold"

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclasses.dataclass(frozen=True, slots=True)
class Malformed:
    """Stands in for a row that cannot be read."""

    # File name, and line or instance.
    where: str
    # The same words for every row with this fault: rows are counted by it.
    reason: str


def is_encodable(text: str) -> bool:
    """Whether a text can be written as UTF-8; one with a lone surrogate cannot."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def read_lines(path: str | os.PathLike) -> Iterator[str | Malformed]:
    r"""Yields the lines of a UTF-8 file without their `\n` or `\r\n`.

    Nothing else ends a line. A byte order mark at the start of the file is no text.
    """
    name = Path(path).name
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError:
                yield Malformed(f"{name}:{number}", NOT_UTF8)
                continue
            yield line.removesuffix("\n").removesuffix("\r")


def parse_object(line: str, where: str) -> dict[str, Any] | Malformed:
    """Returns the JSON object that a line holds."""
    if not line.strip():
        return Malformed(where, "empty line")
    try:
        value = json.loads(line)
        if _SURROGATE_ESCAPE.search(line):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return Malformed(where, LONE_SURROGATE)
    except json.JSONDecodeError:
        return Malformed(where, "not valid JSON")
    except RecursionError:
        return Malformed(where, "JSON nested too deeply")
    except ValueError:
        return Malformed(where, "JSON number of too many digits")
    return value if isinstance(value, dict) else Malformed(where, "not a JSON object")


@dataclasses.dataclass(frozen=True)
class InstructionTask:
    """A task file of Natural-Instructions; its instances are not checked yet."""

    definitions: list[str]
    # Dicts of `input`, `output` and `explanation`.
    positives: list[dict[str, str]]
    instances: list[Any]


def read_instruction_task(path: str | os.PathLike) -> InstructionTask:
    """Reads a task file of Natural-Instructions.

    Raises:
        DataError: the file is not JSON, or what all instances share is missing or malformed.
    """
    task = files.read_json(path)
    if not isinstance(task, dict):
        raise DataError(f"{path}: need a JSON object, got {type(task).__name__}")
    definitions = [text for text in _required_texts(task, "Definition", path) if text.strip()]
    if not definitions:
        raise DataError(f"{path}: 'Definition' is empty; a task needs one")
    if not isinstance(task.get("Instances"), list):
        raise DataError(f"{path}: 'Instances' must be a list, got {_found(task, 'Instances')}")
    positives = task.get("Positive Examples", [])
    if not isinstance(positives, list):
        raise DataError(
            f"{path}: 'Positive Examples' must be a list, got {_found(task, 'Positive Examples')}"
        )
    shown = [_positive(p, f"{path}: positive example {i}") for i, p in enumerate(positives)]
    texts = [*definitions, *(text for example in shown for text in example.values())]
    if not all(map(is_encodable, texts)):
        raise DataError(f"{path}: definition or positive example: {LONE_SURROGATE}; mend the text")
    return InstructionTask(definitions, shown, task["Instances"])


def parse_instance(instance: Any, where: str) -> dict[str, Any] | Malformed:
    """Returns `id`, `input` and `outputs` of an instance of a Natural-Instructions task."""
    if not isinstance(instance, dict):
        return Malformed(where, "instance is no JSON object")
    for key in ("input", "output"):
        if key not in instance:
            return Malformed(where, f"no {key!r}")
    text, outputs = instance["input"], _texts(instance["output"])
    if not isinstance(text, str):
        return Malformed(where, "'input' is no text")
    if outputs is None:
        return Malformed(where, "'output' is neither a text nor a list of texts")
    row = {"id": str(instance.get("id", "")), "input": text, "outputs": outputs}
    if not all(map(is_encodable, (row["id"], text, *outputs))):
        return Malformed(where, LONE_SURROGATE)
    return row


def _positive(example: Any, where: str) -> dict[str, str]:
    if not isinstance(example, dict):
        raise DataError(f"{where}: need an object, got {type(example).__name__}")
    outputs = _required_texts(example, "output", where)
    explanation = example.get("explanation") or ""
    if not isinstance(explanation, str):
        raise DataError(f"{where}: 'explanation' must be a text, got {explanation!r:.40}")
    if not isinstance(example.get("input"), str):
        raise DataError(f"{where}: 'input' must be a text, got {_found(example, 'input')}")
    return {
        "input": example["input"],
        "output": outputs[0] if outputs else "",
        "explanation": explanation,
    }


def _texts(value: Any) -> list[str] | None:
    """Returns a text or a list of texts as a list, None for anything else."""
    if isinstance(value, str):
        return [value]
    is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return value if is_list else None


def _required_texts(holder: Mapping[str, Any], key: str, where: str | os.PathLike) -> list[str]:
    texts = _texts(holder.get(key))
    if texts is None:
        raise DataError(
            f"{where}: {key!r} must be a text or a list of texts, got {_found(holder, key)}"
        )
    return texts


def _found(holder: Mapping[str, Any], key: str) -> str:
    if key not in holder:
        return "nothing: the key is missing"
    return f"{holder[key]!r:.60}"
