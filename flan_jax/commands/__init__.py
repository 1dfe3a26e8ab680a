# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The subcommands of `flan-jax`, one a file: arguments and the call, nothing else."""
