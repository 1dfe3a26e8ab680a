# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""TyDiQA: whole prompts in several scripts, the exemplar's rule, real texts, faults of files."""

import collections
import hashlib
import json
import unicodedata

import pytest

from flan_jax.core.errors import DataError, UsageError
from flan_jax.evals import benchmark
from tasks.evals import tydiqa
from tests.tasks.evals import answering, scripted
from tests.tasks.evals.multilingual_data import (
    LONG,
    TYDIQA_LANGUAGES,
    tydiqa_article,
    write_squad,
    write_tydiqa,
)
from tests.tasks.family_data import shared_folder

CODES = ("ar", "bn", "fi", "id", "ko", "ru", "sw", "te")
FORMS = ("tydiqa", "tydiqa_zero_shot")


@pytest.fixture
def folder(tmp_path):
    write_tydiqa(tmp_path)
    return tmp_path


def load(name, folder):
    """Returns the subtasks of a form by language."""
    form = benchmark.registered()[name]
    return {subtask.name: subtask for subtask in form.load(folder, "validation")}


# The labels are those of lm-eval's tydiqa_goldp tasks (0.4.13).
LABELS = {
    "arabic": "السياق: {}\n\nالسؤال: {}\n\nالإجابة:",
    "bengali": "প্রসঙ্গ: {}\n\nপ্রশ্ন: {}\n\nউত্তর:",
    "finnish": "Konteksti: {}\n\nKysymys: {}\n\nVastaus:",
    "indonesian": "Konteks: {}\n\nPertanyaan: {}\n\nJawaban:",
    "korean": "맥락: {}\n\n질문: {}\n\n답변:",
    "russian": "Контекст: {}\n\nВопрос: {}\n\nОтвет:",
    "swahili": "Muktadha: {}\n\nSwali: {}\n\nJibu:",
    "telugu": "సందర్భం: {}\n\nప్రశ్న: {}\n\nసమాధానం:",
}


@pytest.mark.parametrize(("code", "language"), [*zip(CODES, LABELS, strict=True)])
def test_whole_prompts(folder, code, language):
    exemplar = LABELS[language].format(f"{language} 1.", f"How many, {language}?") + " 1\n\n"
    asked = LABELS[language].format(f"In {language}: the number 0.", f"{language}?")
    subtask, zero_shot = (load(name, folder)[code] for name in FORMS)
    assert subtask.prompt(subtask.questions[0]) == exemplar + asked
    assert zero_shot.prompt(zero_shot.questions[0]) == asked
    question = subtask.questions[0]
    assert question.id == f"{language}-0-1"
    assert question.target == " the number 0"
    assert question.references == ("the number 0", "0")
    assert question.meta == {"language": code}
    assert subtask.stop == zero_shot.stop == (asked.split(" ")[0],)


def test_the_mean_is_over_eight_languages_without_english(folder):
    for name in FORMS:
        subtasks = load(name, folder)
        assert tuple(subtasks) == CODES == benchmark.registered()[name].subtasks
        assert [len(subtask.questions) for subtask in subtasks.values()] == [2] * 8


def exemplar_of(folder, *passages):
    """Returns the number of the training question that the Finnish exemplar shows."""
    path = folder / "tydiqa-goldp-v1.1-train.json"
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    others = [a for a in articles if not a["paragraphs"][0]["qas"][0]["id"].startswith("finnish")]
    own = [tydiqa_article(f"finnish-{n}", p, f"{n}?", "a") for n, p in enumerate(passages)]
    write_squad(path, [*others, *own])
    (exemplar,) = load("tydiqa", folder)["fi"].exemplars
    return int(exemplar.split("Kysymys: ")[1][0])


def test_the_exemplar_is_the_first_short_one(folder):
    assert exemplar_of(folder, "b a", "a") == 0
    assert exemplar_of(folder, LONG, "a" * 1_000, "a") == 1
    assert exemplar_of(folder, LONG + "y", LONG, LONG + "z", LONG) == 1


