# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cloud TPU VMs, through queued resources of the Cloud TPU API.

That API is no longer developed and does not serve TPU7x (docs.cloud.google.com/tpu/docs/
queued-resources); for v2 to v6e it is the shortest way.
"""

import argparse

from flan_jax.core import errors
from flan_jax.launching import plan as plans
from flan_jax.launching.job import Job
from flan_jax.launching.plan import Plan

SLICES = REMOTE = True


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Adds the target's own arguments."""
    parser.add_argument("--zone", help="of the TPUs, such as us-central2-b")


def plan(job: Job, args: argparse.Namespace) -> Plan:
    """Returns what `args.do` does."""
    if not args.zone:
        raise errors.UsageError("no zone; give --zone ZONE, such as --zone us-central2-b")
    return Plan(steps=())


def do(job: Job, args: argparse.Namespace, action: str) -> None:
    """Carries out an action."""
    plans.run(plan(job, args))
