# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gin's silent ways are loud here: each mistake is one message with the name and the remedy."""

import re

import pytest

import gin
from flan_jax import config
from flan_jax.core.errors import UsageError

MINI = str(config.gin_root() / "recipes" / "mini.gin")
STARTED = "INITIAL_CHECKPOINT_PATH = 'x'"  # the paper's models do not start from scratch


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


def write(folder, text):
    path = folder / "run.gin"
    path.write_text(f"include 'recipes/mini.gin'\n{text}\n")
    return str(path)


@pytest.mark.parametrize("recipe", config.recipes())
def test_every_recipe_parses_and_builds_its_configuration(recipe, monkeypatch):
    config.parse(
        [config.recipe_file(recipe)],
        ["MODEL_DIR=runs/x", "CHECKPOINT_PATH=runs/x", "VOCABULARY=bytes", STARTED],
    )
    made = config.configured("TrainConfig")()
    assert made.model_dir == "runs/x"
    assert config.bindings("train")["model"].config.vocab_size % 128 == 0
    assert config.configured("TrainInput")().batch_size > 0
    assert "TrainConfig.train_steps" in config.operative()


@pytest.mark.parametrize("recipe", config.recipes())
def test_a_recipe_means_what_gin_itself_makes_of_it(recipe):
    file = config.recipe_file(recipe)
    config.parse([file], ["MODEL_DIR=x", "VOCABULARY=bytes", STARTED], roots=("train",))
    ours = config.text()
    gin.clear_config()
    gin.add_config_file_search_path(str(config.gin_root()))
    bindings = ["MODEL_DIR = 'x'", "VOCABULARY = 'bytes'", STARTED]
    gin.parse_config_files_and_bindings([file], bindings, finalize_config=False)
    assert ours == config.text()


@pytest.mark.parametrize("sweep", sorted((config.gin_root() / "sweeps").glob("*.gin")))
def test_every_sweep_parses(sweep):
    config.parse([str(sweep)], roots=("Sweep",))
    declared = config.configured("Sweep")()
    assert set(declared.recipes) <= set(config.recipes())


BARE = "".join(
    f"include '{part}'\n" for part in ("models/mini.gin", "runs/finetune.gin", "runs/adafactor.gin")
)
BUILD = {"MIXTURE_OR_TASK_NAME", "STORE_DIR", "TASK_FEATURE_LENGTHS", "VOCABULARY"}
MODEL = {"DROPOUT_RATE", "VOCAB_SIZE"}


@pytest.mark.parametrize(
    ("root", "macros"),
    [
        ("build", BUILD),
        ("train", {*BUILD, *MODEL, "BATCH_SIZE", "LEARNING_RATE", "MODEL_DIR", "TRAIN_STEPS"}),
        ("evaluate", {*BUILD, *MODEL, "CHECKPOINT_PATH"}),
        ("infer", {*MODEL, "CHECKPOINT_PATH", "TASK_FEATURE_LENGTHS", "VOCABULARY"}),
    ],
)
def test_all_unset_macros_of_a_command_are_listed_with_meaning_and_example(tmp_path, root, macros):
    path = tmp_path / "run.gin"
    path.write_text(BARE)
    with pytest.raises(UsageError) as error:
        config.parse([str(path)], roots=(root,))
    first, *lines = str(error.value).splitlines()
    assert first == f"{len(macros)} required macro(s) not set; add:"
    for name, line in zip(sorted(macros), lines, strict=True):
        assert (
            line == f"  --gin.{name}={config.MACROS[name].example}   {config.MACROS[name].meaning}"
        )
    # The examples are of the right form: with them, nothing is missing or malformed.
    examples = [f"{name}={config.MACROS[name].example}" for name in macros]
    config.parse([str(path)], examples, roots=(root,))


@pytest.mark.parametrize("run", ["finetune", "finetune_seqio"])
def test_any_training_can_ask_benchmarks(tmp_path, run):
    path = tmp_path / "run.gin"
    parts = ("models/mini.gin", f"runs/{run}.gin", "runs/adafactor.gin", "runs/benchmarks.gin")
    path.write_text("".join(f"include '{part}'\n" for part in parts))
    with pytest.raises(UsageError) as error:
        config.parse([str(path)], roots=("train",))
    unset = re.findall(r"--gin\.(\w+)=", str(error.value))
    examples = [f"{name}={config.MACROS[name].example}" for name in unset]
    config.parse([str(path)], [*examples, "BENCHMARKS=('paper',)"], roots=("train",))
    suite = config.bindings("train")["benchmarks"]
    assert (suite.benchmarks, suite.data, suite.num_examples) == (("paper",), "benchmark_files", 10)


