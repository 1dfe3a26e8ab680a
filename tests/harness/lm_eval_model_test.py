# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""lm-evaluation-harness runs tasks of ours on our checkpoints, by its own command line."""

import json
import subprocess
import sys

import pytest

from flan_jax.core.errors import UsageError
from flan_jax.evals import lm_eval_json
from flan_jax.evals.scores import read_scores
from flan_jax.harness import __main__ as command_line
from flan_jax.inference.decode_config import DecodeConfig
from tests.harness import harness_models

SUMS = [(1, 2), (3, 4), (2, 2), (5, 1)]
CHOICES = """
task: sums_choose
output_type: multiple_choice
doc_to_text: "{{q}}"
doc_to_choice: "{{choices}}"
doc_to_target: gold
metric_list: [{metric: acc}, {metric: acc_norm}]
metadata: {version: 1.0}
"""
ANSWERS = """
task: sums_say
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "{{said}}"
generation_kwargs: {until: ["zzz"], max_gen_toks: 5, do_sample: false}
metric_list: [{metric: exact_match}]
metadata: {version: 2.0}
"""
WHOLE = """
task: sums_whole
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{q}}"
metric_list: [{metric: bits_per_byte}]
metadata: {version: 1.0}
"""
GROUP = """
group: sums
task: [sums_choose, sums_say]
aggregate_metric_list: [{metric: acc}]
metadata: {version: 1.0}
"""


@pytest.fixture(scope="module")
def lm_eval():
    return pytest.importorskip("lm_eval", reason="the extra lm_eval is not installed")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return harness_models.write_t5(tmp_path_factory.mktemp("checkpoint") / "hf")


def write_tasks(folder, predictor):
    """Writes tasks in the harness's form: what is right is what the model says."""
    questions = [f"What is {a} and {b}?" for a, b in SUMS]
    prompts = [predictor.encode(question) for question in questions]
    answers = predictor.engine.generate(prompts, DecodeConfig(max_length=5))
    rows = []
    for question, prompt, answer in zip(questions, prompts, answers, strict=True):
        choices = ["cats", "two cats", "no"]
        encoded = [predictor.vocabulary.encode(choice) for choice in choices]
        logprobs = [s.logprob for s in predictor.scorer.score([prompt], [encoded])[0]]
        gold = logprobs.index(max(logprobs))
        row = {"q": question, "choices": choices, "gold": gold, "said": answer.texts[0]}
        rows.append(row | {"logprobs": logprobs})
    rows[0]["gold"] = (rows[0]["gold"] + 1) % 3  # three of four are right
    rows[1]["said"] = "nothing"
    folder.mkdir()
    kept = [{k: v for k, v in row.items() if k != "logprobs"} for row in rows]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    data = f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {folder / 'sums.jsonl'}}}}}"
    for name, text in {"choose": CHOICES, "say": ANSWERS, "whole": WHOLE}.items():
        (folder / f"{name}.yaml").write_text(f"{text}\n{data}\ntest_split: test\n")
    (folder / "group.yaml").write_text(GROUP)
    return rows


