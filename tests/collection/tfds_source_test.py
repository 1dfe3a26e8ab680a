# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""TFDS sources: a builder prepared here, its export as JSON lines, and the choice between them."""

import json
import os

import numpy as np
import pytest
import tensorflow_datasets as tfds

from flan_jax.collection import tfds_source
from flan_jax.collection.parsing import NOT_UTF8, Malformed
from flan_jax.collection.tfds_source import ExportedSource, FirstOf, TfdsSource
from flan_jax.core.errors import UsageError

SPLITS = {"train": "train[:-2]", "validation": "train[-2:]"}
TEXTS = ["plain", "umlaut ü", "two\nlines", "", "last but one", "last"]


class FlanJaxDemo(tfds.core.GeneratorBasedBuilder):
    """A data set with every kind of feature that the collection meets."""

    VERSION = tfds.core.Version("1.2.3")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({
                "text": tfds.features.Text(),
                "label": tfds.features.ClassLabel(names=["no", "yes"]),
                "score": np.float32,
                "choices": tfds.features.Sequence(tfds.features.Text()),
                "nested": tfds.features.Sequence(
                    {"name": tfds.features.Text(), "turns": tfds.features.Sequence(np.int32)}
                ),
            }),
        )  # fmt: skip

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i, text in enumerate(TEXTS):
            yield i, row(i, text)


def row(i: int, text: str) -> dict:
    return {
        "text": text,
        "label": i % 2,
        "score": i / 2,
        "choices": ["a", "b", "c"][: i % 3 + 1],
        "nested": [{"name": str(n), "turns": list(range(n))} for n in range(i % 3)],
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    FlanJaxDemo(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture
def data_dir(prepared, monkeypatch):
    monkeypatch.setenv(tfds_source.VARIABLE, str(prepared))
    tfds_source._builder.cache_clear()
    return prepared


def plain_rows(source, split):
    return [(index, r) for index, r in source.rows(split)]


def test_rows_are_python_values(data_dir):
    source = TfdsSource("flan_jax_demo:1.2.3", SPLITS)
    assert source.missing() is None
    found = dict(plain_rows(source, "train")) | {
        4 + i: r for i, r in plain_rows(source, "validation")
    }
    assert {r["text"] for r in found.values()} == set(TEXTS)
    for r in found.values():
        expected = row(TEXTS.index(r["text"]), r["text"])
        nested = expected.pop("nested")
        got = r.pop("nested")
        assert r == expected
        assert got["name"] == [n["name"] for n in nested]
        assert got["turns"] == [n["turns"] for n in nested]


def test_splits_are_cut_as_tfds_cuts_them(data_dir):
    source = TfdsSource("flan_jax_demo:1.2.3", SPLITS)
    assert [source.num_rows(s) for s in ("train", "validation", "test")] == [4, 2, 0]
    assert len(plain_rows(source, "train")) == 4 and len(plain_rows(source, "validation")) == 2
    assert plain_rows(source, "test") == []
    assert source.fingerprint("train") != source.fingerprint("validation")


def test_order_is_the_same_each_time(data_dir):
    source = TfdsSource("flan_jax_demo:1.2.3", {"train": "train"})
    assert plain_rows(source, "train") == plain_rows(source, "train")


def test_what_is_not_prepared_is_said_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv(tfds_source.VARIABLE, str(tmp_path))
    reason = TfdsSource("super_glue/rte:1.0.2", SPLITS).missing()
    assert str(tmp_path) in reason and "t.builder('super_glue/rte:1.0.2')" in reason


def test_text_that_is_not_utf8_is_counted():
    with pytest.raises(UnicodeDecodeError):
        tfds_source._plain({"text": b"\xff"})


def test_malformed_bytes_stand_in_their_place(data_dir, monkeypatch):
    monkeypatch.setattr(tfds, "as_numpy", lambda _: iter([{"text": b"ok"}, {"text": b"\xff"}]))
    rows = plain_rows(TfdsSource("flan_jax_demo:1.2.3", SPLITS), "train")
    assert rows[0] == (0, {"text": "ok"})
    assert rows[1] == (1, Malformed("flan_jax_demo:1.2.3 train[:-2] 1", NOT_UTF8))


def test_unknown_cut_is_refused():
    with pytest.raises(UsageError, match="train\\[:10%\\]"):
        TfdsSource("a:1.0.0", {"train": "train[:10%]"})


@pytest.fixture
def exported(tmp_path, monkeypatch):
    folder = tmp_path / "rte"
    folder.mkdir()
    lines = [json.dumps({"n": n}) for n in range(6)]
    lines[1] = "{broken"
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("DEMO_DIR", str(tmp_path))
    return folder


@pytest.mark.parametrize(
    ("cut", "indices"),
    [
        ("train", [0, 1, 2, 3, 4, 5]),
        ("train[:-2]", [0, 1, 2, 3]),
        ("train[-2:]", [4, 5]),
        ("train[2:4]", [2, 3]),
        ("train[:3]", [0, 1, 2]),
        ("train[4:]", [4, 5]),
        ("train[-20:]", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_exported_rows_are_cut_alike(exported, cut, indices):
    source = ExportedSource("$DEMO_DIR/rte", {"train": cut})
    rows = plain_rows(source, "train")
    assert [index for index, _ in rows] == indices
    for index, found in rows:
        assert isinstance(found, Malformed) if index == 1 else found == {"n": index}
    assert source.num_rows("train") == len(indices) - (1 in indices)


def test_exported_file_that_is_not_there(exported):
    source = ExportedSource("$DEMO_DIR/rte", {"train": "train", "validation": "validation[:9]"})
    assert "validation.jsonl does not exist" in source.missing()
    os.remove(exported / "train.jsonl")
    assert source.missing()


def test_the_first_source_that_is_there_is_read(exported, monkeypatch, tmp_path):
    monkeypatch.setenv(tfds_source.VARIABLE, str(tmp_path / "none"))
    first = TfdsSource("super_glue/rte:1.0.2", SPLITS)
    second = ExportedSource("$DEMO_DIR/rte", SPLITS)
    both = FirstOf((first, second))
    assert both.missing() is None
    assert both.num_rows("train") == 3
    assert both.fingerprint("train") == second.fingerprint("train")
    assert plain_rows(both, "validation") == [(4, {"n": 4}), (5, {"n": 5})]
    neither = FirstOf((first, ExportedSource("$DEMO_DIR/gone", SPLITS))).missing()
    assert "t.builder" in neither and "train.jsonl does not exist" in neither
