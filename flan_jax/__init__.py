# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""flan_jax: instruction finetuning of language models in JAX (Chung et al. 2022)."""

__version__ = "0.1.0"
