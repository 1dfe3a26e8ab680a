# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The SeqIO way and the builder's way give the same examples; SeqIO's tools work on them."""

import json

import numpy as np
import pytest
import seqio

from flan_jax.collection import registry, spec, vocabularies
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.rendering import Rendered, render_task
from flan_jax.collection.sources import CotTsvSource, GeneratedSource, NaturalInstructionsSource
from flan_jax.core.errors import UsageError

LENGTHS = {"inputs": 90, "targets": 8}
COLOURS = ["red", "green", "blue", "grey"]
TEMPLATES = TemplateGroup(
    inline=tuple(
        json.dumps({"id": f"t{i}"} | row)
        for i, row in enumerate(
            [
                {"input": "{question}\n{options}", "target": "{answer}"},
                {"input": "{question}", "target": "{answer}", "target_prefix": "A: "},
            ]
        )
    )
)


@pytest.fixture(autouse=True)
def own_registries(monkeypatch):
    """Gives each test SeqIO registries of its own, reading bytes."""
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    monkeypatch.setattr(registry.VOCABULARY, "name", "bytes")


def make_row(split, index):
    return {"n": index}


def map_row(row):
    text = "x" * (row["n"] % 97)
    return {"question": f"{text} {row['n']}?", "answer": COLOURS[row["n"] % 4], "options": COLOURS}


def map_instruction(row):
    return {"question": row["input"], "answer": row["outputs"], "options": None}


def first_letter(text, example=None, is_target=False):
    return text[:1]


def exact(targets, predictions):
    pairs = zip(targets, predictions, strict=True)
    hits = [p in t if isinstance(t, list) else p == t for t, p in pairs]
    return {"exact": 100.0 * float(np.mean(hits))}


def generated(name="made", **changes):
    return spec.TaskSpec(
        name=name,
        family="own",
        source=GeneratedSource(make_row, {"train": 150, "validation": 12}),
        fields=map_row,
        templates=TEMPLATES,
        settings=tuple((s, 1.0) for s in spec.SETTINGS),
        metrics=(exact,),
        **changes,
    )


def instructions(tmp_path):
    instances = [
        {"input": f"word {i} {'y' * (3 * i % 101)}", "output": [f"a{i}", "b"]} for i in range(60)
    ]
    task = {"Definition": ["Do."], "Positive Examples": [], "Instances": instances}
    path = tmp_path / "task001_demo.json"
    path.write_text(json.dumps(task))
    return spec.TaskSpec(
        name="niv2.task001_demo",
        family="niv2",
        source=NaturalInstructionsSource(str(path)),
        fields=map_instruction,
        templates=TEMPLATES,
        settings=((spec.ZS_OPT, 0.5), (spec.FS_OPT, 0.5)),
        splits=("train",),
        metrics=(exact,),
    )


@pytest.mark.parametrize("kind", ["generated", "instructions"])
@pytest.mark.parametrize("vocabulary", ["bytes", "trained"])
def test_seqio_and_the_renderer_give_the_same_examples(kind, vocabulary, tmp_path, monkeypatch):
    demo = generated(cap=120) if kind == "generated" else instructions(tmp_path)
    if vocabulary == "trained":
        vocabulary = str(tmp_path / "m.model")
        texts = [str(r) for r in render_task(demo, "train", 0, limit=100)]
        vocabularies.train_sentencepiece(texts, vocabulary, 330)
    registry.use_vocabulary(vocabulary)
    loaded = vocabularies.load_vocabulary(vocabulary)
    results = list(
        render_task(
            demo, "train", 5,
            count_tokens=lambda text: len(loaded.encode(text)), feature_lengths=LENGTHS,
        )
    )  # fmt: skip
    ours = [r for r in results if isinstance(r, Rendered)]
    dataset = registry.add_task(demo).get_dataset(LENGTHS, split="train", shuffle=False, seed=5)
    theirs = list(dataset.as_numpy_iterator())
    assert len(theirs) == len(ours) > 20
    for r, ex in zip(ours, theirs, strict=True):
        assert ex["inputs_pretokenized"].decode() == r.inputs
        assert ex["targets_pretokenized"].decode() == r.targets
        assert ex["inputs"].tolist() == [*loaded.encode(r.inputs), 1]
        assert ex["targets"].tolist() == [*loaded.encode(r.targets), 1]
        assert len(ex["inputs"]) <= 90 and len(ex["targets"]) <= 8
        assert [t.decode() for t in ex["references"]] == r.references
        assert json.loads(ex["meta"]) == r.meta and ex["index"] == r.index


