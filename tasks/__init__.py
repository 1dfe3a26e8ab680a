# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What to learn and what to measure: task families, one a file or folder; no engine code."""