def test_one_file_for_each_language(folder):
    expected = load("tydiqa", folder)
    path = folder / "tydiqa-goldp-v1.1-dev.json"
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    path.unlink()
    for language in TYDIQA_LANGUAGES:
        own = [a for a in articles if a["paragraphs"][0]["qas"][0]["id"].startswith(language)]
        inside = "" if language == "telugu" else "tydiqa-goldp-v1.1-dev/"
        write_squad(folder / f"{inside}tydiqa-goldp-dev-{language}.json", own)
    assert load("tydiqa", folder) == expected


def test_texts_are_in_form_nfc(folder):
    path = folder / "tydiqa-goldp-v1.1-dev.json"
    text = path.read_text(encoding="utf-8").replace("finnish?", "Mika\u0308?")
    path.write_text(text.replace("the number", "e\u0301"), encoding="utf-8")
    question = load("tydiqa_zero_shot", folder)["fi"].questions[0]
    assert "Kysymys: Mik\u00e4?" in question.text and "In finnish: \u00e9 0." in question.text
    assert question.references == ("\u00e9 0", "0")


@pytest.mark.parametrize("name", FORMS)
def test_oracle_is_right(folder, name):
    form = benchmark.registered()[name]
    for subtask in load(name, folder).values():
        found = scripted.values(form, subtask, answering.oracle)
        assert next(iter(found)) == "squad_em_multilingual"
        assert [found[metric].value for metric in list(found)[:2]] == [100, 100]


def test_the_best_reference_counts(folder):
    form, subtask = benchmark.registered()["tydiqa"], load("tydiqa", folder)["fi"]
    found = scripted.values(form, subtask, scripted.constant(" The Number 0.\n\nKonteksti: 1"))
    assert found["squad_em_multilingual"].value == 50
    # Of three words of 'the number 1' two are shared.
    assert found["squad_f1_multilingual"].value == pytest.approx((100 + 200 / 3) / 2)
    assert scripted.headline(form, subtask, scripted.constant("1")) == 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.clear(), r"data: need a list that is not empty"),
        (lambda data: data[3].pop("paragraphs"), r"data\[3\].paragraphs: need a list"),
        (
            lambda data: data[3]["paragraphs"][0].pop("context"),
            r"data\[3\].paragraphs\[0\]: need a text 'context'",
        ),
        (
            lambda data: data[3]["paragraphs"][0]["qas"][0].update(id=7),
            r"data\[3\].paragraphs\[0\].qas\[0\]: need a text 'id'",
        ),
        (
            lambda data: data[3]["paragraphs"][0]["qas"][0]["answers"].clear(),
            r"data\[3\].paragraphs\[0\].qas\[0\].answers: need a list that is not empty",
        ),
        (
            lambda data: data[3]["paragraphs"][0]["qas"][0]["answers"][1].update(text=" "),
            r"data\[3\].paragraphs\[0\].qas\[0\]: an answer is empty",
        ),
        (
            lambda data: data.__delitem__(slice(2, None)),
            "no question whose id begins with 'finnish-'",
        ),
    ],
)
@pytest.mark.parametrize("part", ["train", "dev"])
def test_faults_of_files_are_named(folder, part, change, message):
    path = folder / f"tydiqa-goldp-v1.1-{part}.json"
    data = json.loads(path.read_text(encoding="utf-8"))["data"]
    change(data)
    write_squad(path, data)
    with pytest.raises(DataError, match=rf"v1.1-{part}.json: {message}") as caught:
        load("tydiqa", folder)
    assert "\n" not in str(caught.value)


