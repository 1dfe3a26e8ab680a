# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Turns the finished sweeps of the mini study into the files that are kept in the repository.

    python docs/studies/mini/publish.py runs/mini_study

Writes, beside itself and for each further sweep in a folder of its name, `scores.csv`,
`sweep.json`, the figures and the tables, which it also sets into README.md; `rates.csv`; what is
counted in the answers, `cot_ablation/rationales.csv` and `prompt_settings/exemplars.csv`; and for
quickstart, which draws the study behind its own curve, tasks/mini/study.csv and baselines.csv.
"""

import dataclasses
import itertools
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from flan_jax import reporting
from flan_jax.core import files
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.answer_cues import after_cue
from flan_jax.scaling import group_tables, sweep, tables
from tasks.mini import baselines, catalogue
from tasks.mini import tasks as mini_tasks
from tasks.mini.mixtures import SIZES

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[2] / "tasks" / "mini"
METRIC = "exact_match"
NUM_TASKS = (*SIZES, catalogue.NUM_TRAIN)
TASK_SCALING, COT_ABLATION = "task_scaling", "cot_ablation"
PROMPT_SETTINGS = "prompt_settings"
STUDIES = (TASK_SCALING, "size_scaling", COT_ABLATION, PROMPT_SETTINGS, "mixture_ablation")
_COMBINATIONS = {entry.name: entry for entry in catalogue.heldout_combinations()}
RATES = ("rates", "rates_wide")
TABLE = "scores_table.md"
INFO = "sweep.json"
RATIONALES, GIVES_RATIONALE = "rationales.csv", "gives_rationale"
EXEMPLARS, ANSWERS_EXEMPLAR = "exemplars.csv", "answers_exemplar"


def folder(study: str) -> Path:
    """Returns where a study is kept: task scaling beside this file, the others in folders."""
    return HERE if study == TASK_SCALING else HERE / study


def summary(scores: Iterable[scores_lib.Score]) -> list[scores_lib.Score]:
    """Returns the means over tasks, one row for each run and group."""
    return [s for s in scores if s.subtask == scores_lib.MEAN and s.metric == METRIC]


def baseline_scores() -> list[scores_lib.Score]:
    """Returns what each task's most frequent answer scores, in the layout of a sweep's table."""
    groups = {
        "held_out_combination": catalogue.heldout_combinations(),
        "held_out_skill": catalogue.heldout_skills(),
    }
    by_group = {(group, num): entries for group, entries in groups.items() for num in NUM_TASKS} | {
        ("held_in", num): catalogue.training()[:num] for num in NUM_TASKS
    }
    return [
        scores_lib.Score(
            model=baselines.MAJORITY, step=0, benchmark=group, protocol="rule",
            subtask=scores_lib.MEAN, metric=METRIC, n=len(entries), stderr=None,
            value=baselines.exact_match(entries)[baselines.MAJORITY],
            settings={"num_tasks": str(num)},
        )
        for (group, num), entries in by_group.items()
    ]  # fmt: skip


def coverage(num: int) -> tuple[int, int]:
    """Returns how much of the held-out combinations the first `num` training tasks show.

    Of how many the three attribute values (what to find, marks, frame) are all trained on, and of
    how many each two of them are even trained on together.
    """
    trained = [entry.skill.attributes for entry in catalogue.training()[:num]]
    values = {(side, a[side]) for a in trained for side in range(3)}
    pairs = {pair for a in trained for pair in itertools.combinations(enumerate(a), 2)}
    held_out = [tuple(enumerate(e.skill.attributes)) for e in catalogue.heldout_combinations()]
    return (
        sum(values.issuperset(a) for a in held_out),
        sum(pairs.issuperset(itertools.combinations(a, 2)) for a in held_out),
    )


def counted(
    out: Path, benchmark: str, metric: str, holds: Callable[[Mapping], bool]
) -> list[scores_lib.Score]:
    """Returns of how many of each run's answers something holds, in % over a group's tasks.

    Args:
        out: the folder of a sweep, with its runs' predictions.
        benchmark: the group.
        metric: what the number is called.
        holds: says it of a line of the predictions.
    """
    scores = scores_lib.read_scores(out / sweep.SCORES_FILE)
    names = {_key(run["settings"]): run["name"] for run in files.read_json(out / INFO)["runs"]}
    tasks = {s.subtask for s in scores if s.benchmark == benchmark} - {scores_lib.MEAN}
    rows = []
    for mean in summary(scores):
        if mean.benchmark == benchmark:
            predictions = out / names[_key(mean.settings)] / "predictions"
            lines = [
                json.loads(line)
                for task in sorted(tasks)
                for line in (predictions / f"{task}.jsonl").read_text("utf-8").splitlines()
            ]
            share = 100 * sum(map(holds, lines)) / len(lines)
            rows.append(dataclasses.replace(mean, metric=metric, value=share, stderr=None))
    return rows


def gives_rationale(line: Mapping) -> bool:
    """Returns whether an answer says that "the answer is" what follows."""
    return after_cue(line["prediction"]) is not None


def answers_exemplar(line: Mapping) -> bool:
    """Returns whether an answer would have been right for an exemplar, and is not for the query."""
    entry = _COMBINATIONS[line["task"].removesuffix(".few_shot")]
    shown = [mini_tasks.make_row(entry, "train", index) for index in line["meta"]["exemplars"]]
    answer = line["prediction"]
    return answer not in line["references"] and answer in {row["reply"] for row in shown}


def _key(settings: Mapping[str, str]) -> tuple:
    return tuple(sorted(settings.items()))


COUNTED = (
    (
        COT_ABLATION, RATIONALES, GIVES_RATIONALE, gives_rationale,
        ("held_out_combination", "held_out_combination_cot"),
    ),
    (
        PROMPT_SETTINGS, EXEMPLARS, ANSWERS_EXEMPLAR, answers_exemplar,
        ("held_out_combination_few_shot",),
    ),
)  # fmt: skip
"""Study, file, metric, what is counted in the answers, in which groups."""


def with_tables(page: str) -> str:
    """Returns the page with each table between its marks."""
    shown = {study: (folder(study) / TABLE).read_text(encoding="utf-8") for study in STUDIES}
    shown["rationales"] = _table(COT_ABLATION, RATIONALES, GIVES_RATIONALE)
    shown["exemplars"] = _table(PROMPT_SETTINGS, EXEMPLARS, ANSWERS_EXEMPLAR)
    for name, table in shown.items():
        begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{table.strip()}\n\n{end}{rest.partition(end)[2]}"
    return page


def _table(study: str, name: str, metric: str) -> str:
    info = files.read_json(folder(study) / INFO)
    order = group_tables.order_of([run["settings"] for run in info["runs"]], info["sizes"])
    rows = scores_lib.read_scores(folder(study) / name)
    return tables.markdown(group_tables.group_table(rows, metric, order))


def main(out: str) -> None:
    """Writes all files.

    Args:
        out: the folder that `regenerate.py` left: a sweep in each of its folders.
    """
    for study in STUDIES:
        source, kept = Path(out) / study, folder(study)
        kept.mkdir(exist_ok=True)
        for name in (sweep.SCORES_FILE, INFO):
            shutil.copyfile(source / name, kept / name)
        draw(source, kept, with_rules=study == TASK_SCALING)
    scores = scores_lib.read_scores(HERE / sweep.SCORES_FILE)
    scores_lib.write_scores(PACKAGE / "study.csv", summary(scores))
    scores_lib.write_scores(PACKAGE / "baselines.csv", baseline_scores())
    for study, name, metric, holds, groups in COUNTED:
        rows = [r for g in groups for r in counted(Path(out) / study, g, metric, holds)]
        scores_lib.write_scores(folder(study) / name, rows)
    tuned = [scores_lib.read_scores(Path(out) / name / sweep.SCORES_FILE) for name in RATES]
    scores_lib.write_scores(HERE / "rates.csv", summary(itertools.chain(*tuned)))
    page = HERE / "README.md"
    text = with_tables(page.read_text(encoding="utf-8"))
    with files.atomic_open(page) as file:
        file.write(text)


def draw(source: Path, kept: Path, *, with_rules: bool) -> None:
    """Draws a sweep's figures and tables, and keeps them as PNG, SVG and Markdown."""
    rules = str(PACKAGE / "baselines.csv") if with_rules else None
    with tempfile.TemporaryDirectory() as made:
        reporting.report(str(source), out=made, baselines=rules)
        for pattern in ("*.png", "*.svg", "*.md"):
            for path in Path(made).glob(pattern):
                shutil.copyfile(path, kept / path.name)


if __name__ == "__main__":
    main(*sys.argv[1:])
