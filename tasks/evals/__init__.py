# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What to measure: benchmarks, one a file, each data and choices over `flan_jax.evals`."""
