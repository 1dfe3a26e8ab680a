# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gin text, read with its places and checked as a whole; nothing here knows what is configured."""
