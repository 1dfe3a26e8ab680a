# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The mixtures of the Flan 2022 collection, from its four families.

flan2021          the 72 NLP tasks of Muffin
muffin            with dialog and program synthesis: 80 tasks
flan2022          the paper's final mixture (proportions B): Flan-T5, Flan-PaLM
flan2022_scaling  the one of its scaling and ablation studies (proportions A)
flan2022_public   the released collection's rates
scaling_9, scaling_89, scaling_282, scaling_1836
                  the points of the task-scaling study: CoT, then Muffin, T0-SF and
                  Natural-Instructions are added, in proportions A
cot_only, non_cot the CoT ablation's two sides, in proportions A
flan2022_no_cot, flan2022_no_inversion, flan2022_unbalanced
                  flan2022 without CoT, without inverted twins, without proportions: every task
                  weighs what it does in its family

Within a family a task's weight is min(examples, cap); an inverted twin has 0.3 of its task's.
Any of them with `_zero_shot`, `_few_shot`, `_options` or `_no_options` at its end is the same in
those prompt settings alone (`flan_jax.collection.subsets`).
"""

from collections.abc import Sequence

import seqio

from flan_jax.collection import counts, registry
from tasks import cot, niv2, paper  # noqa: F401 - registers their mixtures
from tasks.dialog import tasks as dialog
from tasks.muffin import tasks as muffin
from tasks.program_synthesis import tasks as program_synthesis
from tasks.t0_sf import tasks as t0_sf

# In the order in which the task-scaling study adds them.
STUDY = ("cot", "muffin", "t0_sf", "niv2")


def register() -> None:
    """Registers the mixtures."""
    registry.add_mixture("flan2021", muffin.NAMES)
    registry.add_mixture("t0_sf", t0_sf.register())
    dialog.register()
    program_synthesis.register()
    parts = ("flan2021", "dialog", "program_synthesis")
    registry.add_mixture("muffin", [(name, total_rate) for name in parts])
    registry.add_mixture("flan2022", list(paper.PROPORTIONS_B.items()))
    registry.add_mixture("flan2022_scaling", list(paper.PROPORTIONS_A.items()))
    registry.add_mixture("flan2022_public", list(paper.RATES_PUBLIC.items()))
    for num, point in enumerate(paper.SCALING_POINTS, start=1):
        members = [(name, paper.PROPORTIONS_A[name]) for name in STUDY[:num]]
        registry.add_mixture(f"scaling_{point}", members)
    for name, num in paper.NUM_TASKS.items():
        published = {"paper": num, "released": paper.NUM_RELEASED_TASKS[name]}
        counts.publish(name, published, paper.COUNT_NOTES.get(name, ""))
    registry.add_mixture("cot_only", [("cot", 1.0)])
    registry.add_mixture("non_cot", [(n, paper.PROPORTIONS_A[n]) for n in STUDY if n != "cot"])
    _register_ablations(parts)


def _register_ablations(parts: Sequence[str]) -> None:
    """Registers the ablations of `flan2022` that need mixtures of their own.

    What is left out leaves its share to the rest: CoT's to the other families, a twin's to the
    tasks of its family.

    Args:
        parts: of Muffin.
    """
    shares = paper.PROPORTIONS_B
    registry.add_mixture("flan2022_no_cot", [(n, p) for n, p in shares.items() if n != "cot"])
    registry.add_mixture("flan2022_unbalanced", [(name, total_rate) for name in STUDY])
    for name in ("dialog", "program_synthesis"):
        tasks = [task for task in registry.task_names(name) if not task.endswith(counts.INVERTED)]
        registry.add_mixture(f"{name}_forward", tasks)
    forward = {n: f"{n}_forward" for n in ("cot", "dialog", "program_synthesis", "muffin")}
    registry.add_mixture("muffin_forward", [(forward.get(n, n), total_rate) for n in parts])
    registry.add_mixture(
        "flan2022_no_inversion", [(forward.get(n, n), p) for n, p in shares.items()]
    )


def total_rate(mixture: seqio.Mixture) -> float:
    """Returns the sum of a mixture's rates: as a part of another, its tasks weigh what they do."""
    return sum(registry.task_rates(mixture).values())


register()
