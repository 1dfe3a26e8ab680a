# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole jobs, as Gin configures them: store, model and loop put together.

A job finds or builds its token store, checks that store, vocabulary and model agree, and calls the
part that does the work. Commands and sweeps call jobs; nothing here parses arguments.
"""

import dataclasses
import functools
import re
import tempfile
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flan_jax
from flan_jax import benchmark_jobs, formats, predicting
from flan_jax.benchmark_jobs import InTraining
from flan_jax.collection.store import MANIFEST, Store, read_manifest
from flan_jax.collection.vocabularies import Vocabulary, load_vocabulary
from flan_jax.core import errors, events, files, modules, settings
from flan_jax.core.progress import say
from flan_jax.core.tree import PyTree
from flan_jax.data import features, seqio_loader
from flan_jax.data.loader import TrainInput
from flan_jax.data.row_layouts import LAYOUTS
from flan_jax.data.seqio_loader import SeqioInput
from flan_jax.evals import grouping, runner
from flan_jax.evals.runner import EvalConfig, Evaluation
from flan_jax.evals.suite import SuiteConfig
from flan_jax.models.model import Model
from flan_jax.parallel import arrays, hosts
from flan_jax.parallel.mesh import make_mesh
from flan_jax.parallel.rules import preset
from flan_jax.training import checkpoints, loop
from flan_jax.training.loop import TrainResult
from flan_jax.training.train_config import TrainConfig

EVAL_FOLDER = "eval"
BENCHMARKS_FOLDER = "benchmarks"
_PLAIN_T5_1_1 = re.compile(r"t5[-_]v?1_1[-_](small|base|large|xl|xxl)\b")
BuildStore = Callable[..., Store]
EvalFn = Callable[[PyTree, int], dict[str, float]]  # of parameters and their step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """A grid of runs, each a training with its evaluation, and what its report says."""

    # Names of recipes. The name of a recipe is the size's name.
    recipes: Sequence[str]
    # Gin macro -> values; every combination is a run of every recipe. A MIXTURE_OR_TASK_NAME of ''
    # is a run without finetuning, of 0 tasks: INITIAL_CHECKPOINT_PATH is evaluated, or where that
    # is '' the model as SEED initializes it.
    grid: Mapping[str, Sequence[Any]]
    title: str
    # Recipe -> macro -> value: what differs by recipe, such as its checkpoint and learning rate. It
    # may name recipes that are not swept.
    recipe_bindings: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=lambda: types.MappingProxyType({})
    )
    # Read after each recipe, such as runs/benchmarks.gin.
    gin_files: Sequence[str] = ()
    # Macro of the grid -> value -> what tables, figures and names show for it. Those of
    # MIXTURE_OR_TASK_NAME are shown as `mixture` beside the number of tasks.
    labels: Mapping[str, Mapping[Any, str]] = dataclasses.field(
        default_factory=lambda: types.MappingProxyType({})
    )
    # What is evaluated: 'tasks' of the token store, 'benchmarks' of train.benchmarks, or both.
    evaluations: Sequence[str] = ("tasks",)
    train: bool = True  # False: nothing is trained, each run evaluates its CHECKPOINT_PATH
    # The metric that the figures show, the figures (none: what varies decides), and the step that a
    # run is judged by (scaling/selection.py).
    metric: str = "exact_match"
    figures: Sequence[str] = ()
    selection: str = "last"
    subject: str = ""  # what is finetuned on what, in a few words
    about: Sequence[str] = ()  # paragraphs for the report


def build(
    *,
    mixture: str,
    out: str,
    vocabulary: str,
    feature_lengths: Mapping[str, int],
    seed: int = 0,
    splits: Sequence[str] = ("train", "validation"),
    num_workers: int = 1,
    skip_unavailable: bool = False,
    limit: int | None = None,
    exemplar_policy: str | None = None,
    submixtures: Sequence[str] = (),
    module_imports: Sequence[str] = (),
    beam_runner: str | None = None,
    beam_options: Sequence[str] = (),
    only_check: bool = False,
) -> Store:
    """Builds a token store: `collection.build.build`, imported only when there is one to build.

    Registering tasks imports SeqIO and TensorFlow; a run whose store exists needs neither. With
    `only_check` nothing is built: a store that was built with other settings is refused.
    """
    arguments = dict(locals())
    if arguments.pop("only_check"):
        store = Store.open(out)
        _check_store(
            store,
            vocabulary,
            feature_lengths,
            seed=seed,
            limit=limit,
            exemplar_policy=exemplar_policy,
        )
        return store
    modules.import_tensorflow()
    from flan_jax.collection import build as build_lib

    return build_lib.build(**arguments)


def open_store(path: str, mixture: str | None, build: BuildStore | None) -> Store:
    """Opens a store that holds `mixture`; builds it first if it is not there.

    Raises:
        UsageError: there is no such store and nothing to build it with, or it lacks the mixture,
            or it was built with other settings than `build` has.
    """
    known = _finished_mixtures(path)
    if known is not None and (build is None or mixture is None or mixture in known):
        return Store.open(path) if build is None else build(only_check=True)
    if build is None or hosts.is_shared():
        # Several processes would build it each; their hosts' folders may not even be one.
        raise errors.UsageError(
            f"no finished token store at {path!r}; make one with flan-jax build"
        )
    say(f"store: building {path}")
    return build()


def _check_store(store: Store, vocabulary: str, lengths: Mapping[str, int], **numbers: Any) -> None:
    """Refuses a store that a build with these settings would not have made."""
    fingerprint = load_vocabulary(vocabulary).fingerprint
    names = ("feature_lengths", *numbers)
    there = {name: store.manifest.get(name) for name in names}
    there["vocabulary"] = store.vocabulary["fingerprint"]
    here = {"feature_lengths": dict(lengths), **numbers, "vocabulary": fingerprint}
    if found := list(settings.differences(there, here)):
        raise errors.UsageError(
            f"token store {store.path} was built with other settings than this run's: "
            f"{'; '.join(found)}; use those, or build another store (STORE_DIR)"
        )


def _finished_mixtures(path: str) -> set[str] | None:
    found = read_manifest(path)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise errors.DataError(f"the manifest of {path} is none of a token store; build it again")
    return {*found.get("mixtures", {}), *found.get("tasks", {})}


def train(
    *,
    model: Model,
    data: TrainInput | SeqioInput,
    config: TrainConfig,
    build: BuildStore | None = None,
    evaluation: EvalConfig | None = None,
    benchmarks: SuiteConfig | None = None,
    operative_config: Callable[[], str] = str,
) -> TrainResult:
    """Finetunes a model on a mixture; resumes where an earlier run of the same folder stopped.

    Of several processes (`parallel.hosts`) each calls this, with one and the same MODEL_DIR.

    Args:
        model: the model.
        data: what to train on: a token store, or a SeqIO mixture as it is.
        config: optimizer, steps, folder and periods.
        build: makes the store if `data.store` is none yet.
        evaluation: what to evaluate by decoding at each evaluation; None: the loss only. With a
            SeqIO mixture it must be None: `evaluate` does it, from a store.
        benchmarks: what else to ask at each evaluation; None: nothing.
        operative_config: gives the configuration that checkpoints carry.
    """
    events.begin()
    with events.phase("tpu_init"):
        hosts.join(_facts(model, data, config))
    with events.phase("training_preparation"):
        if isinstance(data, SeqioInput):
            prepared = _prepared_seqio(model, data, config, evaluation, benchmarks)
        else:
            prepared = _prepared(model, data, config, build, evaluation, benchmarks)
    vocabulary = prepared.pop("vocabulary")
    info = {
        "gin": operative_config(),
        "code_version": flan_jax.__version__,
        "model": formats.describe_model(model.config),
        "vocabulary": vocabulary,
    }
    return loop.train(model=model, data=data, config=config, info=info, **prepared)


def _facts(model: Model, data: TrainInput | SeqioInput, config: TrainConfig) -> dict[str, str]:
    """Returns what must be the same on all hosts, by name; it starts no device."""
    described = settings.describe({"model": model, "data": data, "config": config})
    manifest = Path(getattr(data, "store", "")) / MANIFEST
    store = files.sha256_file(manifest)[:12] if manifest.is_file() else settings.ABSENT
    found = {"config.model_dir": config.model_dir, "token store": store}
    return settings.flattened(described) | found


def _prepared(
    model: Model,
    data: TrainInput,
    config: TrainConfig,
    build: BuildStore | None,
    evaluation: EvalConfig | None,
    benchmarks: SuiteConfig | None,
) -> dict[str, Any]:
    """Returns what the loop needs to train from a token store, and its vocabulary's facts."""
    if data.layout != model.LAYOUT:
        raise errors.UsageError(
            f"TrainInput.layout {data.layout!r} does not suit the model, a "
            f"{type(model).__name__}; set it to {model.LAYOUT!r}"
        )
    _say_if_not_adapted(config.initial_checkpoint_path)
    with hosts.all_or_none():
        files.check_folder(config.model_dir, "MODEL_DIR")
        if benchmarks is not None:
            benchmark_jobs.read(benchmarks)  # before a store is built for nothing
        store = open_store(data.store, data.mixture, build)
        _check_model(model, store)
    names = sorted(store.mixture_rates(data.mixture))
    eval_batches = None
    if set(names) & set(store.tasks("validation")):
        eval_batches = functools.partial(
            features.loss_batches,
            store,
            names=names,
            batch_size=data.batch_size,
            feature_lengths=dict(data.feature_lengths or store.feature_lengths),
            layout=data.layout,
            num_examples=config.eval_examples,
            **arrays.place(model.rules or preset(config.rules), make_mesh(config.mesh)),
        )
    laid_out = dataclasses.replace(model, rules=model.rules or preset(config.rules))
    hooks = []
    if evaluation is not None:
        hooks.append(_Evaluator(laid_out, store, evaluation, Path(config.model_dir) / EVAL_FOLDER))
    if benchmarks is not None:
        vocabulary = _vocabulary_of(store)
        lengths = dict(data.feature_lengths or store.feature_lengths)
        hooks.append(_benchmarks(laid_out, vocabulary, benchmarks, config, lengths["inputs"]))
    return {
        "eval_batches": eval_batches, "eval_fn": _all_of(hooks), "vocabulary": store.vocabulary,
    }  # fmt: skip


