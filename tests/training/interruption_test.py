# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run is stopped in awkward places, goes on in other forms, and refuses what would spoil it."""

import dataclasses
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.core import files
from flan_jax.core.errors import PreemptedError, UsageError
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_presets import decoder_config
from flan_jax.models.t5 import T5
from flan_jax.parallel.mesh import MeshShape, make_mesh
from flan_jax.training import loop, step
from flan_jax.training.checkpoints import Checkpoints
from flan_jax.training.optimizers import AdamW
from flan_jax.training.schedules import Constant
from flan_jax.training.train_config import TrainConfig
from flan_jax.training.writers import read_metrics
from tests.training.tiny_runs import (
    ADAFACTOR,
    DATA,
    LOSS,
    MODEL,
    VOCAB,
    assert_bit_equal,
    state_in,
    train,
)

SCANNED = MODEL.other_layout


def no_batch(number, rows):
    pytest.fail("a batch was read")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return train(tmp_path_factory.mktemp("uninterrupted"), keep=None)


def evaluations(folder):
    return [record["step"] for record in read_metrics(folder) if record["kind"] == "eval"]


@pytest.mark.parametrize("stop_at", [6, 12])  # in the middle; at the last step
def test_sigterm_ends_an_evaluation_and_it_is_made_up_for(uninterrupted, tmp_path, stop_at):
    calls = []

    def eval_fn(params, at):
        calls.append(at)
        if at == stop_at and calls.count(at) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("the evaluation went on")
        return {"score": float(at)}

    options = {"options": {"eval_fn": eval_fn}, "eval_period": 3}
    message = (
        rf"asked to stop at step {stop_at} of 12; saved .*checkpoint_{stop_at}, \d+\.\d s after"
    )
    with pytest.raises(PreemptedError, match=message):
        train(tmp_path, **options)
    assert stop_at not in evaluations(tmp_path)
    result = train(tmp_path, **options)
    assert evaluations(tmp_path) == [3, 6, 9, 12]
    assert result.metrics["eval"]["score"] == 12.0
    assert_bit_equal(result.params, uninterrupted.params)


def test_a_run_with_other_settings_is_refused_with_the_difference(tmp_path):
    train(tmp_path, train_steps=5)
    with pytest.raises(UsageError) as caught:
        train(
            tmp_path,
            seed=1,
            optimizer=dataclasses.replace(ADAFACTOR, learning_rate=Constant(learning_rate=0.1)),
            options={"data": dataclasses.replace(DATA, batch_size=16)},
            act=no_batch,
        )
    message = str(caught.value)
    assert message.startswith(f"{tmp_path} holds a run with other settings: ")
    for difference in (
        "Constant.learning_rate is 0.05 there, 0.1 here",
        "TrainInput.batch_size is 8 there, 16 here",
        "TrainConfig.seed is 0 there, 1 here",
    ):
        assert difference in message
    assert message.endswith("go on with those, or choose another MODEL_DIR") and "\n" not in message
    with pytest.raises(UsageError, match="TrainConfig.optimizer is Adafactor there, AdamW here"):
        train(tmp_path, optimizer=AdamW(learning_rate=Constant(learning_rate=0.1)))
    # Periods, the number of steps and what is kept are no other settings.
    train(tmp_path, train_steps=6, log_period=1, eval_period=2, checkpoint_period=1, keep=1)


def test_a_folder_in_use_is_refused_and_left_alone(uninterrupted):
    folder = os.path.dirname(uninterrupted.checkpoint)
    before = {name: os.stat(os.path.join(folder, name)).st_mtime_ns for name in os.listdir(folder)}
    with files.locked(folder, "run"):
        with pytest.raises(UsageError, match=r"another run \(process \d+ on .*\) is writing"):
            train(folder, keep=None, train_steps=20)
    after = {name: os.stat(os.path.join(folder, name)).st_mtime_ns for name in os.listdir(folder)}
    assert {**after, ".lock": 0} == {**before, ".lock": 0}


