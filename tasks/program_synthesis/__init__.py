# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Program synthesis: code to repair or to write, and its inverted twins."""
