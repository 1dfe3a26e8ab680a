# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`python -m flan_jax`: the same command line as `flan-jax`."""

import sys

from flan_jax.main import main

if __name__ == "__main__":
    sys.exit(main())
