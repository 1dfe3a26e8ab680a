# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The sweeps of the paper's experiment are what its tables say, and so are their headers."""

import functools
import re
import shlex
from pathlib import Path

import pytest
import seqio

import gin
import tasks.mixtures  # noqa: F401 - registers
from flan_jax import config, main, sweep_jobs, sweep_points
from flan_jax.collection import registry, subsets
from flan_jax.core.errors import UsageError
from flan_jax.evals import benchmark, normalized, scores
from flan_jax.paper import finetuning, flan_collection, results
from flan_jax.scaling import experiments, study
from flan_jax.scaling.compute import RunCompute
from tasks import paper
from tasks.evals import benchmarks
from tests import toy_benchmarks
from tests.recipes_test import RECIPES

FOLDER = config.gin_root() / "sweeps"
PAGE = Path(__file__).resolve().parent.parent / "docs" / "scaling.md"
T5_SIZES = [name for name in RECIPES if name.startswith("flan_t5")]
PALM_SIZES = ["flan_palm_8b", "flan_palm_62b", "flan_palm_540b"]
T5X = "gs://t5-data/pretrained_models/t5x"
SCALING = ["", "scaling_9", "scaling_89", "scaling_282", "scaling_1836"]
COT = {"": "no finetuning", "non_cot": "without CoT", "cot_only": "CoT only",
       "scaling_1836": "both"}  # fmt: skip
