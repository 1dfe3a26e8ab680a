# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs every sweep of the mini study and publishes what came out: the one command that makes it.

    python docs/studies/mini/regenerate.py --out runs/mini_study

What is done is not done again, so a second call only draws. Each run has one core: the number of
cores changes the last digits of its losses, the number of runs at a time does not.
"""

import argparse
from pathlib import Path

import publish  # beside this file

from flan_jax import config, sweeps

# Folder of a sweep -> its Gin file in gin/sweeps; the cheap ones first.
SWEEPS = {
    "rates": "mini_rates",
    "rates_wide": "mini_rates_wide",
    "cot_ablation": "mini_cot_ablation",
    "prompt_settings": "mini_prompt_settings",
    "mixture_ablation": "mini_mixture_ablation",
    "size_scaling": "mini_size_scaling",
    "task_scaling": "mini_study",
}


def main() -> None:
    """Carries out the sweeps and writes the files beside this one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", default="runs/mini_study", help="folder (default: %(default)s)")
    parser.add_argument(
        "--parallel", type=int, default=2, help="runs at a time (default: %(default)s)"
    )
    args = parser.parse_args()
    for name, gin_file in SWEEPS.items():
        path = config.gin_root() / "sweeps" / f"{gin_file}.gin"
        sweeps.run(str(path), str(Path(args.out) / name), parallel=args.parallel, cores=1)
    publish.main(args.out)


if __name__ == "__main__":
    main()
