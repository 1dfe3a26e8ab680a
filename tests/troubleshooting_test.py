# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Each line that the troubleshooting page goes by is one that the code prints."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
# The first cell of a table's row, if it is code.
LINES = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)


def texts():
    """Returns every text of the code, with … for what is filled in."""
    folders = (ROOT / "flan_jax" / name for name in ("core", "parallel", "training"))
    for path in (path for folder in folders for path in folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                yield re.sub("…+", "…", "".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@pytest.fixture(scope="module")
def known():
    return "\n".join(texts())


def test_the_page_has_lines():
    assert len(LINES) > 20


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_printed(line, known):
    # What is filled in may hold more than one value, or end the text.
    assert line.removeprefix("… ").removesuffix("…").strip() in known
