# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A page's data in which every text tries to be more than text."""

import json

from flan_jax.collection import browsing, registry, sources, spec
from flan_jax.collection.prompts import TemplateGroup

HOSTILE = (
    "</script><script>document.title='hacked'</script><!--<script>"
    "<img src=x onerror=\"document.title='hacked'\">'\"&amp;{{ 7 * 7 }}${1}\u2028\u2029\x00é😀"
)
TEMPLATES = (
    {"id": HOSTILE, "kind": "both", "options": "no", "head": "<b>{head}</b>", "input": "{text}",
     "target": "{answer}", "direction": HOSTILE},
)  # fmt: skip


def make_row(split, index):
    return {"text": f"{HOSTILE} {index}", "answer": f"{HOSTILE} answer {index}", "head": HOSTILE}


def collect():
    """Returns data of the mini_16 mixture, one hostile task, one missing and one failing."""
    hostile = spec.TaskSpec(
        name="hostile.rows",
        family=HOSTILE,
        source=sources.GeneratedSource(make_row, {"train": 30}),
        fields=dict,
        templates=TemplateGroup(inline=tuple(map(json.dumps, TEMPLATES))),
        settings=((spec.ZS_NOOPT, 1.0), (spec.FS_NOOPT, 3.0)),
        category=HOSTILE,
        licence=HOSTILE,
        splits=("train",),
    )
    specs = {name: registry.get_spec(name) for name in registry.task_names("mini_16")}
    look = browsing.Look(num_examples=2, num_lengths=20)
    specs["hostile.rows"] = hostile
    data = browsing.collect(HOSTILE, specs, ["mini_16", "mini_4"], look)
    data["reasons"].append(HOSTILE)
    missing = {"name": "hostile.missing", "family": "f", "missing": len(data["reasons"]) - 1}
    fault = {"name": "hostile.fault", "family": "f", "fault": HOSTILE}
    # Half of a surrogate pair, as a file's name may hold, is nothing that UTF-8 can.
    odd = {"name": "hostile.odd", "family": "f", "fault": "\ud83d"}
    data["tasks"] += [missing, fault, odd]
    return data
