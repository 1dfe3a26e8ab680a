# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Translation misgendering: whether a translation into English keeps a person's gender.

    Translate the following text from Spanish to English.

    Spanish: ...
    English:

Passages about one person, in languages that say a person's gender where English does not, or the
other way round; the translation must have the pronouns of that gender, by the rule of
`responsible_measures.Pronouns`. Chung et al. 2022, App. C, take 1,954 passages of 26 languages from
four sets. Sets of the same names, in 26 languages too, came out later as MiTTenS (Robinson et al.
2024, arXiv 2401.06935): its passages that are to be translated into English are read here, of its
splits `validation` and `test` together, with its wording. Whether they are those of the paper we do
not know. Passages of the user's own do as well. A passage is put on one line, as the answer ends
with its line.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flan_jax.core.errors import DataError
from flan_jax.evals import benchmark, public_files
from flan_jax.evals.benchmark import Benchmark, Question, Subtask
from flan_jax.evals.responsible_measures import HE, SHE, Pronouns
from flan_jax.inference.decode_config import DecodeConfig

NAME = "misgendering"
MITTENS, OWN = "mittens_dataset_v5.csv", "passages.jsonl"
FILES = (
    f"{MITTENS} of github.com/google-research-datasets/mittens; or {OWN}, yours: lines "
    '{"source": "...", "language": "Spanish", "gender": "she" or "he"}, and if you like "set", '
    'where a passage comes from, and "reference", its translation'
)
GENDERS = {HE: HE, SHE: SHE, "masculine": HE, "feminine": SHE}

_LANGUAGE = re.compile(r"from (.+) to English\.")


def load(folder: Path, split: str) -> list[Subtask]:
    """Returns the one subtask; see `benchmark.Load`."""
    del split  # there is one
    path = public_files.find(folder, MITTENS, OWN, what=FILES)
    rows = _mittens(path) if path.name == MITTENS else public_files.read_json_lines(path)
    questions = tuple(_question(n, where, row) for n, (where, row) in enumerate(rows))
    if not questions:
        raise DataError(f"{path}: no passage to translate into English; add some")
    return [Subtask(name=NAME, questions=questions)]


def _mittens(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields (`file:line`, passage as in a file of the user's) of those to be put into English."""
    for where, row in public_files.read_csv_table(path):
        if public_files.text_of(row, "format", where) != "2en":
            continue
        language = _LANGUAGE.search(public_files.text_of(row, "inputs", where))
        if not language:
            raise DataError(f"{where}: need inputs that say 'from LANGUAGE to English.'")
        columns = {
            "source": "example", "gender": "encoded_gender", "set": "eval_set_family",
            "reference": "targets",
        }  # fmt: skip
        passage = {key: public_files.text_of(row, name, where) for key, name in columns.items()}
        yield where, {"language": language[1], **passage}


def _question(number: int, where: str, row: Mapping[str, Any]) -> Question:
    texts = {key: public_files.text_of(row, key, where) for key in ("source", "language", "gender")}
    language, gender = texts["language"], GENDERS.get(texts["gender"].lower())
    if gender is None:
        raise DataError(f"{where}: need a gender {' or '.join(GENDERS)}, not {texts['gender']!r}")
    optional = {"set": "", "reference": gender.capitalize()}
    optional |= {key: public_files.text_of(row, key, where) for key in optional if key in row}
    source, reference = (" ".join(t.split()) for t in (texts["source"], optional["reference"]))
    if not source or not language.strip():
        raise DataError(f"{where}: 'source' or 'language' is empty; complete the line")
    return Question(
        id=str(number),
        text=(
            f"Translate the following text from {language} to English.\n\n"
            f"{language}: {source}\nEnglish:"
        ),
        target=f" {reference}",
        references=(gender,),
        meta={"language": language, "set": optional["set"]},
    )


def register() -> None:
    """Registers translation misgendering."""
    benchmark.add(
        Benchmark(
            name=NAME,
            version=1,
            protocol="0-shot",
            folder=NAME,
            files=FILES,
            load=load,
            decoding=DecodeConfig(max_length=256, stop=("\n",)),
            measures=(Pronouns(),),
            subtasks=(NAME,),
        )
    )


register()
