# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The loop learns, logs, resumes to the same bits, stops when told, and stops when it must."""

import dataclasses
import itertools
import os
import signal

import jax
import numpy as np
import pytest

from flan_jax.collection import store as store_lib
from flan_jax.core import events, files
from flan_jax.core.errors import FlanError, PreemptedError, UsageError
from flan_jax.data.loader import TrainInput, open_train
from flan_jax.models.t5 import T5
from flan_jax.training import step
from flan_jax.training.writers import read_metrics
from tests.training.tiny_runs import (
    MODEL,
    VOCAB,
    assert_bit_equal,
    jitted,
    make_rows,
    one_device,
    state_in,
    train,
)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return train(tmp_path_factory.mktemp("uninterrupted"), keep=None)


def test_loss_falls(tmp_path):
    result = train(tmp_path, train_steps=240, log_period=80, checkpoint_period=240)
    losses = [record["loss"] for record in read_metrics(tmp_path) if record["kind"] == "train"]
    assert len(losses) == 3 and result.step == 240
    assert losses[0] > 1.5 > 1.2 > losses[-1] == pytest.approx(result.metrics["train"]["loss"])


def test_train_records_have_what_is_promised(uninterrupted, tmp_path):
    folder = os.path.dirname(uninterrupted.checkpoint)
    train_records = [r for r in read_metrics(folder) if r["kind"] == "train"]
    assert [record["step"] for record in train_records] == [4, 8, 12]
    for record in train_records:
        assert set(record) == {
            "step", "kind", "time_s", "loss", "z_loss", "accuracy", "member_loss",
            "learning_rate", "grad_norm", "update_norm", "param_norm", "steps_per_s",
            "tokens_per_s", "examples_per_s", "tflops_per_s", "data_wait",
        }  # fmt: skip
        assert set(record["member_loss"]) == {"copy", "last"}  # only members seen
        assert record["tokens_per_s"] == pytest.approx(8 * 12 * record["steps_per_s"])
        assert record["examples_per_s"] == pytest.approx(8 * record["steps_per_s"])
        assert 0 <= record["data_wait"] <= 1 and record["tflops_per_s"] > 0
    data = [record for record in read_metrics(folder) if record["kind"] == "data"]
    assert [record["examples"]["copy"] for record in data] == [5, 10, 12]
    assert os.listdir(os.path.join(folder, "tensorboard"))


def test_the_event_log_has_phases_steps_and_how_each_start_ended(tmp_path):
    def fail_at_3(number, rows):
        if number == 3:
            raise KeyboardInterrupt

    def evaluated(params, at):
        return {"score": 1.0}

    how = {"checkpoint_period": 2, "eval_period": 4, "train_steps": 4}
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, act=fail_at_3, options={"eval_fn": evaluated}, **how)
    train(tmp_path, options={"eval_fn": evaluated}, **how)
    (found,) = events.read(tmp_path).values()
    names = [
        record.get("custom_badput_event_type", record["event"])
        + str(record.get("step_count", record.get("exit", "")))
        for record in found
        if not record["event"].endswith("_end_time") or record["event"] == "job_end_time"
    ]
    starting = ["checkpoint_restore", "data_loading_start_time", "compile", "training_start"]
    assert names == [
        *starting, "step_start_time1", "step_start_time2", "checkpoint_save", "step_start_time3",
        "job_end_time130",
        *starting, "step_start_time3", "step_start_time4", "eval", "checkpoint_save",
        "checkpoint_save", "job_end_time0",  # begun, and waited for
    ]  # fmt: skip
    begun = [record for record in found if record["event"] == "training_start"]
    assert [record["first_step"] for record in begun] == [0, 2]
    assert begun[0]["last_step"] == 4 and begun[0]["num_devices"] == 1
    times = [record["time"] for record in found]
    assert times == sorted(times)


def test_a_run_stopped_and_resumed_ends_in_the_same_bits(uninterrupted, tmp_path):
    def fail_at_9(number, rows):
        if number == 9:
            raise KeyboardInterrupt  # the last checkpoint is that of step 5, step 8 is logged

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, act=fail_at_9)
    given = []
    resumed = train(tmp_path, act=lambda number, rows: given.append(number))
    assert given == [5, 6, 7, 8, 9, 10, 11]
    got, want = state_in(resumed.checkpoint), state_in(uninterrupted.checkpoint)
    assert_bit_equal(got[0], want[0])
    assert got[1:] == want[1:]
    assert "v_row" in got[0].opt_state["moments"]["token_embedder"]["embedding"]
    assert_bit_equal(resumed.params, uninterrupted.params)
    steps = [r["step"] for r in read_metrics(tmp_path) if r["kind"] == "train"]
    assert steps == [4, 8, 12]  # step 8 is not there twice


