# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""All tasks and mixtures: importing this registers every family, and opens no data.

A new family is one file in tasks/ and one line here.
"""

import tasks.cot
import tasks.mini.mixtures
import tasks.niv2

FAMILIES = (tasks.mini.mixtures, tasks.niv2, tasks.cot)
