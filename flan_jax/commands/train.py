# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finetunes a model as a recipe or Gin file says; continues a run that was stopped.

The mixture is built into STORE_DIR first if it is not there. MODEL_DIR receives checkpoints,
metrics (TensorBoard and metrics.jsonl), the operative configuration and evaluations.

    flan-jax train --recipe mini --gin.MODEL_DIR=runs/mini --gin.TRAIN_STEPS=500
"""

import argparse

from flan_jax.commands import arguments

_SAVING_S = 300.0  # from the request to stop: as long as the others of a job wait for its save


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    arguments.add_gin(parser)
    parser.add_argument(
        "--stop_with_stdin",
        action="store_true",
        help="save and stop when standard input closes: how a launch ties its processes to itself",
    )


def run(args: argparse.Namespace) -> None:
    """Trains."""
    if args.stop_with_stdin:
        from flan_jax.scaling import processes

        processes.stop_with_stdin(grace_s=_SAVING_S)
    from flan_jax import config

    arguments.parse_gin(args, roots=("train",))
    config.configured("train")(operative_config=config.operative)
