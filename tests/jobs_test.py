# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The main job end to end through the command line, at the smallest shape."""

import json
import shutil

import pytest

import gin
from flan_jax import jobs, main
from flan_jax.core.errors import UsageError
from flan_jax.data.seqio_loader import SeqioInput
from flan_jax.evals import scores as scores_lib
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_presets import decoder_config
from flan_jax.training.optimizers import AdamW
from flan_jax.training.schedules import Constant
from flan_jax.training.train_config import TrainConfig

# These build a store and compile a model: a few seconds each.
pytestmark = pytest.mark.slow

SMALL = (
    "--gin.build.limit=6",
    "--gin.EVAL_EXAMPLES=2",
    "--gin.CHECKPOINT_PERIOD=2",
    "--gin.WARMUP_STEPS=1",
    "--gin.BUILD_SUBMIXTURES=('mini_heldout_combinations', 'mini_heldout_skills')",
    "--gin.MIXTURE_OR_TASK_NAME=mini_4",
    "--gin.BUILD_MIXTURE=mini_4",
    "--gin.TrainConfig.log_period=1",
    "--gin.Cosine.decay_steps=6",  # as long as the longest run here: another one is another setting
)


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("job")


def run(folder, command, *argv, steps=4, code=0, recipe="mini", model="model"):
    got = main.main(
        [
            command, "--recipe", recipe, f"--gin.STORE_DIR={folder}/store",
            f"--gin.MODEL_DIR={folder}/{model}", f"--gin.TRAIN_STEPS={steps}", *SMALL, *argv,
        ]
    )  # fmt: skip
    assert got == code


def test_train_builds_trains_evaluates_and_resumes(folder, capsys):
    run(folder, "train")
    said = capsys.readouterr().err
    assert "store: building" in said and "train: done, 4 steps" in said
    lines = (folder / "model" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    steps = [row["step"] for row in rows if row["kind"] == "train"]
    assert steps == [1, 2, 3, 4]
    assert set(rows[0]["member_loss"]) == {
        name for name in rows[0]["member_loss"] if name.startswith("mini.")
    }
    # The same command again has nothing to do; with more steps it goes on.
    run(folder, "train")
    assert "building" not in capsys.readouterr().err
    run(folder, "train", steps=6)
    assert "going on from" in capsys.readouterr().err
    run(folder, "train", "--gin.BATCH_SIZE=16", steps=6, code=2)
    assert "TrainInput.batch_size is 8 there, 16 here" in capsys.readouterr().err
    operative = (folder / "model" / "config.gin").read_text()
    assert "TrainConfig.train_steps" in operative and "AdamW.beta2" in operative


def test_eval_writes_scores_and_predictions(folder, capsys):
    out = folder / "scores"
    run(folder, "eval", f"--gin.CHECKPOINT_PATH={folder}/model", "--out", str(out), steps=6)
    rows = scores_lib.read_scores(out / "scores.csv")
    groups = {row.benchmark for row in rows}
    assert groups == {"held_in", "held_out_combination", "held_out_skill"}
    means = [row for row in rows if row.subtask == scores_lib.MEAN]
    assert {row.step for row in means} == {6}
    assert "held_in/exact_match" in capsys.readouterr().out
    task = next(row.subtask for row in rows if row.subtask != scores_lib.MEAN)
    lines = (out / "predictions" / f"{task}.jsonl").read_text().splitlines()
    assert len(lines) == 2 and "prediction" in json.loads(lines[0])
    convert = ["convert", "--source", f"{folder}/model", "--to", "huggingface"]
    assert main.main([*convert, "--out", f"{folder}/hf"]) == 0
    again = folder / "hf_scores"
    run(folder, "eval", f"--gin.CHECKPOINT_PATH=hf:{folder}/hf", "--out", str(again), steps=6)
    values = [[row.value for row in scores_lib.read_scores(p / "scores.csv")] for p in (out, again)]
    assert values[0] == values[1]


def test_infer_answers_in_order_and_cuts_nothing(folder):
    prompts = folder / "prompts.jsonl"
    prompts.write_text(
        '{"id": 7, "inputs": "Anna has two cats."}\n{"inputs": "%s"}\n' % ("a " * 300)
    )
    run(
        folder, "infer", f"--gin.CHECKPOINT_PATH={folder}/model", "--input", str(prompts),
        "--output", str(folder / "out.jsonl"), steps=6,
    )  # fmt: skip
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert rows[0]["id"] == 7 and "prediction" in rows[0] and "too_long" not in rows[0]
    assert rows[1]["too_long"] is True and rows[1]["prediction"] == ""
    # What training writes says what model it is, and names its vocabulary.
    argv = [
        "infer", "--checkpoint", f"{folder}/model", "--input", str(prompts),
        "--output", str(folder / "again.jsonl"), "--max_input_length=128", "--max_length=32",
    ]  # fmt: skip
    assert main.main(argv) == 0
    assert (folder / "again.jsonl").read_text() == (folder / "out.jsonl").read_text()


def test_mismatches_are_refused(folder, capsys):
    run(folder, "train", "--gin.VOCAB_SIZE=128", steps=6, code=2)
    assert "set VOCAB_SIZE=896" in capsys.readouterr().err
    run(folder, "train", "--gin.VOCABULARY=bytes", "--gin.build.seed=1", steps=6, code=2)
    said = capsys.readouterr().err
    assert "was built with other settings than this run's: seed is 0 there, 1 here; voc" in said
    run(folder, "train", "--gin.T5Config.mlp_dim=64", steps=8, code=2)
    assert "T5Config.mlp_dim is 128 there, 64 here" in capsys.readouterr().err
    run(
        folder, "infer", f"--gin.CHECKPOINT_PATH={folder}/model", "--gin.VOCABULARY=bytes",
        "--input", __file__, "--output", "x", steps=6, code=2,
    )  # fmt: skip
    assert "was trained with the vocabulary" in capsys.readouterr().err
    run(folder, "eval", f"--gin.CHECKPOINT_PATH={folder}/nowhere", "--out", "x", code=2)
    assert "nowhere" in capsys.readouterr().err


def test_a_store_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="no finished token store at"):
        jobs.open_store(str(tmp_path / "none"), None, None)