def _say_if_not_adapted(path: str) -> None:
    """Says that a start is plain T5 1.1, if its path names it as T5X or Hugging Face do."""
    if _PLAIN_T5_1_1.search(path) and hosts.is_first():  # which starts the devices
        say(
            f"train: INITIAL_CHECKPOINT_PATH {path!r} looks like T5 1.1 as pre-trained, which only "
            "fills spans; Flan-T5 went on from the LM-adapted one (t5_1_1_lm100k_SIZE)"
        )


def _prepared_seqio(
    model: Model,
    data: SeqioInput,
    config: TrainConfig,
    evaluation: EvalConfig | None,
    benchmarks: SuiteConfig | None,
) -> dict[str, Any]:
    """Returns what the loop needs to train on a SeqIO mixture, and its vocabulary's facts."""
    with hosts.all_or_none():
        if evaluation is not None:
            raise errors.UsageError(
                "train.evaluation needs a token store, and train.data is a SeqIO mixture; leave "
                "it out, and run flan-jax eval afterwards"
            )
        if model.LAYOUT != LAYOUTS[0]:
            raise errors.UsageError(
                f"SeqIO's batches are for encoder-decoders, and the model is a "
                f"{type(model).__name__}; train it from a token store (runs/finetune.gin)"
            )
        files.check_folder(config.model_dir, "MODEL_DIR")
        vocabulary = load_vocabulary(data.vocabulary).facts()
        _check_rows(model, vocabulary, f"mixture {data.mixture!r}")
    hooks = []
    if benchmarks is not None:
        laid_out = dataclasses.replace(model, rules=model.rules or preset(config.rules))
        words, longest = load_vocabulary(data.vocabulary), dict(data.feature_lengths)["inputs"]
        hooks.append(_benchmarks(laid_out, words, benchmarks, config, longest))
    return {
        "open_data": seqio_loader.open_train, "eval_fn": _all_of(hooks), "vocabulary": vocabulary,
    }  # fmt: skip


