# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""JobSets for GKE: valid by the published schemas, restarted as exit codes say, kubectl explained.

Schemas: of Kubernetes, as kubernetes-validate has them; of JobSet, as kubeflow-trainer-api does.
"""

import argparse
import os
import re
import shlex
import stat
import subprocess

import kubernetes_validate
import pytest
import yaml
from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet

from flan_jax.aot import slices
from flan_jax.core import errors
from flan_jax.launching import gke, jobset, shipped
from flan_jax.launching import plan as plans
from flan_jax.launching.job import Job
from flan_jax.launching.plan import WriteFile
from tests.launching import goldens

PAGE = shipped.folder() / "gke" / "README.md"
IMAGE = "us-docker.pkg.dev/my-project/images/flan-jax:1-tpu"


def job(name="v5litepod-16", num_slices=1, **fields):
    settings = {
        "name": "flan-t5-xl",
        "train": (
            "--recipe=flan_t5_xl",
            "--gin.MODEL_DIR=/gcs/my-runs/flan_t5_xl",
            "--gin.STORE_DIR=/gcs/my-data/stores/flan2022",
        ),
        "buckets": ("my-data", "my-runs"),
        "model_dir": "/gcs/my-runs/flan_t5_xl",
        "environment": {"JAX_COMPILATION_CACHE_DIR": "/gcs/my-runs/compile_cache"},
    }
    return Job(**settings | fields, slice=slices.find(name, num_slices))


def arguments(*argv, do="start"):
    parser = argparse.ArgumentParser()
    gke.add_arguments(parser.add_argument_group())
    return argparse.Namespace(do=do, **vars(parser.parse_args(argv)))


def manifest(job, **fields):
    settings = {
        "image": IMAGE,
        "namespace": "default",
        "service_account": "flan-jax",
        "max_restarts": 50,
    }
    return jobset.manifest(job, **settings | fields)


def spec_of(manifest):
    """The Job that a JobSet makes of each slice."""
    return manifest["spec"]["replicatedJobs"][0]["template"]["spec"]


def pod_of(manifest):
    return spec_of(manifest)["template"]["spec"]


@pytest.mark.parametrize(
    ("file", "name", "num_slices"),
    [
        ("gke_one_slice.txt", "v5litepod-16", 1),
        ("gke_two_slices.txt", "v5litepod-16", 2),
        ("gke_tpu7x.txt", "tpu7x-128", 1),
    ],
)
def test_what_is_shown(file, name, num_slices):
    plan = gke.plan(job(name, num_slices), arguments(f"--image={IMAGE}"))
    goldens.check(file, plans.shown(plan))


@pytest.mark.parametrize("num_slices", [1, 2])
@pytest.mark.parametrize("name", ["v4-32", "v5litepod-8", "v5p-256", "v6e-16", "tpu7x-128"])
def test_the_published_schemas_hold(name, num_slices):
    made = manifest(job(name, num_slices))
    # A field that the schema lacks would be gone.
    back = JobsetV1alpha2JobSet.from_dict(made).to_dict()
    container = spec_of(back)["template"]["spec"]["containers"][0]
    assert container["ports"][0].pop("protocol") == "TCP"  # Kubernetes' default
    assert back == made
    for version in ("1.33", kubernetes_validate.latest_version()):
        template = made["spec"]["replicatedJobs"][0]["template"]
        alone = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "one"}, **template}
        kubernetes_validate.validate(alone, version, strict=True)


def test_the_schemas_find_mistakes():
    made = manifest(job())
    made["spec"]["failurePolicy"]["rule"] = []
    assert JobsetV1alpha2JobSet.from_dict(made).to_dict() != made
    alone = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "one"}}
    alone["spec"] = spec_of(made) | {"completion": 4}
    with pytest.raises(kubernetes_validate.ValidationError, match="completion"):
        kubernetes_validate.validate(alone, "1.33", strict=True)


def test_the_file_is_the_manifest():
    plan = gke.plan(job(), arguments(f"--image={IMAGE}"))
    (file,) = (step for step in plan.steps if isinstance(step, WriteFile))
    assert yaml.safe_load(file.text) == manifest(job())
    assert plan.steps[-1].argv == ("kubectl", "create", f"--filename={file.path}")


# Names, hosts, chips of a host, and labels as Google's tables of TPU machine types have them.
@pytest.mark.parametrize(
    ("name", "hosts", "chips", "accelerator", "topology", "machine"),
    [
        ("v4-8", 1, 4, "tpu-v4-podslice", "2x2x1", "ct4p-hightpu-4t"),
        ("v4-32", 4, 4, "tpu-v4-podslice", "2x2x4", "ct4p-hightpu-4t"),
        ("v5litepod-1", 1, 1, "tpu-v5-lite-podslice", "1x1", "ct5lp-hightpu-1t"),
        ("v5litepod-8", 2, 4, "tpu-v5-lite-podslice", "2x4", "ct5lp-hightpu-4t"),
        ("v5litepod-256", 64, 4, "tpu-v5-lite-podslice", "16x16", "ct5lp-hightpu-4t"),
        ("v5p-128", 16, 4, "tpu-v5p-slice", "4x4x4", "ct5p-hightpu-4t"),
        ("v6e-16", 4, 4, "tpu-v6e-slice", "4x4", "ct6e-standard-4t"),
        ("tpu7x-8", 1, 4, "tpu7x", "2x2x1", "tpu7x-standard-4t"),
        ("tpu7x-128", 16, 4, "tpu7x", "4x4x4", "tpu7x-standard-4t"),
    ],
)
def test_nodes_of_a_slice(name, hosts, chips, accelerator, topology, machine):
    made = manifest(job(name))
    spec, pod = spec_of(made), pod_of(made)
    assert spec["parallelism"] == spec["completions"] == hosts
    assert pod["containers"][0]["resources"] == {"limits": {"google.com/tpu": chips}}
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": accelerator,
        "cloud.google.com/gke-tpu-topology": topology,
    }
    assert jobset.nodes(job(name)).machine == machine
    assert ("annotations" in made["metadata"]) == (hosts > 1)


def failure_of(spec, *, code=1, disrupted=False):
    """How a Job ends when the first of its pods does: reason and message, as Kubernetes has them.

    Kubernetes 1.33, pkg/controller/job/pod_failure_policy.go.
    """
    assert spec["backoffLimit"] == 0
    for index, rule in enumerate(spec["podFailurePolicy"]["rules"]):
        matched = f"matching {rule['action']} rule at index {index}"
        codes = rule.get("onExitCodes")
        if codes and codes["operator"] == "In" and code in codes["values"]:
            where = f"Container {codes['containerName']} for pod default/xl-slice-0-3-abcde"
            return "PodFailurePolicy", f"{where} failed with exit code {code} {matched}"
        for condition in rule.get("onPodConditions", ()):
            if disrupted and condition == {"type": "DisruptionTarget", "status": "True"}:
                message = f"Pod default/xl-slice-0-3 has condition DisruptionTarget {matched}"
                return "PodFailurePolicy", message
    return "BackoffLimitExceeded", "Job has reached the specified backoff limit"


def action_of(policy, reason, message):
    """What JobSet 0.10 does about a Job that failed, by its documentation of failurePolicy."""
    for rule in policy["rules"]:
        assert re.fullmatch("[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"])
        patterns = rule["onJobFailureMessagePatterns"]
        if reason in rule["onJobFailureReasons"] and any(re.search(p, message) for p in patterns):
            return rule["action"]
    return "RestartJobSet"


@pytest.mark.parametrize(
    ("end", "action"),
    [
        *(({"code": code}, "RestartJobSet") for code in (1, 4, 20, 25, 32, 127, 137, 175, 255)),
        ({"code": errors.EXIT_USAGE}, "FailJobSet"),
        ({"code": errors.EXIT_DOES_NOT_FIT}, "FailJobSet"),
        ({"code": errors.EXIT_PREEMPTED}, "RestartJobSetAndIgnoreMaxRestarts"),
        ({"disrupted": True}, "RestartJobSetAndIgnoreMaxRestarts"),
        ({"disrupted": True, "code": 137}, "RestartJobSetAndIgnoreMaxRestarts"),
    ],
)
def test_what_an_end_leads_to(end, action):
    made = manifest(job(num_slices=2))
    assert action_of(made["spec"]["failurePolicy"], *failure_of(spec_of(made), **end)) == action
    assert made["spec"]["failurePolicy"]["maxRestarts"] == 50


def test_buckets_are_mounted_where_the_arguments_name_them():
    made = manifest(job())
    pod = pod_of(made)
    volumes = {v["name"]: v["csi"] for v in pod["volumes"] if "csi" in v}
    mounts = {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}
    for bucket in ("my-data", "my-runs"):
        csi = volumes[mounts[f"/gcs/{bucket}"]]
        assert csi["driver"] == "gcsfuse.csi.storage.gke.io"
        assert csi["volumeAttributes"]["bucketName"] == bucket
        assert csi["volumeAttributes"]["hostNetworkPodKSA"] == "true"
    assert spec_of(made)["template"]["metadata"]["annotations"]["gke-gcsfuse/volumes"] == "true"


def test_without_buckets_there_is_no_sidecar():
    made = manifest(job(buckets=(), environment={}))
    assert "gcsfuse" not in yaml.safe_dump(made)


def test_a_pod_runs_the_arguments_as_they_are(tmp_path):
    given = ("--gin.A='b c'", '--gin.D="$e"', "--gin.F=`g`", "*", "--gin.H=$(HOME)")
    made = manifest(job(train=given))
    container = pod_of(made)["containers"][0]
    program = tmp_path / "flan-jax"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    bash, option, script, name = container["command"]
    assert "ulimit -l 68719476736 " in script  # a right that tests may lack
    argv = [bash, option, script.replace("ulimit -l 68719476736", "true"), name]
    # Kubernetes makes $( of $$(, and takes $(HOME) for a variable of the pod.
    argv += [argument.replace("$$(", "$(") for argument in container["args"]]
    assert "$$(HOME)" in container["args"][-1]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    out = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == ["train", *given]


def test_variables_can_be_given():
    made = manifest(job(environment={"FLAN_JAX_JOIN_TIMEOUT_S": "60", "A": "$(B)"}))
    found = {v["name"]: v["value"] for v in pod_of(made)["containers"][0]["env"]}
    assert found == {"FLAN_JAX_JOIN_TIMEOUT_S": "60", "A": "$$(B)"}


def test_xpks_command_has_the_same_arguments():
    train = ("--recipe=flan_t5_xl", "--gin.MODEL_DIR='/gcs/my-runs/a b'")
    notes = gke.plan(job(train=train), arguments(f"--image={IMAGE}")).notes
    start = next(i for i, note in enumerate(notes) if note.strip().startswith("xpk "))
    words = shlex.split("\n".join(notes[start:]))
    command = next(w for w in words if w.startswith("--command=")).removeprefix("--command=")
    assert shlex.split(command) == ["flan-jax", "train", *train]
    assert {"--max-restarts=50", "--termination-grace-period-seconds=300"} <= set(words)


@pytest.mark.parametrize(
    ("name", "num_slices", "argv", "message"),
    [
        ("v3-32", 1, [f"--image={IMAGE}"], "does not run on v3-32; use --target tpu-vm"),
        ("v5litepod-4", 2, [f"--image={IMAGE}"], "v5litepod-4 has one; use a larger slice"),
        ("v4-8", 1, [], "no image; give --image REGION-docker.pkg.dev/"),
        ("v4-8", 1, [f"--image={IMAGE}", "--max_restarts=-1"], "--max_restarts must be >= 0, got"),
    ],
)
def test_mistakes_get_one_line(name, num_slices, argv, message):
    with pytest.raises(errors.UsageError, match=message):
        gke.plan(job(name, num_slices), arguments(*argv))


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """A kubectl that notes its arguments, and fails with a message at a given verb."""
    calls, failure = tmp_path / "calls", tmp_path / "failure"
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\necho \"$*\" >> '{calls}'\n"
        f'case "$*" in *"$FAILING"*) cat \'{failure}\' >&2; exit 1;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("FAILING", "never")
    monkeypatch.chdir(tmp_path)

    def fail(verb, message):
        monkeypatch.setenv("FAILING", verb)
        failure.write_text(message)

    fail.calls = lambda: calls.read_text().splitlines() if calls.exists() else []
    return fail


def test_a_start_writes_the_file_and_creates_the_job(kubectl, tmp_path):
    gke.do(job(), arguments(f"--image={IMAGE}", "--namespace=team"), "start")
    assert kubectl.calls() == [
        "--namespace=team get serviceaccount flan-jax",
        "create --filename=flan-t5-xl.jobset.yaml",
    ]
    made = yaml.safe_load((tmp_path / "flan-t5-xl.jobset.yaml").read_text())
    assert made["metadata"]["namespace"] == "team"


@pytest.mark.parametrize("action", ["status", "logs", "stop", "delete"])
def test_other_actions_name_the_job(kubectl, action):
    gke.do(job(), arguments("--namespace=team", do=action), action)
    for call in kubectl.calls():
        assert call.startswith("--namespace=team ") and "flan-t5-xl" in call
    verbs = {call.split()[1] for call in kubectl.calls()}
    assert verbs == {{"status": "get", "logs": "logs"}.get(action, "delete")}


# What kubectl 1.32 and Kubernetes write.
@pytest.mark.parametrize(
    ("verb", "said", "remedy"),
    [
        (
            "serviceaccount",
            "The connection to the server localhost:8080 was refused - did you specify the right "
            "host or port?",
            "gcloud container clusters get-credentials CLUSTER",
        ),
        (
            "serviceaccount",
            'Error from server (NotFound): serviceaccounts "flan-jax" not found',
            "or give --service_account",
        ),
        (
            "serviceaccount",
            "Unable to connect to the server: getting credentials: exec: executable "
            "gke-gcloud-auth-plugin not found",
            "gcloud components install gke-gcloud-auth-plugin",
        ),
        (
            "create",
            'error: resource mapping not found for name: "x" namespace: "default" from "x.yaml": '
            'no matches for kind "JobSet" in version "jobset.x-k8s.io/v1alpha2"\n'
            "ensure CRDs are installed first",
            "this cluster has no JobSet: install 0.10.1 or newer",
        ),
        (
            "create",
            'Error from server (BadRequest): error when creating "x.yaml": JobSet in version '
            '"v1alpha2" cannot be handled as a JobSet: strict decoding error: unknown field '
            '"spec.failurePolicy.rules[0].onJobFailureMessagePatterns"',
            "too old: install 0.10.1 or newer",
        ),
        (
            "create",
            'Error from server (Forbidden): error when creating "x.yaml": jobsets.jobset.x-k8s.io '
            'is forbidden: User "me@example.com" cannot create resource "jobsets" in API group '
            '"jobset.x-k8s.io" in the namespace "default"',
            "roles/container.developer may",
        ),
        (
            "create",
            'Error from server (Forbidden): error when creating "x.yaml": jobsets.jobset.x-k8s.io '
            '"x" is forbidden: exceeded quota: jobs, requested: count/jobsets=1, used: 4, limited: '
            "count/jobsets=4",
            "or have its quota raised",
        ),
        (
            "create",
            'Error from server (AlreadyExists): error when creating "x.yaml": jobsets.jobset.x-k8s'
            '.io "flan-t5-xl" already exists',
            "look at it with --do status",
        ),
        ("create", "something else", "something else"),
    ],
)
def test_what_kubectl_says_is_explained_in_one_line(kubectl, verb, said, remedy):
    kubectl(verb, said)
    with pytest.raises(errors.FlanError) as caught:
        gke.do(job(), arguments(f"--image={IMAGE}"), "start")
    message = str(caught.value)
    assert remedy in message and "\n" not in message
    assert any(line in message for line in said.splitlines())


def test_no_kubectl_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.UsageError, match="kubectl is not installed or not on PATH"):
        gke.do(job(), arguments(do="status"), "status")


def test_the_page_shows_what_is_printed(monkeypatch, capsys):
    goldens.check_page(PAGE, monkeypatch, capsys)


def test_the_pages_volume_is_valid_and_mounts_like_a_job():
    text = re.search("```yaml\n(.*?)```", PAGE.read_text(), re.S)[1]
    volume, claim = yaml.safe_load_all(text)
    for made in (volume, claim):
        kubernetes_validate.validate(made, "1.33", strict=True)
    assert volume["metadata"]["name"] == claim["spec"]["volumeName"]
    made = next(v["csi"] for v in pod_of(manifest(job()))["volumes"] if "csi" in v)
    attributes = dict(made["volumeAttributes"])
    assert volume["spec"]["mountOptions"] == attributes.pop("mountOptions").split(",")
    attributes.pop("bucketName")
    assert volume["spec"]["csi"]["volumeAttributes"] == attributes
