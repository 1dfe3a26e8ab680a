# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""GSM8K: grade-school problems in English (Cobbe et al. 2021), with chain of thought.

    Q: There are 15 trees in the grove. ...
    A: There are 15 trees originally. ... The answer is 6.

    Q: Janet's ducks lay 16 eggs per day. ...
    A:

The eight exemplars are those of Wei et al. 2022 (arXiv 2201.11903, App. G), which the user's files
give, or an installed `lm_eval`. GSM8K's training set is in the CoT mixture, so that it is not held
out. Chung et al. 2022 give its scores for chain of thought and for self-consistency.
"""

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

from flan_jax.core.errors import DataError, UsageError
from flan_jax.evals import answers, benchmark, public_files
from flan_jax.evals.benchmark import Benchmark, Question, Subtask
from flan_jax.evals.measures import Extracted, Voted
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.self_consistency import SELF_CONSISTENCY

NAME = "gsm8k"
NUM_EXEMPLARS = 8
THINK = "Let's think step by step."
"""What asks for a chain of thought without exemplars (Kojima et al. 2022, arXiv 2205.11916)."""

QUESTIONS = ("test.jsonl", "grade_school_math/data/test.jsonl")
EXEMPLARS = ("cot_8shot_exemplars.json", "gsm8k-cot.yaml")
FILES = (
    "test.jsonl of github.com/openai/grade-school-math; cot_8shot_exemplars.json, a list of "
    "{question, target}, or gsm8k-cot.yaml of lm-eval"
)

# A question may be answered with more than a number where no exemplar shows how.
DIRECT = DecodeConfig(max_length=64, stop=("Q:",))
# The longest solution of the test set has 175 words in 962 characters; models may be wordier.
COT = DecodeConfig(max_length=512, stop=("Q:",))

_CALCULATOR = re.compile(r"<<[^<>]*>>")
_SOLUTION = re.compile(r"(?P<rationale>.+)\n#### (?P<answer>[^\n]+)", re.DOTALL)
_NUMBER = re.compile(r"-?([0-9]+|[0-9]{1,3}(,[0-9]{3})+)(\.[0-9]+)?")


def load(
    folder: Path, split: str, *, has_exemplars: bool = True, is_cot: bool = True
) -> list[Subtask]:
    """Returns the one subtask; see `benchmark.Load`."""
    del split  # there is one
    ask = "A:" if has_exemplars or not is_cot else f"A: {THINK}"
    path = public_files.find(folder, *QUESTIONS, what=FILES)
    questions = []
    for where, row in public_files.read_json_lines(path):
        text = public_files.text_of(row, "question", where)
        solution = _SOLUTION.fullmatch(public_files.text_of(row, "answer", where).rstrip())
        if not text.strip():
            raise DataError(f"{where}: the question is empty; get the file again")
        if not solution:
            raise DataError(f"{where}: need an answer whose last line is '#### ' and a number")
        said = solution["answer"].strip()
        rationale = " ".join(_CALCULATOR.sub("", solution["rationale"]).split())
        questions.append(
            Question(
                id=str(len(questions)),
                text=f"Q: {text}\n{ask}",
                target=f" {rationale} The answer is {said}." if is_cot else f" {said}",
                references=(plain_number(said, where),),
            )
        )
    if not questions:
        raise DataError(f"{path}: no question; get the file again")
    exemplars = read_exemplars(folder) if has_exemplars else ()
    return [Subtask(name=NAME, questions=tuple(questions), exemplars=exemplars)]


def plain_number(text: str, where: str) -> str:
    """Returns a number of the files as filters give it: without commas and needless zeros.

    Raises:
        DataError: it is none.
    """
    if not _NUMBER.fullmatch(text):
        raise DataError(f"{where}: need a number as the answer, found {text!r}")
    return answers.number(text)


def read_exemplars(folder: Path) -> tuple[str, ...]:
    """Returns the exemplars of the user's file, or of an installed `lm_eval`.

    Raises:
        UsageError: neither is there, or it is YAML and PyYAML is not installed.
        DataError: they are not eight pairs of texts `question` and `target`.
    """
    what = "the exemplars, in gsm8k-cot.yaml of lm-eval; or install lm-eval"
    installed = public_files.installed("lm_eval", "tasks/gsm8k/gsm8k-cot.yaml")
    names = [*EXEMPLARS, str(installed)] if installed else EXEMPLARS
    path = public_files.find(folder, *names, what=what)
    is_yaml = path.suffix == ".yaml"
    samples = _samples(path) if is_yaml else public_files.read_json(path)
    if not isinstance(samples, list) or len(samples) != NUM_EXEMPLARS:
        found = f"{len(samples)}" if isinstance(samples, list) else "none"
        raise DataError(f"{path}: need a list of {NUM_EXEMPLARS} exemplars, found {found}")
    exemplars = []
    for index, sample in enumerate(samples):
        where = f"{path}[{index}]"
        texts = [public_files.text_of(sample, key, where) for key in ("question", "target")]
        exemplars.append("Q: {}\nA: {}\n\n".format(*texts))
    return tuple(exemplars)


def _samples(path: Path) -> Any:
    """Returns the exemplars of lm-eval's file; None if it has none."""
    try:
        import yaml
    except ModuleNotFoundError:
        raise UsageError(
            f"{path} needs PyYAML, which is not installed; pip install 'flan_jax[p3]', or write "
            f"the exemplars to {EXEMPLARS[0]}"
        ) from None
    try:
        config = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise DataError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    few_shot = config.get("fewshot_config") if isinstance(config, dict) else None
    return few_shot.get("samples") if isinstance(few_shot, dict) else None


def register() -> None:
    """Registers GSM8K's forms."""
    flexible = Extracted("number", label="flexible")
    few_shot = Benchmark(
        name=NAME,
        version=1,
        protocol="8-shot CoT",
        folder=NAME,
        files=FILES,
        load=load,
        decoding=COT,
        measures=(Extracted("gsm8k_number"), flexible),
        subtasks=(NAME,),
    )
    zero_shot = dataclasses.replace(
        few_shot,
        name="gsm8k_zero_shot",
        protocol="0-shot direct",
        load=functools.partial(load, has_exemplars=False, is_cot=False),
        decoding=DIRECT,
        measures=(Extracted("number_strict"), flexible),
    )
    zero_shot_cot = dataclasses.replace(
        few_shot,
        name="gsm8k_zero_shot_cot",
        protocol="0-shot CoT",
        load=functools.partial(load, has_exemplars=False),
    )
    voted = dataclasses.replace(
        few_shot,
        name="gsm8k_self_consistency",
        protocol=f"8-shot CoT, {SELF_CONSISTENCY.num_samples} samples",
        decoding=dataclasses.replace(SELF_CONSISTENCY, max_length=COT.max_length, stop=COT.stop),
        measures=(Voted("gsm8k_number"),),
    )
    for form in (few_shot, zero_shot, zero_shot_cot, voted):
        benchmark.add(form)


register()
