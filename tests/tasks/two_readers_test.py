# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The builder and SeqIO give the same examples of registered tasks, for each kind of source."""

import json

import numpy as np
import pytest
import seqio
import tensorflow_datasets as tfds

import tasks.mixtures  # noqa: F401 - registers
from flan_jax.collection import build, registry, tfds_source
from tasks.muffin import declaring, inference
from tests.tasks import family_data

LENGTHS = {"inputs": 700, "targets": 100}
SEED = 3
TFDS_TASK = "muffin.two_readers_rte"


class TwoReadersRte(tfds.core.GeneratorBasedBuilder):
    """Rows with the fields of super_glue/rte."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({
                "premise": tfds.features.Text(),
                "hypothesis": tfds.features.Text(),
                "label": tfds.features.ClassLabel(names=["entailment", "not_entailment"]),
                "idx": np.int32,
            }),
        )  # fmt: skip

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(60):
            yield i, {"premise": f"It is {i}.", "hypothesis": f"No {i}", "label": i % 2, "idx": i}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Data of every kind, and the variables that name it."""
    folder = tmp_path_factory.mktemp("families")
    tfds.disable_progress_bar()
    TwoReadersRte(data_dir=folder / "tfds").download_and_prepare()
    return family_data.write(folder) | {tfds_source.VARIABLE: str(folder / "tfds")}


@pytest.fixture(autouse=True)
def data(folders, monkeypatch, tmp_path):
    family_data.forget(monkeypatch, tmp_path)
    for variable, place in folders.items():
        monkeypatch.setenv(variable, place)
    tfds_source._builder.cache_clear()
    registry.add_task(
        declaring.task(
            "two_readers_rte", "two_readers_rte:1.0.0", inference.rte, train="train[:-20]",
            validation="train[-20:]", category="", group="rte", options=True,
        )
    )  # fmt: skip
    registry.use_vocabulary("bytes")
    yield
    registry.use_vocabulary("bytes")


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(TFDS_TASK, id="TFDS builder"),
        pytest.param("muffin.bool_q", id="exported JSON lines"),
        pytest.param(f"t0_sf.{family_data.P3_TASK}", id="P3 rows"),
        pytest.param(f"niv2.{family_data.NIV2_TASK}", id="Natural-Instructions JSON"),
        pytest.param("cot.gsm8k", id="CoT TSV"),
        pytest.param("cot.gsm8k_input_inversion", id="inverted twin"),
        pytest.param("program_synthesis.dr_repair_plain_code", id="two-column TSV"),
        pytest.param("dialog.task_master", id="Taskmaster JSON"),
        pytest.param("mini.muffin.thing_done", id="generated"),
    ],
)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_both_readers_give_the_same_examples(task, split, tmp_path):
    store = build.build(
        mixture=task, out=tmp_path / "store", vocabulary="bytes", feature_lengths=LENGTHS,
        seed=SEED, splits=(split,),
    ).task(task, split)  # fmt: skip
    dataset = seqio.get_mixture_or_task(task).get_dataset(LENGTHS, split, shuffle=False, seed=SEED)
    theirs = list(dataset.as_numpy_iterator())
    assert len(theirs) == store.num_examples > 0
    for i, (example, text) in enumerate(zip(theirs, store.texts(), strict=True)):
        inputs, targets = store.example(i)
        assert example["inputs"].tolist() == inputs.tolist()
        assert example["targets"].tolist() == targets.tolist()
        assert example["inputs_pretokenized"].decode() == text["inputs"]
        assert [r.decode() for r in example["references"]] == text["references"]
        assert json.loads(example["meta"]) == text["meta"] and example["index"] == text["index"]


@pytest.mark.parametrize("task", [TFDS_TASK, "muffin.bool_q"])
def test_seqio_evaluator_scores_a_registered_task(task):
    evaluator = seqio.Evaluator(
        task,
        feature_converter=seqio.EncDecFeatureConverter(pack=False),
        eval_split="validation",
        sequence_length=LENGTHS,
        logger_cls=[],
    )
    examples = list(evaluator.cached_task_datasets[task].as_numpy_iterator())
    right = [example["targets"].tolist() for example in examples]

    def score(predictions):
        padded = [ids + [0] * (LENGTHS["targets"] - len(ids)) for ids in predictions]
        found, _ = evaluator.evaluate(
            compute_metrics=True, step=0, predict_fn=lambda dataset: list(enumerate(padded))
        )
        return found.result()[task]["accuracy"]

    assert score(right) == 100.0
    wrong = registry.VOCABULARY.encode("none of these")
    assert score([wrong for _ in right]) == 0.0
    half = [ids if i % 2 else wrong for i, ids in enumerate(right)]
    assert score(half) == pytest.approx(100.0 * (len(right) // 2) / len(right))
