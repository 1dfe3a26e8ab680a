# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finetunes a model as a recipe or Gin file says; continues a run that was stopped.

The mixture is built into STORE_DIR first if it is not there. MODEL_DIR receives checkpoints,
metrics (TensorBoard and metrics.jsonl), the operative configuration and evaluations.

    flan-jax train --recipe mini --gin.MODEL_DIR=runs/mini --gin.TRAIN_STEPS=500
"""

import argparse

from flan_jax.commands import arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    arguments.add_gin(parser)


def run(args: argparse.Namespace) -> None:
    """Trains."""
    from flan_jax import config

    arguments.parse_gin(args, roots=("train",))
    config.configured("train")(operative_config=config.operative)
