# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""TPU slices on Google Kubernetes Engine, as a JobSet; kubectl starts it and looks after it.

Node pools, and the account that may use the buckets, are made beforehand (launch/gke/README.md).
Not here: Kueue, Pathways, and sub-slices of a node pool.
"""

import argparse
import re
import shlex

from flan_jax.core import errors
from flan_jax.launching import jobset
from flan_jax.launching import plan as plans
from flan_jax.launching.job import Job
from flan_jax.launching.plan import Command, Plan, WriteFile

SLICES = REMOTE = True

_MAX_RESTARTS = 50
# All but 2 and 3, which end a job for good; XPK adds 42 and 127 to 255 itself.
_XPK_RESTARTS = "1,4-126"


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Adds the target's own arguments."""
    parser.add_argument(
        "--image", help="the container to run, made as launch/docker/README.md says"
    )
    parser.add_argument("--namespace", default="default", help="of the JobSet (default: default)")
    parser.add_argument(
        "--service_account",
        default="flan-jax",
        metavar="NAME",
        help="the Kubernetes service account that may use the buckets (default: flan-jax)",
    )
    parser.add_argument(
        "--max_restarts",
        type=int,
        default=_MAX_RESTARTS,
        metavar="N",
        help=f"after so many crashes the job has failed (default: {_MAX_RESTARTS})",
    )


def plan(job: Job, args: argparse.Namespace) -> Plan:
    """Returns what `args.do` does."""
    if args.do == "start":
        return _start(job, args)
    kubectl = ("kubectl", f"--namespace={args.namespace}")
    label = f"--selector=jobset.sigs.k8s.io/jobset-name={job.name}"
    if args.do == "status":
        return Plan(
            steps=(
                Command(argv=(*kubectl, "get", "jobset", job.name), why="the job, its restarts"),
                Command(
                    argv=(*kubectl, "get", "pods", label, "--output=wide"),
                    why="its pods: one a host; Pending as long as no node is free",
                ),
            )
        )
    if args.do == "logs":
        first = f"{label},jobset.sigs.k8s.io/job-index=0,batch.kubernetes.io/job-completion-index=0"
        argv = (*kubectl, "logs", first, f"--container={jobset.CONTAINER}", "--tail=200")
        return Plan(steps=(Command(argv=argv, why="what process 0 printed last"),))
    return Plan(
        steps=(
            Command(
                argv=(*kubectl, "delete", "jobset", job.name, "--cascade=foreground"),
                why=f"stop the pods, which save first ({jobset.GRACE_S} s at most), and forget the "
                "job; checkpoints stay, and so do the nodes",
            ),
        )
    )


def do(job: Job, args: argparse.Namespace, action: str) -> None:
    """Carries out an action."""
    del action  # the plan is made for it
    try:
        plans.run(plan(job, args))
    except errors.UsageError:
        raise
    except errors.FlanError as error:
        raise explained(error) from None


def explained(error: errors.FlanError) -> errors.FlanError:
    """Returns the error of a kubectl command with what to do about it, where that is known."""
    for pattern, remedy in _REMEDIES:
        if re.search(pattern, str(error)):
            return errors.FlanError(f"{error}; {remedy}")
    return error