def test_benchmarks_are_added_to_a_recipe_by_a_file_after_it():
    config.parse(
        [MINI, "runs/benchmarks.gin"], ["MODEL_DIR=x", "BENCHMARKS_DATA=b"], roots=("train",)
    )
    suite = config.bindings("train")["benchmarks"]
    assert (suite.benchmarks, suite.data) == (("mmlu", "bbh"), "b")
    config.parse([MINI], ["MODEL_DIR=x"], roots=("train",))
    assert "benchmarks" not in config.bindings("train")


def test_every_macro_that_a_shipped_file_requires_is_described():
    for path in config.gin_root().rglob("*.gin"):
        for line in path.read_text().splitlines():
            name, _, value = line.partition(" = ")
            assert value != "%gin.REQUIRED" or name in config.MACROS, (path, name)


def test_only_the_macros_of_the_command_are_required():
    config.parse([MINI], ["MODEL_DIR=x"], roots=("train",))
    config.parse([MINI], [], roots=("build",))
    with pytest.raises(UsageError) as error:
        config.parse([MINI], [], roots=("train", "evaluate"))
    message = str(error.value)
    assert message.startswith("2 required macro(s) not set")
    assert "--gin.MODEL_DIR=" in message and "--gin.CHECKPOINT_PATH=" in message
    assert "folder for checkpoints" in message


def test_a_later_binding_wins_and_strings_need_no_quotes():
    config.parse(
        [MINI],
        ["MODEL_DIR=runs/a b", "TRAIN_STEPS=70", "TrainConfig.log_period=3"],
        roots=("train",),
    )
    made = config.configured("TrainConfig")()
    assert (made.model_dir, made.train_steps, made.log_period) == ("runs/a b", 70, 3)


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("TRAIN_STEP=5", "unknown macro 'TRAIN_STEP'; did you mean 'TRAIN_STEPS'"),
        ("TRAIN_STEPS", "has no value; write NAME=value"),
        ("=5", "has no name; write NAME=value"),
        (
            "TrainConfig.train_step=5",
            "unknown parameter of TrainConfig: 'train_step'; did you mean 'train_steps'",
        ),
        ("Train.steps=5", "unknown configurable 'Train'; did you mean 'train'"),
        ("T5.config=@T5Conf()", "unknown configurable '@T5Conf'; did you mean '@T5Config'"),
        ("BATCH_SIZE=%BATCH", "unknown macro 'BATCH'; did you mean 'BATCH_SIZE'"),
        ("BATCH_SIZE=%BATCH_SIZE", "macro BATCH_SIZE = %BATCH_SIZE is defined by itself"),
        ("TRAIN_STEPS=[1", "a bracket or quotes are not closed"),
        ("Adafactor.decay_rate=0.5", "nothing uses Adafactor.decay_rate (the command line)"),
        ("T5Config.dtype='float32'", "set ACTIVATION_DTYPE instead"),
        ("MODEL_DIR=y", "MODEL_DIR is bound twice: 'x' (the command line) and 'y' (the command"),
        ("MODEL_DIR=%gin.REQUIRED", "MODEL_DIR is bound twice: 'x'"),
        # A value of the wrong type, by the annotation of the parameter that takes it.
        ("TRAIN_STEPS='a'", "TRAIN_STEPS = 'a', but TrainConfig.train_steps takes a whole number"),
        ("BATCH_SIZE=1.5", "TrainInput.batch_size takes a whole number, such as 64"),
        ("LEARNING_RATE=None", "Cosine.learning_rate takes a number, such as 5e-4"),
        ("TASK_FEATURE_LENGTHS=3", "takes a dict of text to a whole number"),
        ("T5Config.scan_layers=1", "T5Config.scan_layers = 1, but it takes True or False"),
        ("T5Config.mlp_activations='gelu'", "but it takes a list of text"),
        ("EVAL_GROUPS=3", "EvalConfig.groups takes a dict of text to text or a list of text"),
        ("T5.config=@T5Config", "T5.config = @T5Config, but it takes @T5Config()"),
        ("OPTIMIZER='adamw'", "TrainConfig.optimizer takes @Adafactor() or @AdamW()"),
        ("OPTIMIZER=@Cosine()", "TrainConfig.optimizer takes @Adafactor() or @AdamW()"),
        ("train.build=@build()", "train.build = @build(), but it takes a function, written @NAME"),
        # What is required in place, without a macro.
        ("TrainConfig.log_period=%gin.REQUIRED", "TrainConfig.log_period = %gin.REQUIRED, but nob"),
    ],
)
def test_a_bad_binding_is_refused(binding, message):
    with pytest.raises(UsageError) as error:
        config.parse([MINI], ["MODEL_DIR=x", binding], roots=("train",))
    assert message in str(error.value)
    assert str(error.value).startswith(("the command line: ", "nothing uses ", "MODEL_DIR is "))
    assert "\n" not in str(error.value)


