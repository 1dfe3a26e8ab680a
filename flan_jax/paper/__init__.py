# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the paper reports, as printed, for drawing beside ours: never measured here."""