# What kubectl says -> what to do. The first that is found counts.
_REMEDIES = (
    (
        "localhost:8080|127.0.0.1:8080|context was not found|no configuration has been provided",
        "no cluster is chosen: gcloud container clusters get-credentials CLUSTER "
        "--location=LOCATION",
    ),
    (
        "gke-gcloud-auth-plugin",
        "kubectl needs it to log in: gcloud components install gke-gcloud-auth-plugin",
    ),
    ("Unauthorized", "log in again: gcloud auth login"),
    (
        "[Uu]nable to connect to the server|[Cc]onnection refused|i/o timeout",
        "the cluster cannot be reached: is it running, and is its API open to this host?",
    ),
    (
        "no matches for kind|ensure CRDs are installed first|doesn't have a resource type",
        "this cluster has no JobSet: install 0.10.1 or newer (launch/gke/README.md)",
    ),
    (
        'unknown field "spec.failurePolicy',
        "the JobSet of this cluster is too old: install 0.10.1 or newer (launch/gke/README.md)",
    ),
    (
        "failed calling webhook",
        "its controller does not run: see kubectl get pods --namespace=jobset-system",
    ),
    ("exceeded quota", "end another job of that namespace, or have its quota raised"),
    (
        "AlreadyExists",
        "look at it with --do status; after --do delete the next start continues from its newest "
        "checkpoint",
    ),
    (
        "[Ff]orbidden",
        "the account that kubectl uses may not do that there; roles/container.developer may",
    ),
    ('namespaces ".*" not found', "make it: kubectl create namespace NAMESPACE"),
    (
        'serviceaccounts ".*" not found',
        "make it and let it use the buckets (launch/gke/README.md), or give --service_account",
    ),
    ("NotFound", "what there is: kubectl get jobsets --all-namespaces"),
)


def _start(job: Job, args: argparse.Namespace) -> Plan:
    import yaml  # of the many users of --help, few write a manifest

    if not args.image:
        raise errors.UsageError(
            "no image; give --image REGION-docker.pkg.dev/PROJECT/REPOSITORY/flan-jax:TAG, made as "
            "launch/docker/README.md says"
        )
    manifest = jobset.manifest(
        job,
        image=args.image,
        namespace=args.namespace,
        service_account=args.service_account,
        max_restarts=args.max_restarts,
    )
    file = f"{job.name}.jobset.yaml"
    account = ("kubectl", f"--namespace={args.namespace}", "get", "serviceaccount")
    return Plan(
        steps=(
            Command(
                argv=(*account, args.service_account), why="the account that may use the buckets"
            ),
            WriteFile(
                path=file,
                text=yaml.safe_dump(manifest, sort_keys=False, width=1000),
                why="the job, for JobSet 0.10.1 or newer",
            ),
            # Not `apply`: it would be content with a job of that name that has long ended.
            Command(argv=("kubectl", "create", f"--filename={file}"), why="start it"),
        ),
        notes=_notes(job, args),
    )


def _notes(job: Job, args: argparse.Namespace) -> tuple[str, ...]:
    nodes = jobset.nodes(job)
    pools = (
        f"the cluster needs {job.num_slices} node pool(s) of {nodes.per_slice} x {nodes.machine}, "
        f"topology {job.slice.shape}"
    )
    policy = ()
    if nodes.accelerator == "tpu7x" and nodes.per_slice > 1:
        policy = ("such a pool is made with --placement-policy, not --tpu-topology",)
    return (pools, *policy, *_xpk(job, args))


def _xpk(job: Job, args: argparse.Namespace) -> tuple[str, ...]:
    """Returns the lines of XPK's command for the same.

    By its defaults XPK restarts nothing, fails the job at most exit codes, and kills a pod that
    saves after 30 s. It cannot tell a preemption from a crash: both count.
    """
    words = [
        "xpk workload create --cluster=CLUSTER --project=PROJECT --zone=ZONE",
        f"--workload={job.name} --tpu-type={job.slice.name} --num-slices={job.num_slices}",
        f"--docker-image={args.image}",
        f"--max-restarts={args.max_restarts} --termination-grace-period-seconds={jobset.GRACE_S}",
        f"--restart-on-exit-codes={_XPK_RESTARTS}",
        *(f"--storage={bucket}" for bucket in job.buckets),
        *(f"--env {shlex.quote(f'{n}={v}')}" for n, v in sorted(jobset.environment(job).items())),
        f"--command={shlex.quote(shlex.join(['flan-jax', 'train', *job.train]))}",
    ]
    return (
        "or, in a cluster made by XPK, with each bucket attached (launch/gke/README.md):",
        *(f"  {word} \\" for word in words[:-1]),
        f"  {words[-1]}",
    )