def test_text_needs_no_quotes_where_the_macro_holds_text_and_a_number_stays_one():
    def parsed(*bindings):
        config.parse([MINI], ["MODEL_DIR=x", *bindings], roots=("train",))
        return config.bindings

    assert (
        parsed("LOSS_NORMALIZING_FACTOR=tokens")("LossConfig")["loss_normalizing_factor"]
        == "tokens"
    )
    assert (
        parsed("LOSS_NORMALIZING_FACTOR=233472")("LossConfig")["loss_normalizing_factor"] == 233472
    )
    assert parsed("BUILD_MIXTURE=mini_8")("build")["mixture"] == "mini_8"
    assert parsed("MODEL_NAME=7 b")("EvalConfig")["model_name"] == "7 b"
    assert parsed("MODEL_NAME=''")("EvalConfig")["model_name"] == ""
    with pytest.raises(UsageError, match="cannot read 'TRAIN_STEPS = many' as Gin"):
        parsed("TRAIN_STEPS=many")


def test_macros_that_define_each_other_are_told(tmp_path):
    path = write(tmp_path, "TRAIN_STEPS = %WARMUP_STEPS\nWARMUP_STEPS = %TRAIN_STEPS")
    with pytest.raises(UsageError, match=r"run.gin:[23]: macro .* is defined by itself; give it a"):
        config.parse([path], ["MODEL_DIR=x", "BATCH_SIZE=4"], roots=("train",))
    # The command may break the loop, as it may override anything.
    config.parse([path], ["MODEL_DIR=x", "WARMUP_STEPS=4"], roots=("train",))


def test_a_constructor_that_lacks_a_value_is_named(tmp_path):
    path = tmp_path / "infer.gin"
    path.write_text(
        "infer.model = @T5()\nT5.config = @T5Config()\nT5Config.vocab_size = 128\n"
        "infer.vocabulary = 'bytes'\ninfer.checkpoint_path = 'x'\n"
        "infer.feature_lengths = {'inputs': 8, 'targets': 8}\n"
    )
    with pytest.raises(UsageError) as error:
        config.parse([str(path)], roots=("infer",))
    assert str(error.value) == (
        f"{path}:2: T5Config has no value for emb_dim, num_heads, head_dim, num_encoder_layers, "
        "num_decoder_layers, mlp_dim (used by T5.config); bind T5Config.emb_dim in the Gin file"
    )


def test_a_function_that_is_passed_on_and_lacks_a_value_is_named_when_it_is_called(tmp_path):
    path = tmp_path / "run.gin"
    path.write_text(
        "include 'models/tiny.gin'\nVOCAB_SIZE = 384\nDROPOUT_RATE = 0.0\nevaluate.model = %MODEL\n"
        f"evaluate.store = '{tmp_path}/none'\nevaluate.build = @build\nbuild.mixture = 'mini_4'\n"
        "evaluate.config = @EvalConfig()\n"
    )
    config.parse([str(path)], roots=("evaluate",))
    with pytest.raises(UsageError, match="build.. missing 3 required .*'out', .*; bind it in the"):
        config.configured("evaluate")(out=str(tmp_path / "out"))


def test_scoped_bindings_are_used_as_gin_uses_them(tmp_path):
    scoped = "train.model = @big/T5()\nbig/T5Config.emb_dim = 32\n"
    config.parse([write(tmp_path, scoped)], ["MODEL_DIR=x"], roots=("train",))
    assert config.bindings("train")["model"].config.emb_dim == 32
    assert config.bindings("infer")["model"].config.emb_dim == 64
    with pytest.raises(UsageError, match=r"nothing uses small/T5Config\.emb_dim"):
        config.parse([write(tmp_path, scoped + "small/T5Config.emb_dim = 8")], ["MODEL_DIR=x"])