def test_what_was_half_written_is_passed_over_and_removed_when_useless(tmp_path, capsys):
    train(tmp_path, train_steps=5)
    half = tmp_path / "checkpoint_10.orbax-checkpoint-tmp"
    half.mkdir()
    (half / "state").mkdir()
    train(tmp_path, train_steps=6, checkpoint_period=100)
    assert f"checkpoint {half} was never finished and is passed over" in capsys.readouterr().err
    assert half.is_dir()
    train(tmp_path, train_steps=12)
    assert not half.exists()


@pytest.mark.parametrize(
    ("shape", "rules"),
    [
        ((1, 8, 1), "fsdp"), ((1, 4, 2), "fsdp_tensor"), ((1, 2, 4), "fsdp"), ((1, 1, 8), "fsdp"),
        ((2, 2, 2), "fsdp_tensor_2d"),
    ],
)  # fmt: skip
def test_a_run_goes_on_on_another_mesh(uninterrupted, tmp_path, shape, rules):
    train(tmp_path, train_steps=5)
    mesh = MeshShape(num_slices=shape[0], data=shape[1], model=shape[2])
    result = train(tmp_path, mesh=mesh, rules=rules, options={"devices": jax.devices()})
    kernel = result.params["encoder"]["layers_0"]["mlp"]["wi_0"]["kernel"]
    assert len(kernel.sharding.device_set) == 8
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5),
        jax.device_get(result.params),
        jax.device_get(uninterrupted.params),
    )


@pytest.mark.parametrize(
    "optimizer", [ADAFACTOR, AdamW(learning_rate=Constant(learning_rate=1e-3))], ids=type
)
def test_a_run_goes_on_with_its_layers_stored_the_other_way(tmp_path, optimizer):
    options = {"optimizer": optimizer, "keep": None, "log_period": 1}
    whole = train(tmp_path / "whole", **options)
    train(tmp_path / "parts", train_steps=5, **options)
    train(tmp_path / "parts", train_steps=10, model=SCANNED, **options)
    parts = train(tmp_path / "parts", **options)

    def close(got, want):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), got, want)

    close(jax.device_get(parts.params), jax.device_get(whole.params))
    close(state_in(parts.checkpoint, optimizer)[0], state_in(whole.checkpoint, optimizer)[0])
    scanned = state_in(tmp_path / "parts" / "checkpoint_10", optimizer, SCANNED)[0]
    assert "layers" in scanned.params["encoder"]
    losses = [
        [r["loss"] for r in read_metrics(tmp_path / name) if r["kind"] == "train"]
        for name in ("whole", "parts")
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


@pytest.mark.slow  # compiles a training step
def test_a_run_goes_on_with_more_computed_again(uninterrupted, tmp_path):
    train(tmp_path, train_steps=5)
    again = dict(remat_policy="full", attention="fused")
    model = T5(dataclasses.replace(MODEL.config, **again))
    loss = dataclasses.replace(LOSS, chunk_length=4)  # of rows of 6
    result = train(tmp_path, model=model, loss=loss)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5),
        jax.device_get(result.params),
        jax.device_get(uninterrupted.params),
    )


def test_parameters_stored_the_other_way_are_taken_as_they_are(uninterrupted, tmp_path):
    warm = train(
        tmp_path, model=SCANNED, initial_checkpoint_path=uninterrupted.checkpoint, train_steps=1
    )
    plain = train(
        tmp_path / "plain", initial_checkpoint_path=uninterrupted.checkpoint, train_steps=1
    )
    back = MODEL.from_other_layout(jax.device_get(warm.params))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        back,
        jax.device_get(plain.params),
    )


def test_a_cast_must_be_named(uninterrupted, tmp_path, capsys):
    state, data, config = state_in(uninterrupted.checkpoint)
    half = state.replace(params=jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), state.params))
    with Checkpoints(tmp_path / "half") as manager:
        manager.save(half, step=12, data=data, config=config)
    start = {"initial_checkpoint_path": str(tmp_path / "half"), "train_steps": 1}
    with pytest.raises(UsageError) as caught:
        train(tmp_path / "run", **start)
    assert "is bfloat16[16] there but float32[16] in this run" in str(caught.value)
    assert "to cast it, set initial_checkpoint_dtype='bfloat16'" in str(caught.value)
    with pytest.raises(UsageError, match="there but float32"):  # another dtype is not meant
        train(tmp_path / "run2", initial_checkpoint_dtype="float16", **start)
    train(tmp_path / "run3", initial_checkpoint_dtype="bfloat16", **start)
    assert "arrays cast from bfloat16 to float32" in capsys.readouterr().err


