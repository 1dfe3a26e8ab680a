# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A benchmark's SeqIO tasks give its prompts and its scores, and open nothing before they must."""

import dataclasses
import json

import numpy as np
import pytest
import seqio

from flan_jax.collection import registry, vocabularies
from flan_jax.core.errors import DataError, UsageError
from flan_jax.evals import measures, seqio_tasks
from flan_jax.evals.benchmark import Benchmark, Outcome, Question, Subtask
from flan_jax.inference.decode_config import DecodeConfig

EXEMPLARS = ("Q: 1+1?\nA: The answer is 2.\n\n", "Q: 2+1?\nA: The answer is 3.\n\n")
SUMS = {"small": [(1, 4), (2, 7), (30, 2)], "large": [(100, 900), (1000, 34)]}


@pytest.fixture(autouse=True)
def own_registries(monkeypatch):
    """Gives each test SeqIO registries of its own, reading bytes."""
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    monkeypatch.setattr(registry.VOCABULARY, "name", "bytes")
    seqio_tasks._subtasks.cache_clear()


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Writes sums as two subtasks, in two splits."""
    for split, subtasks in {"test": SUMS, "validation": {"small": [(5, 5)], "large": []}}.items():
        (tmp_path / "sums").mkdir(exist_ok=True)
        (tmp_path / "sums" / f"{split}.json").write_text(json.dumps(subtasks))
    monkeypatch.setenv(seqio_tasks.FOLDER_VARIABLE, str(tmp_path))
    return tmp_path / "sums"


def load(folder, split):
    return [
        Subtask(
            name=name,
            description="Add.\n\n",
            exemplars=EXEMPLARS,
            stop=("\n\nQ:",),
            questions=tuple(
                Question(
                    id=str(i),
                    text=f"Q: {a}+{b}?\nA:",
                    target=f" Now, {a}+{b} is {a + b}. The answer is {a + b}.",
                    references=(str(a + b),),
                    options=("even", "odd"),
                    meta={"first": a},
                )
                for i, (a, b) in enumerate(pairs)
            ),
        )
        for name, pairs in json.loads((folder / f"{split}.json").read_text()).items()
    ]


BENCHMARK = Benchmark(
    name="sums", version=1, protocol="2-shot CoT", folder="sums", files="two JSON files",
    load=load, decoding=DecodeConfig(stop=("END",)),
    measures=(
        measures.Extracted("number_strict", ("exact_match", "token_f1")),
        measures.Extracted("number", label="flexible"),
        measures.Ranked(),
    ),
    splits=("test", "validation"), subtasks=("small", "large"),
)  # fmt: skip


def evaluate(answer, lengths=None, task="eval.sums", split="test"):
    """Returns the metrics of a model that says `answer(prompt)`, and its answers by task."""
    words = vocabularies.load_vocabulary("bytes")
    evaluator = seqio.Evaluator(
        task, seqio.EncDecFeatureConverter(pack=False), split, sequence_length=lengths
    )
    said = {}

    def predict(dataset, model_feature_shapes=None):
        found = []
        for i, example in dataset.as_numpy_iterator():
            prompt = words.decode(example["encoder_input_tokens"].tolist())
            said[prompt] = answer(prompt)
            ids = [*words.encode(said[prompt]), words.eos_id]
            found.append((int(i), np.pad(ids, (0, 99 - len(ids)))))
        return found

    future, _ = evaluator.evaluate(
        compute_metrics=True, step=None, predict_fn=predict, score_fn=None
    )
    return future.result(), said


def right(prompt):
    a, b = prompt.rsplit("Q: ", 1)[1].split("?")[0].split("+")
    return f" The answer is {int(a) + int(b)}."


def test_a_task_gives_whole_prompts_and_what_is_known_of_them(data):
    seqio_tasks.register(BENCHMARK)
    task = seqio.get_mixture_or_task("eval.sums.small")
    assert isinstance(task, seqio.Task) and set(task.splits) == {"test", "validation"}
    examples = list(task.get_dataset(None, "test", shuffle=False).as_numpy_iterator())
    assert len(examples) == 3
    first = examples[0]
    prompt = "Add.\n\n" + "".join(EXEMPLARS) + "Q: 1+4?\nA:"
    assert first["inputs_pretokenized"].decode() == prompt
    assert first["inputs"].tolist() == [*vocabularies.load_vocabulary("bytes").encode(prompt), 1]
    assert first["targets_pretokenized"].decode() == " Now, 1+4 is 5. The answer is 5."
    assert first["references"].tolist() == [b"5"] and first["id"] == b"0"
    assert json.loads(first["example"]) == {"first": 1, "options": ["even", "odd"]}
    assert first["stop"].tolist() == [b"END", b"\n\nQ:"]
    (only,) = task.get_dataset(None, "validation", shuffle=False).as_numpy_iterator()
    assert only["inputs_pretokenized"].decode().endswith("Q: 5+5?\nA:")


def test_a_mixture_is_of_all_subtasks_alike(data):
    mixture = seqio_tasks.register(BENCHMARK)
    assert mixture is seqio.get_mixture_or_task("eval.sums")
    assert registry.mixture_members("eval.sums") == {
        "eval.sums.large": 0.5, "eval.sums.small": 0.5
    }  # fmt: skip


def test_a_model_that_is_right_scores_100_in_seqios_evaluator(data):
    seqio_tasks.register(BENCHMARK)
    found, said = evaluate(right)
    assert len(said) == 5
    assert {name: dict(values) for name, values in found.items()} == {
        f"eval.sums.{name}": {"exact_match": 100.0, "token_f1": 100.0} for name in SUMS
    }


def test_the_score_is_that_of_the_benchmark(data):
    # A cue is wanted, and what follows a stop text does not count.
    def answer(prompt):
        if "2+7" in prompt:
            return "It is 9."
        stop = "END" if "1+4" in prompt else "\n\nQ: 0+0?\nA:"
        return f"{right(prompt)}{stop} The answer is 0."

    seqio_tasks.register(BENCHMARK)
    found, said = evaluate(answer, task="eval.sums.small")
    outcomes = [
        Outcome(question=q, texts=(text.split("END")[0].split("\n\nQ:")[0],))
        for q, text in zip(load(data, "test")[0].questions, said.values(), strict=True)
    ]
    ours = BENCHMARK.measures[0].values(outcomes)[0]
    assert ours.metric == "exact_match" and 0 < ours.value < 100
    assert found["eval.sums.small"]["exact_match"] == pytest.approx(ours.value)


def test_exemplars_are_dropped_and_what_is_too_long_is_answered_with_nothing(data, capsys):
    seqio_tasks.register(BENCHMARK)
    words = vocabularies.load_vocabulary("bytes")
    one = len(words.encode("Add.\n\n" + EXEMPLARS[1] + "Q: 1+4?\nA:")) + 1
    task = seqio.get_mixture_or_task("eval.sums.small")
    lengths = {"inputs": one, "targets": 64}
    examples = list(task.get_dataset(lengths, "test", shuffle=False).as_numpy_iterator())
    assert [e["num_dropped"] for e in examples] == [1, 1, 2]
    assert words.decode(examples[0]["inputs"].tolist()) == f"Add.\n\n{EXEMPLARS[1]}Q: 1+4?\nA:"
    assert len(examples[0]["inputs"]) == one
    assert "eval.sums.small: of 3 prompts 3 lost exemplars, 0 are too" in capsys.readouterr().err

    none = len(words.encode("Add.\n\nQ: 1+4?\nA:")) + 1
    asked = []

    def answer(prompt):
        asked.append(prompt)
        return right(prompt) if prompt else " The answer is 32."

    found, _ = evaluate(answer, {"inputs": none, "targets": 64}, "eval.sums.small")
    assert asked == ["Add.\n\nQ: 1+4?\nA:", "Add.\n\nQ: 2+7?\nA:", ""]
    assert found["eval.sums.small"]["exact_match"] == pytest.approx(200 / 3)
    assert "2 lost exemplars, 1 are too long without any" in capsys.readouterr().err


def test_registering_opens_nothing_and_again_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv(seqio_tasks.FOLDER_VARIABLE, raising=False)
    assert seqio_tasks.register(BENCHMARK) is seqio_tasks.register(BENCHMARK)
    assert seqio.TaskRegistry.names() == {"eval.sums.small", "eval.sums.large"}
    task = seqio.get_mixture_or_task("eval.sums.small")
    with pytest.raises(UsageError, match="no FLAN_JAX_EVAL_DATA; set this .* holds sums/"):
        task.get_dataset(None, "test")
    other = dataclasses.replace(BENCHMARK, version=2)
    with pytest.raises(UsageError, match=r"'eval\.sums\.small' is registered already"):
        seqio_tasks.register(other)


def test_a_subtask_that_the_files_lack_is_named(data):
    seqio_tasks.register(dataclasses.replace(BENCHMARK, subtasks=("small", "medium")))
    with pytest.raises(DataError, match="sums has no subtask 'medium' in split 'test'"):
        seqio.get_mixture_or_task("eval.sums.medium").get_dataset(None, "test")


@pytest.mark.parametrize(
    "changed",
    [
        {"measures": (measures.Ranked(),)},
        {"measures": (measures.Voted("number"),)},
        {"decoding": DecodeConfig(num_samples=4, temperature=0.7)},
        {"subtasks": ()},
    ],
)
def test_what_seqio_cannot_ask_is_not_registered(changed):
    assert seqio_tasks.register(dataclasses.replace(BENCHMARK, **changed)) is None
    assert not seqio.TaskRegistry.names() and not seqio.MixtureRegistry.names()


def test_a_filter_is_told_of_the_question():
    example = {"references": [b"B"], "too_long": False, "stop": [b"END"]}
    example["example"] = json.dumps({"options": ["a cat", "a dog"]}).encode()
    assert seqio_tasks.postprocess("option_letter", "A dog.", example) == "B"
    assert seqio_tasks.postprocess("option_letter", "(A)", example, is_target=True) == ["B"]
    assert seqio_tasks.postprocess("number", "So 1+1 is 2.") == "2"
