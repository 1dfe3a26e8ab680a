# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A model's parameters from T5X's checkpoints, in either layout, onto a mesh; what is left said."""

import dataclasses

import jax
import ml_dtypes
import numpy as np
import pytest

from flan_jax.convert import t5x
from flan_jax.convert.leaves import Arrays, laid_out
from flan_jax.core.errors import FlanError, UsageError
from flan_jax.core.tree import flatten
from flan_jax.models import layers
from flan_jax.models.t5 import T5
from flan_jax.parallel.mesh import MeshShape, make_mesh
from flan_jax.parallel.rules import preset
from flan_jax.training import checkpoints, layouts, params_files
from flan_jax.training.state import abstract_state
from tests import golden_t5x
from tests.convert.t5x_files import write_checkpoint
from tests.training.tiny_runs import ADAFACTOR, MODEL, assert_bit_equal, train

T5X = T5(golden_t5x.CONFIG, rules=preset("fsdp_tensor"))


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """Parameters that T5X made, in a checkpoint written by hand: apart, and stacked."""
    arrays = flatten(golden_t5x.params())
    stacked = laid_out(Arrays(arrays), stacked=True)
    folder = tmp_path_factory.mktemp("t5x")
    for name, leaves in (("apart", Arrays(arrays)), ("stacked", stacked)):
        write_checkpoint(
            folder / name / "checkpoint_1000",
            {f"target/{n}": leaves.read(n) for n in leaves.shapes},
            inside={"target/encoder/encoder_norm/scale"},
        )
    return folder, arrays


def load(path, model=T5X, **options):
    mesh = make_mesh(MeshShape(data=4, model=2))
    abstract, other = (
        abstract_state(m, ADAFACTOR, mesh).params for m in (model, model.other_layout)
    )
    with jax.set_mesh(mesh):
        params = layouts.load_params(str(path), model, abstract, other, **options)
    for leaf, want in zip(jax.tree.leaves(params), jax.tree.leaves(abstract), strict=True):
        assert leaf.sharding == want.sharding
    return params


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("stored", ["apart", "stacked"])
def test_each_layout_is_read_into_each(native, stored, scan_layers, capsys):
    folder, arrays = native
    config = dataclasses.replace(T5X.config, scan_layers=scan_layers)
    params = flatten(load(folder / stored, dataclasses.replace(T5X, config=config)))
    wanted = laid_out(Arrays(arrays), stacked=scan_layers)
    assert params.keys() == wanted.shapes.keys()
    for name, array in params.items():
        np.testing.assert_array_equal(array, wanted.read(name))
    kind = "stacked" if scan_layers else "apart"
    num = {"apart": 52, "stacked": 29}[kind]
    assert f"checkpoint_1000: {num} arrays restored\n" in capsys.readouterr().err
    assert len(golden_t5x.facts("param_shapes")) == 52


def test_only_the_parts_of_this_process_are_read(native, monkeypatch):
    reads = []
    real = t5x._T5XLeaves.read

    def read(self, name, index=None):
        array = real(self, name, index)
        reads.append((name, str(index), array.shape))
        return array

    monkeypatch.setattr(t5x._T5XLeaves, "read", read)
    load(native[0] / "apart")
    # 1024 x 64 over 2 (tensor) x 4 (FSDP): eight parts, none twice.
    parts = [shape for name, _, shape in reads if name == "token_embedder/embedding"]
    assert parts == [(512, 16)] * 8
    # What devices hold the same of is read once for all of them.
    assert len({(name, index) for name, index, _ in reads}) == len(reads) < 8 * 52


def test_what_is_missing_or_unknown_is_an_error_unless_named(native, capsys):
    folder, arrays = native
    tied = dataclasses.replace(
        T5X, config=dataclasses.replace(T5X.config, logits_via_embedding=True)
    )
    there = (
        r"params/decoder/logits_dense/kernel is float32\[64, 1024\] there but absent in this run"
    )
    with pytest.raises(UsageError, match=there):
        load(folder / "apart", tied)
    params = load(folder / "apart", tied, excepted=[r"decoder/logits_dense/.*"])
    assert "logits_dense" not in params["decoder"]
    err = capsys.readouterr().err
    assert "51 arrays restored" in err and "1 array(s) ignored: decoder/logits_dense/kernel" in err