def test_missing_files_are_named(folder):
    (folder / "tydiqa-goldp-v1.1-train.json").unlink()
    with pytest.raises(UsageError, match=r"v1.1-train.json.*github.com"):
        load("tydiqa", folder)
    assert len(load("tydiqa_zero_shot", folder)) == 8
    (folder / "tydiqa-goldp-v1.1-dev.json").unlink()
    with pytest.raises(UsageError, match=r"v1.1-dev.json .*tydiqa-goldp-dev-arabic.json"):
        load("tydiqa_zero_shot", folder)


@pytest.fixture
def real(tmp_path):
    """Real texts: TyDiQA's of four languages, XQuAD's stand in for the others and for training."""
    shared = shared_folder() / "eval"

    def articles(path, language=""):
        found = json.loads((shared / path).read_text(encoding="utf-8"))["data"]
        for article in found if language else ():
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    question["id"] = f"{language}-{question['id']}"
        return found

    dev = articles("tydiqa/tiny_dev.goldp_derived.json")
    stand_ins = {"russian": "ru", "bengali": "th", "korean": "es", "swahili": "en"}
    for language, code in stand_ins.items():
        dev += articles(f"xquad_standin/xquad.{code}.json", language)
    write_squad(tmp_path / "tydiqa-goldp-v1.1-dev.json", dev)
    train = []
    for language in TYDIQA_LANGUAGES:
        train += articles("xquad_standin/xquad.ar.json", language)
    write_squad(tmp_path / "tydiqa-goldp-v1.1-train.json", train)
    return tmp_path


def test_real_counts(real):
    counts = {code: len(subtask.questions) for code, subtask in load("tydiqa", real).items()}
    expected = {"ar": 1, "bn": 100, "fi": 1, "id": 1, "ko": 100, "ru": 100, "sw": 100, "te": 1}
    assert counts == expected
    negative = load("tydiqa", real)["fi"].questions[0]
    assert negative.id == "finnish--7549932681071767572-0"


@pytest.mark.parametrize("name", FORMS)
def test_real_oracle_and_constant(real, name):
    form = benchmark.registered()[name]
    subtasks = load(name, real)
    raw = json.loads((real / "tydiqa-goldp-v1.1-dev.json").read_text(encoding="utf-8"))
    said = collections.defaultdict(list)
    for article in raw["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                texts = [unicodedata.normalize("NFC", a["text"]) for a in question["answers"]]
                said[question["id"].split("-")[0]].append({t.casefold() for t in texts})
    for code, language in tydiqa.LANGUAGES.items():
        subtask = subtasks[code]
        assert scripted.headline(form, subtask, answering.oracle) == 100
        answer = subtask.questions[-1].references[0]
        expected = 100 * sum(answer.casefold() in texts for texts in said[language])
        expected /= len(said[language])
        found = scripted.headline(form, subtask, scripted.constant(answer))
        assert 0 < expected == pytest.approx(found)


# Of the prompt of the first question, which was read.
@pytest.mark.parametrize(
    ("name", "code", "sha256"),
    [
        ("tydiqa", "ar", "ea13b95c2f567379bbdf1ac127a1343b9eb86e2bd1452d7963e7b1a83986f51f"),
        ("tydiqa", "ru", "91348f6c7911230ddba27a81b266e573c4bf1aa6a3762febfaa12fa13add9172"),
        (
            "tydiqa_zero_shot",
            "fi",
            "55168078dc7e5a56a0fcd4c030d7acbd27e273d598a88285a6e4596dbba926cb",
        ),
        (
            "tydiqa_zero_shot",
            "id",
            "57d35b40d3720f0b108ed2d47665eccd12cacbab53359daf09600a5f146c98f2",
        ),
        (
            "tydiqa_zero_shot",
            "te",
            "383664ed5e7961d51e52843d58c779c4300dcf6f85726927af83d353f7042368",
        ),
    ],
)
def test_real_prompts(real, name, code, sha256):
    subtask = load(name, real)[code]
    prompt = subtask.prompt(subtask.questions[0])
    assert hashlib.sha256(prompt.encode()).hexdigest() == sha256
