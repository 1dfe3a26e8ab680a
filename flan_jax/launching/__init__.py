# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Starting a job where its accelerators are, and starting it again until it is done."""
