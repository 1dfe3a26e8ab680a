# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""GSM8K: whole prompts, real files counted, oracle and constant models, faults of files."""

import hashlib
import json
import re
import sys

import pytest
import yaml

from flan_jax.core.errors import DataError, UsageError
from flan_jax.evals import benchmark
from tasks.evals import gsm8k
from tests.tasks.evals import answering, multilingual_data, scripted
from tests.tasks.family_data import shared_folder

FORMS = ("gsm8k", "gsm8k_zero_shot", "gsm8k_zero_shot_cot", "gsm8k_self_consistency")
QUESTION = 'Q: Ann has 2 eggs, "and" 2 more.\nHow many?\n'


@pytest.fixture
def folder(tmp_path):
    multilingual_data.write_gsm8k(tmp_path)
    return tmp_path


def only(name, folder):
    """Returns the one subtask of a form."""
    (subtask,) = benchmark.registered()[name].load(folder, "test")
    return subtask


def exemplars(first, last):
    return "".join(
        f"Q: What are {n} and 1?\nA: {n} and 1 make {n + 1}. The answer is {n + 1}.\n\n"
        for n in range(first, last)
    )


@pytest.mark.parametrize(
    ("name", "prompt", "target"),
    [
        ("gsm8k", f"{exemplars(0, 8)}{QUESTION}A:", " 2 + 2 = 4 eggs. All. The answer is 4."),
        ("gsm8k_zero_shot", f"{QUESTION}A:", " 4"),
        (
            "gsm8k_zero_shot_cot",
            f"{QUESTION}A: Let's think step by step.",
            " 2 + 2 = 4 eggs. All. The answer is 4.",
        ),
        (
            "gsm8k_self_consistency",
            f"{exemplars(0, 8)}{QUESTION}A:",
            " 2 + 2 = 4 eggs. All. The answer is 4.",
        ),
    ],
)
def test_whole_prompts(folder, name, prompt, target):
    subtask = only(name, folder)
    assert subtask.prompt(subtask.questions[0]) == prompt
    assert subtask.questions[0].target == target


def test_exemplars_are_dropped_whole(folder):
    subtask = only("gsm8k", folder)
    assert subtask.prompt(subtask.questions[0], 6) == f"{exemplars(6, 8)}{QUESTION}A:"


def test_numbers_have_one_form(folder):
    questions = only("gsm8k", folder).questions
    assert [q.references for q in questions] == [("4",), ("1002",), ("-3",)]
    assert questions[1].target == " It is 1,002 The answer is 1,002."
    assert [q.id for q in questions] == ["0", "1", "2"]


def test_white_space_of_copies_is_no_fault(folder):
    expected = only("gsm8k", folder)
    path = folder / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps({**row, "answer": row["answer"] + "\n"}) + "\r\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8-sig")
    assert only("gsm8k", folder) == expected


@pytest.mark.parametrize("name", FORMS)
def test_oracle_is_right(folder, name):
    assert (
        scripted.headline(benchmark.registered()[name], only(name, folder), answering.oracle) == 100
    )


def test_strict_and_flexible_answers(folder):
    said = scripted.constant(" I think 4. It is 4, of course.")
    found = scripted.values(benchmark.registered()["gsm8k"], only("gsm8k", folder), said)
    assert found["exact_match"].value == 0 and found["unparsed"].value == 100
    assert found["exact_match/flexible"].value == pytest.approx(100 / 3)


def test_self_consistency_samples_as_the_cited_paper():
    decoding = benchmark.registered()["gsm8k_self_consistency"].decoding
    assert (decoding.num_samples, decoding.temperature, decoding.top_k) == (40, 0.7, 40)
    assert decoding.stop == ("Q:",)


def write_yaml(path):
    samples = [multilingual_data.gsm8k_exemplar(number) for number in range(8)]
    config = {"task": "gsm8k_cot", "fewshot_config": {"sampler": "first_n", "samples": samples}}
    multilingual_data.write_text(path, yaml.safe_dump(config))


def test_exemplars_of_a_yaml_file(folder):
    expected = only("gsm8k", folder)
    (folder / "cot_8shot_exemplars.json").unlink()
    write_yaml(folder / "gsm8k-cot.yaml")
    assert only("gsm8k", folder) == expected


def test_exemplars_of_an_installed_lm_eval(folder, tmp_path, monkeypatch):
    expected = only("gsm8k", folder)
    (folder / "cot_8shot_exemplars.json").unlink()
    package = tmp_path / "site" / "lm_eval"
    write_yaml(package / "tasks" / "gsm8k" / "gsm8k-cot.yaml")
    multilingual_data.write_text(package / "__init__.py", "raise ValueError('imported')\n")
    monkeypatch.syspath_prepend(package.parent)
    assert only("gsm8k", folder) == expected
    assert "lm_eval" not in sys.modules