def test_without_lengths_nothing_is_dropped_or_cut():
    task = registry.add_task(generated())
    assert len(list(task.get_dataset(None, shuffle=False).as_numpy_iterator())) == 150


def test_seed_decides_the_text():
    task = registry.add_task(generated())

    def texts(seed):
        dataset = task.get_dataset(LENGTHS, split="validation", shuffle=False, seed=seed)
        return [ex["inputs_pretokenized"] for ex in dataset.as_numpy_iterator()]

    assert texts(1) == texts(1) != texts(2)
    assert texts(None) == texts(0)


def test_shards_are_disjoint_and_complete():
    task = registry.add_task(generated())

    def indices(**options):
        dataset = task.get_dataset(LENGTHS, shuffle=False, **options)
        return [int(ex["index"]) for ex in dataset.as_numpy_iterator()]

    parts = [indices(shard_info=seqio.ShardInfo(i, 3)) for i in range(3)]
    assert sorted(sum(parts, [])) == indices()
    assert all(parts)


def test_seqio_mixes_nested_mixtures_in_their_rates():
    registry.add_task(generated("small", cap=50))
    registry.add_task(generated("large"))
    registry.add_mixture("inner", ["small", "large"])
    registry.add_mixture("outer", ["inner"])
    dataset = seqio.get_mixture_or_task("outer").get_dataset(
        LENGTHS, split="train", shuffle=True, seed=0, passthrough_features=["task"]
    )
    tasks = [ex["task"] for ex in dataset.take(600).as_numpy_iterator()]
    share = tasks.count(b"small") / 600
    # 50 of 200; four standard deviations of a share of 600 draws.
    assert abs(share - 0.25) < 0.07


def test_feature_converter_packs_a_mixture():
    registry.add_task(generated(cap=20))
    registry.add_mixture("mix", ["made"])
    dataset = seqio.get_dataset(
        "mix",
        {"inputs": 128, "targets": 32},
        dataset_split="train",
        shuffle=False,
        num_epochs=1,
        feature_converter=seqio.EncDecFeatureConverter(pack=True),
    )
    batch = next(iter(dataset.as_numpy_iterator()))
    assert batch["encoder_input_tokens"].shape == (128,)
    assert batch["encoder_segment_ids"].max() > 1


def test_evaluator_scores_perfect_and_wrong_predictions():
    registry.add_task(generated(postprocessor=first_letter))
    evaluator = seqio.Evaluator(
        "made",
        feature_converter=seqio.EncDecFeatureConverter(pack=False),
        eval_split="validation",
        sequence_length=LENGTHS,
        logger_cls=[],
    )
    targets = [
        ex["targets"].tolist() for ex in evaluator.cached_task_datasets["made"].as_numpy_iterator()
    ]

    def score(predictions):
        padded = [ids + [0] * (8 - len(ids)) for ids in predictions]
        metrics, _ = evaluator.evaluate(
            compute_metrics=True,
            step=0,
            predict_fn=lambda dataset: list(enumerate(padded)),
        )
        return metrics.result()["made"]["exact"]

    assert score(targets) == 100.0
    # The answer is the first letter alone, so a cut prediction is still right.
    assert score([ids[:1] for ids in targets]) == 100.0
    assert score([[3 + ord("?")] for _ in targets]) == 0.0


def test_targets_become_the_answers_of_all_references():
    task = registry.add_task(generated(postprocessor=first_letter))
    example = {"references": np.array([b"yes", b"yep", b"si"], object)}
    assert task.postprocess_fn("yes", example=example, is_target=True) == ["y", "s"]
    assert task.postprocess_fn("yes", example=example, is_target=False) == "y"
    plain = registry.add_task(generated("plain"))
    assert plain.postprocess_fn("whole text", example=None, is_target=False) == "whole text"


def test_task_without_data_is_told_when_read(tmp_path):
    demo = spec.TaskSpec(
        name="gone",
        family="own",
        source=CotTsvSource(str(tmp_path / "no.tsv")),
        fields=map_row,
        templates=TEMPLATES,
    )
    with pytest.raises(UsageError, match="task 'gone': file .*no.tsv does not exist"):
        registry.add_task(demo).get_dataset(LENGTHS)
