# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Text corpora as tasks: both readers agree, no token is lost, and bad files are named."""

import json

import numpy as np
import pytest
import seqio

from flan_jax.collection import build, registry
from flan_jax.collection.vocabularies import load_vocabulary
from flan_jax.core.errors import DataError, IncompleteError, UsageError
from flan_jax.data import corpus, corruption
from tasks import corpus as tasks_corpus

VARIABLE = "FLAN_JAX_TEST_CORPUS_DIR"
NAME = "test_corpus"
LENGTHS = {"inputs": 40, "targets": 30}
SEED = 3
TEXTS = {
    "train": [f"Document {i} says: {'word ' * (i % 7)}end." for i in range(30)],
    "validation": ["One of them.", "Another,\nof two lines."],
}
TOKENS = load_vocabulary("bytes")


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The test's own corpus, under every denoiser, known to no other test."""
    for kind in (seqio.TaskRegistry, seqio.MixtureRegistry):
        monkeypatch.setattr(kind, "_REGISTRY", dict(kind._REGISTRY))
    registry.use_vocabulary("bytes")
    tasks_corpus.register(NAME, corpus.FolderDocuments(VARIABLE))
    yield
    registry.use_vocabulary("bytes")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with JSON lines for one split and plain text for the other."""
    rows = [json.dumps({"text": text, "url": "x"}) for text in TEXTS["train"]]
    (tmp_path / "train.jsonl").write_text("\n".join(rows))
    (tmp_path / "validation.txt").write_text("\n\n\n".join(TEXTS["validation"]) + "\n")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def built(name, tmp_path, seed=SEED, lengths=LENGTHS):
    return build.build(
        mixture=name, out=tmp_path / "store", vocabulary="bytes", feature_lengths=lengths, seed=seed
    )


def pairs(store, task, split):
    """[(inputs, targets)] of the store, with EOS."""
    rows = store.task(task, split)
    ends = np.cumsum(rows.input_lengths + rows.target_lengths)
    flat = store.gather(
        split, [task], np.zeros(rows.num_examples, int),
        ends - rows.input_lengths - rows.target_lengths, rows.input_lengths + rows.target_lengths,
    )  # fmt: skip
    both = np.split(flat, ends[:-1])
    return [
        (row[:n].tolist(), row[n:].tolist())
        for row, n in zip(both, rows.input_lengths, strict=True)
    ]


def restored(task, inputs, targets):
    """The text's tokens in a pair, EOS and mode left out."""
    denoiser = next(d for d in tasks_corpus.DENOISERS if task == f"{NAME}.{d.name}")
    mode = TOKENS.encode(denoiser.mode)
    assert inputs[: len(mode)] == mode and inputs[-1] == targets[-1] == TOKENS.eos_id
    inputs, targets = inputs[len(mode) : -1], targets[:-1]
    if denoiser.kind != corruption.SPANS:
        return inputs + targets
    noise = {}
    for token in targets:
        if token >= TOKENS.size - 125:
            noise[sentinel := token] = []
        else:
            noise[sentinel].append(token)
    return [piece for token in inputs for piece in noise.get(token, [token])]


@pytest.mark.parametrize(
    "name", ["span_corruption", "prefix_lm", "ul2r", "ul2_s_25", "ul2_x_mean8_50"]
)
def test_both_readers_give_the_same_pairs_and_the_whole_text(name, folder, tmp_path):
    store = built(f"{NAME}.{name}", tmp_path)
    for split, texts in TEXTS.items():
        text = [token for text in texts for token in TOKENS.encode(text)]
        for task in store.tasks(split):
            stored = pairs(store, task, split)
            read = seqio.get_mixture_or_task(task).get_dataset(
                LENGTHS, split, shuffle=False, seed=SEED
            )
            theirs = [
                (e["inputs"].tolist(), e["targets"].tolist()) for e in read.as_numpy_iterator()
            ]
            assert stored == theirs
            assert [t for pair in stored for t in restored(task, *pair)] == text