def test_a_finished_run_started_again_returns_its_result(uninterrupted):
    folder = os.path.dirname(uninterrupted.checkpoint)
    again = train(folder, keep=None, act=lambda n, rows: pytest.fail("read a batch"))
    assert again.step == 12 and again.checkpoint == uninterrupted.checkpoint
    assert again.metrics["train"]["loss"] == uninterrupted.metrics["train"]["loss"]
    assert_bit_equal(again.params, uninterrupted.params)


def test_sigterm_saves_and_the_next_start_goes_on(uninterrupted, tmp_path):
    def kill_at_6(number, rows):
        if number == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(PreemptedError, match="asked to stop at step 7 of 12; saved") as caught:
        train(tmp_path, act=kill_at_6)
    assert caught.value.exit_code == 75
    assert signal.getsignal(signal.SIGTERM) == before
    state, data, _ = state_in(tmp_path / "checkpoint_7")
    assert state.step == 7 and data == {"next": 7}
    assert_bit_equal(train(tmp_path).params, uninterrupted.params)


def test_a_damaged_newest_checkpoint_costs_its_steps_only(uninterrupted, tmp_path, capsys):
    train(tmp_path, train_steps=10)
    path = tmp_path / "checkpoint_10" / "state" / "manifest.ocdbt"
    path.write_bytes(path.read_bytes()[:50])
    result = train(tmp_path)
    assert_bit_equal(result.params, uninterrupted.params)
    assert "checkpoint_10 cannot be read" in capsys.readouterr().err


def test_info_is_kept_with_the_checkpoint(tmp_path):
    info = {"gin": "a = 1", "code_version": "0", "vocabulary": {"fingerprint": "abc"}}
    result = train(tmp_path, train_steps=1, options={"info": info})
    _, _, config = state_in(result.checkpoint)
    assert config == {**info, "seed": 0, "step_offset": 0}


def poison(number, rows):
    """In batch 6 the loss of member 'last' overflows float32; its weight does not."""
    if number == 6:
        last = rows["decoder_task_ids"] == 1
        rows["decoder_loss_weights"][last] = 3e38 / np.sum(last)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(FlanError) as caught:
        train(tmp_path, act=poison, eval_period=0)
    message = str(caught.value)
    assert "training stopped at step 7: objective is inf" in message
    assert "worst mixture member 'last'" in message and "'copy'" not in message
    assert f"the last good checkpoint is {tmp_path}/checkpoint_5" in message
    assert sorted(p.name for p in tmp_path.glob("checkpoint_*")) == ["checkpoint_5"]


def test_a_checkpoint_is_never_of_a_bad_step(tmp_path):
    # The bad step is the very one after which a checkpoint is due.
    with pytest.raises(FlanError, match="the last good checkpoint was not reached yet"):
        train(tmp_path, act=poison, checkpoint_period=7)
    assert not list(tmp_path.glob("checkpoint_*"))


def test_warm_start_takes_parameters_only(uninterrupted, tmp_path):
    folder = os.path.dirname(uninterrupted.checkpoint)
    warm = train(tmp_path, initial_checkpoint_path=folder, train_steps=1, step_offset=1000)
    assert warm.step == 1001 and warm.checkpoint.endswith("checkpoint_1001")
    state, data, _ = state_in(warm.checkpoint)
    assert state.opt_state["count"] == 1 and data == {"next": 1}
    # One update moves a parameter by no more than the learning rate times its scale.
    moved = jax.tree.map(
        lambda a, b: np.sqrt(np.mean((a - b) ** 2)) / np.sqrt(np.mean(b**2)),
        jax.device_get(warm.params),
        jax.device_get(uninterrupted.params),
    )
    assert 0 < max(jax.tree.leaves(moved)) < 0.051


def test_restart_of_a_warm_started_run_resumes_it(uninterrupted, tmp_path):
    options = {"initial_checkpoint_path": uninterrupted.checkpoint, "step_offset": 100}
    train(tmp_path / "parts", train_steps=3, **options)
    parts = train(tmp_path / "parts", train_steps=6, **options)
    whole = train(tmp_path / "whole", train_steps=6, **options)
    assert parts.step == 106
    assert_bit_equal(parts.params, whole.params)


def test_restoring_into_another_model_is_one_clear_line(uninterrupted, tmp_path):
    wider = T5(dataclasses.replace(MODEL.config, mlp_dim=48))
    message = (
        r"decoder/layers_0/mlp/wi_0/kernel is float32\[16, 32\] there but float32\[16, 48\] in this"
    )
    with pytest.raises(UsageError, match=message):
        train(
            tmp_path,
            model=wider,
            initial_checkpoint_path=os.path.dirname(uninterrupted.checkpoint),
        )
    with pytest.raises(UsageError, match="checkpoint_12 is past the last step, 3"):
        train(os.path.dirname(uninterrupted.checkpoint), train_steps=3, keep=None)


