# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The README shows what each launch prints."""

from flan_jax.launching import shipped
from tests.launching import goldens
from tests.launching.fake_gcloud import FakeGcloud


def test_each_dry_run_is_real(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(shipped.checkout())
    FakeGcloud(tmp_path, monkeypatch)  # and this Python is first on PATH
    goldens.check_page(shipped.checkout() / "README.md", monkeypatch, capsys)
