# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every other part may use: errors, random keys, axis names, files, progress."""
