# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A model over HTTP: a playground for people, OpenAI's completions for programs."""
