# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a rule without learning scores on tasks of the mini collection: the curve's zero lines.

All are generous: they are told part of the answer that a model must find for itself.
"""

import collections
from collections.abc import Sequence

from tasks.mini import lexicon, skills, tasks
from tasks.mini.catalogue import HELD_IN, Entry

MAJORITY = "majority"
RANDOM_FACT = "random_fact"
NO_FORM = "no_form"


def exact_match(entries: Sequence[Entry]) -> dict[str, float]:
    """Returns the mean exact match of each baseline over the tasks' validation rows, 0..100.

    * `majority`: each task's most frequent reply, as if it were known.
    * `random_fact`: the form is known; stated facts of the note are put in it at random, as many as
      are asked for, in order (expected value).
    * `no_form`: the facts are known; the form is ignored.
    """
    scores = collections.Counter()
    for entry in entries:
        held_in = entry.group == HELD_IN
        num = tasks.NUM_VALIDATION_ROWS if held_in else tasks.NUM_HELDOUT_ROWS
        rows = [tasks.make_row(entry, skills.VALIDATION, index) for index in range(num)]
        replies = collections.Counter(row["reply"] for row in rows)
        scores[MAJORITY] += replies.most_common(1)[0][1] / num
        scores[RANDOM_FACT] += _chance(entry)
        scores[NO_FORM] += sum(row["reply"] == row["answer"] for row in rows) / num
    return {name: 100 * scores[name] / len(entries) for name in (MAJORITY, RANDOM_FACT, NO_FORM)}


def _chance(entry: Entry) -> float:
    """Returns how often facts drawn from the note, without repeats and in order, are right."""
    if any(fact in lexicon.DERIVED for fact in entry.skill.facts):
        return 0.0  # no word of the note answers
    chance, left = 1.0, len(lexicon.VALUES)
    for drawn in range(len(entry.skill.facts)):
        chance *= (drawn + 1) / (left - drawn)
    return chance
