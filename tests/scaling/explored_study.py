# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A study of two runs with their predictions, whose texts try to break a page."""

import hashlib
import json

from flan_jax.evals.scores import Score
from flan_jax.scaling import page, study
from flan_jax.scaling.plots import Bars, Figure, Line, Panel

HOSTILE = (
    '</script><script>document.title="broken"</script>',
    "line\u2028separator \u2029 & <b>bold</b> \"quoted\" 'single' `tick` ${x} {{ y }}",
    "<img src=x onerror=alert(1)> 😀 é \ud800 half",
    "long " * 4000 + "word" + "w" * 3000,
)
# Scores of the task of a store (in order of HOSTILE), and of the benchmark, for runs A and B.
OWN = ((100.0, 0.0, 100.0, 0.0), (0.0, 100.0, 100.0, 0.0))
TOY = ((100.0,) * 9 + (0.0,) * 3, (0.0,) * 7 + (100.0,) * 3 + (0.0, 0.0))
TASK = "odd.<b>task"


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_run(folder, number):
    own = [
        {
            "task": TASK, "id": i, "inputs": text, "targets": "t", "prediction": f"says {text}",
            "answer": text if i else f"says {text}", "references": [text, "other"],
            "metrics": {"exact_match": OWN[number][i], "rouge_l": 33.33333},
            "too_long": False, "meta": {},
        }
        for i, text in enumerate(HOSTILE)
    ]  # fmt: skip
    toy = [
        {
            "benchmark": "toy", "subtask": "sub", "id": f"q{i}", "inputs": f"Question {i}?",
            "prompt_sha256": hashlib.sha256(f"Question {i}?".encode()).hexdigest(),
            "predictions": [f"({'AB'[number]})"], "answer": "AB"[number], "references": ["A"],
            "exact_match": score, "num_dropped": 0, "too_long": False, "finish_reasons": ["stop"],
            "meta": {},
        }
        for i, score in enumerate(TOY[number])
    ]  # fmt: skip
    write(folder / "predictions" / f"{TASK}.jsonl", own)
    write(folder / "benchmarks/predictions/toy/test.generate/sub.jsonl", toy)


def rows(number, value):
    settings = {"num_tasks": str(4 * (number + 1)), "size": "tiny"}
    common = dict(model="m", metric="exact_match", value=value, stderr=1.5, settings=settings)
    own = dict(benchmark="held_in", protocol="greedy", **common)
    toy = dict(benchmark="toy", protocol="zero-shot; test; generate", **common)
    return [
        Score(step=1, subtask=TASK, n=4, **(own | {"value": 1.0})),  # an earlier step
        Score(step=9, subtask=TASK, n=4, **own),
        Score(step=9, subtask="_mean", n=1, **own),
        Score(step=9, subtask="sub", n=12, **toy),
        Score(step=9, subtask="_mean", n=1, **toy),
    ]


def make(folder):
    """Returns a study whose two runs lie below the folder."""
    for number, name in enumerate(("first", "second")):
        write_run(folder / name, number)
    return study.Study(
        title="Two </title><script>runs</script>",
        metric="exact_match",
        runs=[
            study.RunRecord(
                name=name, size="tiny", settings={"num_tasks": str(4 * (n + 1)), "size": "tiny"},
                status="done", duration_s=61.0, num_parameters=1_200_000, folder=folder / name,
            )
            for n, name in enumerate(("first", "second"))
        ],
        scores=[*rows(0, 50.0), *rows(1, 75.0)],
    )  # fmt: skip


def lines_figure():
    """Returns a figure of two panels with all kinds of lines."""
    ours = Line(
        label="ours <i>", x=(0.0, 4.0, 16.0), y=(10.0, 20.0, 30.0), spread=(1.0, None, 2.0),
        band=((4.0, 15.0, 25.0), (16.0, 25.0, 35.0)), middle=(20.0, 30.0), color=1,
        hover=("a\nb", "<b>", "c"),
    )  # fmt: skip
    theirs = Line(label="paper: 8B", x=(4.0, 16.0), y=(40.0, 90.0), shade=0.5, reference=True)
    rule = Line(label="", x=(4.0, 16.0), y=(5.0, 5.0), thin=True)
    point = Line(label="", x=(16.0,), y=(28.0,), thin=True, band=((16.0, 22.0, 31.0),))
    return Figure(
        title="Lines", subtitle="of two panels", x_label="tasks", y_label="Exact match, %",
        panels=(
            Panel(title="One", lines=(ours, theirs)),
            Panel(title="Two", lines=(ours, rule, point)),
        ),
        log_x=True, note="A note.", name="lines",
    )  # fmt: skip


def bars_figure():
    """Returns a figure of bars, the paper's among them."""
    return Figure(
        title="Bars", subtitle="", x_label="", y_label="Exact match, %", name="bars",
        panels=(
            Panel(
                title="",
                bars=(
                    Bars(label="ours", names=("a & b", "c"), values=(10.0, 60.0),
                         errors=(1.0, None)),
                    Bars(label="paper", names=("c",), values=(70.0,), color=2, reference=True),
                ),
            ),
        ),
    )  # fmt: skip


def page_of(found, **more):
    """Returns a page of a study with figures of both kinds."""
    return page.Page(
        title=found.title, subtitle="tiny", study=found,
        sections=[page.Section(title="Lines", figures=[lines_figure()]),
                  page.Section(title="Bars", figures=[bars_figure()])],
        **more,
    )  # fmt: skip