def test_a_sweep_runs_skips_what_is_done_and_is_reported(folder, capsys):
    sweep = folder / "sweep.gin"
    sweep.write_text(
        "Sweep.title = 'A trial'\nSweep.recipes = ['mini']\nSweep.grid = {\n"
        "    'MIXTURE_OR_TASK_NAME': ['mini_4', 'mini_8'], 'SEED': [0], 'TRAIN_STEPS': [2],\n"
        "    'WARMUP_STEPS': [1], 'EVAL_EXAMPLES': [1],\n}\n"
    )
    out = folder / "sweep"
    assert main.main(["sweep", str(sweep), "--out", str(out)]) == 0
    first = (out / "scores.csv").read_bytes()
    capsys.readouterr()
    assert main.main(["sweep", str(sweep), "--out", str(out)]) == 0
    assert capsys.readouterr().err.count("is done, skipped") == 2
    assert (out / "scores.csv").read_bytes() == first
    assert main.main(["report", str(out)]) == 0
    page = (out / "report" / "report.html").read_text()
    assert "A trial" in page and "held" in page.lower()
    assert (out / "report" / "task_scaling.png").stat().st_size > 10_000


SEQIO_RUN = """
include 'models/tiny.gin'
include 'runs/finetune_seqio.gin'
include 'runs/adamw_cosine.gin'
MIXTURE_OR_TASK_NAME = 'mini_4'
MIXTURE_OR_TASK_MODULE = 'tasks.mini.mixtures'
TASK_FEATURE_LENGTHS = {'inputs': 128, 'targets': 32}
VOCABULARY = 'package:tasks/mini/vocabulary/sentencepiece.model'
VOCAB_SIZE = 896
BATCH_SIZE = 8
DROPOUT_RATE = 0.1
LEARNING_RATE = 3e-3
TRAIN_STEPS = 6
WARMUP_STEPS = 2
CHECKPOINT_PERIOD = 3
TrainConfig.log_period = 1
"""


