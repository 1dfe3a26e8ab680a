# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training batches straight from a SeqIO mixture, without a token store.

For a quick try of one's own task, and for SeqIO's offline cache (`use_cached`). It is slower than
a built store, starts slowly with many tasks, and cannot seek: going on reads again, and drops,
all batches that the run has had. The batches are SeqIO's own, of `EncDecFeatureConverter`.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.core import modules
from flan_jax.core.errors import UsageError, unknown_name
from flan_jax.core.progress import Progress, say
from flan_jax.data import resuming
from flan_jax.data.packing import DECODER_FEATURES, ENCODER_FEATURES, Batch

STATE_FORMAT = 1

# Of SeqIO's features; ours has one more, whose each target is.
_TASK_IDS = "decoder_task_ids"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeqioInput:
    """What to train on. Frozen and hashable; `feature_lengths` may be given as a dict."""

    # A mixture or task of SeqIO's registries.
    mixture: str
    # Rows of a batch, over all hosts.
    batch_size: int
    # Tokens of `inputs` and `targets` a row holds; longer examples are trimmed, as SeqIO does.
    feature_lengths: tuple[tuple[str, int], ...]
    # As for `vocabularies.load_vocabulary`; plain SeqIO tasks must have the same.
    vocabulary: str
    # Modules that register the tasks.
    module_imports: tuple[str, ...] = ()
    # Read SeqIO's offline cache instead of the tasks' sources, and where it may be.
    use_cached: bool = False
    cache_dirs: tuple[str, ...] = ()
    # Decides the order of examples.
    seed: int = 0
    # False: one example a row.
    pack: bool = True

    MAY_CHANGE = ("cache_dirs",)  # when a run goes on

    def __post_init__(self):
        pairs = self.feature_lengths
        pairs = pairs.items() if isinstance(pairs, Mapping) else pairs
        object.__setattr__(self, "feature_lengths", tuple(sorted((k, v) for k, v in pairs)))
        if [name for name, _ in self.feature_lengths] != ["inputs", "targets"]:
            raise UsageError(
                f"feature lengths must be of 'inputs' and 'targets', got {self.feature_lengths}"
            )
        if self.batch_size <= 0:
            raise UsageError(f"batch_size must be > 0, got {self.batch_size}")


def open_train(
    config: SeqioInput,
    state: Mapping[str, Any] | None = None,
    *,
    process_index: int = 0,
    process_count: int = 1,
) -> "SeqioIterator":
    """Returns this process's batches, from the beginning or from a saved state.

    Every process reads the whole stream and keeps its rows, so that the batches do not depend on
    their number.

    Raises:
        UsageError: the configuration does not fit the registry, the hosts, or the state.
    """
    mine = resuming.rows_of_process(config.batch_size, process_index, process_count)
    identity = dataclasses.asdict(config)
    for name in (*config.MAY_CHANGE, "module_imports"):
        del identity[name]
    identity["feature_lengths"] = [list(pair) for pair in config.feature_lengths]
    if state is not None:
        _check_state(state, identity)
    return SeqioIterator(config, identity, 0 if state is None else state["step"], mine)


