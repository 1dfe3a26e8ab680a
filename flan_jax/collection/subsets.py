# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mixtures made from a mixture: its tasks in some prompt settings only, or those of some names.

They are registered when asked for: a collection of thousands of tasks would otherwise be
registered several times over at every import.
"""

import dataclasses
import fnmatch
import functools
from collections.abc import Sequence

import seqio

from flan_jax.collection import registry, spec
from flan_jax.core.errors import UsageError, unknown_name

# What the end of a mixture's name may be, and the prompt settings that it keeps.
VARIANTS = {
    "zero_shot": (spec.ZS_OPT, spec.ZS_NOOPT),
    "few_shot": (spec.FS_OPT, spec.FS_NOOPT),
    "options": (spec.ZS_OPT, spec.FS_OPT),
    "no_options": (spec.ZS_NOOPT, spec.FS_NOOPT),
}


def ensure(name: str) -> None:
    """Registers the mixture `<mixture>_<variant>` if that is what `name` is and it is not there.

    `flan2022_zero_shot` is `flan2022` with its tasks `t` as `t.zero_shot`: the same, but for the
    settings they are rendered in, at the same rates. Tasks without such a setting are left out,
    and their share goes to the others of their own mixture.

    Raises:
        UsageError: no task of the mixture has a setting of the variant.
    """
    if name in seqio.MixtureRegistry.names() or name in seqio.TaskRegistry.names():
        return
    for variant in sorted(VARIANTS, key=len, reverse=True):
        base = name.removesuffix(f"_{variant}")
        if base != name and base in seqio.MixtureRegistry.names():
            if _add_variant(base, variant) is None:
                raise UsageError(
                    f"mixture {name!r}: no task of {base!r} has a prompt setting out of "
                    f"{', '.join(VARIANTS[variant])}"
                )
            return


def add_by_pattern(name: str, base: str, patterns: Sequence[str]) -> seqio.Mixture:
    """Registers the tasks of a mixture whose names match, at their rates in it.

    Args:
        name: the new mixture's name.
        base: a registered mixture.
        patterns: shell patterns such as `muffin.*` or `niv2.*translation*`; one must match.

    Raises:
        UsageError: there is no such mixture, or a pattern matches none of its tasks.
    """
    if base not in seqio.MixtureRegistry.names():
        raise unknown_name("mixture", base, seqio.MixtureRegistry.names())
    mixture = seqio.MixtureRegistry.get(base)
    names = sorted(task.name for task in mixture.tasks)
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise unknown_name(
                f"mixture {name!r}: pattern {pattern!r} matches no task of {base!r}; task",
                pattern,
                names,
            )
    chosen = [n for n in names if any(fnmatch.fnmatchcase(n, p) for p in patterns)]
    # Looked up once, when first asked for: rates open the data.
    rates = functools.cache(lambda: registry.task_rates(mixture))
    return registry.add_mixture(name, [(n, lambda task: rates()[task.name]) for n in chosen])


def _add_variant(base: str, variant: str) -> str | None:
    """Registers the variant of a mixture with those of its members; None if nothing is left."""
    pairs = []
    for member, rate in seqio.MixtureRegistry.get(base).rate_per_task_name.items():
        if member in seqio.MixtureRegistry.names():
            changed = _add_variant(member, variant)
        else:
            changed = _add_task_variant(member, variant)
        if changed:
            pairs.append((changed, rate))
    if not pairs:
        return None
    name = f"{base}_{variant}"
    registry.add_mixture(name, pairs)
    return name


def _add_task_variant(task: str, variant: str) -> str | None:
    declared = registry.get_spec(task)
    if declared is None:  # a plain SeqIO task has no settings
        return None
    settings = tuple(s for s in declared.settings if s[0] in VARIANTS[variant] and s[1] > 0)
    if not settings:
        return None
    changed = dataclasses.replace(declared, name=f"{task}.{variant}", settings=settings)
    return registry.add_task(changed).name