def test_a_users_own_configurable_is_imported_and_checked_like_ours(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_schedules_for_gin_test.py").write_text(
        "import dataclasses, gin\n"
        "@gin.configurable\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Sawtooth:\n"
        "    teeth: int\n"
        "    def __call__(self, step):\n"
        "        return step % self.teeth\n"
    )
    text = (
        "import own_schedules_for_gin_test\n"
        "include 'models/tiny.gin'\ninclude 'runs/finetune.gin'\nOPTIMIZER = @AdamW()\n"
        "AdamW.learning_rate = @Sawtooth()\nSawtooth.teeth = "
    )
    path = tmp_path / "own.gin"
    given = [f"{name}={config.MACROS[name].example}" for name in (
        *BUILD, *MODEL, "BATCH_SIZE", "MODEL_DIR", "TRAIN_STEPS"
    )]  # fmt: skip
    # The macro LEARNING_RATE, which runs/finetune.gin asks for, is of no use here: never mind.
    path.write_text(f"{text}4\n")
    config.parse([str(path)], given, roots=("train",))
    assert config.configured("TrainConfig")().optimizer.learning_rate(5) == 1
    assert config.text().startswith("import own_schedules_for_gin_test\n")
    path.write_text(f"{text}4\nSawtooth.tooth = 3\n")
    with pytest.raises(UsageError, match="own.gin:7: unknown parameter of Sawtooth: 'tooth'"):
        config.parse([str(path)], given, roots=("train",))
    path.write_text(f"{text}'four'\n")
    with pytest.raises(UsageError, match="own.gin:6: Sawtooth.teeth = 'four', but it takes a who"):
        config.parse([str(path)], given, roots=("train",))


def test_an_unused_binding_or_macro_of_a_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"nothing uses macro FORGOTTEN \(.*run.gin:2\); rem"):
        config.parse([write(tmp_path, "FORGOTTEN = 3")], ["MODEL_DIR=x"])
    with pytest.raises(UsageError, match=r"nothing uses Adafactor\.decay_rate \(.*run.gin:2\)"):
        config.parse([write(tmp_path, "Adafactor.decay_rate = 1.0")], ["MODEL_DIR=x"])
    # The same binding is used once the optimizer is that one.
    used = "Adafactor.learning_rate = @Constant()\nConstant.learning_rate = 1.0\nOPTIMIZER = "
    with pytest.raises(UsageError) as error:  # and now AdamW's are not
        config.parse([write(tmp_path, used + "@Adafactor()")], ["MODEL_DIR=x"])
    first, *lines = str(error.value).splitlines()
    assert first == f"{len(lines)} bindings that nothing uses:"
    assert any("AdamW.beta2" in line for line in lines)
    assert not any("Adafactor" in line for line in lines)


def test_missing_files_and_recipes_name_what_is_near(tmp_path):
    for wrong in ("recipes/mni.gin", "mini.gin", "mni.gin", "recipe/mini.gin"):
        with pytest.raises(UsageError, match=f"no Gin file '{wrong}'.*did you mean.*recipes/mini"):
            config.parse([wrong])
    with pytest.raises(UsageError, match="unknown recipe 'minni'; did you mean 'mini'"):
        config.recipe_file("minni")
    path = tmp_path / "bad.gin"
    path.write_text("include 'no/such.gin'\n")
    with pytest.raises(UsageError, match="no/such.gin"):
        config.parse([str(path)])


def test_search_paths_come_before_the_shipped_files(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.gin").write_text("include 'recipes/mini.gin'\nTRAIN_STEPS = 111\n")
    config.parse(["own.gin"], ["MODEL_DIR=x"], [str(tmp_path / "mine")], roots=("train",))
    assert config.configured("TrainConfig")().train_steps == 111


def test_a_parameter_without_value_is_named(tmp_path):
    path = tmp_path / "sweep.gin"
    path.write_text("Sweep.title = 'a'\n")
    config.parse([str(path)])
    with pytest.raises(UsageError, match=r"Sweep: no value for recipes, grid; bind Sweep\.recipes"):
        config.configured("Sweep")()


def test_errors_inside_a_configurable_keep_class_and_message():
    config.parse([MINI], ["MODEL_DIR=x", "TRAIN_STEPS=0"], roots=("train",))
    with pytest.raises(UsageError) as error:
        config.configured("TrainConfig")()
    assert "In call to configurable" not in str(error.value)
    assert type(error.value) is UsageError
