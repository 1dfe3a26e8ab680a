# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Muffin: 72 NLP tasks, the 70 of FLAN 2021 and two more, one module a theme."""