# Sweep -> its sizes, and the mixtures that each is finetuned on.
GRIDS = {
    "task_scaling": (T5_SIZES, SCALING),
    "task_scaling_palm": (PALM_SIZES, SCALING),
    "size_scaling": (T5_SIZES, ["", "flan2022"]),
    "cot_ablation": (T5_SIZES, list(COT)),
    "mixture_ablation": (
        ["flan_t5_xl"],
        ["flan2022", "flan2022_no_cot", "flan2022_no_inversion", "flan2022_unbalanced",
         "flan2022_zero_shot", "flan2022_few_shot", "niv2"],
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Returns the sweep and the points of a name; PaLM's with paths that a user would give."""
    folder = tmp_path_factory.mktemp("sweeps")

    @functools.cache
    def read(name):
        path = FOLDER / f"{name}.gin"
        if name == "task_scaling_palm":
            path = folder / path.name
            starts = {
                size: {"INITIAL_CHECKPOINT_PATH": size.split("_")[-1], "VOCABULARY": "bytes"}
                for size in PALM_SIZES
            }
            path.write_text(f"include 'sweeps/{path.name}'\nSTARTS = {starts}\n")
        found = sweep_points.declared(str(path))
        return found, sweep_points.points(found, "OUT")

    return read


def header(name):
    lines = (FOLDER / f"{name}.gin").read_text(encoding="utf-8").splitlines()
    return "\n".join(line[2:] for line in lines if line.startswith("#"))


def table_22(recipe):
    rows = {(row.model, row.params): row for row in finetuning.finetunings()}
    return rows[RECIPES[recipe][:2]]


@pytest.mark.parametrize("name", GRIDS)
def test_each_size_is_finetuned_on_each_mixture(swept, name):
    sizes, mixtures = GRIDS[name]
    found, points = swept(name)
    expected = [(size, mixture) for size in sizes for mixture in mixtures]
    assert [(p.recipe, p.macros["MIXTURE_OR_TASK_NAME"]) for p in points] == expected
    assert found.recipes == sizes and found.train
    # One store, however many sizes: they share vocabulary and lengths.
    assert {p.store for p in points} - {None} == {"OUT/store"}
    shown = [dict(run.settings) for run in sweep_points.runs(points)]
    labels = found.labels.get("MIXTURE_OR_TASK_NAME", {})
    assert [s["mixture"] for s in shown] == [labels.get(m, m) or "none" for _, m in expected]
    if len(sizes) > 1:
        assert [s["size"] for s in shown] == [size for size, _ in expected]


@pytest.mark.parametrize("name", GRIDS)
def test_each_run_trains_as_table_22_says_and_starts_where_flan_did(swept, name):
    for point in swept(name)[1]:
        row = table_22(point.recipe)
        point.configure("STORE", "RUN")
        start = config.bound("TrainConfig", "initial_checkpoint_path")
        size = point.recipe.split("_")[-1]
        if row.architecture == "enc-dec":
            assert start == f"{T5X}/t5_1_1_lm100k_{size}/checkpoint_1100000"
        else:
            assert start == size
        if not point.trains:
            assert point.macros["MIXTURE_OR_TASK_NAME"] == ""
            assert config.bound("infer", "checkpoint_path") == start
            continue
        assert config.bound("infer", "checkpoint_path") == "RUN"
        train, data = config.configured("TrainConfig")(), config.configured("TrainInput")()
        assert train.train_steps == row.train_steps
        assert train.optimizer.learning_rate(7) == pytest.approx(row.learning_rate)
        assert data.batch_size == row.batch_size
        assert data.mixture == point.macros["MIXTURE_OR_TASK_NAME"]
        assert config.bound("train", "model").config.dropout_rate == row.dropout_rate
        # The paper's periods; the last step is evaluated in any case.
        assert 2_000 <= train.eval_period <= 10_000 or name == "mixture_ablation"
        # All checkpoints are kept: the one that is picked too.
        assert train.keep is None


@pytest.mark.parametrize("name", GRIDS)
def test_the_store_has_every_mixture(swept, name):
    point = next(point for point in swept(name)[1] if point.trains)
    point.configure("STORE", "RUN")
    build = config.bindings("build")
    assert build["module_imports"] == ("tasks.mixtures",)
    stored = [build["mixture"], *build["submixtures"]]
    assert len(stored) == len(set(stored))
    assert set(stored) == set(GRIDS[name][1]) - {""}
    for mixture in stored:
        subsets.ensure(mixture)
        assert mixture in seqio.MixtureRegistry.names()


@pytest.mark.parametrize(("name", "point"), [("task_scaling", n) for n in paper.SCALING_POINTS])
def test_tasks_are_counted_as_the_paper_counts_them(swept, name, point):
    [made] = [p for p in swept(name)[1] if p.macros["MIXTURE_OR_TASK_NAME"] == f"scaling_{point}"
              and p.recipe == "flan_t5_xl"]  # fmt: skip
    names = registry.task_names(f"scaling_{point}")

    class Built:
        def mixture_rates(self, mixture):
            assert mixture == f"scaling_{point}"
            return dict.fromkeys(names, 1.0)

    surplus = sum(paper.NUM_RELEASED_TASKS.values()) - 1_836 if point == 1_836 else 0
    num = sweep_points._num_tasks(made, {made.store: Built()})
    assert num == point + surplus < len(names)


@pytest.mark.parametrize("name", [*GRIDS, "prompt_settings"])
def test_each_run_may_be_a_job(swept, name):
    for point in swept(name)[1]:
        [command] = sweep_jobs.commands(point, "RUN")
        program, subcommand, *argv = command
        assert (program, subcommand) == ("flan-jax", "train" if point.trains else "eval")
        bindings = [arg for arg in argv if arg.startswith("--gin.")]
        others = [arg for arg in argv if not arg.startswith("--gin.")]
        main.build_parser(subcommand).parse_args([subcommand, *others])
        assert bindings


@pytest.mark.parametrize("name", ["task_scaling", "task_scaling_palm", "size_scaling",
                                  "cot_ablation"])  # fmt: skip
def test_runs_are_judged_by_the_normalized_average_as_in_the_paper(swept, name):
    found, points = swept(name)
    assert (found.metric, found.selection) == (normalized.NAME, f"best:{normalized.NAME}")
    assert list(found.evaluations) == ["benchmarks"]
    for point in points:
        point.configure("STORE", "RUN")
        suite = config.bound("train", "benchmarks")
        asked = {each.name for each in benchmark.choose(suite.benchmarks)}
        assert asked == set(normalized.NUM_SUBTASKS) == set(benchmarks.PAPER)
        assert suite.num_examples is None  # only whole benchmarks make an average
        assert (suite.data, suite.model_name) == ("benchmark_files", point.recipe)


def test_the_ablation_of_methods_is_asked_what_was_published(swept):
    found, points = swept("mixture_ablation")
    published = flan_collection.published("mmlu")
    names = {row.mixture: row.name for row in flan_collection.ablations() if row.mixture}
    labels = dict(found.labels["MIXTURE_OR_TASK_NAME"])
    assert labels.pop("flan2022_few_shot") == "without zero-shot templates"
    assert labels == names and set(labels) == set(published)
    points[0].configure("STORE", "RUN")
    suite = config.bound("train", "benchmarks")
    assert set(suite.benchmarks) == set(flan_collection.BENCHMARKS)
    assert (found.metric, found.selection) == ("exact_match", "last")


def test_a_published_model_is_asked_in_every_way(swept):
    found, points = swept("prompt_settings")
    assert not found.train and list(found.evaluations) == ["benchmarks"]
    names = [dict(run.settings) for run in sweep_points.runs(points)]
    assert names == [{"checkpoint_path": "T5-XL"}, {"checkpoint_path": "Flan-T5-XL"}]
    starts = []
    for point in points:
        point.configure("STORE", "RUN")
        assert point.store is None and not point.trains
        starts.append(config.bound("infer", "checkpoint_path"))
        suite = config.bound("train", "benchmarks")
        asked = {each.name for each in benchmark.choose(suite.benchmarks)}
        for base in ("mmlu", "bbh"):
            # Few-shot, with CoT, zero-shot with and without the trigger, and by vote.
            ways = ("", "_cot", "_zero_shot", "_zero_shot_cot", "_cot_self_consistency")
            assert {base + way for way in ways} <= asked
        assert suite.num_examples is None
    released = table_22("flan_t5_xl").released_step
    assert starts == [
        f"{T5X}/t5_1_1_lm100k_xl/checkpoint_1100000", f"{T5X}/flan_t5_xl/checkpoint_{released}"
    ]  # fmt: skip


def test_sweeps_of_ones_own_are_made_as_the_page_says(tmp_path):
    page = PAGE.read_text(encoding="utf-8")
    found = {}
    for name, text in re.findall(r"^```gin (\S+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        path = tmp_path / name
        path.write_text(text)
        found[name] = sweep_points.points(sweep_points.declared(str(path)), "OUT")
    assert {name: len(points) for name, points in found.items()} == {
        "two_sizes.gin": 10, "my_rates.gin": 8
    }  # fmt: skip
    last = found["two_sizes.gin"][-1]
    last.configure("STORE", "RUN")
    assert last.recipe == "flan_t5_base"
    start = config.bound("TrainConfig", "initial_checkpoint_path")
    assert start == f"{T5X}/t5_1_1_lm100k_base/checkpoint_1100000"
    assert config.bound("train", "benchmarks").data == "/data/benchmark_files"


def test_the_page_has_each_sweep_with_its_number_of_runs(swept):
    page = PAGE.read_text(encoding="utf-8")
    for name in (*GRIDS, "prompt_settings"):
        row = re.search(rf"^\| `{name}.gin` \|.* (\d+) \|$", page, re.MULTILINE)
        assert row and int(row[1]) == len(swept(name)[1]), name
    for path in FOLDER.glob("mini_*.gin"):
        assert path.name in page or "rates" in path.name, path.name


def test_palm_is_swept_only_from_the_users_own_paths():
    found = sweep_points.declared(str(FOLDER / "task_scaling_palm.gin"))
    with pytest.raises(UsageError, match="INITIAL_CHECKPOINT_PATH(.|\n)*VOCABULARY"):
        sweep_points.points(found, "OUT")


@pytest.mark.parametrize("name", [*GRIDS, "prompt_settings"])
def test_a_header_says_what_a_sweep_is_and_costs(swept, name):
    _, points = swept(name)
    text = header(name)
    trained = [table_22(point.recipe).flops for point in points if point.trains]
    assert f"Runs: {len(points)}" in text
    if trained:
        assert re.search(rf"{len(trained)} are finetunings|all of them finetunings", text)
        assert f"Work: {sum(trained):.1e} FLOPs".replace("e+", "e") in text
        # At the pace of the paper's 540B, which took 512 chips 37 hours.
        hours = sum(trained) / table_22("flan_palm_540b").flops * 512 * 37
        assert f"Time: about {float(f'{hours:.2g}'):,.0f} chip-hours" in text
    slices = {slice_of(point.recipe) for point in points}
    hardware = re.search(r"Hardware: .*", text)[0]
    assert {min(slices), max(slices)} <= set(map(int, re.findall(r"v4-(\d+)", hardware)))
    commands = [line.strip() for line in text.splitlines() if line.startswith("  flan-jax")]
    assert len(commands) == 2
    for command in commands:
        _, subcommand, *argv = shlex.split(command)
        main.build_parser(subcommand).parse_args([subcommand, *argv])
    assert f"--out runs/{name}" in commands[0] and f"runs/{name}" in commands[1]


def slice_of(recipe):
    text = Path(config.recipe_file(recipe)).read_text(encoding="utf-8")
    return int(re.search(r"# Hardware: TPU v4-(\d+)", text)[1])


def test_headers_expect_what_the_tables_have():
    rows = results.all_models()
    averages = {row.model: row.score("normalized_average") for row in rows}
    text = " ".join(header("size_scaling").split())
    sizes = [f"T5-{size}" for size in ("Small", "Base", "Large", "XL", "XXL")]
    before = ", ".join(str(averages[size]) for size in sizes)
    after = ", ".join(str(averages[f"Flan-{size}"]) for size in sizes)
    assert f"{before} before" in text and f"{after}." in text
    text = " ".join(header("task_scaling_palm").split())
    for size in ("8B", "62B", "540B"):
        points = [r.score("normalized_average") for r in results.task_scaling() if r.params == size]
        assert f"{points[0]} to {points[-1]} ({size})" in text
    published = list(flan_collection.published("mmlu").values())
    shown = ", ".join(map(str, published[:5]))
    assert f"{shown} in this order, and {published[5]} at the end" in header("mixture_ablation")
    xl = next(row for row in rows if row.model == "Flan-T5-XL")
    found = (xl.score(name) for name in ("mmlu", "mmlu_cot", "bbh", "bbh_cot"))
    expected = "MMLU {}, with CoT {}, BBH {}, with CoT {}".format(*found)
    assert expected in header("prompt_settings")


def outcome(found, points):
    """Returns the study that a sweep would leave if every score were 50."""
    rows, runs = [], []
    for point in points:
        mixture, num = point.macros.get("MIXTURE_OR_TASK_NAME"), 0
        if mixture:
            subsets.ensure(mixture)
            num = len(registry.task_names(mixture))
        shown = sweep_points._settings(point, None if mixture is None else num)
        settings = {name: str(value) for name, value in shown.items()}
        point.configure("STORE", "RUN")
        asked = benchmark.choose(config.bound("train", "benchmarks").benchmarks)
        measured = []
        for each in asked:
            metric = normalized.METRICS.get(each.name, "exact_match")
            votes = [f"{metric}/k={k}" for k in (1, 2, 4) if each.decoding.num_samples > 1]
            how = f"{each.protocol}; {each.splits[0]}; generate"
            measured += [(each.name, how, name) for name in (metric, *votes)]
        for name, members in normalized.AVERAGES.items():
            if {each.name for each in asked} >= set(members):
                measured.append((name, "mean; validation; generate", normalized.NAME))
        rows += [
            scores.Score(
                model=point.recipe, step=9, benchmark=name, protocol=how, subtask=scores.MEAN,
                metric=metric, value=50.0, n=normalized.NUM_SUBTASKS.get(name, 9), stderr=1.0,
                settings=settings,
            )
            for name, how, metric in measured
        ]  # fmt: skip
        row = table_22(point.recipe)
        compute = RunCompute(
            architecture=row.architecture, num_params=1, num_steps=row.train_steps,
            num_positions=row.num_positions, train_flops=row.flops, rule_flops=row.flops,
        )  # fmt: skip
        runs.append(
            study.RunRecord(
                name=str(len(runs)), size=point.recipe, settings=settings, status="done",
                num_parameters=RECIPES[point.recipe][2], compute=compute if point.trains else None,
            )
        )  # fmt: skip
    return study.Study(
        title=found.title, metric=found.metric, runs=runs, scores=rows, sizes=found.recipes,
        figures=found.figures, selection=found.selection,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "figures", "printed"),
    [
        ("task_scaling", ["task_scaling", "benchmarks", "size_scaling"], "paper: PaLM 540B"),
        ("task_scaling_palm", ["task_scaling", "benchmarks", "size_scaling"], "paper: PaLM 8B"),
        ("size_scaling", ["size_scaling", "size_scaling_flops"], "paper: Flan-T5"),
        ("cot_ablation", ["cot_ablation", "size_scaling"], ""),
        ("mixture_ablation", ["mixture_ablation", "prompt_settings"], "paper: Flan Collection, 3B"),
        ("prompt_settings", ["prompt_settings", "self_consistency"], ""),
    ],
)
def test_what_a_sweep_leaves_gives_its_figures_beside_the_papers_numbers(
    swept, name, figures, printed
):
    made = experiments.figures_for(outcome(*swept(name)))
    assert [figure.name for figure in made][: len(figures)] == figures
    assert made[0].title == swept(name)[0].title
    shown = {
        each.label
        for panel in made[0].panels
        for each in (*panel.lines, *panel.bars)
        if each.reference
    }
    assert printed in shown if printed else not shown


# Six runs of a micro model: half a minute, most of it compiling.
@pytest.mark.slow
def test_a_sweep_of_benchmarks_in_miniature_gives_rows_and_a_figure(tmp_path):
    """As task_scaling.gin is made: benchmarks alone, no finetuning beside two mixtures."""
    data = toy_benchmarks.write(tmp_path / "data")
    extra = tmp_path / "extra.gin"
    extra.write_text(
        "include 'runs/benchmarks.gin'\nBENCHMARKS = ('toy',)\nBENCHMARK_EXAMPLES = 3\n"
        f"BENCHMARKS_DATA = '{data}'\nSuiteConfig.module_imports = ('tests.toy_benchmarks',)\n"
        "SuiteConfig.ways = 'rank'\nTASK_FEATURE_LENGTHS = {'inputs': 192, 'targets': 32}\n"
    )
    grid = {
        "MIXTURE_OR_TASK_NAME": ["", "mini_4", "mini_8"], "SEED": [0, 1], "TRAIN_STEPS": [2],
        "WARMUP_STEPS": [1], "EVAL_PERIOD": [2], "BUILD_MIXTURE": ["mini_8"],
        "BUILD_SUBMIXTURES": [("mini_4",)], "build.limit": [6],
    }  # fmt: skip
    gin_file, out = tmp_path / "trial.gin", tmp_path / "out"
    gin_file.write_text(
        "Sweep.title = 'A trial'\nSweep.recipes = ['mini_micro']\nSweep.metric = 'accuracy'\n"
        f"Sweep.evaluations = ['benchmarks']\nSweep.gin_files = ['{extra}']\n"
        f"Sweep.grid = {grid}\n"
    )
    assert main.main(["sweep", str(gin_file), "--out", str(out)]) == 0
    rows = [r for r in scores.read_scores(out / "scores.csv") if r.subtask == scores.MEAN]
    found = {(r.settings["num_tasks"], r.settings["seed"], r.step) for r in rows}
    assert found == {("0", seed, 0) for seed in "01"} | {
        (num, seed, 2) for num in "48" for seed in "01"
    }
    assert main.main(["report", str(out)]) == 0
    table = (out / "report" / "scores_table.md").read_text(encoding="utf-8")
    for num in "048":
        seeds = [r.value for r in rows if (r.settings["num_tasks"], r.metric) == (num, "accuracy")]
        assert len(seeds) == 2 and f" {sum(seeds) / 2:.1f} " in table
    assert (out / "report" / "task_scaling.png").is_file()
