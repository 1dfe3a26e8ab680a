# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluation from a token store: an oracle scores 100, a constant its share, nothing is lost."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.collection import store as store_lib
from flan_jax.collection import vocabularies
from flan_jax.core import errors, files
from flan_jax.evals import runner
from flan_jax.evals import scores as scores_lib
from flan_jax.models import presets
from flan_jax.models.t5 import T5

VOCABULARY = vocabularies.ByteVocabulary()
MAX_INPUT, MAX_TARGET = 64, 48

# task -> (category, metrics, postprocessor, [(inputs, targets, references, meta)])
TASKS = {
    "sum": (
        "held_in", ["exact_match", "rouge_l"], "cot_answer",
        [(f"{i} plus 1?", f"{i} and 1 are {i + 1}. The answer is {i + 1}.", None, {})
         for i in range(7)],
    ),
    "colour": (
        "held_out", ["accuracy"], None,
        [("name a colour", "red", ["red", "blue"], {}), ("name the sky's colour " * 2, "blue",
         ["blue"], {})],
    ),
    "pick": (
        "held_out", ["exact_match"], "flan_jax.evals.answers:option_letter",
        [("dog or cat?", "B", None, {"options": ["dog", "cat"]})],
    ),
    "free": ("held_out", [], None, [("say something", "hello", None, {})]),
}  # fmt: skip


def tokens(text):
    return np.array([*VOCABULARY.encode(text), VOCABULARY.eos_id], np.int32)


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "store"
    entries = {}
    for name, (category, metric_names, postprocessor, rows) in TASKS.items():
        folder = store_lib.task_folder(path, name, "validation")
        with store_lib.TaskWriter(folder, np.dtype("<u2")) as writer:
            for inputs, targets, references, meta in rows:
                text = {"inputs": inputs, "targets": targets, "meta": meta}
                text |= {"references": references or [targets]}
                writer.add(tokens(inputs), tokens(targets), text)
            facts = {"category": category, "metrics": metric_names, "postprocessor": postprocessor}
            entries[name] = {"validation": writer.finish(facts)}
    manifest = {
        "format": store_lib.FORMAT, "mixture": "all", "rates": {}, "mixtures": {},
        "tasks": entries, "token_dtype": "<u2",
        "feature_lengths": {"inputs": MAX_INPUT, "targets": MAX_TARGET},
        "vocabulary": {"name": "bytes", "fingerprint": VOCABULARY.fingerprint},
    }  # fmt: skip
    files.write_json(path / store_lib.MANIFEST, manifest)
    return store_lib.Store.open(path)


def answering(function):
    """A model that answers each prompt text by `function`; keeps the prompts it was called with."""
    seen = []

    def generate(prompts):
        seen.append(prompts)
        return [function(VOCABULARY.decode(prompt)) for prompt in prompts]

    generate.seen = seen
    return generate


def oracle(prompt):
    known = {inputs: targets for *_, rows in TASKS.values() for inputs, targets, *_ in rows}
    return known.get(prompt, "")


def run(store, function, out, **config):
    generate = answering(function)
    evaluation = runner.evaluate(
        generate=generate, vocabulary=VOCABULARY, store=store, out=out, step=30,
        config=runner.EvalConfig(batch_size=4, model_name="tiny", **config),
    )  # fmt: skip
    return evaluation, generate.seen


def test_an_oracle_scores_100_everywhere(store, tmp_path):
    evaluation, _ = run(store, oracle, tmp_path)
    assert {(s.benchmark, s.subtask, s.metric): (s.value, s.n) for s in evaluation.scores} == {
        ("held_in", "sum", "exact_match"): (100.0, 7),
        ("held_in", "sum", "rouge_l"): (100.0, 7),
        ("held_out", "colour", "accuracy"): (100.0, 2),
        ("held_out", "pick", "exact_match"): (100.0, 1),
        ("held_in", "_mean", "exact_match"): (100.0, 1),
        ("held_in", "_mean", "rouge_l"): (100.0, 1),
        ("held_out", "_mean", "accuracy"): (100.0, 1),
        ("held_out", "_mean", "exact_match"): (100.0, 1),
    }
    assert evaluation.num_examples == 10
    assert evaluation.num_too_long == 0
    assert evaluation.summary()["held_out/accuracy"] == 100.0


def test_a_constant_model_scores_its_share_with_a_standard_error(store, tmp_path):
    evaluation, _ = run(store, lambda prompt: "the answer is 3.", tmp_path)
    value = {s.subtask: s for s in evaluation.scores if s.metric == "exact_match"}["sum"]
    assert value.value == pytest.approx(100 / 7)
    assert value.stderr == pytest.approx(np.std([100] + [0] * 6, ddof=1) / np.sqrt(7))


def test_the_table_on_disk_is_what_was_returned(store, tmp_path):
    evaluation, _ = run(store, oracle, tmp_path)
    read = scores_lib.read_scores(tmp_path / "scores.csv")
    assert sorted(read, key=lambda s: s.sort_key) == sorted(
        evaluation.scores, key=lambda s: s.sort_key
    )
    assert {(s.model, s.step, s.protocol) for s in read} == {("tiny", 30, "greedy")}


