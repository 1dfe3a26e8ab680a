# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The JobSet of a training on TPU slices in GKE: one Job a slice, one pod a host.

What ends and what starts again:

    exit code 75, or the node goes away    all pods start again; does not count
    exit code 2 or 3                       the JobSet fails at once: another start ends the same
    any other                              all pods start again, at most max_restarts times

A Job says by the message with which it fails what a pod's exit code was, and the JobSet reads that;
so JobSet must be 0.10.1 or newer. Pods on a host's network that use buckets by their own account
take GKE Standard 1.33.3-gke.1226000 with the Cloud Storage FUSE CSI driver.
"""

import dataclasses
import math
from typing import Any

from flan_jax.core import errors
from flan_jax.launching.job import MOUNTS, Job

# Of a pod that is asked to end, until it is killed: for the last save.
GRACE_S = 300
CONTAINER = "flan-jax"
_SLICES = "slice"
_HOPELESS = (errors.EXIT_USAGE, errors.EXIT_DOES_NOT_FIT)
# Generation -> GKE's names of the accelerator and of the machine with four chips.
_MACHINES = {
    "v4": ("tpu-v4-podslice", "ct4p-hightpu-4t"),
    "v5litepod": ("tpu-v5-lite-podslice", "ct5lp-hightpu-4t"),
    "v5p": ("tpu-v5p-slice", "ct5p-hightpu-4t"),
    "v6e": ("tpu-v6e-slice", "ct6e-standard-4t"),
    "tpu7x": ("tpu7x", "tpu7x-standard-4t"),
}
_CHIPS_PER_HOST = 4
# Seconds. A pod runs as soon as its node is there, which may be long before the others have theirs.
_JOIN = ("FLAN_JAX_JOIN_TIMEOUT_S", "1200")
# KiB that the TPUs' driver may lock; GKE's number for pods that are not privileged.
_LOCKED_MEMORY_KIB = 68719476736
_MOUNT_OPTIONS = (
    "implicit-dirs",  # folders that were uploaded as objects
    "rename-dir-limit=200000",  # a checkpoint is renamed when it is whole
    # On TPU machines it would never look again, elsewhere not for some seconds, and a host not see
    # what others wrote.
    "metadata-cache:ttl-secs:0",
    "metadata-cache:negative-ttl-secs:0",
)
_CACHE = "16Gi"  # of a bucket, in memory; the smallest host has 48 GB (v5e with one chip)


def manifest(
    job: Job, *, image: str, namespace: str, service_account: str, max_restarts: int
) -> dict[str, Any]:
    """Returns the JobSet of a job.

    Args:
        job: what runs, and on which slices.
        image: the container, which has `flan-jax` and bash.
        namespace: where.
        service_account: of Kubernetes; it may use the buckets.
        max_restarts: after so many crashes the job has failed.

    Raises:
        UsageError: GKE has no such slices, or --max_restarts is negative.
    """
    found = nodes(job)
    if max_restarts < 0:
        raise errors.UsageError(f"--max_restarts must be >= 0, got {max_restarts}")
    metadata = {"name": job.name, "namespace": namespace}
    if found.per_slice > 1:
        # All pods of a slice in one node pool, which is one slice.
        metadata["annotations"] = {
            "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
        }
    pod = {
        "metadata": {"annotations": _annotations(job)},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE_S,
            "serviceAccountName": service_account,
            # Slices talk through the hosts' own network: a pod's would slow them down.
            "hostNetwork": True,
            "dnsPolicy": "ClusterFirstWithHostNet",
            "nodeSelector": {
                "cloud.google.com/gke-tpu-accelerator": found.accelerator,
                "cloud.google.com/gke-tpu-topology": job.slice.shape,
            },
            "tolerations": [
                {"key": "google.com/tpu", "operator": "Exists", "effect": "NoSchedule"},
                {"key": "cloud.google.com/gke-spot", "operator": "Exists", "effect": "NoSchedule"},
            ],
            "containers": [_container(job, image, found.chips)],
            "volumes": _volumes(job),
        },
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            "failurePolicy": _failure_policy(max_restarts),
            "replicatedJobs": [
                {
                    "name": _SLICES,
                    "replicas": job.num_slices,
                    "template": {
                        "spec": {
                            "parallelism": found.per_slice,
                            "completions": found.per_slice,
                            "backoffLimit": 0,  # one pod that failed fails all
                            "podFailurePolicy": _pod_failure_policy(),
                            "template": pod,
                        }
                    },
                }
            ],
        },
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nodes:
    """What GKE calls the machines of a slice, and how many there are."""

    accelerator: str  # as GKE calls it
    machine: str  # its type
    chips: int  # of a node
    per_slice: int


def nodes(job: Job) -> Nodes:
    """Returns the nodes that a job's slices need.

    Raises:
        UsageError: GKE has no such slices.
    """
    generation = job.slice.name.rsplit("-", 1)[0]
    if generation not in _MACHINES:
        raise errors.UsageError(
            f"--target gke does not run on {job.slice.name}; use --target tpu-vm, or a slice of "
            f"{', '.join(_MACHINES)}"
        )
    accelerator, machine = _MACHINES[generation]
    num_chips = math.prod(map(int, job.slice.shape.split("x")))
    chips = min(_CHIPS_PER_HOST, num_chips)
    hosts = num_chips // chips
    if hosts == 1 and job.num_slices > 1:
        raise errors.UsageError(
            f"GKE joins slices of several hosts only, and {job.slice.name} has one; use a larger "
            "slice instead of several"
        )
    return Nodes(
        accelerator=accelerator,
        machine=machine.replace(f"-{_CHIPS_PER_HOST}t", f"-{chips}t"),
        chips=chips,
        per_slice=hosts,
    )


def _annotations(job: Job) -> dict[str, str]:
    found = {"kubectl.kubernetes.io/default-container": CONTAINER}
    if job.buckets:
        found["gke-gcsfuse/volumes"] = "true"
        # No limits: its own 256 MiB would not do for a checkpoint.
        for resource in ("cpu", "memory", "ephemeral-storage"):
            found[f"gke-gcsfuse/{resource}-limit"] = "0"
    return found


def _container(job: Job, image: str, chips: int) -> dict[str, Any]:
    # The shell is replaced, so that the training itself is told to stop.
    script = f'ulimit -l {_LOCKED_MEMORY_KIB} && exec flan-jax "$@"'
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "Always",
        "command": ["bash", "-c", script, "flan-jax"],
        "args": ["train", *map(_literal, job.train)],
        "env": [{"name": n, "value": _literal(v)} for n, v in sorted(environment(job).items())],
        # Only root may lock that much memory; it needs no other right.
        "securityContext": {"runAsUser": 0, "capabilities": {"add": ["SYS_RESOURCE"]}},
        "ports": [{"containerPort": 8471}],  # of the TPUs; taken once a host
        "resources": {"limits": {"google.com/tpu": chips}},
        "volumeMounts": [
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # of the workers that read data
            *(
                {"name": f"bucket-{number}", "mountPath": f"{MOUNTS}/{bucket}"}
                for number, bucket in enumerate(job.buckets)
            ),
        ],
    }


def environment(job: Job) -> dict[str, str]:
    """Returns the variables of a pod, beside those that GKE sets (TPU_*, MEGASCALE_*)."""
    return dict([_JOIN]) | dict(job.environment)


def _literal(text: str) -> str:
    """Returns a text that Kubernetes, which replaces $(NAME), leaves as it was."""
    return text.replace("$(", "$$(")


def _volumes(job: Job) -> list[dict[str, Any]]:
    names = ["shared-memory"]
    if job.buckets:
        names.append("gke-gcsfuse-cache")  # the driver's name for where it keeps what it fetched
    in_memory = [{"name": name, "emptyDir": {"medium": "Memory"}} for name in names]
    return in_memory + [_bucket(number, bucket) for number, bucket in enumerate(job.buckets)]


def _bucket(number: int, bucket: str) -> dict[str, Any]:
    return {
        "name": f"bucket-{number}",
        "csi": {
            "driver": "gcsfuse.csi.storage.gke.io",
            "volumeAttributes": {
                "bucketName": bucket,
                "mountOptions": ",".join(_MOUNT_OPTIONS),
                # A token store is read at random: each of its files is fetched once, as a whole.
                "fileCacheCapacity": _CACHE,
                "fileCacheForRangeRead": "true",
                # Else a pod on the host's network has the node's rights, not its account's.
                "hostNetworkPodKSA": "true",
            },
        },
    }


def _pod_failure_policy() -> dict[str, Any]:
    """Returns the rules by which a Job fails with a message that says why."""
    codes = [
        {"containerName": CONTAINER, "operator": "In", "values": list(values)}
        for values in (_HOPELESS, (errors.EXIT_PREEMPTED,))
    ]
    return {
        "rules": [
            *({"action": "FailJob", "onExitCodes": code} for code in codes),
            {
                "action": "FailJob",
                "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
            },
        ]
    }


def _failure_policy(max_restarts: int) -> dict[str, Any]:
    """Returns the rules of the JobSet; they read the message of the Job that failed.

    Kubernetes writes "... failed with exit code 75 matching FailJob rule at index 1" and "... has
    condition DisruptionTarget matching ...".
    """
    hopeless = "|".join(map(str, _HOPELESS))
    return {
        "maxRestarts": max_restarts,
        # No slice starts again while another still ends.
        "restartStrategy": "BlockingRecreate",
        "rules": [
            {
                "name": "wrongUsageOrDoesNotFit",
                "action": "FailJobSet",
                "onJobFailureReasons": ["PodFailurePolicy"],
                "onJobFailureMessagePatterns": [f"exit code ({hopeless}) matching"],
            },
            {
                "name": "preempted",
                "action": "RestartJobSetAndIgnoreMaxRestarts",
                "onJobFailureReasons": ["PodFailurePolicy"],
                "onJobFailureMessagePatterns": [
                    f"exit code {errors.EXIT_PREEMPTED} matching",
                    "condition DisruptionTarget matching",
                ],
            },
        ],
    }
