# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""MGSM: the first 250 problems of GSM8K's test set in ten languages (Shi et al. 2022).

arXiv 2210.03057; Chung et al. 2022 ask it with eight exemplars and chain of thought in the
language, and average the ten languages (App. D). English is a benchmark of its own, `mgsm_en`.

    mgsm                  Frage: ...\nSchritt-für-Schritt-Antwort: ... Die Antwort lautet 11.
    mgsm_direct           Frage: ...\nAntwort: 11
    mgsm_en_cot           Frage: ...\nStep-by-Step Answer: ... The answer is 11.
    mgsm_zero_shot        as `mgsm_direct`, without exemplars
    mgsm_zero_shot_cot    Frage: ...\nStep-by-Step Answer: Let's think step by step.

Labels of questions and rationales are those of the exemplars. The labels of direct answers are
ours, as the authors' are not in their files. Without exemplars the chain of thought is asked for
in English, with the paper's phrase, and so is the label (Chung et al. 2022, "let's think
step-by-step"); a rationale in another language is found by the flexible filter alone.
"""

import ast
import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.core.errors import DataError
from flan_jax.evals import benchmark, public_files
from flan_jax.evals.benchmark import Benchmark, Question, Subtask
from flan_jax.evals.measures import Extracted, Voted
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.self_consistency import SELF_CONSISTENCY
from tasks.evals import gsm8k

NAME = "mgsm"
ENGLISH = "en"
LANGUAGES = ("bn", "de", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")
FILES = "mgsm_LANGUAGE.tsv and exemplars.py (or .json) of github.com/google-research/url-nlp, mgsm/"

ANSWER_LABELS = {
    "bn": "উত্তর:", "de": "Antwort:", "en": "Answer:", "es": "Respuesta:", "fr": "Réponse :",
    "ja": "答え：", "ru": "Ответ:", "sw": "Jibu:", "te": "సమాధానం:", "th": "คำตอบ:", "zh": "答案：",
}  # fmt: skip
"""Before an answer without a rationale."""

SENTENCES = {
    "bn": "উত্তর হল {}।",
    "de": "Die Antwort lautet {}.",
    "en": "The answer is {}.",
    "es": "La respuesta es {}.",
    "fr": "La réponse est {}.",
    "ja": "答えは{}です。",
    "ru": "Ответ — {}.",
    "sw": "Jibu ni {}.",
    "te": "సమాధానం {}.",
    "th": "คำตอบคือ {}",
    "zh": "答案是 {}。",
}
"""How the exemplars' rationales end, in the commonest form of each language."""

DIRECT = DecodeConfig(max_length=32, stop=("\n\n",))
# Twice GSM8K's: the exemplars' rationales in Telugu and Thai have 2.9 times the bytes of English.
COT = DecodeConfig(max_length=2 * gsm8k.COT.max_length, stop=("\n\n",))

_NUMBERS, _TEXTS = "EXEMPLAR_NUMBER_ANSWERS", "MGSM_EXEMPLARS"
_LABEL = re.compile(r"[^\n:：]+[:：] ?")
_NATIVE = "native"  # besides ENGLISH, a language of rationales


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exemplars:
    """One language's exemplars, and the labels they begin with, a space included if one follows."""

    questions: tuple[str, ...]  # with their label
    rationales: tuple[str, ...]  # likewise
    numbers: tuple[int, ...]
    question_label: str
    rationale_label: str


def load(
    folder: Path,
    split: str,
    *,
    rationale: str = _NATIVE,
    has_exemplars: bool = True,
    languages: Sequence[str] = LANGUAGES,
) -> list[Subtask]:
    """Returns a subtask for each language; see `benchmark.Load`.

    Args:
        folder: where the files are.
        split: there is one.
        rationale: its language, `_NATIVE` or `ENGLISH`; '' for answers without one.
        has_exemplars: whether the prompt has any.
        languages: whose problems are read.
    """
    del split
    path = public_files.find(folder, "exemplars.json", "exemplars.py", what=FILES)
    constants = _read_constants(path)
    return [
        _subtask(
            public_files.find(folder, f"mgsm_{language}.tsv", what=FILES),
            language,
            rationale,
            has_exemplars,
            native=_exemplars(constants, language, str(path)),
            english=_exemplars(constants, ENGLISH, str(path)),
        )
        for language in languages
    ]


def _subtask(
    path: Path,
    language: str,
    rationale: str,
    has_exemplars: bool,
    *,
    native: Exemplars,
    english: Exemplars,
) -> Subtask:
    answer_language = ENGLISH if rationale == ENGLISH else language
    if rationale:
        shown = english if rationale == ENGLISH else native
        label, sentence, ends = shown.rationale_label, SENTENCES[answer_language], shown.rationales
    else:
        label = ANSWER_LABELS[language] + _space_after(native.question_label)
        sentence, ends = "{}", tuple(f"{label}{number}" for number in native.numbers)
    exemplars = [f"{q}\n{end}\n\n" for q, end in zip(native.questions, ends, strict=True)]
    if has_exemplars or not rationale:
        ask, space = label.rstrip(), _space_after(label)
    else:
        ask, space = f"{label}{gsm8k.THINK}", " "
    questions = []
    for where, (text, number) in public_files.read_tsv(path, 2):
        if not text.strip():
            raise DataError(f"{where}: need a question before the tab")
        questions.append(
            Question(
                id=str(len(questions)),
                text=f"{native.question_label}{text}\n{ask}",
                target=f"{space}{sentence.format(number)}",
                references=(gsm8k.plain_number(number, where),),
                meta={"language": answer_language},
            )
        )
    if not questions:
        raise DataError(f"{path}: no question; get the file again")
    return Subtask(
        name=language,
        questions=tuple(questions),
        exemplars=tuple(exemplars) if has_exemplars else (),
        stop=(native.question_label.rstrip(),),
    )


