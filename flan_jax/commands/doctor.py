# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Examines this environment: what works, what may not, what will fail, and the remedy of each.

Versions and what they ask of each other, devices, memory, disks, the folder of a run, the place in
a job of several processes, credentials. Nothing is changed, and nothing is asked over the network
but Google's metadata server, on its machines. Exit code 0: no problem; 1: at least one.

    flan-jax doctor
    flan-jax doctor /gcs/BUCKET/flan_t5_xl --slice v4-32 --store /gcs/BUCKET/stores/flan2022
"""

import argparse
import json
import os

from flan_jax.core import errors
from flan_jax.launching.doctor import findings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("model_dir", nargs="?", default="", help="folder of a run, there or not")
    parser.add_argument("--slice", default="", metavar="NAME", help="the TPU slice a job is for")
    parser.add_argument("--store", default="", metavar="FOLDER", help="a token store")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> None:
    """Examines."""
    from flan_jax.launching.doctor import checkup

    if args.slice:
        from flan_jax.aot import slices

        slices.find(args.slice)  # a typo is no finding
    found = findings.carry_out(
        checkup.checks(
            os.environ, model_dir=args.model_dir, slice_name=args.slice, store=args.store
        )
    )
    if args.json:
        print(json.dumps(findings.as_json(found), indent=2))
    else:
        print(findings.shown(found))
    if number := findings.count(found, findings.PROBLEM):
        raise errors.FlanError(f"{number} problem(s) found; each has its remedy beside it")
