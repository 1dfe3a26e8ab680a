# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""T0-SF: the 193 tasks of P3 that Muffin does not have."""
