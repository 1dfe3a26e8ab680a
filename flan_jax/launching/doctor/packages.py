# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Is what is installed what this package was made for? Read from metadata: nothing is imported."""

import ast
import dataclasses
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from flan_jax.launching.doctor.findings import Finding, ok, problem, warning

OURS = "flan_jax"
_CORE = "INSTALL_REQUIRES"  # of setup.py
# What jax must be installed with in one go; a release of jax names the releases of these.
_WITH_JAX = ("jaxlib", "libtpu")
_JAX_CUDA = "jax-cuda"
_JAX_EXTRAS = ("tpu", "cuda12", "cuda13")


@dataclasses.dataclass(frozen=True)
class Packages:
    """What is installed."""

    version: Callable[[str], str | None]  # of a package; None if it is not installed
    requires: Callable[[str], Sequence[str]]  # what a package asks for, extras included


def installed() -> Packages:
    """Returns what is installed for this Python."""

    def version(name: str) -> str | None:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    def requires(name: str) -> Sequence[str]:
        try:
            return metadata.requires(name) or ()
        except metadata.PackageNotFoundError:
            return ()

    return Packages(version, requires)


def python(version: str, needed: str) -> Iterator[Finding]:
    """Compares Python with what setup.py asks for, such as `>=3.11`."""
    if needed and not SpecifierSet(needed).contains(version, prereleases=True):
        yield problem(
            f"Python {version}, but {OURS} needs {needed}", "make an environment of a newer Python"
        )
    else:
        yield ok(f"Python {version}" + (f" ({needed})" if needed else ""))


def requirements(requires: Sequence[str], packages: Packages) -> Iterator[Finding]:
    """Compares what is installed with what is asked for: by us, by our extras, by those in turn.

    Args:
        requires: what we ask for, as in a package's metadata.
        packages: what is installed.
    """
    ours = [Requirement(text) for text in requires]
    core = [each for each in ours if _applies(each, "")]
    extras = _by_extra(ours)
    for each in core:
        if wrong := _wrong(each, packages):
            yield problem(f"{each.name} {wrong}", _install(each))
    present, absent = [], []
    for name, wanted in extras.items():
        needed = [part for each in wanted for part in (each, *_parts(each, packages))]
        if any(packages.version(part.name) is None for part in needed):
            absent.append(name)
            continue
        present.append(name)
        for each in wanted:
            if wrong := _wrong(each, packages):
                yield warning(f"extra {name!r}: {each.name} {wrong}", _install(each))
    roots = [*core, *(each for name in present for each in extras[name])]
    yield from _in_turn(roots, packages)
    yield ok(
        f"{len(core)} requirements looked at; extras installed: {', '.join(present) or 'none'}; "
        f"not: {', '.join(absent) or 'none'}"
    )


def with_jax(packages: Packages) -> Iterator[Finding]:
    """Compares jaxlib, libtpu and the CUDA plugins with what this release of jax goes with."""
    jax = packages.version("jax")
    if jax is None:
        return  # a requirement: told there
    ours = [
        each for each in map(Requirement, packages.requires("jax")) if _goes_with_jax(each.name)
    ]
    bad: dict[str, Finding] = {}
    for extra in (*_JAX_EXTRAS, ""):
        wanted = [each for each in ours if _applies(each, extra)]
        there = [each for each in wanted if packages.version(each.name) is not None]
        if extra and all(each.name == "jaxlib" for each in there):
            continue  # this extra is not installed
        jax_name = f"jax[{extra}]" if extra else "jax"
        for each in there:
            if wrong := _wrong(each, packages):
                remedy = f"pip install {shlex.quote(f'{jax_name}=={jax}')}"
                told = problem(f"{each.name} {wrong} by {jax_name} {jax}", remedy)
                bad.setdefault(each.name, told)
    yield from bad.values()
    if not bad:
        names = dict.fromkeys(("jaxlib", "libtpu", *(each.name for each in ours)))
        versions = {name: packages.version(name) for name in names}
        shown = [f"{name} {version}" for name, version in versions.items() if version]
        absent = "" if versions["libtpu"] else " (no libtpu: no TPU)"
        yield ok(f"jax {jax}, {', '.join(shown)}{absent}")


def _goes_with_jax(name: str) -> bool:
    return name in _WITH_JAX or name.startswith(_JAX_CUDA)


def copy(
    package: Path, running: str, installed_at: Path | None, version: str | None, is_editable: bool
) -> Iterator[Finding]:
    """Says which copy of us runs, and whether it is the one that pip knows of.

    Args:
        package: the folder of the package that runs.
        running: its version.
        installed_at: the folder that pip installed; None if it did not, or an editable copy.
        version: what pip installed, None if nothing.
        is_editable: whether pip took a checkout as it is.
    """
    if version is None:
        yield warning(
            f"{OURS} {running} of {package} is not installed: pip does not know what it needs",
            f"pip install -e {shlex.quote(str(package.parent))}",
        )
    elif installed_at is not None and installed_at.resolve() != package.resolve():
        yield warning(
            f"{OURS} {running} of {package} runs, not {version} that is installed in "
            f"{installed_at}",
            "run from another folder, or install the one that you mean",
        )
    elif version != running:
        yield warning(
            f"{OURS} {running} of {package} runs; it was version {version} when it was installed",
            f"pip install -e {shlex.quote(str(package.parent))}",
        )
    else:
        yield ok(f"{OURS} {running} of {package}" + (", editable" if is_editable else ""))


