# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dialog: the next turn of a conversation, and its inverted twins."""