@pytest.mark.parametrize(
    ("excepted", "message"),
    [
        ("decoder/.*", r"is the text 'decoder/\.\*'; give a list of regular expressions"),
        (["decoder/("], r"has 'decoder/\(', which is no regular expression \(missing \)"),
    ],
)
def test_exceptions_are_a_list_of_regular_expressions(native, excepted, message):
    with pytest.raises(UsageError, match=message):
        load(native[0] / "apart", excepted=excepted)


def test_what_is_missing_is_made_if_named(native, tmp_path, capsys):
    folder, arrays = native
    some = {f"target/{n}": a for n, a in arrays.items() if n != "decoder/logits_dense/kernel"}
    write_checkpoint(tmp_path / "checkpoint_3", some)
    with pytest.raises(
        UsageError, match=r"logits_dense/kernel is absent there but float32\[64, 10"
    ):
        load(tmp_path)
    key, name = jax.random.key(3), "decoder/logits_dense/kernel"
    params = load(tmp_path, excepted=[name], init=lambda: T5X.init(key))
    fresh = layers.initialize({name: T5X.param_specs()[name]}, key)[name]
    np.testing.assert_array_equal(params["decoder"]["logits_dense"]["kernel"], fresh)
    assert "1 array(s) initialized: decoder/logits_dense/kernel" in capsys.readouterr().err
    # Ours, the same way.
    ours = tmp_path / "ours" / "checkpoint_3"
    params_files.write_params(ours, t5x.open_checkpoint(tmp_path).params, {})
    again = load(ours, excepted=[name], init=lambda: T5X.init(key))
    assert_bit_equal(again, params)


def test_another_shape_or_vocabulary_is_refused_and_a_cast_must_be_named(native, tmp_path):
    folder, arrays = native
    other = dataclasses.replace(T5X, config=dataclasses.replace(T5X.config, vocab_size=1152))
    with pytest.raises(UsageError, match=r"\[64, 1024\] there but float32\[64, 1152\] in this run"):
        load(folder / "apart", other)
    half = {f"target/{n}": a.astype(ml_dtypes.bfloat16) for n, a in arrays.items()}
    write_checkpoint(tmp_path / "checkpoint_1", half, version=2)
    with pytest.raises(UsageError, match="to cast it, set initial_checkpoint_dtype='bfloat16'"):
        load(tmp_path)
    params = load(tmp_path, cast_from="bfloat16")
    name = "token_embedder/embedding"
    want = np.asarray(half[f"target/{name}"], np.float32)
    np.testing.assert_array_equal(flatten(params)[name], want)


def test_a_damaged_checkpoint_ends_the_start_with_its_line(native, tmp_path):
    folder, arrays = native
    damaged = write_checkpoint(
        tmp_path / "checkpoint_1", {f"target/{n}": a for n, a in arrays.items()}
    )
    chunk = damaged / "target.token_embedder.embedding" / "1.0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    with pytest.raises(FlanError, match=r"target/token_embedder/embedding cannot be read"):
        load(tmp_path)


@pytest.mark.slow  # compiles a training step
def test_a_run_starts_from_t5x(tmp_path):
    params = jax.device_get(MODEL.init(jax.random.key(9)))
    arrays = {f"target/{name}": array for name, array in flatten(params).items()}
    write_checkpoint(tmp_path / "t5x" / "checkpoint_1000000", arrays, version=0)
    start = str(tmp_path / "t5x")
    ended = train(tmp_path / "run", initial_checkpoint_path=start, train_steps=1, step_offset=100)
    assert ended.step == 101
    # One update moves a parameter by no more than the learning rate times its scale.
    moved = jax.tree.map(
        lambda a, b: np.sqrt(np.mean((a - b) ** 2)) / np.sqrt(np.mean(b**2)),
        jax.device_get(ended.params),
        params,
    )
    assert 0 < max(jax.tree.leaves(moved)) < 0.051


def test_find_knows_both_kinds(native, tmp_path):
    folder, _ = native
    found = checkpoints.find(folder / "apart")
    assert found == str(folder / "apart" / "checkpoint_1000")
    assert checkpoints.step_of(found) == 1000 and checkpoints.read_config(found) == {}
    with pytest.raises(UsageError, match="no checkpoint at"):
        checkpoints.find(tmp_path)
