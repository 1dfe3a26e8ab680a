# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders as an evaluation of the open-ended prompts writes them, with made answers."""

import csv
import json

HOSTILE = (
    "</script><script>document.title='hacked'</script><!--<script>"
    "<img src=x onerror=\"document.title='hacked'\">'\"&amp;{{ 7 * 7 }}${1}\u2028\u2029é😀"
)
# What spreadsheets, CSV and HTML may change, and the usual.
TEXTS = (
    "plain",
    HOSTILE,
    "=1+1",
    "- a list\n- of two",
    "'- quoted already",
    'a "quote", and a comma\r\nin\rthree lines',
    "",
    "@all",
    "日本語",
    "half a pair \ud83d ends",
)

# Cells that spreadsheets compute, or write in another way when they save.
CHANGED = (
    "=1+1", "+1", "-a list", "@all", "\ta", "＝1", "61", "1.50", "007", "1/2", "1,234.50 €", "$15",
    "(5)", "25 %", "9:30", "1E5", "8 March", "March 8", "März 8", "May 2020", "MARCH1",
    "true", "FALSE", "12345678901234567890123456789012345678901234", "'61",
    "😀😀😀😀😀😀😀😀😀😀😀 5",
)  # fmt: skip


def row(name, prompt, texts, logprobs=None, **others):
    logprobs = [-20.0 - i for i in range(len(texts))] if logprobs is None else logprobs
    return {
        "id": name, "predictions": texts, "logprobs": logprobs, "inputs": prompt, **others,
    }  # fmt: skip


def write(folder, categories):
    """Writes rows by category; returns the folder."""
    below = folder / "predictions" / "open_ended" / "test.generate"
    below.mkdir(parents=True)
    for category, rows in categories.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (below / f"{category}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def two(folder, num=10):
    """Returns the folders of two models that answered the same prompts differently."""
    made = []
    for model in ("aardvark", "zebra"):
        categories = {
            category: [
                row(
                    f"{category}_{i}",
                    f"{TEXTS[i % len(TEXTS)]}?{i}",
                    [f"{text}{suffix(model, text)}"],
                )
                for i, text in enumerate((TEXTS * num)[:num])
            ]
            for category in ("planning", "creativity")
        }
        made.append(write(folder / model, categories))
    return made


def suffix(model, text):
    """Returns what ends a model's answer in `two`; the names themselves must not be shown."""
    return {"aardvark": " A!", "zebra": " Z!" if text else ""}[model]


def fill(sheet, path, choose):
    """Writes a sheet with choices, `choose(row)` for each; returns its rows."""
    with open(sheet, encoding="utf-8-sig", newline="") as file:
        rows = [{**row, "choice": choose(row)} for row in csv.DictReader(file)]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows
