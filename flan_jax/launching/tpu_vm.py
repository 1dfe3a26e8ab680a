# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cloud TPU VMs, through queued resources of the Cloud TPU API.

That API is no longer developed and does not serve TPU7x (docs.cloud.google.com/tpu/docs/
queued-resources); for v2 to v6e it is the shortest way. Each worker (a host of a slice) runs a
supervisor of its own (`launching/supervise.py`), started by launch/tpu_vm/flan_jax_worker.sh, which
restarts its process when the job's processes ended. What is taken away as a whole is requested
again from here: `launching/tpu_watch.py`.
"""

import argparse

from flan_jax.core.progress import say
from flan_jax.launching import gcloud, tpu_steps, tpu_watch
from flan_jax.launching import plan as plans
from flan_jax.launching.gcloud import Place, Request
from flan_jax.launching.job import Job
from flan_jax.launching.plan import Command, Plan

SLICES = REMOTE = True


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Adds the target's own arguments."""
    parser.add_argument("--zone", help="of the TPUs, such as us-central2-b")
    parser.add_argument("--project", help="Google Cloud project (default: gcloud's own setting)")
    price = parser.add_mutually_exclusive_group()
    price.add_argument(
        "--spot", action="store_true", help="cheaper TPUs, which may be taken away at any time"
    )
    price.add_argument("--reserved", action="store_true", help="TPUs of a reservation")
    parser.add_argument(
        "--max_wait_h", type=int, metavar="H", help="give up a request not met within so many hours"
    )
    parser.add_argument("--network", help="of the TPUs (default: the network 'default')")
    parser.add_argument("--subnetwork", help="of the TPUs")
    parser.add_argument(
        "--vm_service_account",
        metavar="EMAIL",
        help="what the TPUs act as; it needs the buckets (default: Compute Engine's own)",
    )
    parser.add_argument(
        "--package",
        action="append",
        default=[],
        metavar="SPEC",
        help="what pip installs on each worker, such as 'flan_jax[tpu]' or a wheel; may be "
        "repeated (default: a wheel of this checkout)",
    )
    parser.add_argument(
        "--keep_alive",
        action="store_true",
        help="stay, request the TPUs again when they are taken away, delete them when all is done",
    )


def plan(job: Job, args: argparse.Namespace) -> Plan:
    """Returns what `args.do` does."""
    place = tpu_steps.place_of(args)
    if args.do == "start":
        return tpu_steps.start(job, args, Request(gcloud.ABSENT))
    if args.do == "logs":
        return Plan(steps=(tpu_steps.logs(job),))
    if args.do == "delete":
        why = f"delete {job.name} and its TPUs, whatever runs there; buckets stay"
        return Plan(steps=(Command(argv=gcloud.delete(job.name, place), why=why),))
    if args.do == "stop":
        return Plan(
            steps=tuple(tpu_steps.on_workers(job, place, "ask", "stop", job.name, "--no-block"))
            + tuple(tpu_steps.on_workers(job, place, "wait until it has saved:", "stop", job.name)),
            notes=("the TPUs stay, and cost what they cost: --do delete",),
        )
    describe = Command(argv=gcloud.describe(job.name, place), why="the state of the request")
    return Plan(steps=(describe, *tpu_steps.status(job, place)))


def do(job: Job, args: argparse.Namespace, action: str) -> None:
    """Carries out an action.

    Raises:
        FlanError: a step of it failed; the message says what to do.
    """
    place = tpu_steps.place_of(args)
    with gcloud.explained():
        if action == "start" and args.keep_alive:
            tpu_watch.keep_alive(job, args)
        elif action == "start":
            tpu_watch.start(job, args)
        elif action == "logs":
            plans.run(plan(job, args))
        else:
            _look_after(job, args, place, action)


def _look_after(job: Job, args: argparse.Namespace, place: Place, action: str) -> None:
    found = tpu_watch.request_of(job, place)
    print(f"{job.name}: {'there is none' if found.state == gcloud.ABSENT else found}")
    if action == "delete" and found.state != gcloud.ABSENT:
        nodes = ", ".join(tpu_steps.nodes(job))
        say(f"launch: deleting the queued resource {job.name} with {nodes}")
        plans.run(plan(job, args))
    elif found.state != gcloud.ACTIVE:
        return
    elif action == "status":
        for worker in tpu_watch.ask(job, place):
            print(worker)
    else:
        plans.run(plan(job, args))
