# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fuzzed rows through the whole builder: none ends a task, and each is an example or counted.

What a row must give is decided here from the bytes that were written, not by the code under test.
"""

import collections
import dataclasses
import itertools
import json
import os
import random

import pytest

from flan_jax.collection import build as build_lib
from flan_jax.collection import registry, sources, spec
from flan_jax.collection.prompts import TemplateGroup
from tasks import cot, niv2

LENGTHS = {"inputs": 6_000, "targets": 1_200}
# A text is far below what fits or far above it, so that no template decides which.
LONG = 8_000

SURROGATE = "malformed: text with a lone surrogate, which UTF-8 cannot hold"
EXAMPLE = "example"

NUM_ROWS = 10_000

_numbers = itertools.count()

WORDS = ["red", "Löwe", "東京", "{answer}", "\\n", "42", "it's", "a/b", "😀", "e\u0301", '"', "%s"]
BLANKS = ["", " ", "\t", "\u3000", "\u2028", "\r", " \x85 "]
ODD_SIGNS = ["\x00", "\r", "\u2028", "\x85", "\ufeff", "\x1c", "\x7f", "\ufffe", "\U0010ffff"]


def sentence(rng):
    return " ".join(rng.choices(WORDS, k=rng.randint(1, 12)))


def odd_text(rng):
    """A text that is hard to digest but valid, unless it is blank or too long."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(BLANKS)
    if kind == 1:
        return rng.choice(WORDS) * LONG
    return sentence(rng) + "".join(rng.choices(ODD_SIGNS, k=3)) + sentence(rng)


def spoil_bytes(rng, line):
    """Damage as disks, editors and broken exports do it."""
    at = rng.randrange(len(line) + 1)
    kind = rng.randrange(6)
    if kind == 0:
        return line[:at]
    if kind == 1:
        return line[:at] + rng.randbytes(rng.randint(1, 4)) + line[at:]
    if kind == 2 and line:
        at = rng.randrange(len(line))
        return line[:at] + bytes([line[at] ^ 1 << rng.randrange(8)]) + line[at + 1 :]
    if kind == 3:
        return line[:at] + rng.choice([b"\n", b"\t", b"\r", b"\x00", b"\xef\xbb\xbf"]) + line[at:]
    if kind == 4:
        return line + line
    return line.decode("utf-8").encode("utf-16-le") if rng.random() < 0.3 else line + b"\r"


def lines_of(content):
    """The lines of a file by its bytes: only a line feed ends one."""
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


def outcome_of_texts(inputs, targets):
    if len(targets.encode()) >= LONG:
        return "too long: target"
    return "too long: input" if len(inputs.encode()) >= LONG else EXAMPLE


def build(spec_, folder):
    registry.add_task(spec_)
    return build_lib.build(
        mixture=spec_.name, out=folder, vocabulary="bytes", feature_lengths=LENGTHS, seed=1
    )


def check(store, name, expected, title):
    """Every row is the example it must be, or is counted under the reason it must have."""
    indices, dropped = [], collections.Counter()
    for split in spec.SPLITS:
        task = store.task(name, split)
        dropped.update(task.info["dropped"])
        for record in task.texts():
            indices.append(record["index"])
            assert record["inputs"].strip() and record["targets"].strip()
    assert sorted(indices) == [i for i, outcome in enumerate(expected) if outcome == EXAMPLE]
    assert dropped == collections.Counter(o for o in expected if o != EXAMPLE)
    assert len(indices) + dropped.total() == len(expected)
    store.verify()
    print(f"{title}: {len(expected)} rows, {len(indices)} accepted")
    for reason, num in dropped.most_common():
        print(f"  {num:6} {reason}")


def cot_line(rng):
    cells = [sentence(rng) for _ in range(3)]
    kind = rng.randrange(10)
    if kind == 0:
        del cells[rng.randrange(3)]
    if kind == 1:
        cells.insert(rng.randrange(4), sentence(rng))
    if kind in (2, 3):
        cells[rng.randrange(3)] = odd_text(rng)
    line = "\t".join(cells).encode()
    return spoil_bytes(rng, line) if kind in (4, 5) else line