@pytest.mark.slow  # starts the harness, which imports much, and compiles
def test_the_harness_scores_what_the_model_says(lm_eval, tmp_path, checkpoint):
    predictor = harness_models.load(checkpoint)
    rows = write_tasks(tmp_path / "tasks", predictor)
    command = [sys.executable, "-m", "flan_jax.harness", "--model", "flan_jax", "--model_args",
               f"checkpoint={checkpoint},max_input_length=48,batch_size=4",
               "--tasks", "sums,sums_whole", "--include_path", str(tmp_path / "tasks"),
               "--output_path", str(tmp_path / "out"), "--log_samples"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = (tmp_path / "out").rglob("results_*.json")
    found = json.loads(path.read_text())
    assert found["results"]["sums_choose"]["acc,none"] == 0.75
    assert found["results"]["sums_say"]["exact_match,none"] == 0.75
    assert found["config"]["num_prompts"] == 4 * 3 + 4 + 4
    assert found["config"]["num_prompts_shortened"] == 0
    (path,) = (tmp_path / "out").rglob("samples_sums_choose_*.jsonl")
    samples = [json.loads(line) for line in path.read_text().splitlines()]
    for row, sample in zip(rows, sorted(samples, key=lambda s: s["doc_id"]), strict=True):
        got = [float(resp[0][0]) for resp in sample["resps"]]
        assert got == pytest.approx(row["logprobs"], rel=1e-5)

    # Its results become a table of ours.
    (path,) = (tmp_path / "out").rglob("results_*.json")
    lm_eval_json.write_table(path, tmp_path / "scores.csv")
    table = {(s.benchmark, s.subtask, s.metric): s for s in read_scores(tmp_path / "scores.csv")}
    chosen = table["sums", "sums_choose", "accuracy"]
    assert (chosen.value, chosen.n, chosen.protocol) == (75.0, 4, "0-shot")
    assert chosen.stderr == pytest.approx(25.0) and chosen.model == predictor.name
    assert table["sums", "_mean", "accuracy"].n == 2
    assert table["sums", "sums_say", "exact_match"].value == 75.0
    assert table["sums_whole", "sums_whole", "bits_per_byte"].stderr is None


@pytest.mark.slow
def test_arguments_are_checked(lm_eval, checkpoint):
    from flan_jax.harness.lm_eval_model import FlanJax

    with pytest.raises(UsageError, match="'batchsize'; did you mean 'batch_size'"):
        FlanJax.create_from_arg_string(f"checkpoint={checkpoint},batchsize=3")
    with pytest.raises(UsageError, match="no checkpoint; give --model_args"):
        FlanJax.create_from_arg_string("")
    with pytest.raises(UsageError, match="batch_size='many' is no whole number"):
        FlanJax.create_from_arg_obj({"checkpoint": checkpoint, "batch_size": "many"})
    options = {"batch_size": 1, "device": "cuda:0", "max_batch_size": None}
    model = FlanJax.create_from_arg_obj({"checkpoint": checkpoint}, options)
    assert model._predictor.batch_size == 32
    assert FlanJax.create_from_arg_string(
        f"checkpoint={checkpoint},max_input_length=9", {"batch_size": "4"}
    )._predictor.batch_size == 4  # fmt: skip
    assert model.chat_template() is None
    with pytest.raises(UsageError, match="brings no chat template"):
        model.chat_template(True)
    with pytest.raises(UsageError, match="one template has no name"):
        model.chat_template("default")


@pytest.mark.parity
def test_likelihoods_and_answers_are_those_of_transformers(tmp_path):
    torch = pytest.importorskip("torch", reason="the extra hf is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    from flan_jax.harness.answering import Answering

    kinds = {
        harness_models.write_t5(tmp_path / "t5"): transformers.T5ForConditionalGeneration,
        harness_models.write_decoder(tmp_path / "decoder"): transformers.AutoModelForCausalLM,
    }
    pairs = [("hello well", " well hello"), ("hello well ", "o"), ("well", " hell")]
    for path, kind in kinds.items():
        predictor = harness_models.load(path)
        answering = Answering(predictor)
        model = kind.from_pretrained(path.removeprefix("hf:"), dtype=torch.float32).eval()
        found = answering.loglikelihoods(pairs)
        for pair, (logprob, _) in zip(pairs, found, strict=True):
            before, after = (torch.tensor([ids]) for ids in answering.encode_pair(*pair))
            with torch.no_grad():
                if predictor.ends_prompts:
                    logits = model(input_ids=before, labels=after).logits
                else:
                    whole = torch.cat([before, after], axis=1)
                    logits = model(input_ids=whole).logits[:, before.shape[1] - 1 : -1]
            want = logits.log_softmax(-1).gather(-1, after[..., None]).sum().item()
            assert logprob == pytest.approx(want, rel=1e-4)
        (answer,) = answering.generate([("hello well", {"max_gen_toks": 6})])
        prompt = torch.tensor([predictor.encode_as_is("hello well")])
        with torch.no_grad():
            tokens = model.generate(prompt, max_new_tokens=6, do_sample=False)
        tokens = tokens[0, 1 if predictor.ends_prompts else prompt.shape[1] :]
        assert answer == predictor.vocabulary.decode(tokens.tolist())


def test_without_the_harness_a_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(command_line.importlib.util, "find_spec", lambda name: None)
    assert command_line.main(["--tasks", "x"]) == 2
    assert "not installed; pip install 'flan_jax[lm_eval]'" in capsys.readouterr().err


def _environment(folder):
    """Returns an environment in which the harness keeps to itself, and to the CPU."""
    import os

    own = {"JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf_home")}
    return os.environ | own
