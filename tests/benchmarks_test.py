# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks run, compare with a peer, and docs/performance.md shows what they measured."""

import importlib.util
import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
SHARED = ("__main__", "measuring")
# Not on the page of peers: one needs an accelerator to be measured, and two have no peer.
UNMEASURED = ("gpu_step", "serve_load", "chaos")
SCRIPTS = sorted(p.stem for p in BENCHMARKS.glob("*.py") if p.stem not in (*SHARED, *UNMEASURED))
RESULTS = ROOT / "docs" / "performance"


@pytest.fixture
def load(monkeypatch):
    """Loads a script by its name, as scripts import each other: from their own folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def loaded(name: str):
        if name == "measuring":
            return importlib.import_module(name)
        spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCHMARKS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return loaded


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_all_scripts_have_a_place_on_the_page(load):
    assert sorted(load("__main__").BENCHMARKS) == SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_page_shows_the_result_that_is_kept(load, name):
    result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert not result["quick"]
    assert any(heading.startswith("ratio") for t in result["tables"] for heading, _ in t["columns"])
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert load("__main__").block(name, result) in page


def test_the_page_on_survival_shows_what_was_counted(load):
    result = json.loads((RESULTS / "chaos.json").read_text(encoding="utf-8"))
    assert not result["quick"]
    page = (ROOT / "docs" / "survival.md").read_text(encoding="utf-8")
    assert load("__main__").block("chaos", result) in page


def test_the_readme_quotes_what_was_measured():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*\| ([\d., ]+) \| `benchmarks/(\w+)\.py` \|$", readme, re.MULTILINE)
    assert len(rows) == 6
    for ratios, name in rows:
        result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        medians = [
            cell["median"]
            for table in result["tables"]
            for row in table["rows"]
            for (heading, _), cell in zip(table["columns"], row, strict=True)
            if heading.startswith("ratio") and isinstance(cell, dict)
        ]
        for ratio in ratios.split(", "):
            digits = len(ratio.partition(".")[2])
            assert ratio in {f"{median:.{digits}f}" for median in medians}, (name, ratio)


def test_a_block_is_replaced_whole_and_only_it(load):
    command = load("__main__")
    machine = {
        "cpu": "c", "cores": 1, "ram_gb": 1, "system": "s", "python": "3", "versions": {},
        "xla_flags": "", "load": 0, "date": "d",
    }  # fmt: skip

    def result(title: str) -> dict:
        table = load("measuring").Table(title, {"what": "", "n": "d"})
        table.add("a\\1", 1)
        return {"tables": [table.to_json()], "machine": machine}

    old = {name: command.block(name, result(f"old {name}")) for name in ("startup", "decode")}
    page = f"a\n{old['startup']}\nb\n{old['decode']}\nc\n"
    new = command.block("startup", result("new"))
    assert command.with_block(page, "startup", result("new")) == page.replace(old["startup"], new)
    with pytest.raises(ValueError, match="0 blocks of 'train_step'"):
        command.with_block(page, "train_step", result("x"))


def test_a_ratio_is_taken_round_by_round(load):
    spread = load("measuring").Spread.ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0])
    assert (spread.median, spread.low, spread.high) == (3.0, 2.0, 4.0)


def test_rounds_go_to_and_fro(load):
    order = []
    runs = {name: lambda name=name: order.append(name) or {} for name in "ab"}
    load("measuring").alternate(runs, 3)
    assert "".join(order) == "abbaab"


def test_a_table_writes_spreads_and_survives_json(load):
    measuring = load("measuring")
    table = measuring.Table("t", {"what": "", "n": ".1f", "ratio": ".2f"}, "note")
    table.add("long name", 1, measuring.Spread(2.0, 1.0, 3.0))
    table.add("x", None, measuring.Spread(2.0, 2.0, 2.0))
    expected = (
        "t\n"
        "  what         n             ratio\n"
        "  ---------  ---  ----------------\n"
        "  long name  1.0  2.00 (1.00-3.00)\n"
        "  x            -              2.00\n"
        "note"
    )
    assert table.text() == expected
    assert measuring.Table.from_json(json.loads(json.dumps(table.to_json()))).text() == expected


def test_misspelt_benchmark_names_the_closest():
    done = run("benchmarks", "decod")
    assert done.returncode == 2 and "decode" in done.stderr and "Traceback" not in done.stderr


def test_a_quick_run_leaves_the_page_alone():
    done = run("benchmarks", "--quick", "decode")
    assert done.returncode == 2 and "--out DIR" in done.stderr


# Each imports the framework in a process of its own.
@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_help_says_what_is_measured(name):
    done = run(f"benchmarks/{name}.py", "--help")
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout and "--rounds" in done.stdout


# One of two processes imports TensorFlow.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["input_pipeline", "packing_fill"])
def test_measures_both_sides(name, tmp_path):
    check_quick_run(name, tmp_path)


@pytest.mark.large  # four small stores, each read by a process of its own, and one by workers
def test_input_scale_measures_every_store(tmp_path):
    check_quick_run("input_scale", tmp_path)


@pytest.mark.large  # seven processes, most of them with TensorFlow: half a minute
def test_collection_builds_and_opens_on_both_sides(tmp_path):
    check_quick_run("collection", tmp_path)


def test_a_store_too_small_for_its_tasks_is_refused():
    done = run("benchmarks/input_scale.py", "--sizes", "100")
    assert done.returncode == 2 and "--sizes 100: a store of 1,836 tasks" in done.stderr


def test_no_packer_goes_below_the_least_rows_and_some_reach_them(load):
    """Beside the fewest bins found by trying all ways."""
    packing_fill, random, num_equal = load("packing_fill"), np.random.default_rng(0), 0
    for _ in range(50):
        width = int(random.integers(5, 30))
        lengths = random.integers(1, width + 1, random.integers(1, 8))
        least, fewest = packing_fill.least_bins(lengths, width), _fewest(list(lengths), width, [])
        assert -(-lengths.sum() // width) <= least <= fewest
        num_equal += least == fewest
    assert num_equal >= 45


def _fewest(lengths: list[int], width: int, free: list[int]) -> int:
    if not lengths:
        return len(free)
    first, *others = lengths
    choices = [[*free, width - first]]
    choices += [[*free[:i], f - first, *free[i + 1 :]] for i, f in enumerate(free) if f >= first]
    return min(_fewest(others, width, choice) for choice in choices)


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("name", ["train_step", "packed_step", "startup", "decode", "decode_mixed"])
def test_measures_both_sides_where_torch_is(name, tmp_path):
    pytest.importorskip("torch", reason="the peer is transformers with torch: make test-parity")
    check_quick_run(name, tmp_path)


def test_answers_must_be_as_many_and_as_long_and_begin_alike(load):
    decode, long = load("decode"), np.arange(8)
    sides = {name: {"num_params": 5, "tokens": [long, long[:2]]} for name in ("ours", "peer")}
    decode.check_counts("c", sides, [8, 2])
    with pytest.raises(decode.errors.FlanError, match="c: ours gave 2 answers of 10 tokens"):
        decode.check_counts("c", sides, [8, 3])
    sides["peer"]["num_params"] = 6
    with pytest.raises(decode.errors.FlanError, match="differ in parameters: .*'peer': 6"):
        decode.check_counts("c", sides, [8, 2])

    later, sooner = (np.where(long < n, long, 0) for n in (4, 2))
    assert decode.share_equal("c", [long, long[:2]], [later, long[:2]]) == pytest.approx(6 / 10)
    with pytest.raises(decode.errors.FlanError, match="c: only 50% of the answers begin alike"):
        decode.share_equal("c", [long, long[:2]], [sooner, long[:2]])


def test_beams_must_score_alike(load):
    decode = load("decode")
    decode.check_scores("c", [-2.0, -3.0], [-2.001, -3.0])
    with pytest.raises(decode.errors.FlanError, match=r"prompt 1 scores -3.0000 .* -3.1000"):
        decode.check_scores("c", [-2.0, -3.0], [-2.0, -3.1])


def test_prompts_are_as_long_as_real_ones(load):
    draw = load("decode_mixed").Prompts.draw
    prompts = draw(2000, 896)
    assert draw(2000, 896) == prompts
    inputs, answers = (np.array(x) for x in ([*map(len, prompts.tokens)], prompts.budgets))
    assert 170 < inputs.mean() < 210 and inputs.max() == 512  # a long tail
    assert 12 < answers.mean() < 20 and answers.max() > 100 and np.median(answers) <= 10


@pytest.mark.large  # compiles three small steps in a process: a minute or two
def test_step_memory_is_measured(tmp_path):
    check_quick_run("step_memory", tmp_path)


@pytest.mark.large  # two processes that compile a step each
def test_the_accelerator_benchmark_runs_on_a_cpu(tmp_path):
    out = tmp_path / "result.json"
    done = run("benchmarks/gpu_step.py", "--quick", "--json", str(out))
    assert done.returncode == 0, done.stderr
    (table,) = json.loads(out.read_text())["tables"]
    columns = [heading for heading, _ in table["columns"]]
    rows = [dict(zip(columns, row, strict=True)) for row in table["rows"]]
    assert [row["model"] for row in rows] == ["tiny", "tiny_palm"]
    for row in rows:
        assert row["device"] == "cpu" and row["loss"] > 0 and row["tok/s"]["median"] > 0
        assert row["MFU"] is None  # of a device whose peak is unknown


@pytest.mark.large  # three processes that compile decoding or scoring
def test_the_share_of_an_evaluation_that_is_not_the_models_is_measured(tmp_path):
    check_quick_run("evaluation", tmp_path)


@pytest.mark.large  # a server that compiles
def test_the_server_holds_its_clients(tmp_path):
    out = tmp_path / "result.json"
    done = run("benchmarks/serve_load.py", "--quick", "--json", str(out))
    assert done.returncode == 0, done.stderr
    (table,) = json.loads(out.read_text())["tables"]
    rows = [dict(zip(dict(table["columns"]), row, strict=True)) for row in table["rows"]]
    assert rows[0]["requests"] == "all" and rows[0]["number"]["median"] > 0
    assert all(row["errors"] == 0 for row in rows), done.stderr


def test_faults_of_all_kinds_hit_all_moments_and_starts_are_apart(load):
    chaos = load("chaos")
    found = chaos.schedule(50, [2, 4], seed=0)
    assert found == chaos.schedule(50, [2, 4], seed=0) != chaos.schedule(50, [2, 4], seed=1)
    assert sum(map(len, found.values())) == 50 and abs(len(found[2]) - len(found[4])) <= 6
    everything = [fault for faults in found.values() for fault in faults]
    assert {f.kind for f in everything} == set(chaos.KINDS)
    for kind, count in itertools.product(chaos.KINDS, (2, 4)):
        moments = {f.moment for f in found[count] if f.kind == kind}
        assert moments == {*chaos.MOMENTS[kind]} or len(moments) > 2
    for faults in found.values():
        starts = [fault.moment == "start" for fault in faults]
        assert not any(a and b for a, b in zip(starts, starts[1:], strict=False))
        for fault in faults:
            assert 0 <= fault.process < fault.num_processes
            assert (fault.kind != "coordinator") or fault.process == 0
            assert (fault.kind != "sigkill") or fault.process > 0


@pytest.mark.large  # a job of two processes, hit six times, and one left alone: minutes
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: chaos.py needs one")
def test_a_job_that_is_hit_ends_in_the_bits_of_one_left_alone(tmp_path):
    out, log = tmp_path / "result.json", tmp_path / "faults.jsonl"
    options = ("--faults", "6", "--processes", "2", "--steps", "60")
    done = run("benchmarks/chaos.py", *options, "--json", str(out), "--faults_log", str(log))
    assert done.returncode == 0, done.stderr
    faults = [json.loads(line) for line in log.read_text().splitlines()]
    assert len({fault["kind"] for fault in faults}) == len(faults) == 6
    for fault in faults:
        assert fault["verdict"] == ("preempted" if fault["kind"] == "sigterm" else "crashed")
        assert fault["steps_lost"] == 0 or fault["kind"] != "sigterm"


def check_quick_run(name: str, tmp_path: Path) -> None:
    out, cells = tmp_path / "result.json", tmp_path / "cells.csv"
    done = run(f"benchmarks/{name}.py", "--quick", "--json", str(out), "--csv", str(cells))
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result["quick"] and result["benchmark"] == name
    measured = 0
    for table in result["tables"]:
        assert table["title"] in done.stdout
        ratios = [i for i, (c, _) in enumerate(table["columns"]) if c.startswith("ratio")]
        for row in table["rows"]:
            for i in ratios:
                if row[i] is not None:
                    assert 0 < row[i]["low"] <= row[i]["median"] <= row[i]["high"]
                    measured += 1
    assert measured, "no ratio against a peer"
    assert cells.read_text().startswith("benchmark,table,row,column,value,low,high\n")