def test_a_checkpoint_of_another_vocabulary_is_refused(tmp_path):
    def info(name):
        return {"info": {"vocabulary": {"name": f"{name}.model", "fingerprint": name * 16}}}

    first = train(tmp_path / "a", train_steps=1, options=info("a"))
    message = (
        r"was trained with the vocabulary 'a.model' \(sha256 aaaaaaaaaaaa\), this run uses "
        r"'b.model' \(bbbbbbbbbbbb\); use the same one"
    )
    with pytest.raises(UsageError, match=message):
        train(
            tmp_path / "b",
            initial_checkpoint_path=first.checkpoint,
            options=info("b"),
            act=no_batch,
        )
    with pytest.raises(UsageError, match="vocabulary is 'a+' there, 'b+' here"):
        train(tmp_path / "a", train_steps=2, options=info("b"), act=no_batch)


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        ({}, {"mesh": MeshShape(data=3, model=1)}, "a batch .*'batch' of 8 does not divide over"),
        (
            {},
            {"mesh": MeshShape(data=2, model=4), "rules": "tensor"},
            "attention .*'heads' of 2 does not divide over the 4 devices of mesh axis 'model'",
        ),
        (
            {},
            {"mesh": MeshShape(data=4, model=1), "num_microbatches": 4},
            "a microbatch .*'batch' of 2 does not divide over the 4 devices",
        ),
        ({}, {"num_microbatches": 3}, "batch_size 8 does not divide into num_microbatches 3"),
        (
            {"vocab_size": 31},
            {"mesh": MeshShape(data=1, model=2), "rules": "tensor"},
            "the vocabulary .*'vocab' of 31 does not divide over the 2 devices",
        ),
        (
            {"emb_dim": 15},
            {"mesh": MeshShape(data=1, model=2), "rules": "fsdp_tensor_2d"},
            "hidden states .*'embed' of 15 does not divide over the 2 devices",
        ),
    ],
)
def test_what_does_not_divide_is_said_before_anything_compiles(
    tmp_path, change, config, message, compilations
):
    model = T5(dataclasses.replace(MODEL.config, **change))
    mesh = config.get("mesh", MeshShape(data=1))
    devices = jax.devices()[: mesh.data * mesh.model]
    with pytest.raises(UsageError, match=message):
        train(tmp_path, model=model, act=no_batch, options={"devices": devices}, **config)
    assert not compilations and not list(tmp_path.iterdir())


@pytest.mark.parametrize("num_kv_heads", [1, 2])
def test_key_value_heads_divide_or_are_one(num_kv_heads):
    shape = decoder_config("tiny_decoder", vocab_size=VOCAB, num_kv_heads=num_kv_heads)
    mesh = make_mesh(MeshShape(data=2, model=4))
    config = TrainConfig(optimizer=ADAFACTOR, model_dir="none", train_steps=1, rules="tensor")
    if num_kv_heads == 1:  # whole on every device
        assert loop.step_spec(DecoderLM(shape), config, batch_size=8, mesh=mesh)
        return
    with pytest.raises(UsageError, match="keys and values .*'heads' of 2 does not divide over th"):
        loop.step_spec(DecoderLM(shape), config, batch_size=8, mesh=mesh)


@pytest.fixture
def compilations():
    """The names of programs compiled while the test runs."""
    found = []

    def listen(event, duration, **facts):
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(facts.get("fun_name", event))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


def test_after_the_first_step_nothing_compiles_and_nothing_moves_unasked(tmp_path, compilations):
    step.jitted_train_step.cache_clear()
    seen = {}

    def act(number, rows):
        seen[number] = len(compilations)
        if number == 2:
            jax.config.update("jax_transfer_guard", "disallow")

    try:
        train(tmp_path, act=act, log_period=2, checkpoint_period=100)
    finally:
        jax.config.update("jax_transfer_guard", "allow")
    assert seen[0] < seen[1] == seen[11]  # the step itself was seen to compile
