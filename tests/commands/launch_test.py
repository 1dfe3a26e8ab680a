# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`flan-jax launch`: nothing starts before the configuration reads and the step fits."""

import pytest

from flan_jax import main
from flan_jax.aot.worker import Worker
from flan_jax.core import errors
from flan_jax.launching import checks
from tests.aot.cases import report_of
from tests.launching import goldens

XL = (
    "launch", "--target=tpu-vm", "--slice=v4-32", "--zone=us-central2-b", "--recipe=flan_t5_xl",
    "--gin.MODEL_DIR=gs://my-runs/xl", "--gin.STORE_DIR=gs://my-runs/stores/flan2022", "--dry_run",
)  # fmt: skip
FROM = "--gin.INITIAL_CHECKPOINT_PATH=gs://my-runs/checkpoint"


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Variables that the command sets are taken back; nothing is kept in a home."""
    goldens.keep_environment(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_every_macro_that_is_not_set_is_named_at_once(capsys):
    files = ("--gin_file=models/t5_1_1/xl.gin", "--gin_file=runs/finetune.gin")
    assert main.main([*XL[:4], *files, *XL[5:]]) == errors.EXIT_USAGE
    captured = capsys.readouterr()
    for macro in ("MIXTURE_OR_TASK_NAME", "TRAIN_STEPS", "BATCH_SIZE", "VOCABULARY"):
        assert f"--gin.{macro}=" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(("gib", "code"), [(9.0, 0), (31.0, errors.EXIT_DOES_NOT_FIT)])
def test_the_step_is_compiled_for_the_slice(gib, code, capsys, monkeypatch):
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(
        Worker, "compile_step", lambda self, case, *, effort: report_of(case, effort, gib=gib)
    )
    assert main.main([*XL, FROM]) == code
    captured = capsys.readouterr()
    if code:
        assert captured.out == ""
        assert "flan_t5_xl needs 31.00 GiB or more a device of v4-32" in captured.err
    else:
        assert "# memory: a step takes 9.00 GiB of the 30.75 GiB" in captured.out


def test_buckets_that_only_gin_files_name_are_mounted_too(capsys, tmp_path):
    own = tmp_path / "own.gin"
    own.write_text("VOCABULARY = '/gcs/my-words/spm.model'\n")
    assert main.main([*XL, FROM, f"--gin_file={own}", "--no_compile"]) == 0
    out = capsys.readouterr().out.replace("\\\n  ", "")
    assert "install --bucket=my-runs --bucket=my-words " in out
    assert f"gcloud storage cp {own} gs://my-runs/xl/gin/own.gin\n" in out


def test_gin_files_of_one_name(capsys, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.gin").touch()
    files = [f"--gin_file={tmp_path}/{folder}/own.gin" for folder in ("a", "b")]
    assert main.main([*XL, FROM, *files]) == errors.EXIT_USAGE
    assert "two Gin files are called own.gin; rename one" in capsys.readouterr().err


def test_an_action_needs_no_configuration(capsys):
    words = ("launch", "--target=tpu-vm", "--zone=z", "--name=xl", "--do=status", "--dry_run")
    assert main.main(words) == 0
    assert "queued-resources describe xl --zone=z" in capsys.readouterr().out
