# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The mixtures of the mini collection; importing registers them and their tasks.

`mini_4`, `mini_8`, ... hold the first tasks of the catalogue's order, so each contains the one
before. `mini_all` holds every training task, `mini_heldout` every held-out one. Those that end in
`_few_shot` and `_cot` after `mini_heldout_...` ask the same questions in another form.
"""

from flan_jax.collection import registry
from tasks.mini import catalogue, tasks

SIZES = (4, 8, 16, 32, 64)


def register() -> list[str]:
    """Registers the mixtures; returns their names."""
    names = tasks.register()
    training = names[catalogue.HELD_IN]
    is_cot = {e.name: e.family == catalogue.COT for e in catalogue.training()}
    mixtures = {f"mini_{size}": training[:size] for size in SIZES} | {
        "mini_all": training,
        "mini_cot": [name for name in training if is_cot[name]],
        "mini_non_cot": [name for name in training if not is_cot[name]],
        "mini_heldout_combinations": names[catalogue.HELDOUT_COMBINATION],
        "mini_heldout_skills": names[catalogue.HELDOUT_SKILL],
        "mini_heldout": ["mini_heldout_combinations", "mini_heldout_skills"],
        **tasks.register_asked_otherwise(),
    }
    for name, members in mixtures.items():
        registry.add_mixture(name, members)
    return list(mixtures)


register()
