# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which tasks the mini collection has: chosen once from the grammar, the same on any machine.

Training tasks come in an order that any prefix of is balanced: the four families take turns as
`_TURNS` says, and so do the values of each attribute. Held-out combinations use attribute values
that training tasks use, in combinations that no training task of any family has. Held-out skills
use an attribute value that no training task has.
"""

import dataclasses
import functools
import itertools

from flan_jax.core.rng import ExampleKey
from tasks.mini import lexicon
from tasks.mini.skills import Skill

MUFFIN, T0, NIV2, COT = "muffin", "t0_sf", "niv2", "cot"
HELDOUT_COMBINATION, HELDOUT_SKILL = "heldout_combination", "heldout_skill"
HELD_IN = "held_in"

# One chain-of-thought task in eleven and the most of NIv2, in the spirit of the paper's counts
# (80 Muffin, 193 T0-SF, 9 CoT, 1,554 NIv2; Chung et al. 2022, section 2.1).
_TURNS = (
    MUFFIN, T0, NIV2, COT,
    NIV2, MUFFIN, T0, NIV2, MUFFIN, T0, NIV2,
)  # fmt: skip
NUM_TRAIN = 132
NUM_HELDOUT_COMBINATIONS = 24
# Families that held-out combinations are phrased in, in turn.
_HELDOUT_TURNS = (MUFFIN, T0, NIV2)

PAIRS = (
    ("owner", "color"), ("owner", "city"), ("number", "thing"), ("color", "thing"),
    ("color", "city"), ("number", "city"),
)  # fmt: skip
TRAINED_FACTS = (
    *((fact,) for fact in lexicon.VALUES), ("country",), ("kind",), ("more",), *PAIRS,
)  # fmt: skip

_UNSEEN_SKILLS = (
    (MUFFIN, Skill(facts=("owner", "color", "city"))),
    (T0, Skill(facts=("number", "color", "thing"))),
    (NIV2, Skill(facts=("less",))),
    (MUFFIN, Skill(facts=("color",), marks="both")),
    (NIV2, Skill(facts=("city",), marks="both", ending="loud")),
    (T0, Skill(facts=("thing",), marks="thrice")),
    (T0, Skill(facts=("owner",), ending="loud_done")),
    (NIV2, Skill(facts=("number",), opening="here_sure")),
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One task of the collection."""

    family: str
    skill: Skill
    # HELD_IN, HELDOUT_COMBINATION or HELDOUT_SKILL.
    group: str

    @property
    def name(self) -> str:
        """The task's registered name."""
        prefix = "mini_heldout" if self.group != HELD_IN else "mini"
        return f"{prefix}.{self.family}.{self.skill.name}"


@functools.cache
def training() -> tuple[Entry, ...]:
    """Returns the training tasks; a mixture of n tasks takes the first n."""
    held = {entry.skill for entry in heldout_combinations()}
    turns = itertools.islice(itertools.cycle(_TURNS), NUM_TRAIN)
    skills = _balanced("train", NUM_TRAIN, held)
    return tuple(Entry(family, skill, HELD_IN) for family, skill in zip(turns, skills, strict=True))


@functools.cache
def heldout_combinations() -> tuple[Entry, ...]:
    """Returns held-out tasks whose attribute values are all trained on, but never together."""
    plain = {Skill(facts=facts) for facts in TRAINED_FACTS}
    skills = _balanced("heldout", NUM_HELDOUT_COMBINATIONS, plain)
    turns = itertools.cycle(_HELDOUT_TURNS)
    return tuple(Entry(next(turns), skill, HELDOUT_COMBINATION) for skill in skills)


@functools.cache
def heldout_skills() -> tuple[Entry, ...]:
    """Returns held-out tasks that need what no training task asks for."""
    return tuple(Entry(family, skill, HELDOUT_SKILL) for family, skill in _UNSEEN_SKILLS)


def _balanced(name: str, num: int, without: set[Skill]) -> list[Skill]:
    """Returns different skills, each attribute's values used in turn in shuffled rounds."""
    attributes = {
        "facts": TRAINED_FACTS,
        "marks": tuple(lexicon.MARKS),
        "opening": tuple(lexicon.OPENINGS),
        "ending": tuple(lexicon.ENDINGS),
    }
    taken, skills = set(without), []
    queues: dict[str, list] = {attribute: [] for attribute in attributes}
    draw = 0
    while len(skills) < num:
        key = ExampleKey(0, f"mini/{name}", draw)
        draw += 1
        for attribute, values in attributes.items():
            if not queues[attribute]:
                order = key.sample(attribute, len(values), len(values))
                queues[attribute] = [values[i] for i in order]
        # Values whose combination is taken go back to the end of their queues.
        skill = Skill(**{attribute: queue[0] for attribute, queue in queues.items()})
        if skill in taken:
            moved = key.choice("move", tuple(attributes))
            queues[moved] = _another(key, attributes[moved], queues[moved])
            continue
        for queue in queues.values():
            queue.pop(0)
        taken.add(skill)
        skills.append(skill)
    return skills


def _another(key: ExampleKey, values: tuple, queue: list) -> list:
    """Returns the queue with its head put last, or a value drawn for a queue of one."""
    if len(queue) > 1:
        return [*queue[1:], queue[0]]
    return [key.choice("another", values)]
