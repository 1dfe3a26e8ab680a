# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What launches print, kept as files under golden/ for people to read and for tests to compare.

FLAN_JAX_WRITE_GOLDENS=1 pytest tests/launching    writes what is printed now; read the diff
"""

import os
import re
import shlex
from pathlib import Path

from flan_jax import main
from flan_jax.commands import compile as compile_command
from flan_jax.core import errors

FOLDER = Path(__file__).parent / "golden"


def check(name: str, text: str) -> None:
    """Asserts that a text is that of golden/NAME."""
    path = FOLDER / name
    if os.environ.get("FLAN_JAX_WRITE_GOLDENS"):
        path.write_text(f"{text}\n")
    assert f"{text}\n" == path.read_text()


def keep_environment(monkeypatch) -> None:
    """Has variables taken back by which a launch tells jax and libtpu that it only compiles."""
    for name in (*os.environ, *compile_command._ENVIRONMENT, "LIBTPU_INIT_ARGS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


def check_page(page: Path, monkeypatch, capsys) -> None:
    """Asserts that the launches of a page print what stands below them."""
    text = page.read_text()
    found = list(re.finditer(r"```sh\n(flan-jax launch [^`]*)```\n\n```text\n(.*?)```", text, re.S))
    assert found
    keep_environment(monkeypatch)
    for shown in reversed(found):
        command = shown[1].replace("\\\n", " ")
        assert main.main(shlex.split(command)[1:]) == errors.EXIT_OK
        printed = capsys.readouterr().out
        if os.environ.get("FLAN_JAX_WRITE_GOLDENS"):
            text = text[: shown.start(2)] + printed + text[shown.end(2) :]
            page.write_text(text)
        else:
            assert printed == shown[2]