def cot_outcome(line):
    try:
        cells = line.removesuffix(b"\r").decode("utf-8").split("\t")
    except UnicodeDecodeError:
        return "malformed: not UTF-8 text"
    if len(cells) != 3:
        return "malformed: need 3 columns between tabs"
    cells = [cell.replace("\\n", "\n") for cell in cells]
    for name, cell in zip(("question", "answer", "rationale"), cells, strict=True):
        if not cell.strip():
            return f"empty {name}"
    return outcome_of_texts(cells[0].strip(), cells[1].strip() + cells[2].strip())


@pytest.mark.slow  # ten thousand rows: about 6 s
def test_fuzzed_chain_of_thought_lines(tmp_path):
    rng = random.Random(NUM_ROWS)
    path = tmp_path / "fuzz_train.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join(cot_line(rng) for _ in range(NUM_ROWS)))
    expected = [cot_outcome(line) for line in lines_of(path.read_bytes())]
    task = cot.task_spec(f"fuzz{os.getpid()}_{next(_numbers)}", str(path))
    check(build(task, tmp_path / "out"), task.name, expected, "chain of thought")
    assert len(set(expected)) == 8


TEMPLATES = TemplateGroup(
    inline=(
        '{"id": "a", "input": "{question}", "target": "{answer}"}',
        '{"id": "b", "input": "Q: {question}", "target": "{answer}", "target_prefix": "A: "}',
    )
)


def json_fields(row):
    texts = {}
    for name in ("question", "answer"):
        if not isinstance(row.get(name), str):
            raise spec.Drop(f"{name} is no text")
        if not row[name].strip():
            raise spec.Drop(f"empty {name}")
        texts[name] = row[name]
    return texts


def odd_value(rng):
    return rng.choice(
        [None, True, 3, -1.5e300, float("nan"), float("inf"), [], {}, [["x"]], "\ud800", "x\udfff"]
    )


def json_line(rng):
    row = {"id": rng.randrange(100), "question": sentence(rng), "answer": sentence(rng)}
    kind, key = rng.randrange(14), rng.choice(list(row))
    if kind == 0:
        del row[key]
    if kind == 1:
        row[key] = odd_value(rng)
    if kind in (2, 3):
        row[key] = odd_text(rng)
    if kind == 4:
        row = rng.choice([[row], 3, None, "text", [], {}, row | {"id": row}])
    line = json.dumps(row, ensure_ascii=kind == 1 or rng.random() < 0.5)
    if kind == 5:
        line = line.replace('"id": ', f'"id": {"[" * 5_000}', 1)
    if kind == 6:
        line = line.replace('"id": ', '"id": ' + "7" * rng.choice([400, 5_000]), 1)
    if kind == 7:
        line = line[:-1] + f', "question": {json.dumps(odd_value(rng))}}}'
    if kind == 8:
        line = rng.choice(["", " ", "\r", "NaN", "{}", "{" + line, line + "]", "'" + line[1:]])
    return spoil_bytes(rng, line.encode()) if kind in (9, 10) else line.encode()


def json_outcome(line):
    try:
        text = line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError:
        return "malformed: not UTF-8 text"
    if not text.strip():
        return "malformed: empty line"
    if "[" * 4_000 in text:
        return "malformed: JSON nested too deeply"
    if "7" * 4_500 in text:
        return "malformed: JSON number of too many digits"
    try:
        row = json.loads(text)
    except ValueError:
        return "malformed: not valid JSON"
    if "\\u" in text and any(0xD800 <= ord(sign) < 0xE000 for sign in str_of(row)):
        return SURROGATE
    if type(row) is not dict:
        return "malformed: not a JSON object"
    for name in ("question", "answer"):
        if type(row.get(name)) is not str:
            return f"{name} is no text"
        if row[name].strip() == "":
            return f"empty {name}"
    return outcome_of_texts(row["question"], row["answer"])


