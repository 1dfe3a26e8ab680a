# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""All tasks and mixtures: importing this registers every family, and opens no data.

A new family is one file in tasks/ and two lines here.
"""

import tasks.corpus
import tasks.cot
import tasks.dialog.tasks
import tasks.flan2022
import tasks.mini.mixtures
import tasks.muffin.tasks
import tasks.niv2
import tasks.program_synthesis.tasks
import tasks.t0_sf.tasks

FAMILIES = (
    tasks.mini.mixtures,
    tasks.muffin.tasks,
    tasks.dialog.tasks,
    tasks.program_synthesis.tasks,
    tasks.t0_sf.tasks,
    tasks.niv2,
    tasks.cot,
    tasks.flan2022,
    tasks.corpus,
)