def test_mixtures_have_the_shares_of_the_papers(folder):
    members = registry.mixture_members(f"{NAME}.ul2r")
    assert members == {
        f"{NAME}.ul2r_s": 0.5,
        f"{NAME}.ul2r_r_mean3_15": 0.25,
        f"{NAME}.ul2r_x_mean32_15": 0.125,
        f"{NAME}.ul2r_x_mean3_50": 0.125,
    }
    assert set(registry.mixture_members(f"{NAME}.ul2").values()) == {1 / 7}


def test_pairs_change_with_seed_and_text_and_are_kept_otherwise(folder, tmp_path):
    task = f"{NAME}.span_corruption"
    first = built(task, tmp_path)
    entry = first.manifest["tasks"][task]
    assert built(task, tmp_path).manifest["tasks"][task] == entry
    other = built(task, tmp_path, seed=SEED + 1)
    assert other.manifest["tasks"][task]["train"]["key"] != entry["train"]["key"]
    (folder / "validation.txt").write_text("Other text.")
    changed = built(task, tmp_path).manifest["tasks"][task]
    assert changed["train"] == entry["train"]
    assert changed["validation"]["key"] != entry["validation"]["key"]


def test_a_pair_is_another_in_the_next_chunk_of_the_same_text(tmp_path, monkeypatch):
    text = "abcdefgh" * 40
    (tmp_path / "train.txt").write_text(text)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    task = f"{NAME}.span_corruption"
    stored = pairs(built(task, tmp_path), task, "train")
    assert len({tuple(inputs) for inputs, _ in stored}) > len(stored) / 2


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        pytest.param("train.jsonl", b'{"text": "a"}\n{"txt": 1}\n', "train.jsonl:2: no text under",
                     id="no text"),
        pytest.param("train.jsonl", b'{"text": \n', "train.jsonl:1: not valid JSON", id="no JSON"),
        pytest.param("train.txt", b"good\n\n\xff\n", "train.txt:3: ", id="not UTF-8"),
    ],
)  # fmt: skip
def test_a_document_that_cannot_be_read_is_named(name, content, told, tmp_path, monkeypatch):
    (tmp_path / name).write_bytes(content)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    documents = corpus.FolderDocuments(VARIABLE)
    with pytest.raises(DataError, match=told):
        list(documents.texts("train"))
    with pytest.raises(IncompleteError, match=told):
        built(f"{NAME}.span_corruption", tmp_path)


def test_where_no_corpus_is_it_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    documents = corpus.FolderDocuments(VARIABLE)
    with pytest.raises(UsageError, match=f"set the environment variable {VARIABLE}"):
        documents.splits()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(UsageError, match=r"no train\.jsonl or train\.txt or validation"):
        documents.splits()
    (tmp_path / "train.txt").touch()
    (tmp_path / "train.jsonl").touch()
    with pytest.raises(UsageError, match=r"both .*train\.jsonl and train\.txt; remove one"):
        documents.texts("train")


def test_lengths_are_asked_for(folder):
    task = seqio.get_mixture_or_task(f"{NAME}.prefix_lm")
    with pytest.raises(UsageError, match="name the sequence lengths"):
        task.get_dataset(None, "train", shuffle=False)


def test_lengths_without_room_are_refused(folder, tmp_path):
    with pytest.raises(IncompleteError, match="no text has room in 40 tokens of inputs and 2 of"):
        built(f"{NAME}.span_corruption", tmp_path, lengths={"inputs": 40, "targets": 2})


def test_the_embedded_corpus_takes_a_prompt_of_each_training_task_in_turn(monkeypatch):
    monkeypatch.setattr(tasks_corpus, "NUM_MINI_DOCUMENTS", {"validation": 1})
    tasks_corpus.mini_documents.cache_clear()
    texts = tasks_corpus.mini_documents("validation")
    tasks_corpus.mini_documents.cache_clear()
    assert len(texts) == 128 and len(set(texts)) > 100
    names = registry.mixture_members("mini_corpus.ul2r")
    assert len(names) == 4


def test_the_same_registered_again_changes_nothing():
    documents = corpus.FolderDocuments(VARIABLE)
    again = corpus.add_task(f"{NAME}.prefix_lm", documents, corruption.PREFIX_LM)
    assert again is seqio.TaskRegistry.get(f"{NAME}.prefix_lm")
