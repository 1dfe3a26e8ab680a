# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