def test_yaml_without_its_package(folder, monkeypatch):
    (folder / "cot_8shot_exemplars.json").unlink()
    write_yaml(folder / "gsm8k-cot.yaml")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(UsageError, match=r"gsm8k-cot.yaml needs PyYAML.*pip install"):
        only("gsm8k", folder)


def test_missing_files_are_named(folder):
    (folder / "cot_8shot_exemplars.json").unlink()
    with pytest.raises(UsageError, match=r"cot_8shot_exemplars.json .*install lm-eval"):
        only("gsm8k", folder)
    assert only("gsm8k_zero_shot_cot", folder).exemplars == ()
    (folder / "test.jsonl").unlink()
    with pytest.raises(UsageError, match=r"test.jsonl .*grade-school-math"):
        only("gsm8k_zero_shot", folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "a"}', "need a text 'answer'"),
        ('{"question": 3, "answer": "a"}', "need a text 'question'"),
        ('{"question": " ", "answer": "a\\n#### 3"}', "the question is empty"),
        ('{"question": "a", "answer": "It is 3."}', "'#### ' and a number"),
        ('{"question": "a", "answer": "b\\n#### 3 eggs"}', "need a number .* found '3 eggs'"),
        ('{"question": "a", "answer": "b\\n#### 1,23"}', "need a number .* found '1,23'"),
        ("[]", "need a JSON object"),
        ("{", "not valid JSON"),
    ],
)
def test_malformed_rows_are_named(folder, line, message):
    path = folder / "test.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + f"{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"test.jsonl:4: .*{message}"):
        only("gsm8k", folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps([{"question": "a", "target": "b"}] * 7), "need a list of 8 .* found 7"),
        ("{}", "found none"),
        (json.dumps([{"question": "a"}] * 8), r"\[0\]: need a text 'target'"),
    ],
)
def test_malformed_exemplars_are_named(folder, content, message):
    (folder / "cot_8shot_exemplars.json").write_text(content)
    with pytest.raises(DataError, match=rf"cot_8shot_exemplars.json.*{message}"):
        only("gsm8k", folder)
    (folder / "cot_8shot_exemplars.json").unlink()
    (folder / "gsm8k-cot.yaml").write_text(f"fewshot_config: {{samples: {content}}}\n")
    with pytest.raises(DataError, match=rf"gsm8k-cot.yaml.*{message}"):
        only("gsm8k", folder)


def test_an_empty_file_is_no_benchmark(folder):
    (folder / "test.jsonl").write_text("")
    with pytest.raises(DataError, match="no question"):
        only("gsm8k", folder)


@pytest.fixture
def real():
    return shared_folder() / "eval" / "gsm8k"


def test_real_counts(real):
    raw = (real / "test.jsonl").read_text(encoding="utf-8")
    said = re.findall(r"#### ([^\"]+)\"", raw)
    subtask = only("gsm8k", real)
    assert len(said) == len(subtask.questions) == 1_319
    assert sum("," in answer for answer in said) == 14
    assert sum(answer.startswith("-") for answer in said) == 2
    expected = [(answer.replace(",", ""),) for answer in said]
    assert [question.references for question in subtask.questions] == expected
    assert not any("<<" in question.target for question in subtask.questions)


@pytest.mark.parametrize("name", FORMS)
def test_real_oracle_and_constant(real, name):
    form, subtask = benchmark.registered()[name], only(name, real)
    assert scripted.headline(form, subtask, answering.oracle) == 100
    raw = (real / "test.jsonl").read_text(encoding="utf-8")
    answer = "18" if form.decoding.max_length == gsm8k.DIRECT.max_length else "The answer is 18."
    expected = 100 * len(re.findall(r"\\n#### 18\"", raw)) / 1_319
    assert scripted.headline(form, subtask, scripted.constant(answer)) == pytest.approx(expected)


# Of the prompt of the first question, which was read.
@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("gsm8k", "901fead9abd2535b6d0610c3c90125f38cad81678c4b2b98ec8fb818e3948bde"),
        ("gsm8k_zero_shot", "56e0d7c5dc2642665c0fe86eeff553b839d385276ccc57e490a749c2744cc8a8"),
        ("gsm8k_zero_shot_cot", "3ecf69624b1ce95ae0b41a1fc9ccaf38e0c07a2bb6c7c959ffc1c5a749dc049b"),
        (
            "gsm8k_self_consistency",
            "901fead9abd2535b6d0610c3c90125f38cad81678c4b2b98ec8fb818e3948bde",
        ),
    ],
)
def test_real_prompts(real, name, sha256):
    subtask = only(name, real)
    prompt = subtask.prompt(subtask.questions[0])
    assert hashlib.sha256(prompt.encode()).hexdigest() == sha256