class SeqioIterator(Iterator[Batch]):
    """Endless batches of this process's rows."""

    def __init__(self, config: SeqioInput, identity: dict[str, Any], step: int, mine: slice):
        self._config, self._identity, self._mine = config, identity, mine
        self._batches = _dataset(config).as_numpy_iterator()
        self._num_examples, self._num_rows = 0, 0
        self._num_tokens = np.zeros(2, np.int64)
        self._step = 0
        if step:
            say(f"input: reading again the {step} batches that the run has had")
            with Progress("input", total=step, unit="batch") as progress:
                for _ in range(step):
                    next(self)
                    progress.advance()
            self._num_rows, self._num_tokens[:] = 0, 0

    @property
    def member_names(self) -> tuple[str, ...]:
        """The mixture alone: SeqIO's packing forgets whose an example is."""
        return (self._config.mixture,)

    @property
    def feature_lengths(self) -> dict[str, int]:
        """Tokens of `inputs` and `targets` that a row holds."""
        return dict(self._config.feature_lengths)

    def __enter__(self) -> "SeqioIterator":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Lets the dataset go."""
        self._batches = iter(())

    def __next__(self) -> Batch:
        batch = next(self._batches)
        self._step += 1
        self._num_rows += len(batch["decoder_target_tokens"])
        self._num_tokens += [
            np.count_nonzero(batch[f"{side}_tokens"])
            for side in ("encoder_input", "decoder_target")
        ]
        self._num_examples += _num_examples(batch)
        return _ours(batch, self._mine)

    def state(self) -> dict[str, Any]:
        """Returns, as JSON values, the place after the batches so far; the same on every host."""
        return {"format": STATE_FORMAT, "step": self._step, "identity": self._identity}

    def report(self) -> dict[str, Any]:
        """Returns what has been given, over all hosts, as `loader.TrainIterator.report` does.

        How often a task was seen is not known, so `epochs` is empty.
        """
        lengths = np.array([length for _, length in self._config.feature_lengths])
        fill = self._num_tokens / np.maximum(self._num_rows * lengths, 1)
        return {
            "examples": {self._config.mixture: self._num_examples},
            "shares": {self._config.mixture: 1.0},
            "epochs": {},
            "fill": {"inputs": float(fill[0]), "targets": float(fill[1])},
        }


def _dataset(config: SeqioInput) -> Any:
    modules.import_tensorflow()
    for name in config.module_imports:
        modules.import_tasks(name, "SeqioInput.module_imports")
    import seqio

    from flan_jax.collection import foreign, registry, subsets
    from flan_jax.collection.vocabularies import load_vocabulary

    subsets.ensure(config.mixture)
    known = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}
    if config.mixture not in known:
        raise unknown_name("mixture or task", config.mixture, known)
    registry.mixture_members(config.mixture)  # says what cannot be read
    registry.use_vocabulary(config.vocabulary)
    for name in registry.task_names(config.mixture):
        foreign.check_features(seqio.TaskRegistry.get(name), load_vocabulary(config.vocabulary))
    if config.cache_dirs:
        seqio.set_global_cache_dirs(list(config.cache_dirs))
    if config.use_cached:
        _check_cached(seqio.get_mixture_or_task(config.mixture), config.cache_dirs)
    return seqio.get_dataset(
        config.mixture,
        dict(config.feature_lengths),
        seqio.EncDecFeatureConverter(pack=config.pack),
        dataset_split="train",
        shuffle=True,
        num_epochs=None,
        use_cached=config.use_cached,
        seed=config.seed,
        batch_size=config.batch_size,
        verbose=False,
    )


def _check_cached(provider: Any, cache_dirs: Sequence[str]) -> None:
    tasks = getattr(provider, "tasks", [provider])
    if gone := sorted(task.name for task in tasks if task.cache_dir is None):
        raise UsageError(
            f"{len(gone)} of {len(tasks)} tasks are in no SeqIO cache ({', '.join(gone[:5])}"
            f"{', ...' if len(gone) > 5 else ''}; looked in {', '.join(cache_dirs) or 'none'}); "
            "make it with seqio_cache_tasks, or use a token store"
        )


def _num_examples(batch: Mapping[str, np.ndarray]) -> int:
    if "decoder_segment_ids" in batch:
        return int(batch["decoder_segment_ids"].max(axis=1).sum())
    return int((batch["decoder_target_tokens"] != 0).any(axis=1).sum())


def _ours(batch: Mapping[str, np.ndarray], mine: slice) -> Batch:
    """Returns a batch with the features that the training step takes, this process's rows."""
    found = {name: np.asarray(value[mine], np.int32) for name, value in batch.items()}
    for side, tokens in (("encoder", "encoder_input_tokens"), ("decoder", "decoder_target_tokens")):
        if f"{side}_segment_ids" not in found:  # not packed: one segment a row
            there = _up_to_last(found[tokens])
            found[f"{side}_segment_ids"] = there
            found[f"{side}_positions"] = (np.cumsum(there, axis=1) - 1) * there
    found[_TASK_IDS] = np.zeros_like(found["decoder_target_tokens"])
    return {name: found[name] for name in (*ENCODER_FEATURES, *DECODER_FEATURES)}


def _up_to_last(tokens: np.ndarray) -> np.ndarray:
    """Returns 1 up to the last token of each row that is not padding, then 0."""
    return (np.cumsum((tokens != 0)[:, ::-1], axis=1)[:, ::-1] > 0).astype(np.int32)


def _check_state(state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    if state.get("format") != STATE_FORMAT or "step" not in state:
        raise UsageError("the checkpoint's input state is none of a SeqIO input; use its own input")
    resuming.check_identity(state["identity"], identity)
