# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rendered prompts of each family, byte for byte as they were: tests/golden/prompts.jsonl.

They change when a template, a style, a draw or a mapping does. Then look at the difference, raise
`spec.RENDERING_VERSION` if the code is what changed, and write them anew:

    python -m tests.tasks.golden_prompts_test
"""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tasks.mixtures  # noqa: F401 - registers
from flan_jax.collection import registry, rendering
from tests.tasks import family_data

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "prompts.jsonl"
NAMES = (
    "muffin.bool_q",
    f"t0_sf.{family_data.P3_TASK}",
    f"niv2.{family_data.NIV2_TASK}",
    "cot.gsm8k",
    "cot.gsm8k_input_inversion",
    "dialog.task_master",
    "dialog.task_master_input_inversion",
    "program_synthesis.dr_repair_plain_code",
    "program_synthesis.dr_repair_plain_code_input_inversion",
    "mini.cot.country_done",
    "mini.muffin.thing_done",
)
NUM_EACH = 4


def rendered(name: str) -> Iterator[dict]:
    """Yields the first examples of a task in each of its settings."""
    declared = registry.get_spec(name)
    for setting, _ in declared.settings:
        shown = rendering.render_task(declared, "train", 0, setting=setting, limit=NUM_EACH)
        for example in shown:
            if isinstance(example, rendering.Rendered):
                yield {
                    "task": name,
                    "setting": setting,
                    "index": example.index,
                    "inputs": example.inputs,
                    "targets": example.targets,
                    "references": example.references,
                    "meta": example.meta,
                }


@pytest.mark.parametrize("name", NAMES)
def test_prompts_are_as_they_were(name, monkeypatch, tmp_path):
    family_data.forget(monkeypatch, tmp_path / "tfds")
    for variable, place in family_data.write(tmp_path).items():
        monkeypatch.setenv(variable, place)
    lines = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
    expected = [line for line in lines if line["task"] == name]
    assert len(expected) == NUM_EACH * len(registry.get_spec(name).settings)
    assert list(rendered(name)) == expected


def test_no_golden_prompt_is_left_over():
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["task"] for line in lines} == set(NAMES)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(family_data.write(Path(folder)))
        GOLDEN.write_text(
            "".join(
                json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n"
                for name in NAMES
                for line in rendered(name)
            ),
            encoding="utf-8",
        )