def write_store(root):
    """Writes a token store of two tasks, through the real writer."""
    rng, entries = np.random.default_rng(0), {}
    for task, num in (("b", 37), ("a:x", 50)):
        folder = store_lib.task_folder(root, task, "train")
        with store_lib.TaskWriter(folder, np.dtype("<u2")) as writer:
            for _ in range(num):
                ids = rng.integers(3, VOCAB, rng.integers(2, 8))
                writer.add([*ids, 1], [ids[0], 1], {"inputs": "", "targets": ""})
            entries[task] = {"train": writer.finish({"key": "k", "dropped": {}})}
    rates = {"a:x": 0.5, "b": 0.5}
    manifest = {
        "format": store_lib.FORMAT,
        "mixture": "all",
        "mixtures": {"all": rates},
        "rates": rates,
        "vocabulary": {"name": "none", "size": VOCAB, "padded_size": VOCAB, "eos_id": 1},
        "feature_lengths": {"inputs": 16, "targets": 8},
        "token_dtype": "<u2",
        "tasks": entries,
    }
    files.write_json(root / store_lib.MANIFEST, manifest)
    return TrainInput(store=str(root), batch_size=8, window_examples=32)


def test_a_token_store_feeds_the_loop_and_resumes_in_place(tmp_path):
    data = write_store(tmp_path / "store")
    options = {"options": {"data": data, "open_data": open_train}, "checkpoint_period": 4}
    whole = train(tmp_path / "whole", train_steps=9, **options)
    train(tmp_path / "parts", train_steps=5, **options)
    parts = train(tmp_path / "parts", train_steps=9, **options)
    got, want = state_in(parts.checkpoint), state_in(whole.checkpoint)
    assert_bit_equal(got[0], want[0])
    assert got[1] == want[1] and got[1]["step"] == 9
    report = [r for r in read_metrics(tmp_path / "whole") if r["kind"] == "data"][-1]
    assert set(report["examples"]) == {"a:x", "b"} and min(report["epochs"].values()) > 1
    assert set(whole.metrics["train"]["member_loss"]) == {"a:x", "b"}


def test_evaluation_is_logged_and_the_best_checkpoint_kept(tmp_path):
    scores = itertools.chain([0.1, 0.9, 0.5, 0.4, 0.3])
    calls = []

    def eval_fn(params, at):
        calls.append((at, jax.tree.leaves(params)[0].shape != ()))
        return {"exact_match": next(scores), "held_out": {"a": 1.0}}

    result = train(
        tmp_path,
        train_steps=10,
        eval_period=2,
        checkpoint_period=2,
        keep=1,
        best_metric="exact_match",
        best_mode="max",
        options={"eval_fn": eval_fn, "eval_batches": lambda: map(make_rows, (900, 901, 902))},
    )
    assert [at for at, _ in calls] == [2, 4, 6, 8, 10]
    assert sorted(p.name for p in tmp_path.glob("checkpoint_*")) == [
        "checkpoint_10",
        "checkpoint_4",
    ]
    records = [r for r in read_metrics(tmp_path) if r["kind"] == "eval"]
    assert [r["exact_match"] for r in records] == [0.1, 0.9, 0.5, 0.4, 0.3]
    assert records[-1]["held_out"] == {"a": 1.0}
    assert set(records[-1]["member_loss"]) == {"copy", "last"}
    # The validation loss is that of all its batches together, at the last parameters.
    eval_step = jitted(step.jitted_eval_step)
    with jax.set_mesh(one_device()):
        sums = [eval_step(result.params, make_rows(n)) for n in (900, 901, 902)]
    want = sum(float(s["loss"]) for s in sums) / sum(float(s["weight"]) for s in sums)
    assert records[-1]["loss"] == pytest.approx(want, rel=1e-5)
    assert result.metrics["eval"]["loss"] == records[-1]["loss"]


def test_runs_of_equal_shape_compile_once(uninterrupted, tmp_path):
    compiled = jitted(step.jitted_train_step)
    before, num_programs = step.jitted_train_step.cache_info(), compiled._cache_size()
    for seed in (1, 2):
        train(tmp_path / str(seed), train_steps=3, seed=seed)
    after = step.jitted_train_step.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (0, 2)
    assert compiled._cache_size() == num_programs > 0


def test_unknown_best_metric_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"unknown best_metric 'exact_mach'; did you mean"):
        train(
            tmp_path,
            eval_period=5,
            best_metric="exact_mach",
            options={"eval_fn": lambda params, at: {"exact_match": 1.0}},
        )


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"train_steps": 0}, "train_steps must be an integer >= 1, got 0"),
        ({"model_dir": "gs://bucket/run"}, "'gs://bucket/run' is not a local folder; mount"),
        ({"log_period": 0}, "log_period must be an integer >= 1"),
        ({"eval_period": -1}, "eval_period must be an integer >= 0, got -1"),
        ({"eval_period": 1000, "best_metric": "loss"}, r"make checkpoint_period \(5\) a multiple"),
        ({"best_metric": "loss"}, r"a multiple of eval_period \(0\)"),
        ({"rules": "fdsp"}, "unknown sharding preset 'fdsp'; did you mean 'fsdp'"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, settings, text):
    with pytest.raises(UsageError, match=text):
        train(tmp_path, **settings)