def _benchmarks(
    model: Model, vocabulary: Vocabulary, config: SuiteConfig, training: TrainConfig, longest: int
) -> InTraining:
    with hosts.all_or_none():
        return InTraining(
            model, vocabulary, config, Path(training.model_dir) / BENCHMARKS_FOLDER,
            max_input_length=longest, batch_size=EvalConfig().batch_size,
        )  # fmt: skip


def _all_of(hooks: Sequence[EvalFn]) -> EvalFn | None:
    """Returns the hook that calls all of them; None if there is none."""
    if not hooks:
        return None

    def call(params: PyTree, step: int) -> dict[str, float]:
        return {name: value for hook in hooks for name, value in hook(params, step).items()}

    return call


def evaluate(
    *,
    model: Model,
    store: str,
    out: str,
    config: EvalConfig,
    checkpoint_path: str = "",
    params: PyTree | None = None,
    step: int | None = None,
    build: BuildStore | None = None,
) -> Evaluation:
    """Evaluates a checkpoint, or the parameters given, on a store's tasks.

    Args:
        model: the model the parameters belong to.
        store: a built token store.
        out: folder for scores.csv and predictions.
        config: tasks, examples and batches.
        checkpoint_path: a model folder (its newest step) or the folder of one step.
        params: parameters to evaluate instead of a checkpoint's.
        step: their total step.
        build: makes the store if it is none yet.
    """
    source = None
    if params is None and checkpoint_path:
        source = predicting.open_checkpoint(checkpoint_path)  # before anything is built for it
    opened = open_store(store, None, build)
    _check_model(model, opened)
    grouping.choose_groups(opened, config.split, config.groups)  # before parameters are read
    if params is None:
        source = source or predicting.open_checkpoint(checkpoint_path)
        if source.format == "flan_jax":
            checkpoints.check_vocabulary(source.path, opened.vocabulary)
        params, step = predicting.restore(model, source), source.step
    return _Evaluator(model, opened, config, Path(out)).evaluate(params, step or 0, Path(out))


