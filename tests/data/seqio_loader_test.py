# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Batches straight from SeqIO: its own, shared by hosts, and read again to go on."""

import json

import numpy as np
import pytest
import seqio
import tensorflow as tf

from flan_jax.collection.vocabularies import load_vocabulary
from flan_jax.core.errors import UsageError
from flan_jax.data import packing, seqio_loader
from flan_jax.data.seqio_loader import SeqioInput, open_train
from tests.data.batches import assert_equal

NAME = "seqio_loader_test.plain"
LENGTHS = {"inputs": 24, "targets": 12}
MINI = "package:tasks/mini/vocabulary/sentencepiece.model"


def rows(split, shuffle_files=False, seed=None):
    numbers = tf.data.Dataset.range(50)
    return numbers.map(
        lambda n: {
            "inputs": tf.strings.join(["in ", tf.strings.as_string(n)]),
            "targets": tf.strings.join(["t", tf.strings.as_string(n)]),
        }
    )


@pytest.fixture(autouse=True, scope="module")
def task():
    features = {
        name: seqio.Feature(vocabulary=load_vocabulary("bytes").seqio, add_eos=True)
        for name in ("inputs", "targets")
    }
    seqio.TaskRegistry.add(
        NAME,
        source=seqio.FunctionDataSource(rows, splits=["train"], num_input_examples={"train": 50}),
        preprocessors=[
            seqio.preprocessors.tokenize,
            seqio.CacheDatasetPlaceholder(),
            seqio.preprocessors.append_eos,
        ],
        output_features=features,
    )
    yield
    seqio.TaskRegistry.remove(NAME)


def config(**changes) -> SeqioInput:
    given = {"mixture": NAME, "batch_size": 4, "feature_lengths": LENGTHS, "vocabulary": "bytes"}
    return SeqioInput(**given | changes)


def take(iterator, num: int) -> list[dict]:
    return [next(iterator) for _ in range(num)]


@pytest.mark.parametrize("pack", [True, False])
def test_batches_are_seqios_own_with_the_features_of_a_store(pack):
    expected = seqio.get_dataset(
        NAME, LENGTHS, seqio.EncDecFeatureConverter(pack=pack), dataset_split="train",
        shuffle=True, num_epochs=None, seed=0, batch_size=4,
    ).as_numpy_iterator()  # fmt: skip
    with open_train(config(pack=pack)) as batches:
        for batch in take(batches, 5):
            assert set(batch) == {*packing.ENCODER_FEATURES, *packing.DECODER_FEATURES}
            for name, value in next(expected).items():
                np.testing.assert_array_equal(batch[name], value, err_msg=name)
            assert not batch["decoder_task_ids"].any()


def test_an_unpacked_row_is_one_segment():
    with open_train(config(pack=False)) as batches:
        batch = next(batches)
    for side, tokens in (("encoder", "encoder_input_tokens"), ("decoder", "decoder_target_tokens")):
        there = batch[tokens] != 0
        np.testing.assert_array_equal(batch[f"{side}_segment_ids"], there)
        for row, length in zip(batch[f"{side}_positions"], there.sum(axis=1), strict=True):
            assert row[:length].tolist() == list(range(length)) and not row[length:].any()


def test_hosts_share_the_batch_of_one_host():
    whole = take(open_train(config()), 3)
    parts = [take(open_train(config(), process_index=i, process_count=2), 3) for i in range(2)]
    joined = [
        {name: np.concatenate([part[name] for part in pair]) for name in pair[0]}
        for pair in zip(*parts, strict=True)
    ]
    assert_equal(joined, whole)


def test_a_saved_state_goes_on_exactly(capsys):
    first = open_train(config())
    take(first, 4)
    state = first.state()
    expected = take(first, 3)
    going_on = open_train(config(), state)
    assert_equal(take(going_on, 3), expected)
    assert "reading again the 4 batches" in capsys.readouterr().err
    assert going_on.state() == first.state()
    assert going_on.report()["examples"] == first.report()["examples"]


def test_the_report_counts_examples_and_fill():
    batches = open_train(config(pack=False))
    take(batches, 2)
    report = batches.report()
    assert report["examples"] == {NAME: 8} and report["shares"] == {NAME: 1.0}
    assert report["epochs"] == {} and 0 < report["fill"]["targets"] < 1


@pytest.mark.parametrize("changes", [{"seed": 1}, {"batch_size": 8}, {"pack": False}])
def test_a_state_of_another_input_is_refused(changes):
    state = open_train(config()).state()
    with pytest.raises(UsageError, match=f"made with {next(iter(changes))}"):
        open_train(config(**changes), state)


def test_a_state_of_a_store_is_refused():
    with pytest.raises(UsageError, match="none of a SeqIO input"):
        open_train(config(), {"format": 1, "window": 3, "row": 2})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixture": "seqio_loader_test.plan"}, "did you mean 'seqio_loader_test.plain'"),
        ({"batch_size": 0}, "batch_size must be > 0"),
        ({"vocabulary": MINI}, "are tokens of another vocabulary"),
        ({"feature_lengths": {"inputs": 3}}, "must be of 'inputs' and 'targets'"),
        ({"use_cached": True, "cache_dirs": ("/none",)}, "1 of 1 tasks are in no SeqIO cache"),
    ],
)
def test_what_cannot_be_read_is_said(changes, message):
    with pytest.raises(UsageError, match=message):
        open_train(config(**changes))


def test_an_offline_cache_of_seqio_is_read(tmp_path):
    folder = tmp_path / NAME
    folder.mkdir()
    names = ("inputs", "targets")
    features = {name: {"shape": [None], "dtype": "int32"} for name in names}
    info = {"num_shards": 1, "seqio_version": seqio.__version__, "features": features}
    (folder / "info.train.json").write_text(json.dumps(info))
    (folder / "stats.train.json").write_text(json.dumps({"examples": 3}))
    with tf.io.TFRecordWriter(str(folder / "train.tfrecord-00000-of-00001")) as writer:
        for n in range(3):
            values = {"inputs": [100 + n] * 5, "targets": [200 + n]}
            lists = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=value))
                for name, value in values.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=lists))
            writer.write(example.SerializeToString())
    (folder / "COMPLETED").write_text("")
    cached = config(use_cached=True, cache_dirs=(str(tmp_path),), pack=False, batch_size=3)
    seen = set()
    for batch in take(open_train(cached), 20):
        inputs, targets = batch["encoder_input_tokens"], batch["decoder_target_tokens"]
        seen |= set(zip(inputs[:, 0].tolist(), targets[:, 0].tolist(), strict=True))
        assert targets[:, 1].tolist() == [1, 1, 1]
    assert seen == {(100, 200), (101, 201), (102, 202)}


def test_hosts_must_divide_the_batch():
    with pytest.raises(UsageError, match="cannot be shared by 3 processes"):
        open_train(config(), process_count=3)


def test_the_configuration_is_hashable():
    assert hash(config()) == hash(config())
    assert seqio_loader.SeqioInput.MAY_CHANGE == ("cache_dirs",)