def str_of(value):
    if isinstance(value, dict):
        return "".join(str_of(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return "".join(map(str_of, value))
    return value if isinstance(value, str) else ""


@pytest.mark.slow  # ten thousand rows: about 6 s
def test_fuzzed_json_lines(tmp_path):
    rng = random.Random(NUM_ROWS)
    path = tmp_path / "fuzz.jsonl"
    path.write_bytes(b"\n".join(json_line(rng) for _ in range(NUM_ROWS)))
    expected = [json_outcome(line) for line in lines_of(path.read_bytes())]
    task = spec.TaskSpec(
        name=f"fuzz{os.getpid()}_{next(_numbers)}",
        family="fuzz",
        source=sources.HeldOutSource(sources.JsonLinesSource({"train": path}), by="id"),
        fields=json_fields,
        templates=TEMPLATES,
        settings=((spec.ZS_OPT, 0.5), (spec.FS_OPT, 0.5)),
    )
    check(build(task, tmp_path / "out"), task.name, expected, "JSON lines")
    assert len(set(expected)) == 14


def instance(rng):
    value = {
        "id": f"fuzz-{rng.randrange(100)}",
        "input": sentence(rng),
        "output": [sentence(rng) for _ in range(rng.randint(1, 3))],
    }
    kind, key = rng.randrange(12), rng.choice(list(value))
    if kind == 0:
        del value[key]
    if kind == 1:
        value[key] = odd_value(rng)
    if kind in (2, 3):
        value[key] = odd_text(rng)
    if kind == 4:
        return rng.choice([[value], 3, None, "text", [], {}, float("nan")])
    if kind == 5:
        value["output"] = rng.choice([[], [""], ["", " "], ["", "x"], "x", "", [None], [["x"]]])
    if kind == 6:
        value["output"] += [odd_value(rng)]
    if kind == 7:
        value["extra"] = odd_value(rng)
    return value


def instance_outcome(value):
    if type(value) is not dict:
        return "malformed: instance is no JSON object"
    for name in ("input", "output"):
        if name not in value:
            return f"malformed: no '{name}'"
    outputs = [value["output"]] if type(value["output"]) is str else value["output"]
    if type(value["input"]) is not str:
        return "malformed: 'input' is no text"
    if type(outputs) is not list or any(type(output) is not str for output in outputs):
        return "malformed: 'output' is neither a text nor a list of texts"
    texts = [value["input"], *outputs, str_of(value.get("id"))]
    if any(0xD800 <= ord(sign) < 0xE000 for text in texts for sign in text):
        return SURROGATE
    outputs = [output for output in outputs if output.strip() != ""]
    if not outputs:
        return "empty output"
    if value["input"].strip() == "":
        return "empty input"
    return outcome_of_texts(value["input"], min(outputs, key=len))


@pytest.mark.slow  # ten thousand rows: about 6 s
def test_fuzzed_natural_instructions(tmp_path):
    rng = random.Random(NUM_ROWS)
    instances = [instance(rng) for _ in range(NUM_ROWS)]
    stem = f"task1_fuzz{os.getpid()}_{next(_numbers)}"
    shown = [{"input": "in", "output": "out", "explanation": "As it is."}]
    task = {"Definition": ["Do it."], "Positive Examples": shown, "Instances": instances}
    (tmp_path / f"{stem}.json").write_text(json.dumps(task))
    expected = [instance_outcome(value) for value in instances]
    # Without the cap, so that each row shows what becomes of it.
    task = dataclasses.replace(niv2.task_spec(tmp_path / f"{stem}.json"), cap=None)
    check(build(task, tmp_path / "out"), task.name, expected, "Natural-Instructions")
    assert len(set(expected)) == 11
