# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which tasks the mini collection has: chosen once from the grammar, the same on any machine.

Training tasks come in an order that any prefix of is balanced: the four families take turns as
`_TURNS` says, and so do the values of each attribute. Held-out combinations use attribute values
that training tasks use, in combinations that no training task of any family has. Held-out skills
use an attribute value that no training task has.
"""

import collections
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
NUM_TRAIN = 128
NUM_HELDOUT_COMBINATIONS = 24
# Families that held-out combinations are phrased in, in turn.
_HELDOUT_TURNS = (MUFFIN, T0, NIV2)

PAIRS = (("owner", "city"), ("color", "thing"))
TRAINED_FACTS = (*((fact,) for fact in lexicon.VALUES), ("country",), *PAIRS)

_UNSEEN_SKILLS = (
    # Two facts that training tasks ask for singly or with another; three facts.
    (MUFFIN, Skill(facts=("owner", "color"), marks="brackets")),
    (T0, Skill(facts=("number", "city"), frame="loud")),
    (NIV2, Skill(facts=("owner", "color", "city"), frame="here")),
    # Two forms at once where one is trained, or one form more often.
    (MUFFIN, Skill(facts=("color",), marks="brackets_twice")),
    (T0, Skill(facts=("thing",), marks="thrice")),
    (NIV2, Skill(facts=("city",), frame="here_loud")),
    (MUFFIN, Skill(facts=("owner",), marks="stars", frame="loud_done")),
    # Knowledge that no training task shows.
    (T0, Skill(facts=("kind",), marks="twice")),
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
    """Returns `num` different skills, at each step one of those whose values were used least."""
    choices = (TRAINED_FACTS, tuple(lexicon.MARKS), tuple(lexicon.FRAMES))
    every = [
        Skill(facts=facts, marks=marks, frame=frame)
        for facts, marks, frame in itertools.product(*choices)
    ]
    # Ties are broken by a random order.
    order = ExampleKey(0, f"mini/{name}", 0).sample("skills", len(every), len(every))
    left = [every[i] for i in order if every[i] not in without]
    used: collections.Counter[tuple[int, str]] = collections.Counter()
    skills = []

    def use(skill: Skill) -> int:
        # An attribute's uses count in proportion to how many values share them.
        sides = enumerate(zip(skill.attributes, choices, strict=True))
        return sum(used[side, value] * len(values) for side, (value, values) in sides)

    for _ in range(num):
        skill = min(left, key=use)
        left.remove(skill)
        skills.append(skill)
        used.update(enumerate(skill.attributes))
    return skills