def test_a_seqio_mixture_is_trained_on_without_a_store(tmp_path, capsys):
    recipe = tmp_path / "run.gin"
    recipe.write_text(SEQIO_RUN)

    def train(name: str, *argv: str, code: int = 0) -> list[float]:
        folder = tmp_path / name
        command = ["train", "--gin_file", str(recipe), f"--gin.MODEL_DIR={folder}", *argv]
        assert main.main(command) == code
        if code:
            return []
        rows = [json.loads(row) for row in (folder / "metrics.jsonl").read_text().splitlines()]
        return [row["loss"] for row in rows if row["kind"] == "train"]

    whole = train("whole")
    assert len(whole) == 6 and whole[-1] < whole[0]
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    shutil.rmtree(tmp_path / "stopped" / "checkpoint_6")
    assert train("stopped") == whole
    said = capsys.readouterr().err
    assert "reading again the 3 batches" in said
    assert not (tmp_path / "stores").exists()
    train("whole", "--gin.USE_CACHED_TASKS=True", code=2)
    train("cached", "--gin.USE_CACHED_TASKS=True", code=2)
    assert "4 of 4 tasks are in no SeqIO cache" in capsys.readouterr().err


def test_a_decoder_is_trained_evaluated_and_asked(folder, capsys):
    decoder = dict(recipe="mini_decoder", model="decoder", steps=2)
    run(folder, "train", **decoder)
    run(folder, "train", **decoder | dict(steps=4))
    assert "going on from" in capsys.readouterr().err
    lines = (folder / "decoder" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    assert len(losses) == 4 and losses[-1] < losses[0]
    assert "loss" in next(row for row in rows if row["kind"] == "eval")
    path, out = f"--gin.CHECKPOINT_PATH={folder}/decoder", folder / "decoder_scores"
    run(folder, "eval", path, "--out", str(out), **decoder)
    means = [r for r in scores_lib.read_scores(out / "scores.csv") if r.subtask == scores_lib.MEAN]
    assert {row.benchmark for row in means} == {"held_in", "held_out_combination", "held_out_skill"}
    prompts, answers = folder / "asked.txt", folder / "answers.jsonl"
    prompts.write_text("Anna has two cats.\nHow many?\n")
    run(folder, "infer", path, "--input", str(prompts), "--output", str(answers), **decoder)
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    assert [set(row) for row in rows] == [{"inputs", "prediction"}] * 2


def test_a_layout_that_does_not_suit_the_model_is_refused(folder, capsys):
    run(folder, "train", "--gin.TrainInput.layout='decoder'", code=2)
    assert "does not suit the model, a T5; set it to 'encoder_decoder'" in capsys.readouterr().err
    layout = "--gin.TrainInput.layout='encoder_decoder'"
    run(folder, "train", layout, recipe="mini_decoder", code=2)
    assert "a DecoderLM; set it to 'decoder'" in capsys.readouterr().err


def test_seqio_batches_are_refused_for_a_decoder(tmp_path):
    model = DecoderLM(decoder_config("tiny_decoder", vocab_size=384))
    data = SeqioInput(
        mixture="mini_4", module_imports=("tasks.mini.mixtures",), vocabulary="bytes", batch_size=2,
        feature_lengths={"inputs": 64, "targets": 8},
    )  # fmt: skip
    optimizer = AdamW(learning_rate=Constant(learning_rate=1e-3))
    config = TrainConfig(optimizer=optimizer, model_dir=str(tmp_path / "model"), train_steps=1)
    with pytest.raises(UsageError, match="for encoder-decoders, and the model is a DecoderLM"):
        jobs.train(model=model, data=data, config=config)
