# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""MGSM: whole prompts in several scripts, real files, oracle and constant models, faults."""

import ast
import hashlib
import json
import re

import pytest

from flan_jax.core.errors import DataError, UsageError
from flan_jax.evals import benchmark
from tasks.evals import mgsm
from tests.tasks.evals import answering, multilingual_data, scripted
from tests.tasks.family_data import shared_folder

LABELS = multilingual_data.MGSM_LABELS
FORMS = (
    "mgsm", "mgsm_self_consistency", "mgsm_direct", "mgsm_zero_shot", "mgsm_en_cot",
    "mgsm_zero_shot_cot", "mgsm_en",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    multilingual_data.write_mgsm(tmp_path)
    return tmp_path


def load(name, folder):
    """Returns the subtasks of a form by language."""
    form = benchmark.registered()[name]
    return {subtask.name: subtask for subtask in form.load(folder, "test")}


def shown(question, answer):
    """Returns the eight exemplars by how each question and each answer is written."""
    return "".join(f"{question(n - 1)}\n{answer(n)}\n\n" for n in range(2, 10))


GOLDEN = {
    ("mgsm", "de"): (
        shown(
            lambda n: f"Frage: {n} + 1 (de)?",
            lambda n: f"Schritt-für-Schritt-Antwort: {n - 1} + 1. Die Antwort lautet {n}.",
        )
        + 'Frage: "de" 1000 + 2?\nSchritt-für-Schritt-Antwort:',
        " Die Antwort lautet 1,002.",
    ),
    ("mgsm_self_consistency", "zh"): (
        shown(lambda n: f"问题：{n} + 1 (zh)?", lambda n: f"逐步解答：{n - 1} + 1. 答案是 {n}。")
        + '问题："zh" 1000 + 2?\n逐步解答：',
        "答案是 1,002。",
    ),
    ("mgsm_en", "en"): (
        shown(
            lambda n: f"Question: {n} + 1 (en)?",
            lambda n: f"Step-by-Step Answer: {n - 1} + 1. The answer is {n}.",
        )
        + 'Question: "en" 1000 + 2?\nStep-by-Step Answer:',
        " The answer is 1,002.",
    ),
    ("mgsm_en_cot", "te"): (
        shown(
            lambda n: f"ప్రశ్న: {n} + 1 (te)?",
            lambda n: f"Step-by-Step Answer: {n - 1} + 1. The answer is {n}.",
        )
        + 'ప్రశ్న: "te" 1000 + 2?\nStep-by-Step Answer:',
        " The answer is 1,002.",
    ),
    ("mgsm_direct", "fr"): (
        shown(lambda n: f"Question : {n} + 1 (fr)?", lambda n: f"Réponse : {n}")
        + 'Question : "fr" 1000 + 2?\nRéponse :',
        " 1,002",
    ),
    ("mgsm_direct", "ja"): (
        shown(lambda n: f"問題：{n} + 1 (ja)?", lambda n: f"答え：{n}")
        + '問題："ja" 1000 + 2?\n答え：',
        "1,002",
    ),
    ("mgsm_zero_shot", "th"): ('โจทย์: "th" 1000 + 2?\nคำตอบ:', " 1,002"),
    ("mgsm_zero_shot_cot", "ru"): (
        'Задача: "ru" 1000 + 2?\nStep-by-Step Answer: Let\'s think step by step.',
        " The answer is 1,002.",
    ),
}


@pytest.mark.parametrize(("name", "language"), GOLDEN)
def test_whole_prompts(folder, name, language):
    subtask = load(name, folder)[language]
    prompt, target = GOLDEN[name, language]
    assert subtask.prompt(subtask.questions[0]) == prompt
    assert subtask.questions[0].target == target
    assert [q.references for q in subtask.questions] == [("1002",), ("11",), ("11",)]


def test_the_mean_is_over_ten_languages_without_english(folder):
    for name in FORMS:
        expected = ["en"] if name == "mgsm_en" else sorted(set(LABELS) - {"en"})
        assert sorted(load(name, folder)) == expected
        assert sorted(benchmark.registered()[name].subtasks) == expected


def test_answers_end_at_the_next_question(folder):
    for language, subtask in load("mgsm", folder).items():
        assert subtask.stop == (LABELS[language][0].rstrip(),)
    assert benchmark.registered()["mgsm"].decoding.stop == ("\n\n",)
    assert benchmark.registered()["mgsm_zero_shot_cot"].decoding.stop == ()


def test_filters_are_told_the_language_of_the_answer(folder):
    assert load("mgsm", folder)["sw"].questions[0].meta == {"language": "sw"}
    assert load("mgsm_direct", folder)["sw"].questions[0].meta == {"language": "sw"}
    assert load("mgsm_en_cot", folder)["sw"].questions[0].meta == {"language": "en"}
    assert load("mgsm_zero_shot_cot", folder)["sw"].questions[0].meta == {"language": "en"}


@pytest.mark.parametrize("name", FORMS)
def test_oracle_is_right(folder, name):
    form = benchmark.registered()[name]
    for subtask in load(name, folder).values():
        assert scripted.headline(form, subtask, answering.oracle) == 100


def test_strict_and_flexible_answers(folder):
    form, said = benchmark.registered()["mgsm"], scripted.constant(" 10 + 1 = 11.")
    found = scripted.values(form, load("mgsm", folder)["bn"], said)
    assert found["exact_match"].value == 0 and found["unparsed"].value == 100
    assert found["exact_match/flexible"].value == pytest.approx(200 / 3)


def as_python(constants):
    """Returns a file of constants as the authors write theirs: adjacent strings, escapes."""

    def text(value):
        return "\n            ".join(ascii(value[i : i + 9]) for i in range(0, len(value), 9))

    languages = "".join(
        f'    "{language}": {{\n'
        + "".join(
            f'        "{n}": {{"q": {text(pair["q"])},\n            "a":\n {text(pair["a"])}}},\n'
            for n, pair in texts.items()
        )
        + "    },\n"
        for language, texts in constants["MGSM_EXEMPLARS"].items()
    )
    return (
        '"""Prompts."""\n# pylint: disable=line-too-long\n\n'
        f"EXEMPLAR_NUMBER_ANSWERS = {constants['EXEMPLAR_NUMBER_ANSWERS']}\n\n"
        'EXEMPLAR_EQUATION_SOLUTIONS = [\n    "1 + 1 = 2.",\n]\n\n'
        f"MGSM_EXEMPLARS = {{\n{languages}}}\n"
    )


def test_exemplars_in_python_are_read_and_never_run(folder):
    expected = load("mgsm", folder)
    (folder / "exemplars.json").unlink()
    text = as_python(multilingual_data.mgsm_exemplars())
    text += "\nraise SystemExit('run')\n"
    for encoding in ("utf-8", "utf-8-sig"):
        (folder / "exemplars.py").write_text(text, encoding=encoding)
        assert load("mgsm", folder) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MGSM_EXEMPLARS = {", r"exemplars.py:1: need constants"),
        ("\nMGSM_EXEMPLARS = dict(a=open('x'))", r"exemplars.py:2: need constants"),
        ("MGSM_EXEMPLARS = {[]: 1}", r"exemplars.py:1: need constants"),
        ("x = 1", r"exemplars.py: need a list EXEMPLAR_NUMBER_ANSWERS of 8 whole numbers"),
        ("EXEMPLAR_NUMBER_ANSWERS = [True] * 8", r"exemplars.py:1: need constants"),
        ("EXEMPLAR_NUMBER_ANSWERS = [1,2,3,4,5,6,7,True]", "need .* of 8 whole numbers"),
        ("EXEMPLAR_NUMBER_ANSWERS = [1]", r"need a list EXEMPLAR_NUMBER_ANSWERS of 8"),
        ("EXEMPLAR_NUMBER_ANSWERS = [1,2,3,4,5,6,7,8]", r"exemplars.py: 'bn' '1': need a text 'q'"),
    ],
)
def test_faults_of_exemplars_in_python_are_named(folder, text, message):
    (folder / "exemplars.json").unlink()
    (folder / "exemplars.py").write_text(text)
    with pytest.raises(DataError, match=message):
        load("mgsm", folder)


