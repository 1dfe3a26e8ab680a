# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The mini collection: generated instruction tasks in the four families, and held-out ones."""
