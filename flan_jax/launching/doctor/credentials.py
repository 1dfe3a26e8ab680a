# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""May this machine start jobs elsewhere, and read buckets? Whether, not with which secrets.

Nothing is asked over the network but Google's metadata server, on Google's machines only.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from flan_jax.launching.doctor.findings import Finding, ok, problem, warning

TIMEOUT_S = 20  # gcloud takes some seconds to start
_ADC_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_LOGIN = "gcloud auth login"
# Scopes of a machine that let it write to buckets.
_WRITING = ("cloud-platform", "devstorage.read_write", "devstorage.full_control")
_METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/"


@dataclasses.dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str = ""


Run = Callable[[Sequence[str]], Said | None]  # None: there is no such command, or no answer


def run(argv: Sequence[str], environment: Mapping[str, str] = os.environ) -> Said | None:
    """Runs a command; None if it is not there or does not end in time."""
    program = shutil.which(argv[0], path=environment.get("PATH"))
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *argv[1:]],
            env={**environment, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return Said(-1, "", str(error))
    return Said(done.returncode, done.stdout, done.stderr)


def gcloud(run: Run) -> Iterator[Finding]:
    """Says whether gcloud is there and whom it works for."""
    said = run(("gcloud", "auth", "list", "--format=json"))
    if said is None:
        yield ok("gcloud is not installed; only launch --target tpu-vm and gke need it")
        return
    if said.code:
        yield warning(f"gcloud auth list failed: {_last(said.err)}", "see that gcloud works")
        return
    accounts = json.loads(said.out or "[]")
    active = [a["account"] for a in accounts if a.get("status") == "ACTIVE"]
    if not active:
        yield warning("gcloud has no active account: it starts nothing on Google Cloud", _LOGIN)
        return
    project = run(("gcloud", "config", "get-value", "project"))
    name = project.out.strip() if project is not None and not project.code else ""
    if name in ("", "(unset)"):
        yield warning(
            f"gcloud works for {active[0]}, with no project", "gcloud config set project PROJECT"
        )
    else:
        yield ok(f"gcloud works for {active[0]}, project {name}")


def application_default(environment: Mapping[str, str], home: Path) -> Iterator[Finding]:
    """Says whether Google's libraries find credentials, as a file of this user or of a service."""
    if given := environment.get(_ADC_VARIABLE):
        if Path(given).is_file() and os.access(given, os.R_OK):
            yield ok(f"Application Default Credentials: {given}, by {_ADC_VARIABLE}")
        else:
            yield problem(
                f"{_ADC_VARIABLE} is {given}, which cannot be read", f"unset {_ADC_VARIABLE}"
            )
        return
    folder = Path(environment.get("CLOUDSDK_CONFIG") or home / ".config" / "gcloud")
    file = folder / "application_default_credentials.json"
    if file.is_file():
        yield ok(f"Application Default Credentials: {file}")
    else:
        yield ok(
            "Application Default Credentials: none (off Google Cloud, reading gs:// needs them: "
            "gcloud auth application-default login)"
        )


def service_account(product: str, fetch: Callable[[str], str]) -> Iterator[Finding]:
    """Says which service account a machine of Google Cloud has, and whether it may use buckets.

    Args:
        product: what the firmware says the machine is.
        fetch: asks the metadata server.
    """
    if "Google" not in product:
        return
    try:
        email, scopes = fetch(f"{_METADATA}email").strip(), fetch(f"{_METADATA}scopes").split()
    except OSError as error:
        yield warning(
            f"this machine is Google's, and its metadata server does not answer ({error})",
            "see that the machine has a service account and that no proxy takes the request",
        )
        return
    enough = any(scope.rpartition("/")[2] in _WRITING for scope in scopes)
    if enough:
        yield ok(f"service account {email} of this machine: its scopes allow writing to buckets")
    else:
        yield problem(
            f"service account {email} of this machine lacks the scope to write to buckets",
            "create the machine with --scopes=cloud-platform",
        )


def kubectl(run: Run) -> Iterator[Finding]:
    """Says which cluster kubectl works on."""
    said = run(("kubectl", "config", "current-context"))
    if said is None:
        yield ok("kubectl is not installed; only launch --target gke needs it")
    elif said.code or not said.out.strip():
        yield ok(
            "kubectl has no cluster (for --target gke: gcloud container clusters get-credentials)"
        )
    else:
        yield ok(f"kubectl works on {said.out.strip()}")


def product_name(file: Path = Path("/sys/class/dmi/id/product_name")) -> str:
    """Returns what the firmware says this machine is; "" if it does not."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def from_metadata_server(url: str) -> str:
    """Asks the metadata server, past any proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
    with opener.open(request, timeout=2) as answer:
        return answer.read(1 << 16).decode()


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
