# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The resolver is strict: whatever would end up replicated by accident is an error."""

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import PartitionSpec

from flan_jax.core import axes
from flan_jax.core.errors import UsageError
from flan_jax.parallel import rules
from flan_jax.parallel.mesh import MeshShape, make_mesh


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(MeshShape(data=4, model=2))


@pytest.fixture(scope="module")
def sliced_mesh():
    return make_mesh(MeshShape(num_slices=2, data=2, model=2))


@pytest.mark.parametrize(
    ("preset", "spec"),
    [
        ("replicated", (None, None)),
        ("fsdp", ("data", None)),
        ("tensor", (None, "model")),
        ("fsdp_tensor", ("data", "model")),
        ("fsdp_tensor_2d", ("data", "model")),
    ],
)
def test_presets_place_a_kernel_within_a_slice(mesh, sliced_mesh, preset, spec):
    table = rules.preset(preset).params
    for one in (mesh, sliced_mesh):
        assert rules.resolve(("embed", "mlp"), table, (8, 4), one) == PartitionSpec(*spec)


@pytest.mark.parametrize("preset", rules.PRESETS)
def test_a_batch_lies_over_slices_and_data(sliced_mesh, preset):
    table = rules.preset(preset).activations
    spec = rules.resolve(("batch", "length"), table, (8, 3), sliced_mesh)
    assert spec == PartitionSpec(("slice", "data"), None)
    only_slices = make_mesh(MeshShape(num_slices=8))
    assert rules.resolve(("batch",), table, (8,), only_slices) == PartitionSpec("slice")


def test_a_dimension_divides_by_the_product_of_its_mesh_axes(sliced_mesh):
    message = r"'batch' of 6 does not divide over the 4 devices of mesh axes \('slice', 'data'\)"
    with pytest.raises(UsageError, match=message):
        rules.resolve(("batch",), rules.FSDP.activations, (6,), sliced_mesh)


def test_several_mesh_axes_of_one_name_are_each_used_once(sliced_mesh):
    table = (("batch", ("slice", "data")), ("embed", "data"), ("mlp", ("model", "model")))
    with pytest.raises(UsageError, match="'data' is used twice, the second time for 'embed'"):
        rules.resolve(("batch", "embed"), table, (8, 8), sliced_mesh)
    with pytest.raises(UsageError, match="'model' is used twice, the second time for 'mlp'"):
        rules.resolve(("mlp",), table, (8,), sliced_mesh)


@pytest.mark.parametrize("preset", rules.PRESETS)
def test_presets_split_the_batch_and_know_every_axis(mesh, preset):
    chosen = rules.preset(preset)
    spec = rules.resolve(("batch", "length", "embed"), chosen.activations, (4, 3, 6), mesh)
    assert spec == PartitionSpec("data", None, "model" if preset == "fsdp_tensor_2d" else None)
    for table in (chosen.params, chosen.activations):
        assert {name for name, _ in table} == set(axes.LOGICAL_AXES)


def test_unknown_preset_names_the_closest():
    with pytest.raises(UsageError, match="unknown sharding preset 'fdsp'; did you mean 'fsdp'"):
        rules.preset("fdsp")


def test_unknown_logical_axis(mesh):
    with pytest.raises(UsageError, match="unknown logical axis 'embd'; did you mean 'embed'"):
        rules.resolve(("batch", "embd"), rules.REPLICATED.activations, (4, 4), mesh)


def test_rules_with_unknown_names_are_refused():
    with pytest.raises(UsageError, match="unknown logical axis 'emb'"):
        rules.ShardingRules(name="mine", params=(("emb", "data"),), activations=())
    for on_mesh in ("modle", ("data", "modle")):
        with pytest.raises(UsageError, match="unknown mesh axis 'modle'; did you mean 'model'"):
            rules.ShardingRules(name="mine", params=(("embed", on_mesh),), activations=())


def test_a_mesh_axis_is_used_once(mesh):
    with pytest.raises(UsageError, match="'model' is used twice, the second time for 'vocab'"):
        rules.resolve(("mlp", "vocab"), rules.TENSOR.params, (4, 4), mesh)


def test_an_indivisible_dimension(mesh):
    with pytest.raises(UsageError, match="'batch' of 7 does not divide over the 4 devices of .*'d"):
        rules.resolve(("batch",), rules.REPLICATED.activations, (7,), mesh)


def test_names_must_match_the_rank(mesh):
    with pytest.raises(UsageError, match="1 names for 2 dimensions"):
        rules.resolve(("batch",), rules.REPLICATED.activations, (4, 4), mesh)


def test_a_mesh_without_the_axis():
    other = jax.make_mesh((8,), ("replica",), axis_types=(jax.sharding.AxisType.Auto,))
    with pytest.raises(UsageError, match=r"'slice', but the mesh has only \('replica',\)"):
        rules.resolve(("batch",), rules.REPLICATED.activations, (8,), other)


def test_constrain_needs_a_mesh():
    with pytest.raises(UsageError, match="no mesh is set; enter one with jax.set_mesh"):
        rules.constrain(jnp.ones((4, 4)), ("batch", "embed"), rules.FSDP)


def test_constrain_lays_the_array_out(mesh):
    with jax.set_mesh(mesh):
        x = jax.jit(lambda x: rules.constrain(x, ("batch", "mlp"), rules.TENSOR) + 1)(
            jnp.zeros((8, 6))
        )
    assert x.sharding.spec == PartitionSpec("data", "model")
    assert x.addressable_shards[0].data.shape == (2, 3)


def test_without_rules_nothing_is_constrained():
    x = jnp.ones((3,))
    assert rules.constrain(x, ("no such axis",), None) is x


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from(axes.LOGICAL_AXES), min_size=1, max_size=4),
    st.sampled_from(sorted(rules.PRESETS)),
)
def test_a_resolved_spec_says_what_the_table_says(names, preset):
    table = rules.preset(preset).params
    mesh = make_mesh(MeshShape(data=4, model=2))
    wanted = [dict(table)[name] for name in names]
    used = [axis for axis in wanted if axis is not None]
    if len(used) > len(set(used)):
        with pytest.raises(UsageError, match="used twice"):
            rules.resolve(names, table, [8] * len(names), mesh)
    else:
        assert rules.resolve(names, table, [8] * len(names), mesh) == PartitionSpec(*wanted)


def test_parameters_are_gathered_along_data_alone(mesh):
    assert rules.FSDP_TENSOR.gathered == rules.FSDP_TENSOR_2D.gathered == rules.TENSOR.params
    with jax.set_mesh(mesh):
        x = jax.device_put(jnp.ones((8, 4)), PartitionSpec("data", "model"))
        gather = jax.jit(lambda x: rules.gather(x, ("embed", "mlp"), rules.FSDP_TENSOR) + 1)
        assert gather(x).sharding.spec == PartitionSpec(None, "model")
    assert rules.gather(x, ("no such axis",), rules.TENSOR) is x  # nothing to gather