def change_language(constants):
    del constants["MGSM_EXEMPLARS"]["te"]


def change_exemplar(constants):
    constants["MGSM_EXEMPLARS"]["te"]["5"]["a"] = 5


def change_label(constants):
    constants["MGSM_EXEMPLARS"]["te"]["5"]["q"] = "Question: 5?"


def change_labels(constants):
    constants["MGSM_EXEMPLARS"]["te"]["1"]["a"] = "no label"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_language, "'te' '1': need a text 'q'"),
        (change_exemplar, "'te' '5': need a text 'a'"),
        (change_label, "'te' 'q': need one label.*'Question: 5\\?'"),
        (change_labels, "'te' 'a': need one label.*'no label'"),
    ],
)
def test_faults_of_exemplars_are_named(folder, change, message):
    constants = multilingual_data.mgsm_exemplars()
    change(constants)
    (folder / "exemplars.json").write_text(json.dumps(constants))
    with pytest.raises(DataError, match=rf"exemplars.json: {message}"):
        load("mgsm", folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no tab", "need 2 columns, found 1"),
        ("a\t1\t2", "need 2 columns, found 3"),
        ("a\tnone", "need a number as the answer, found 'none'"),
        (" \t3", "need a question before the tab"),
    ],
)
def test_malformed_rows_are_named(folder, line, message):
    path = folder / "mgsm_sw.tsv"
    path.write_text(path.read_text(encoding="utf-8") + f"{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"mgsm_sw.tsv:4: {message}"):
        load("mgsm", folder)


def test_missing_files_are_named(folder):
    (folder / "mgsm_th.tsv").write_text("")
    with pytest.raises(DataError, match="mgsm_th.tsv: no question"):
        load("mgsm", folder)
    (folder / "mgsm_th.tsv").unlink()
    with pytest.raises(UsageError, match=r"mgsm_th.tsv.*url-nlp"):
        load("mgsm", folder)
    assert len(load("mgsm_en", folder)["en"].questions) == 3
    (folder / "exemplars.json").unlink()
    with pytest.raises(UsageError, match=r"exemplars.json .*exemplars.py.*url-nlp"):
        load("mgsm_en", folder)


@pytest.fixture
def real():
    return shared_folder() / "eval" / "mgsm"


def test_real_answers_are_the_first_of_gsm8k(real):
    (english,) = benchmark.registered()["gsm8k_zero_shot"].load(real.parent / "gsm8k", "test")
    expected = [question.references for question in english.questions[:250]]
    subtasks = load("mgsm", real) | load("mgsm_en", real)
    assert sorted(subtasks) == sorted(LABELS)
    for subtask in subtasks.values():
        assert [question.references for question in subtask.questions] == expected


def test_real_labels_and_sentences(real):
    text = (real / "exemplars.json").read_text(encoding="utf-8")
    exemplars = json.loads(text)["MGSM_EXEMPLARS"]
    for language, subtask in (load("mgsm", real) | load("mgsm_en", real)).items():
        question, rationale, sentence = LABELS[language]
        assert all(shown.startswith(question) for shown in subtask.exemplars)
        assert all(f"\n{rationale}" in shown for shown in subtask.exemplars)
        first = subtask.questions[0]
        assert first.text.startswith(question) and first.text.endswith(f"\n{rationale.rstrip()}")
        assert mgsm.SENTENCES[language] == sentence
        assert any(
            exemplars[language][str(n)]["a"].endswith(sentence.format(number))
            for n, number in enumerate((11, 29, 39, 9, 33, 8, 8, 5), start=1)
        )


@pytest.mark.parametrize("name", FORMS)
def test_real_oracle_and_constant(real, name):
    form = benchmark.registered()[name]
    for language, subtask in load(name, real).items():
        assert scripted.headline(form, subtask, answering.oracle) == 100
        raw = (real / f"mgsm_{language}.tsv").read_text(encoding="utf-8")
        expected = 100 * len(re.findall(r"\t18$", raw, re.MULTILINE)) / 250
        language = subtask.questions[0].meta["language"]
        sentence = "{}" if form.decoding.max_length == 32 else LABELS[language][2]
        said = scripted.constant(sentence.format(18))
        assert scripted.headline(form, subtask, said) == pytest.approx(expected)


def test_real_exemplars_in_python(real, tmp_path):
    expected = load("mgsm", real)
    constants = json.loads((real / "exemplars.json").read_text(encoding="utf-8"))
    text = as_python(constants)
    assert len(ast.parse(text).body) == 4
    (tmp_path / "exemplars.py").write_text(text, encoding="utf-8")
    for language in expected:
        (tmp_path / f"mgsm_{language}.tsv").symlink_to(real / f"mgsm_{language}.tsv")
    assert load("mgsm", tmp_path) == expected


# Of the prompt of the first question, which was read.
@pytest.mark.parametrize(
    ("name", "language", "sha256"),
    [
        ("mgsm", "ja", "904ae18772613de87c6a1304bc205228cb3ba27213ae42a75f743ab5a439dd49"),
        ("mgsm", "ru", "a180b6a79a4d999302c678a5c941a8b780beb38e281d7a0c924b9dce10601e98"),
        ("mgsm_direct", "bn", "c0e7d422dfb1668797247bfd379ac3bcff40dc30fd6e69a4e9700afce959359b"),
        (
            "mgsm_zero_shot",
            "zh",
            "fd5ed79ad87db09c2cbb1f8b2e963da9c7a923a4252815931f41d1697e4a9f51",
        ),
        ("mgsm_en_cot", "fr", "998ceaa555d890fc85ae6e45e873d27d3a902eb8c138b7339ba82e3d012fb4d5"),
        (
            "mgsm_zero_shot_cot",
            "te",
            "5a561525ab20f7002ef3c2d4daf33739422841aa2dd4d1fb5379b5390bfb9e2d",
        ),
        ("mgsm_en", "en", "050dfcda272d30ffb55d2132bd79dcfd4539b8082de4496075fd24feccd7be03"),
    ],
)
def test_real_prompts(real, name, language, sha256):
    subtask = load(name, real)[language]
    prompt = subtask.prompt(subtask.questions[0])
    assert hashlib.sha256(prompt.encode()).hexdigest() == sha256
