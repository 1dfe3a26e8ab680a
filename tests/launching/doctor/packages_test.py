# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Versions: what is missing, too old or too new is told with the command that mends it."""

from importlib import metadata
from pathlib import Path

import pytest

from flan_jax.launching.doctor import packages
from flan_jax.launching.doctor.packages import Packages

JAX = [
    "jaxlib<=0.10.2,>=0.10.1",
    "numpy>=2.0",
    'jaxlib<=0.10.2,>=0.10.2; extra == "tpu"',
    'libtpu==0.0.42.*; extra == "tpu"',
    'jax-cuda12-plugin<=0.10.2,>=0.10.2; extra == "cuda12"',
]
OURS = [
    "jax<0.11.1,>=0.10",
    "etils[epath]<2,>=1.9",
    'old-python-only>=3; python_version < "3.0"',
    'jax[tpu]<0.11.1,>=0.10; extra == "tpu"',
    'torch<3,>=2.6; extra == "hf"',
    'Safe_Tensors>=0.5; extra == "hf"',
]
FINE = {"jax": "0.10.2", "jaxlib": "0.10.2", "numpy": "2.1", "etils": "1.9.4", "fsspec": "2026.1"}


def here(**changes):
    """Returns packages as in `FINE`, but for these; `_` in a name stands for `-`, None for none."""
    versions = FINE | {name.replace("_", "-"): v for name, v in changes.items()}
    asks = {"jax": JAX, "etils": ['fsspec>=2025; extra == "epath"', 'nobody; extra == "other"']}
    spelled = lambda name: name.lower().replace("_", "-")  # noqa: E731 - as metadata does
    return Packages(lambda name: versions.get(spelled(name)), lambda name: asks.get(name, []))


def bad(findings):
    return [(f.level, f.text, f.remedy) for f in findings if f.level != "ok"]


def test_all_is_well():
    [found] = packages.requirements(OURS, here())
    assert found.text == "2 requirements looked at; extras installed: none; not: tpu, hf"


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("0.9.1", "jax 0.9.1 is too old; <0.11.1,>=0.10 is needed"),
        ("0.11.1", "jax 0.11.1 is too new; <0.11.1,>=0.10 is needed"),
        (None, "jax is not installed; <0.11.1,>=0.10 is needed"),
    ],
)
def test_a_requirement_that_does_not_hold(version, says):
    expected = ("problem", says, "pip install 'jax<0.11.1,>=0.10'")
    assert bad(packages.requirements(OURS, here(jax=version)))[0] == expected


def test_a_pre_release_is_a_release():
    assert not bad(packages.requirements(OURS, here(jax="0.11.0rc1")))


def test_an_extra_counts_once_all_of_it_is_installed():
    half = here(torch="1.0")
    assert not bad(packages.requirements(OURS, half))
    whole = here(torch="1.0", safe_tensors="0.6")
    assert bad(packages.requirements(OURS, whole)) == [
        ("warning", "extra 'hf': torch 1.0 is too old; <3,>=2.6 is needed",
         "pip install 'torch<3,>=2.6'")
    ]  # fmt: skip


def test_what_requirements_ask_for_is_looked_at_too():
    assert bad(packages.requirements(OURS, here(fsspec="2024.1"))) == [
        ("warning", "fsspec 2024.1 is too old; >=2025 is needed by etils 1.9.4",
         "pip install 'fsspec>=2025'")
    ]  # fmt: skip
    [found] = bad(packages.requirements(OURS, here(numpy=None)))
    assert found[1] == "numpy is not installed; >=2.0 is needed by jax 0.10.2"


def test_jax_and_what_goes_with_it():
    [found] = packages.with_jax(here())
    assert found.text == "jax 0.10.2, jaxlib 0.10.2 (no libtpu: no TPU)"
    [found] = packages.with_jax(here(libtpu="0.0.42.1"))
    assert found.text == "jax 0.10.2, jaxlib 0.10.2, libtpu 0.0.42.1"
    for changes, text, remedy in (
        ({"jaxlib": "0.11.0"}, "jaxlib 0.11.0 is too new", "jax==0.10.2"),
        ({"libtpu": "0.0.41"}, "libtpu 0.0.41 is too old; ==0.0.42.*", "'jax[tpu]==0.10.2'"),
        # Without libtpu this jaxlib would do.
        ({"libtpu": "0.0.42", "jaxlib": "0.10.1"}, "jaxlib 0.10.1 is too old", "jax[tpu]"),
        ({"jax_cuda12_plugin": "0.9"}, "jax-cuda12-plugin 0.9 is too old", "'jax[cuda12]==0.10.2'"),
    ):
        [(level, told, command)] = bad(packages.with_jax(here(**changes)))
        assert level == "problem" and text in told and remedy in command
    assert list(packages.with_jax(here(jax=None))) == []


def test_python():
    [found] = packages.python("3.10.4", ">=3.11")
    assert found.level == "problem" and "Python 3.10.4, but flan_jax needs >=3.11" in found.text
    [found] = packages.python("3.14.0", ">=3.11")
    assert found.level == "ok"


def test_which_copy_runs(tmp_path):
    here, there = tmp_path / "checkout" / "flan_jax", tmp_path / "site-packages" / "flan_jax"
    for args, level, text in (
        ((here, "0.1", here, "0.1", False), "ok", f"flan_jax 0.1 of {here}"),
        ((here, "0.1", None, "0.1", True), "ok", "editable"),
        ((here, "0.1", None, None, False), "warning", "is not installed"),
        ((here, "0.2", there, "0.1", False), "warning", f"not 0.1 that is installed in {there}"),
        ((here, "0.2", None, "0.1", True), "warning", "it was version 0.1 when it was installed"),
    ):
        [found] = packages.copy(*args)
        assert found.level == level and text in found.text


def test_metadata_older_than_setup_is_told_and_not_relied_on(tmp_path):
    setup = tmp_path / "setup.py"
    assert packages.asked_for(setup, ["a>=1"]) == (["a>=1"], [])
    setup.write_text('B = "b<3,>=2"\nINSTALL_REQUIRES = ["a>=1", B]\nraise SystemExit("not run")\n')
    extra = 'c; extra == "more"'
    asked_for, told = packages.asked_for(setup, ["a>=1", extra])
    assert asked_for == ["a>=1", "b<3,>=2", extra]
    assert [(f.level, f.remedy) for f in told] == [("warning", f"pip install -e {tmp_path}")]
    assert told[0].text.endswith("when it was installed: b")
    assert packages.asked_for(setup, ["a>=1", "b>=2,<3"])[1] == []


def test_the_environment_of_the_tests_is_read():
    found = packages.installed()
    assert found.version("numpy") == metadata.version("numpy")
    assert found.version("a-package-of-nobody") is None
    assert list(found.requires("a-package-of-nobody")) == []
    root = Path(packages.__file__).resolve().parents[3]
    asked_for, _ = packages.asked_for(root / "setup.py", [])
    assert len(asked_for) > 20 and any(text.startswith("jax>=") for text in asked_for)
