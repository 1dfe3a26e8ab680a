# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`flan-jax infer`: files in and out, answers and votes, going on after a stop, several hosts."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gin
from flan_jax import main
from flan_jax.evals.answers import number
from flan_jax.inference import journal
from flan_jax.inference.engine import Engine
from flan_jax.inference.self_consistency import vote
from tests import host_processes, tiny_checkpoints

ROOT = Path(__file__).resolve().parent.parent.parent
TEXTS = ["Anna has two cats.", "Go step by step.", "a " * 60, "Is it?", "One and two."]
LIMITS = ("--max_input_length", "32", "--max_length", "6")

pytestmark = pytest.mark.slow  # models are compiled: some seconds each


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoints.ours(tmp_path_factory.mktemp("ours"))


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    rows = [{"inputs": text, "id": i} for i, text in enumerate(TEXTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(checkpoint, prompts, output, *argv):
    return [
        "infer", "--checkpoint", str(checkpoint), "--input", str(prompts), "--output", str(output),
        *LIMITS, *argv,
    ]  # fmt: skip


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def infer(checkpoint, prompts, output, *argv, code=0):
    assert main.main(command(checkpoint, prompts, output, *argv)) == code
    return rows_of(output) if code == 0 else None


def test_answers_come_in_order_and_nothing_is_cut(checkpoint, prompts, tmp_path, capsys):
    rows = infer(checkpoint, prompts, tmp_path / "out.jsonl")
    assert [row["id"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[2] == {"id": 2, "inputs": TEXTS[2], "prediction": "", "too_long": True}
    assert all(set(row) == {"id", "inputs", "prediction"} for row in rows if row["id"] != 2)
    assert len({row["prediction"] for row in rows}) == 5
    assert "infer: 5 prompts, 1 too long" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.jsonl", "prompts.jsonl"]
    plain = tmp_path / "plain.txt"
    plain.write_text("\n".join(TEXTS))
    again = infer(checkpoint, plain, tmp_path / "again.jsonl")
    assert [row["prediction"] for row in again] == [row["prediction"] for row in rows]


def test_an_output_can_be_answered_again(checkpoint, prompts, tmp_path):
    voting = ("--self_consistency", "number", "--num_samples", "2")
    first = infer(checkpoint, prompts, tmp_path / "first.jsonl", *voting)
    assert {"vote", "predictions"} < set(first[0]) and "too_long" in first[2]
    raised = ("--max_input_length", "128")  # the third prompt is not too long now
    again = infer(checkpoint, tmp_path / "first.jsonl", tmp_path / "again.jsonl", *raised)
    assert again == infer(checkpoint, prompts, tmp_path / "out.jsonl", *raised)


def test_several_answers_and_beams(checkpoint, prompts, tmp_path):
    greedy = infer(checkpoint, prompts, tmp_path / "greedy.jsonl")
    sampling = ("--num_samples", "3", "--temperature", "2.0", "--seed", "5")
    sampled = infer(checkpoint, prompts, tmp_path / "sampled.jsonl", *sampling)[0]
    assert len(set(sampled["predictions"])) == len(sampled["scores"]) == 3
    assert sampled["prediction"] == sampled["predictions"][0]
    assert set(sampled["finish_reasons"]) <= {"stop", "length"}
    beams = infer(checkpoint, prompts, tmp_path / "beams.jsonl", "--num_beams", "3")[0]
    assert set(beams) == {"id", "inputs", "prediction"}
    best = infer(checkpoint, prompts, tmp_path / "best.jsonl", "--num_beams", "3",
                 "--num_samples", "2")[0]  # fmt: skip
    assert best["prediction"] == beams["prediction"] != greedy[0]["prediction"]
    assert best["scores"] == sorted(best["scores"], reverse=True) and len(best["scores"]) == 2


def test_answers_vote(checkpoint, prompts, tmp_path):
    voting = ("--self_consistency", "number", "--temperature", "3.0")
    rows = infer(checkpoint, prompts, tmp_path / "out.jsonl", *voting)
    assert [len(row.get("predictions", ())) for row in rows] == [40, 40, 0, 40, 40]
    cast = vote(number(text) for text in rows[0]["predictions"])
    assert rows[0]["vote"] == {
        "winner": cast.winner, "counts": cast.counts, "num_votes": cast.num_votes,
        "num_unparsed": cast.num_unparsed,
    }  # fmt: skip


def test_a_stopped_job_goes_on(checkpoint, prompts, tmp_path, monkeypatch, capsys):
    whole = infer(checkpoint, prompts, tmp_path / "whole.jsonl")
    output, stream = tmp_path / "out.jsonl", Engine.stream
    asked = []

    def stopped(self, tokens, config):
        for count, answer in enumerate(stream(self, tokens, config)):
            if count == 2:
                raise KeyboardInterrupt
            yield answer

    def counted(self, tokens, config):
        asked.extend(tokens)
        return stream(self, tokens, config)

    monkeypatch.setattr(Engine, "stream", stopped)
    infer(checkpoint, prompts, output, code=130)
    assert not output.exists()
    monkeypatch.setattr(Engine, "stream", counted)
    infer(checkpoint, prompts, output, "--max_length", "5", code=2)
    assert "DecodeConfig.max_length is 6 there, 5 here" in capsys.readouterr().err
    prompts.write_text(prompts.read_text().replace("cats", "dogs"))
    infer(checkpoint, prompts, output, code=2)
    assert "prompts is" in capsys.readouterr().err
    prompts.write_text(prompts.read_text().replace("dogs", "cats"))
    # The filter of a vote decides no answer.
    again = infer(checkpoint, prompts, output, "--seed", "0")
    assert again == whole and len(asked) == 2
    assert "2 by an earlier start" in capsys.readouterr().err


def test_sigterm_keeps_what_was_finished(checkpoint, prompts, tmp_path):
    prompts.write_text("".join(json.dumps({"inputs": f"{i} cats."}) + "\n" for i in range(300)))
    output = tmp_path / "out.jsonl"
    words = [sys.executable, "-m", "flan_jax", *command(checkpoint, prompts, output)]
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    kept = tmp_path / ".out.jsonl.partial" / journal.ANSWERS
    deadline = time.monotonic() + 120
    while not (kept.is_file() and kept.stat().st_size) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[1]
    assert process.returncode == 75, said
    assert not output.exists() and len(kept.read_text().splitlines()) >= 1
    done = subprocess.run(words, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=True)
    assert "by an earlier start" in done.stderr
    assert len(rows_of(output)) == 300 and not kept.exists()


@pytest.mark.parametrize(
    "on_a_mesh",
    [False, pytest.param(True, marks=pytest.mark.large)],  # two more processes
)
def test_two_processes_answer_as_one(checkpoint, prompts, tmp_path, on_a_mesh):
    alone = infer(checkpoint, prompts, tmp_path / "alone.jsonl")
    words = command(checkpoint, prompts, tmp_path / "out.jsonl")
    if on_a_mesh:
        gin_file = tmp_path / "mesh.gin"
        gin_file.write_text(GIN)
        words += [
            "--gin_file", str(gin_file), "--gin.infer.mesh=@MeshShape()", "--gin.MeshShape.data=1",
            "--gin.MeshShape.model=2", "--gin.infer.rules='tensor'",
            "--vocabulary", tiny_checkpoints.VOCABULARY,
        ]  # fmt: skip
    host_processes.run(["flan_jax", *words], 2, tmp_path / "log")
    assert rows_of(tmp_path / "out.jsonl") == alone


@pytest.mark.large  # two Python processes that import jax, twice
def test_sigterm_stops_all_processes_between_rounds(checkpoint, prompts, tmp_path):
    num = 10_000  # twenty rounds of two processes: all agree on one to come
    prompts.write_text("".join(json.dumps({"inputs": f"{i} cats."}) + "\n" for i in range(num)))
    output, log = tmp_path / "out.jsonl", tmp_path / "log"
    words = ["flan_jax", *command(checkpoint, prompts, output)]
    kept = tmp_path / ".out.jsonl.partial" / journal.ANSWERS
    with host_processes.started(words, 2, log) as processes:
        deadline = time.monotonic() + 120
        while not (kept.is_file() and kept.stat().st_size):
            assert time.monotonic() < deadline and processes[0].poll() is None
            time.sleep(0.01)
        processes[1].send_signal(signal.SIGTERM)
        codes = [process.wait(timeout=120) for process in processes]
    assert codes == [75, 75], Path(f"{log}.1").read_text()
    assert 0 < len(kept.read_text().splitlines()) < num and not output.exists()
    host_processes.run(words, 2, log)
    assert [row["inputs"] for row in rows_of(output)] == [f"{i} cats." for i in range(num)]
    assert all(row["prediction"] for row in rows_of(output))


GIN = """
include 'runs/infer.gin'
MODEL = @T5()
T5.config = @T5Config()
T5Config.vocab_size = 896
T5Config.emb_dim = 32
T5Config.num_heads = 4
T5Config.head_dim = 8
T5Config.num_encoder_layers = 1
T5Config.num_decoder_layers = 2
T5Config.mlp_dim = 48
T5Config.dropout_rate = 0.1
T5Config.dtype = 'float32'
CHECKPOINT_PATH = %gin.REQUIRED
VOCABULARY = %gin.REQUIRED
TASK_FEATURE_LENGTHS = {'inputs': 32, 'targets': 6}
"""


def test_gin_files_say_the_model_and_how_to_decode(checkpoint, prompts, tmp_path):
    greedy = infer(checkpoint, prompts, tmp_path / "greedy.jsonl")
    beams = infer(checkpoint, prompts, tmp_path / "beams.jsonl", "--num_beams", "2")
    gin_file = tmp_path / "run.gin"
    gin_file.write_text(GIN + "DecodeConfig.num_beams = 2\n")
    folder = tiny_checkpoints.hf(tmp_path / "hf")
    words = [
        "infer", "--gin_file", str(gin_file), f"--gin.CHECKPOINT_PATH={folder}",
        "--input", str(prompts), "--output", str(tmp_path / "out.jsonl"),
    ]  # fmt: skip
    assert main.main(words) == 0  # the folder brings the vocabulary, so VOCABULARY is not required
    assert rows_of(tmp_path / "out.jsonl") == beams
    assert main.main([*words, "--num_beams", "1"]) == 0  # an argument wins over the file
    assert rows_of(tmp_path / "out.jsonl") == greedy
