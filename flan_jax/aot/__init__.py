# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ahead of time: training steps compiled for TPU slices, with no TPU attached."""