def asked_for(setup_file: Path, of_metadata: Sequence[str]) -> tuple[list[str], list[Finding]]:
    """Returns what we ask for now, and a finding if the metadata is of an older setup.py.

    An editable copy keeps the metadata of the day it was installed, while its code moves on.
    """
    core = _core_of(setup_file)
    if core is None:
        return list(of_metadata), []
    extras = [text for text in of_metadata if not _applies(Requirement(text), "")]
    known = {str(Requirement(text)) for text in of_metadata}
    new = [text for text in core if str(Requirement(text)) not in known]
    told = []
    if new and of_metadata:
        names = ", ".join(Requirement(text).name for text in new)
        told.append(
            warning(
                f"{setup_file} asks for more than it did when it was installed: {names}",
                f"pip install -e {shlex.quote(str(setup_file.parent))}",
            )
        )
    return [*core, *extras], told


def installed_copy() -> tuple[Path | None, str | None, bool]:
    """Returns where pip installed us, which version, and whether that is a checkout as it is."""
    try:
        found = metadata.distribution(OURS)
    except metadata.PackageNotFoundError:
        return None, None, False
    url = json.loads(found.read_text("direct_url.json") or "{}")
    is_editable = bool(url.get("dir_info", {}).get("editable"))
    place = None if is_editable else Path(str(found.locate_file(OURS)))
    return place, found.version, is_editable


def _core_of(setup_file: Path) -> list[str] | None:
    """Returns INSTALL_REQUIRES of a setup.py, read and not run; None if there is none."""
    if not setup_file.is_file():
        return None
    values = {
        getattr(node.targets[0], "id", ""): node.value
        for node in ast.parse(setup_file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
    }
    if not isinstance(values.get(_CORE), ast.List):
        return None
    # An entry that extras share is a name.
    entries = (values.get(e.id) if isinstance(e, ast.Name) else e for e in values[_CORE].elts)
    return [entry.value for entry in entries if isinstance(entry, ast.Constant)]


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _by_extra(ours: Iterable[Requirement]) -> dict[str, list[Requirement]]:
    """Returns what each extra asks for beside the rest; the name of an extra is in its marker."""
    found: dict[str, list[Requirement]] = {}
    for each in ours:
        if _applies(each, ""):
            continue
        # As setuptools writes it: extra == "tpu", the last term of a marker.
        name = str(each.marker).rsplit("extra == ", 1)[-1].strip("\"'() ")
        if _applies(each, name):
            found.setdefault(name, []).append(each)
    return found


def _parts(requirement: Requirement, packages: Packages) -> list[Requirement]:
    """Returns what the extras in `jax[tpu]` stand for."""
    return [
        each
        for each in map(Requirement, packages.requires(requirement.name))
        if any(_applies(each, extra) for extra in requirement.extras) and not _applies(each, "")
    ]


def _in_turn(roots: Iterable[Requirement], packages: Packages) -> Iterator[Finding]:
    """Looks at what our requirements ask for, and so on; each disagreement is told once."""
    waiting = [(each.name, frozenset(each.extras)) for each in roots]
    seen, told = set(waiting), set()
    while waiting:
        name, extras = waiting.pop()
        for text in packages.requires(name):
            try:
                each = Requirement(text)
            except InvalidRequirement:  # of an old package; pip took it
                continue
            if not any(_applies(each, extra) for extra in ("", *extras)):
                continue
            wrong = _wrong(each, packages)
            line = f"{each.name} {wrong} by {name} {packages.version(name)}"
            is_told_elsewhere = name == "jax" and _goes_with_jax(each.name)
            if wrong and not is_told_elsewhere and line not in told:
                told.add(line)
                yield warning(line, _install(each))
            next_one = (each.name, frozenset(each.extras))
            if next_one not in seen and packages.version(each.name) is not None:
                seen.add(next_one)
                waiting.append(next_one)


def _wrong(requirement: Requirement, packages: Packages) -> str:
    """Returns in words what is wrong with an installed package; "" if nothing is."""
    found = packages.version(requirement.name)
    wanted = str(requirement.specifier) or "any version"
    if found is None:
        return f"is not installed; {wanted} is needed"
    if requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{found} is {_how(requirement.specifier, found)}; {wanted} is needed"


def _how(wanted: SpecifierSet, found: str) -> str:
    try:
        version = Version(found)
        lower = [
            Version(s.version.rstrip(".*")) for s in wanted if s.operator in (">=", ">", "~=", "==")
        ]
    except InvalidVersion:
        return "no release"
    return "too old" if any(version < bound for bound in lower) else "too new"


def _install(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"pip install {shlex.quote(f'{requirement.name}{extras}{requirement.specifier}')}"
