# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What `flan-jax doctor` looks at, each kind of thing in a module of pure functions."""