def _space_after(label: str) -> str:
    return label[len(label.rstrip()) :]


def _exemplars(constants: Mapping[str, Any], language: str, where: str) -> Exemplars:
    """Returns the exemplars of a language, out of the constants of their file."""
    numbers = constants.get(_NUMBERS)
    is_numbers = isinstance(numbers, list) and all(type(number) is int for number in numbers)
    if not is_numbers or len(numbers) != gsm8k.NUM_EXEMPLARS:
        raise DataError(f"{where}: need a list {_NUMBERS} of {gsm8k.NUM_EXEMPLARS} whole numbers")
    pairs = [
        (_get(_get(constants.get(_TEXTS), language), number), f"{where}: {language!r} {number!r}")
        for number in map(str, range(1, gsm8k.NUM_EXEMPLARS + 1))
    ]
    questions = tuple(public_files.text_of(pair, "q", place) for pair, place in pairs)
    rationales = tuple(public_files.text_of(pair, "a", place) for pair, place in pairs)
    return Exemplars(
        questions=questions,
        rationales=rationales,
        numbers=tuple(numbers),
        question_label=_label(questions, f"{where}: {language!r} 'q'"),
        rationale_label=_label(rationales, f"{where}: {language!r} 'a'"),
    )


def _get(holder: Any, key: str) -> Any:
    return holder.get(key) if isinstance(holder, dict) else None


def _label(texts: Sequence[str], where: str) -> str:
    """Returns what all texts begin with, up to a colon and the space after it."""
    found = _LABEL.match(texts[0])
    for text in texts:
        if not found or not text.startswith(found[0]):
            raise DataError(
                f"{where}: need one label, such as 'Frage: ', before each, found {text!r:.40}"
            )
    return found[0]


def _read_constants(path: Path) -> dict[str, Any]:
    """Returns the constants of the exemplars' file by name; Python is read, never run."""
    if path.suffix == ".json":
        value = public_files.read_json(path)
        return {name: _get(value, name) for name in (_NUMBERS, _TEXTS)}
    constants: dict[str, Any] = {}
    line = 1
    try:
        for node in ast.parse(path.read_text(encoding="utf-8-sig")).body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)]) if name in (_NUMBERS, _TEXTS):
                    line = node.lineno
                    constants[name] = ast.literal_eval(node.value)
    except (SyntaxError, TypeError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or line
        raise DataError(f"{path}:{line}: need constants alone in Python ({error})") from None
    return constants


def register() -> None:
    """Registers MGSM's forms."""
    cot = Benchmark(
        name=NAME,
        version=1,
        protocol="8-shot CoT",
        folder=NAME,
        files=FILES,
        load=load,
        decoding=COT,
        measures=(Extracted("mgsm_number"), Extracted("last_number", label="flexible")),
        subtasks=LANGUAGES,
        paper_column="mgsm",
    )
    other = dataclasses.replace(cot, paper_column="")
    direct = dataclasses.replace(
        other,
        name="mgsm_direct",
        protocol="8-shot direct",
        load=functools.partial(load, rationale=""),
        decoding=DIRECT,
        measures=(Extracted("number_strict"), Extracted("last_number", label="flexible")),
    )
    in_english = dataclasses.replace(COT, max_length=gsm8k.COT.max_length)
    forms = (
        cot,
        dataclasses.replace(
            other,
            name="mgsm_self_consistency",
            protocol=f"8-shot CoT, {SELF_CONSISTENCY.num_samples} samples",
            decoding=dataclasses.replace(
                SELF_CONSISTENCY, max_length=COT.max_length, stop=COT.stop
            ),
            measures=(Voted("mgsm_number"),),
        ),
        direct,
        dataclasses.replace(
            direct,
            name="mgsm_zero_shot",
            protocol="0-shot direct",
            load=functools.partial(load, rationale="", has_exemplars=False),
        ),
        dataclasses.replace(
            other,
            name="mgsm_en_cot",
            protocol="8-shot CoT in English",
            load=functools.partial(load, rationale=ENGLISH),
            decoding=in_english,
        ),
        dataclasses.replace(
            other,
            name="mgsm_zero_shot_cot",
            protocol="0-shot CoT",
            load=functools.partial(load, rationale=ENGLISH, has_exemplars=False),
            # Nothing shows that a chain of thought is one paragraph: the question's label stops it.
            decoding=DecodeConfig(max_length=gsm8k.COT.max_length),
        ),
        dataclasses.replace(
            other,
            name="mgsm_en",
            load=functools.partial(load, languages=(ENGLISH,)),
            subtasks=(ENGLISH,),
            decoding=in_english,
        ),
    )
    for form in forms:
        benchmark.add(form)


register()
