# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Natural-Instructions files from TFDS: a builder prepared here becomes a folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from flan_jax.collection import tfds_source
from flan_jax.collection.rendering import render_task
from flan_jax.core.errors import DataError
from tasks import niv2, niv2_from_tfds

ROOT = Path(__file__).resolve().parents[2]
TASKS = ("task001_quoref_question_generation", "task074_squad1.1_question_generation")
NUM_ROWS = 30


# Not registered: TFDS's own builder of the name reads what this one prepares.
class NaturalInstructions(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The features of TFDS's natural_instructions, with rows of two tasks."""

    VERSION = tfds.core.Version("1.0.1")

    def _info(self):
        names = ("definition", "id", "input", "output", "source", "task_name")
        features = {name: tfds.features.Text() for name in names}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield from enumerate(rows())


def rows():
    """Yields the rows of both tasks in turn, and a second output of the first instance."""
    for i in range(NUM_ROWS):
        for task in TASKS:
            yield row(task, i, f"output {i}")
    yield row(TASKS[0], 0, "other")


def row(task, i, output):
    return {
        "definition": f"Do {task}.",
        "id": f"{task}-{i:02}",
        "input": f"Grüße,\n\u2028{i}",
        "output": output,
        "source": "demo",
        "task_name": task,
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    NaturalInstructions(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture(autouse=True)
def data_dir(prepared, monkeypatch):
    monkeypatch.setenv(tfds_source.VARIABLE, str(prepared))
    tfds_source._builder.cache_clear()
    yield prepared
    tfds_source._builder.cache_clear()


def hold(monkeypatch, held):
    """Makes TFDS give other rows; a lone surrogate stands for a byte that is no UTF-8."""
    encoded = [{k: v.encode("utf-8", "surrogateescape") for k, v in r.items()} for r in held]
    monkeypatch.setattr(tfds, "as_numpy", lambda _: iter(encoded))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_every_task_becomes_a_file_with_all_its_rows(tmp_path, capsys):
    assert niv2_from_tfds.main(["--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert said.out.endswith(f"2 tasks; to use them: export FLAN_JAX_NIV2_DIR={tmp_path}\n")
    assert "read: 61/61" in said.err and "write: 2/2" in said.err
    assert sorted(contents(tmp_path)) == [f"{task}.json" for task in TASKS]
    for task in TASKS:
        written = json.loads((tmp_path / f"{task}.json").read_text("utf-8"))
        instances = [row(task, i, [f"output {i}"]) for i in range(NUM_ROWS)]
        if task == TASKS[0]:
            instances[0]["output"] = ["other", "output 0"]
        assert written == {
            "Source": ["demo"],
            "Definition": [f"Do {task}."],
            "Positive Examples": [],
            "Negative Examples": [],
            "Instances": [{key: i[key] for key in ("id", "input", "output")} for i in instances],
        }


def test_files_depend_neither_on_order_nor_on_the_buffer(tmp_path, monkeypatch):
    niv2_from_tfds.write_folder(tmp_path / "a")
    niv2_from_tfds.write_folder(tmp_path / "b", buffer_size=1)
    hold(monkeypatch, reversed(list(rows())))
    niv2_from_tfds.write_folder(tmp_path / "c")
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


def test_folder_renders_definitions_and_pairs_of_exemplars(tmp_path, monkeypatch):
    niv2_from_tfds.write_folder(tmp_path)
    monkeypatch.setenv(niv2.VARIABLE, str(tmp_path))
    spec = niv2.released_spec("niv2.task074_squad1.1_question_generation")
    rendered = list(render_task(spec, "train", 0))
    assert len(rendered) == NUM_ROWS - 3
    assert {r.meta["num_shots"] for r in rendered} == {0, 2}


def test_failed_run_leaves_no_file_and_the_next_one_is_whole(tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        hold(patch, [row(TASKS[0], 0, "output"), row("../escaped", 0, "output")])
        with pytest.raises(DataError, match="task name '../escaped' can be no file name"):
            niv2_from_tfds.write_folder(out, buffer_size=1)
    assert contents(out) == {}
    killed = out / niv2_from_tfds._SPOOL / f"{TASKS[0]}.jsonl"
    killed.parent.mkdir()
    killed.write_text('["left", "by a killed run", ""]\n')
    niv2_from_tfds.write_folder(out)
    niv2_from_tfds.write_folder(tmp_path / "clean")
    assert contents(out) == contents(tmp_path / "clean")


def test_malformed_rows_are_counted(tmp_path, monkeypatch, capsys):
    hold(monkeypatch, [row(TASKS[0], 0, "output"), row(TASKS[1], 0, "\udcff")])
    assert niv2_from_tfds.write_folder(tmp_path) == 1
    assert "left out 1 rows that are not UTF-8 text" in capsys.readouterr().err


def test_module_runs_and_says_what_to_prepare(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "tasks.niv2_from_tfds", "--out", str(tmp_path / "out")],
        env={"PATH": "", tfds_source.VARIABLE: str(tmp_path)},
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 2
    assert "natural_instructions:1.0.1 is not prepared" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