class _Evaluator:
    """Evaluates parameters of one model; the loop's hook, and what `evaluate` calls."""

    def __init__(self, model: Model, store: Store, config: EvalConfig, folder: Path):
        self._store, self._config, self._folder = store, config, folder
        self._model = model
        self._vocabulary = _vocabulary_of(store)

    def __call__(self, params: PyTree, step: int) -> dict[str, float]:
        if hosts.is_first():
            return self.evaluate(params, step, self._folder / f"step_{step}").summary()
        # All processes decode together; one writes what came out.
        with tempfile.TemporaryDirectory() as scratch:
            return self.evaluate(params, step, Path(scratch)).summary()

    def evaluate(self, params: PyTree, step: int, out: Path) -> Evaluation:
        lengths, config = self._store.feature_lengths, self._config
        generate = runner.greedy(
            self._model, params, self._vocabulary, config,
            max_input_length=config.max_input_length or lengths["inputs"],
            max_length=lengths["targets"],
        )  # fmt: skip
        return runner.evaluate(
            generate=generate,
            vocabulary=self._vocabulary,
            store=self._store,
            config=self._config,
            out=out,
            step=step,
        )


def _vocabulary_of(store: Store) -> Vocabulary:
    """Loads the vocabulary a store was built with, and checks that it is still the same."""
    vocabulary = load_vocabulary(store.vocabulary["name"])
    if vocabulary.fingerprint != store.vocabulary["fingerprint"]:
        raise errors.UsageError(
            f"{store.vocabulary['name']} is not the vocabulary the store {store.path} was built "
            "with; put that file back, or build the store again"
        )
    return vocabulary


def _check_model(model: Model, store: Store) -> None:
    """Checks that every token id of the store has a row in the model's embedding table."""
    _check_rows(model, store.vocabulary, str(store.path))


def _check_rows(model: Model, vocabulary: Mapping[str, Any], of: str) -> None:
    rows = model.config.vocab_size
    if rows < vocabulary["size"]:
        raise errors.UsageError(
            f"the model has {rows} embedding rows, but the vocabulary of {of} has "
            f"{vocabulary['size']} ids; set VOCAB_SIZE={vocabulary['padded_size']}"
        )
