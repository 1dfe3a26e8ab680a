# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Credentials: whether there are some, from stand-ins of gcloud, kubectl and Google's machines."""

import json
import os
from pathlib import Path

import pytest

from flan_jax.launching.doctor import credentials
from flan_jax.launching.doctor.credentials import Said

ACTIVE = json.dumps([{"account": "a@b.c", "status": ""}, {"account": "me@b.c", "status": "ACTIVE"}])


def answering(**said):
    """Returns a `Run` that answers by the third word of a command."""
    return lambda argv: said.get(argv[2].replace("-", "_"))


def only(findings):
    [found] = findings
    return found.level, found.text, found.remedy


@pytest.mark.parametrize(
    ("said", "level", "text"),
    [
        ({}, "ok", "gcloud is not installed"),
        ({"list": Said(1, "", "a\nERROR: broken\n")}, "warning", "failed: ERROR: broken"),
        ({"list": Said(-1, "", "")}, "warning", "no reason given"),
        ({"list": Said(0, "[]")}, "warning", "no active account"),
        ({"list": Said(0, ACTIVE)}, "warning", "for me@b.c, with no project"),
        ({"list": Said(0, ACTIVE), "get_value": Said(0, "(unset)\n")}, "warning", "no project"),
        ({"list": Said(0, ACTIVE), "get_value": Said(0, "mine\n")}, "ok", "me@b.c, project mine"),
    ],
)
def test_gcloud(said, level, text):
    found = only(credentials.gcloud(answering(**said)))
    assert found[0] == level and text in found[1] and bool(found[2]) == (level != "ok")


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({}, "kubectl is not installed"),
        ({"current_context": Said(1, "")}, "kubectl has no cluster"),
        ({"current_context": Said(0, "gke_mine\n")}, "kubectl works on gke_mine"),
    ],
)
def test_kubectl(said, text):
    level, told, _ = only(credentials.kubectl(answering(**said)))
    assert level == "ok" and text in told


def test_application_default_credentials(tmp_path):
    def look(**environment):
        return only(credentials.application_default(environment, tmp_path))

    assert "none" in look()[1]
    file = tmp_path / ".config" / "gcloud" / "application_default_credentials.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    assert look()[:2] == ("ok", f"Application Default Credentials: {file}")
    assert "none" in look(CLOUDSDK_CONFIG=str(tmp_path))[1]
    assert look(GOOGLE_APPLICATION_CREDENTIALS=str(file))[0] == "ok"
    level, text, remedy = look(GOOGLE_APPLICATION_CREDENTIALS="/not/there.json")
    assert level == "problem" and "/not/there.json" in text and remedy.startswith("unset")


def test_the_service_account_of_googles_machines_only():
    def fetch(scopes):
        return lambda url: "tpu@mine.com\n" if url.endswith("/email") else scopes

    def refuse(url):
        raise OSError("timed out")

    assert list(credentials.service_account("PowerEdge R740", refuse)) == []
    product = "Google Compute Engine"
    level, text, _ = only(credentials.service_account(product, refuse))
    assert level == "warning" and "does not answer (timed out)" in text
    scopes = "https://www.googleapis.com/auth/cloud-platform\n"
    level, text, _ = only(credentials.service_account(product, fetch(scopes)))
    assert level == "ok" and "tpu@mine.com" in text
    scopes = "https://www.googleapis.com/auth/devstorage.read_only\n"
    level, _, remedy = only(credentials.service_account(product, fetch(scopes)))
    assert level == "problem" and "--scopes=cloud-platform" in remedy


def test_commands_are_run_and_may_be_missing_or_hang(tmp_path, monkeypatch):
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    assert credentials.run(["a-tool-of-nobody"], environment) is None

    def tool(text):
        path = tmp_path / "a-tool"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    tool('echo "$1 $CLOUDSDK_CORE_DISABLE_PROMPTS"; echo no >&2; exit 3')
    assert credentials.run(["a-tool", "x y"], environment) == Said(3, "x y 1\n", "no\n")
    tool("exec sleep 60")
    monkeypatch.setattr(credentials, "TIMEOUT_S", 0.1)
    said = credentials.run(["a-tool"], environment)
    assert said.code == -1 and "timed out" in said.err


def test_what_the_firmware_says(tmp_path):
    (tmp_path / "name").write_text("Google Compute Engine\n")
    assert credentials.product_name(tmp_path / "name") == "Google Compute Engine"
    assert credentials.product_name(Path("/not/there")) == ""
