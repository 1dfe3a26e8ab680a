# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading a checkpoint that is not as the model stores it: layers stacked or apart, or T5X's.

A run with `scan_layers` may go on from, or start from, a checkpoint written without, and the other
way round. The numbers are the same; only how they lie differs, in parameters and optimizer state.
T5X's checkpoints are read straight into the mesh, one parameter at a time, each process its part.
"""

import functools
import re
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from flan_jax.convert import t5x
from flan_jax.convert.leaves import Leaves, is_stacked, laid_out
from flan_jax.core import errors
from flan_jax.core.progress import Progress, say
from flan_jax.core.tree import PyTree, flatten, unflatten
from flan_jax.models.model import Model
from flan_jax.models.stacking import stack, unstack
from flan_jax.parallel import hosts
from flan_jax.training import checkpoints, params_files
from flan_jax.training.optimizers import Optimizer
from flan_jax.training.state import TrainState, abstract_state


def convert_state(state: TrainState, model: Model, optimizer: Optimizer, mesh: Mesh) -> TrainState:
    """Returns a state of `model.other_layout` as `model` stores it, sharded for `mesh`."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(model, optimizer, mesh))
    stacked = model if model.config.scan_layers else model.other_layout
    axes = stacked.logical_axes()
    shapes = jax.eval_shape(stacked.init, jax.random.key(0))
    names = flatten({"params": axes, "opt_state": optimizer.state_axes(shapes, axes)})
    change = functools.partial(stack if model.config.scan_layers else unstack, names=names)
    with jax.set_mesh(mesh):
        return TrainState(**jax.jit(change, out_shardings=vars(shardings))(vars(state)))


def load_params(
    path: str,
    model: Model,
    abstract: PyTree,
    other: PyTree,
    *,
    cast_from: str = "",
    excepted: Sequence[str] = (),
    init: Callable[[], PyTree] | None = None,
) -> PyTree:
    """Returns a checkpoint's parameters as `model` stores them, whichever way they were stored.

    Args:
        path: a checkpoint, ours or T5X's, or a MODEL_DIR, which stands for its latest.
        model: the model that will use them.
        abstract: `jax.ShapeDtypeStruct`s of the model's parameters, with shardings.
        other: the same of `model.other_layout`.
        cast_from: the one stored dtype that may be cast to the model's; '' for none.
        excepted: regular expressions; a parameter whose name one of them matches whole may be
            missing there, and is taken from `init`, or here, and is ignored.
        init: makes all parameters; needed with `excepted`.

    Raises:
        UsageError: a parameter is missing, unknown, or of another shape or dtype than stored; or
            `excepted` is no list of regular expressions.
        FlanError: the checkpoint is damaged.
    """
    _check_patterns(excepted)
    is_native = t5x.find(path) is not None
    if is_native or excepted:
        leaves = t5x.open_checkpoint(path).params if is_native else params_files.open_params(path)
        return place(leaves, checkpoints.find(path), abstract, cast_from, excepted, init)
    params = checkpoints.restore_params(path, abstract, other, cast_from=cast_from)
    if jax.tree.structure(params) == jax.tree.structure(abstract):
        return params
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return jax.jit(model.from_other_layout, out_shardings=shardings)(params)


def _check_patterns(excepted: Sequence[str]) -> None:
    where = "initial_checkpoint_except"
    if isinstance(excepted, str):
        raise errors.UsageError(
            f"{where} is the text {excepted!r}; give a list of regular expressions, [{excepted!r}]"
        )
    for pattern in excepted:
        try:
            re.compile(pattern)
        except re.error as error:
            raise errors.UsageError(
                f"{where} has {pattern!r}, which is no regular expression ({error}); correct it"
            ) from None


def place(
    leaves: Leaves,
    source: str,
    abstract: PyTree,
    cast_from: str = "",
    excepted: Sequence[str] = (),
    init: Callable[[], PyTree] | None = None,
) -> PyTree:
    """Returns `leaves` laid out as `abstract` says; says which are restored, made, ignored.

    Args:
        leaves: the parameters, layers apart or stacked.
        source: where they are from, for messages.
        abstract: as of `load_params`, as are the others.
        cast_from: see there.
        excepted: see there.
        init: see there.
    """
    wanted = flatten(abstract)
    leaves = laid_out(leaves, stacked=is_stacked(wanted))
    stored = dict(leaves.shapes)

    def is_excepted(name: str) -> bool:
        return any(re.fullmatch(pattern, name) for pattern in excepted)

    made = [name for name in wanted if name not in stored and is_excepted(name)]
    ignored = [name for name in stored if name not in wanted and is_excepted(name)]
    names = [name for name in stored if name not in ignored]
    placed = {}
    with hosts.all_or_none():
        checkpoints.check_leaves(
            source,
            {f"params/{name}": stored[name] for name in names},
            {f"params/{name}": leaf for name, leaf in wanted.items() if name not in made},
            cast_from,
        )
        # In the order of the source, which reads each stacked array once.
        with Progress("restore", total=len(names), unit="array") as progress:
            for name in names:
                placed[name] = _read(leaves, name, wanted[name])
                progress.advance()
    if made:
        placed |= _make(made, wanted, init)
    say(f"checkpoint {source}: {len(names)} arrays restored")
    for what, which in (("initialized", made), ("ignored", ignored)):
        if which:
            say(f"checkpoint {source}: {len(which)} array(s) {what}: {', '.join(which)}")
    return unflatten(placed)


def _read(leaves: Leaves, name: str, wanted: jax.ShapeDtypeStruct) -> jax.Array:
    """Returns one parameter on the mesh; every part that this process holds is read once."""
    parts: dict[tuple[tuple[int, int, int], ...], np.ndarray] = {}

    def part(index: tuple[slice, ...]) -> np.ndarray:
        key = tuple(s.indices(size) for s, size in zip(index, wanted.shape, strict=True))
        if key not in parts:
            parts[key] = leaves.read(name, index).astype(wanted.dtype, copy=False)
        return parts[key]

    return jax.make_array_from_callback(wanted.shape, wanted.sharding, part)


def _make(names: Sequence[str], wanted: PyTree, init: Callable[[], PyTree]) -> dict[str, jax.Array]:
    shardings = {name: wanted[name].sharding for name in names}
    some = jax.jit(lambda: {n: flatten(init())[n] for n in names}, out_shardings=shardings)
    return some()
