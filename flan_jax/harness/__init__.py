# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Our checkpoints under other harnesses: lm-evaluation-harness runs its own tasks on them.

`python -m flan_jax.harness` is that harness's command line with `--model flan_jax` known to it, and
`python -m flan_jax.harness convert` turns tables of scores into its results and back.
"""
