# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A module that a user names is imported, or one line says which file to correct and how."""

import pytest

from flan_jax.core import imports
from flan_jax.core.errors import DataError, UsageError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_module_is_imported(folder):
    (folder / "imports_test_good.py").write_text("VALUE = 3\n")
    assert imports.import_module("imports_test_good", "a test").VALUE == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "imports_test_goood",
            "no module 'imports_test_goood' (run.gin:3); did you mean 'imports_te",
        ),
        ("flan_jax.core.error", "did you mean 'flan_jax.core.errors'? Else give an importable"),
        (
            "flan_jax.cor.errors",
            "no module 'flan_jax.cor' (run.gin:3); did you mean 'flan_jax.core'",
        ),
        (
            "zzzzzzzzz",
            "no module 'zzzzzzzzz' (run.gin:3); give an importable module, or set PYTHON",
        ),
        (
            "imports_test_good.py",
            "no module 'imports_test_good.py' (run.gin:3); give an importable",
        ),
        ("", "'' (run.gin:3) is no module name; write its packages with dots"),
        (".relative", "'.relative' (run.gin:3) is no module name"),
        ("tasks/mini.py", "'tasks/mini.py' (run.gin:3) is no module name"),
    ],
)
def test_a_module_that_is_not_there(folder, name, message):
    (folder / "imports_test_good.py").write_text("")
    with pytest.raises(UsageError) as error:
        imports.import_module(name, "run.gin:3")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import os\nimport zzzzzz\n",
            "needs the module 'zzzzzz', which is not installed (FILE:2)",
        ),
        ("\n1 / 0\n", "failed at FILE:2: ZeroDivisionError: division by zero; correct that file"),
        ("x = 1\ndef f(:\n", "failed at FILE:2: SyntaxError: invalid syntax; correct that file"),
        (
            "from os import zzz\n",
            "failed at FILE:1: ImportError: cannot import name 'zzz' from 'os'",
        ),
        ("raise KeyError\n", "failed at FILE:1: KeyError: ; correct that file"),
    ],
)
def test_a_module_that_fails_names_its_line(folder, text, message):
    path = folder / "imports_test_failing.py"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        imports.import_module(path.stem, "--module_import")
    assert f"importing {path.stem!r} (--module_import) " in str(error.value)
    assert message.replace("FILE", str(path)) in str(error.value)
    assert "\n" not in str(error.value)


def test_our_own_errors_keep_their_class(folder):
    (folder / "imports_test_data.py").write_text(
        "from flan_jax.core.errors import DataError\nraise DataError('a.tsv:3: no tab')\n"
    )
    with pytest.raises(DataError, match=r"importing 'imports_test_data' \(--x\): a.tsv:3: no tab"):
        imports.import_module("imports_test_data", "--x")
