# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Points of a sweep: what each binds, how runs are called, and which store each reads."""

import pytest

import flan_jax
import gin
from flan_jax import config, sweep_points
from flan_jax.core import errors


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


@pytest.fixture
def points(tmp_path):
    """From fields of a Sweep to its points, in the folder `out`."""

    def read(**fields):
        fields = {"title": "A trial", "recipes": ["mini_micro"]} | fields
        path = tmp_path / "s.gin"
        path.write_text("".join(f"Sweep.{name} = {value!r}\n" for name, value in fields.items()))
        return sweep_points.points(sweep_points.declared(str(path)), "out")

    return read


def names(made):
    return [run.name for run in sweep_points.runs(made)]


def test_recipes_files_and_the_grid_bind_each_point(points, tmp_path):
    extra = tmp_path / "extra.gin"
    extra.write_text("TRAIN_STEPS = 70\nBATCH_SIZE = 2\n")
    made = points(
        recipes=["mini", "mini_micro"], grid={"SEED": [3], "BATCH_SIZE": [4]},
        gin_files=[str(extra)], recipe_bindings={"mini": {"INITIAL_CHECKPOINT_PATH": "base"}},
    )  # fmt: skip
    bound = []
    for point in made:
        point.configure("a store", "a folder")
        found = config.bound("train", "config")
        bound.append((found.initial_checkpoint_path, found.train_steps, found.seed))
        assert config.bound("TrainInput", "batch_size") == 4  # the grid's, not the file's
        assert config.bound("evaluate", "checkpoint_path") == found.model_dir == "a folder"
        assert config.bound("build", "out") == "a store"
    assert bound == [("base", 70, 3), ("", 70, 3)]
    assert "TRAIN_STEPS = 70\n" in made[0].config


def test_labels_stand_for_values_and_name_mixtures(points):
    made = points(
        grid={"MIXTURE_OR_TASK_NAME": ["", "mini_4"], "EVAL_EXAMPLES": [None, 5]},
        labels={"MIXTURE_OR_TASK_NAME": {"": "untrained"}, "EVAL_EXAMPLES": {None: "all"}},
    )
    assert [run.settings for run in sweep_points.runs(made)] == [
        (("mixture", "untrained"), ("eval_examples", "all")),
        (("mixture", "untrained"), ("eval_examples", "5")),
        (("mixture", "mini_4"), ("eval_examples", "all")),
        (("mixture", "mini_4"), ("eval_examples", "5")),
    ]


def test_without_finetuning_the_start_is_evaluated_on_the_recipes_own_tasks(points):
    point, other = points(
        grid={"MIXTURE_OR_TASK_NAME": ["", "mini_4"], "INITIAL_CHECKPOINT_PATH": ["base"]}
    )
    assert (point.trains, other.trains) == (False, True)
    point.configure("a store", "a folder")
    assert config.bound("evaluate", "checkpoint_path") == "base"
    assert config.bound("EvalConfig", "groups")["held_in"] == "mini_all"
    other.configure("a store", "a folder")
    assert config.bound("EvalConfig", "groups")["held_in"] == "mini_4"


def test_a_sweep_may_evaluate_alone(points):
    made = points(
        grid={"CHECKPOINT_PATH": ["runs/one", "runs/two"]}, train=False,
        labels={"CHECKPOINT_PATH": {"runs/one": "one", "runs/two": "two"}},
    )  # fmt: skip
    assert names(made) == ["checkpoint_path-one", "checkpoint_path-two"]
    assert not any(point.trains for point in made)
    made[1].configure("a store", "a folder")
    assert config.bound("evaluate", "checkpoint_path") == "runs/two"
    trained = points(grid={"INITIAL_CHECKPOINT_PATH": ["runs/one", "runs/two"]})
    assert "Nothing is trained" in made[0].config and "Nothing" not in trained[0].config


def test_a_sweep_of_one_recipe_alone_is_called_after_it(points):
    assert names(points(grid={})) == ["size-mini_micro"]


def test_runs_share_a_store_unless_their_builds_differ(points):
    shared = points(grid={"MIXTURE_OR_TASK_NAME": ["mini_4", "mini_8"], "BUILD_WORKERS": [1, 2]})
    assert {point.store for point in shared} == {"out/store"}
    apart = points(grid={"BUILD_MIXTURE": ["mini_4", "mini_8"], "SEED": [0, 1]})
    stores = [point.store for point in apart]
    assert stores[0] == stores[1] != stores[2] == stores[3]
    assert all(store.startswith("out/stores/") for store in stores)
    named = points(grid={"STORE_DIR": ["here"]}, recipe_bindings={"mini_micro": {"SEED": 1}})
    assert [(point.store, point.is_own_store) for point in named] == [("here", False)]


def test_what_asks_only_benchmarks_and_trains_nothing_needs_no_store(points):
    made = points(
        grid={"MIXTURE_OR_TASK_NAME": ["", "mini_4"]}, evaluations=["benchmarks"],
        gin_files=["runs/benchmarks.gin"],
    )  # fmt: skip
    assert [point.store for point in made] == [None, "out/store"]
    assert "# Evaluated: benchmarks." in made[0].config
    with pytest.raises(errors.UsageError, match="binds no train.benchmarks"):
        points(grid={"SEED": [0]}, evaluations=["tasks", "benchmarks"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"evaluations": []}, "Sweep.evaluations is empty; name 'tasks', 'benchmarks' or both"),
        ({"evaluations": ["task"]}, "unknown evaluation 'task'; did you mean 'tasks'"),
        ({"selection": "best"}, "Sweep.selection: .*'best'"),
        ({"recipe_bindings": {"minni": {}}}, "unknown recipe 'minni'; did you mean 'mini'"),
        ({"recipe_bindings": {"mini_micro": {"SEED": 1}}}, "both bind SEED; keep one"),
        ({"labels": {"SEEDS": {}}}, "unknown macro of Sweep.grid 'SEEDS'; did you mean 'SEED'"),
        ({"labels": {"SEED": {7: "x"}}}, "unknown value of SEED in Sweep.grid '7'; known: 0"),
        ({"grid": {"MODEL_DIR": ["x"]}}, "binds MODEL_DIR, but each run has a folder of its own"),
        ({"grid": {"CHECKPOINT_PATH": ["x"]}}, "bind INITIAL_CHECKPOINT_PATH, or set Sweep.train"),
    ],
)
def test_a_mistake_is_told_with_its_place(points, fields, message):
    with pytest.raises(errors.UsageError, match=f"s.gin: .*{message}"):
        points(**{"grid": {"SEED": [0]}} | fields)


def test_runs_that_were_done_before_a_sweep_had_more_fields_stay_done(points):
    (run,) = sweep_points.runs(points(grid={"MIXTURE_OR_TASK_NAME": ["mini_4"], "SEED": [1]}))
    assert run.name == "mixture-mini_4_seed-1"
    macros = (("RECIPE", "mini_micro"), ("MIXTURE_OR_TASK_NAME", "mini_4"), ("SEED", 1))
    assert run.macros == macros
    bindings = {
        "STORE_DIR": "OUT/store", "MODEL_DIR": "OUT/RUN", "CHECKPOINT_PATH": "OUT/RUN",
    } | dict(macros[1:])  # fmt: skip
    config.parse(["recipes/mini_micro.gin"], [f"{k}={v!r}" for k, v in bindings.items()])
    first = f"# flan_jax {flan_jax.__version__}, recipe mini_micro\n"
    assert run.config == first + config.text()