def test_every_prediction_is_kept_with_what_it_was_compared_with(store, tmp_path):
    run(store, lambda prompt: "Thus the answer is 4." if "plus" in prompt else "BLUE", tmp_path)
    rows = [json.loads(x) for x in (tmp_path / "predictions/sum.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == list(range(7))
    row = rows[3]
    assert (row["prediction"], row["answer"]) == ("Thus the answer is 4.", "4")
    assert (row["inputs"], row["references"]) == ("3 plus 1?", ["4"])
    assert row["targets"] == "3 and 1 are 4. The answer is 4."
    assert row["metrics"] == {"exact_match": 100.0, "rouge_l": 100.0}
    assert row["prompt_sha256"] == hashlib.sha256(b"3 plus 1?").hexdigest()
    (pick,) = (tmp_path / "predictions/pick.jsonl").read_text().splitlines()
    assert json.loads(pick)["answer"] == ""
    colours = (tmp_path / "predictions/colour.jsonl").read_text().splitlines()
    assert [json.loads(x)["metrics"]["accuracy"] for x in colours] == [100.0, 100.0]
    assert sorted(p.name for p in (tmp_path / "predictions").iterdir()) == [
        "colour.jsonl", "pick.jsonl", "sum.jsonl"
    ]  # fmt: skip


def test_postprocessors_see_the_examples_metadata(store, tmp_path):
    evaluation, _ = run(store, lambda prompt: "Cat.", tmp_path, groups={"g": "pick"})
    assert evaluation.summary() == {"g/exact_match": 100.0}


def test_only_the_first_examples(store, tmp_path):
    groups = ["held_in", "held_out"]
    evaluation, _ = run(store, oracle, tmp_path, groups=groups, num_examples=2)
    assert evaluation.num_examples == 5
    assert len((tmp_path / "predictions/sum.jsonl").read_text().splitlines()) == 2


def test_a_task_in_two_groups_is_decoded_once_and_counts_in_both(store, tmp_path):
    evaluation, seen = run(store, oracle, tmp_path, groups={"a": "sum", "b": ["sum", "pick"]})
    assert evaluation.num_examples == 8
    assert [len(prompts) for prompts in seen] == [8]
    assert evaluation.summary()["a/exact_match"] == evaluation.summary()["b/exact_match"] == 100.0


def test_too_long_prompts_are_counted_not_cut(store, tmp_path, capsys):
    evaluation, seen = run(store, oracle, tmp_path, max_input_length=20)
    assert evaluation.num_too_long == 1
    assert "1 of 10 prompts are longer than 20 tokens: not cut" in capsys.readouterr().err
    assert max(map(len, seen[0])) == len(tokens("name a colour"))
    assert evaluation.summary()["held_out/accuracy"] == 50.0
    rows = (tmp_path / "predictions/colour.jsonl").read_text().splitlines()
    assert [json.loads(x)["too_long"] for x in rows] == [False, True]


def test_tasks_without_metrics_are_named(store, tmp_path, capsys):
    run(store, oracle, tmp_path)
    assert "1 tasks name no metric and are left out: free" in capsys.readouterr().err
    with pytest.raises(errors.UsageError, match="none of the 1 tasks names a metric"):
        run(store, oracle, tmp_path, groups=["free"])


def test_another_vocabulary_is_refused(store, tmp_path):
    with pytest.raises(errors.UsageError, match="not the one that the store .* was built with"):
        runner.evaluate(
            generate=answering(oracle), vocabulary=vocabularies.ByteVocabulary(extra_ids=3),
            store=store, config=runner.EvalConfig(), out=tmp_path, step=0,
        )  # fmt: skip


def test_two_evaluations_give_the_same_bytes(store, tmp_path):
    for name in ("a", "b"):
        run(store, oracle, tmp_path / name)
    for file in ("scores.csv", "predictions/sum.jsonl", "predictions/colour.jsonl"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_users_own_metric_scores_all_examples_together(store, tmp_path, monkeypatch):
    (tmp_path / "own_metrics.py").write_text(
        "def shares(targets, predictions):\n"
        "    same = sum(t == p for t, p in zip(targets, predictions))\n"
        "    return {'num_same': same, 'num': len(targets)}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for entry in store.manifest["tasks"]["sum"].values():
        entry["metrics"] = ["own_metrics:shares"]
    evaluation, _ = run(store, oracle, tmp_path, groups=["sum"])
    rows = {s.metric: (s.value, s.n, s.stderr) for s in evaluation.scores if s.subtask == "sum"}
    assert rows == {"num_same": (7.0, 7, None), "num": (7.0, 7, None)}


def test_references_pass_the_filter_as_targets(store, tmp_path):
    for entry in store.manifest["tasks"]["colour"].values():
        entry["postprocessor"] = "cot_answer_strict"  # wants a cue, but not in a target
    evaluation, _ = run(store, lambda prompt: "The answer is blue.", tmp_path, groups=["colour"])
    assert evaluation.summary() == {"colour/accuracy": 100.0}


def test_a_t5_says_the_same_in_padded_batches_as_alone():
    model = T5(
        presets.t5_config(
            "tiny", vocab_size=VOCABULARY.padded_size, num_encoder_layers=1, num_decoder_layers=1
        )
    )
    # Only its shapes are asked of `init`: compiling it would take most of this test's time.
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape, scale=0.3), leaf.dtype),
        jax.eval_shape(model.init, jax.random.key(0)),
    )
    prompts = [tokens(text) for text in ("abc", "xyz", "why", "two", "one", "ab", "z")]

    def answers(num_rows, *prompts):
        config = runner.EvalConfig(batch_size=num_rows, length_buckets=(16,))
        generate = runner.greedy(
            model, params, VOCABULARY, config, max_input_length=16, max_length=6
        )
        return generate(prompts)

    together = answers(2, *prompts)
    assert together == [answers(1, prompt)[0] for prompt in prompts]
    assert len(set(together)) > 1
