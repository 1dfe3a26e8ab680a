# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole jobs, as Gin configures them: store, model and loop put together.

A job finds or builds its token store, checks that store, vocabulary and model agree, and calls the
part that does the work. Commands and sweeps call jobs; nothing here parses arguments.
"""

import dataclasses
import functools
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import flan_jax
from flan_jax.collection.store import Store, check_feature_lengths, read_manifest
from flan_jax.collection.vocabularies import Vocabulary, load_vocabulary
from flan_jax.core import errors, files, modules, settings
from flan_jax.core.progress import say
from flan_jax.core.tree import PyTree
from flan_jax.data import features, seqio_loader
from flan_jax.data.loader import TrainInput
from flan_jax.data.row_layouts import LAYOUTS
from flan_jax.data.seqio_loader import SeqioInput
from flan_jax.evals import runner
from flan_jax.evals.runner import EvalConfig, Evaluation
from flan_jax.models.model import Model
from flan_jax.parallel import arrays, hosts
from flan_jax.parallel.mesh import make_mesh
from flan_jax.parallel.rules import preset
from flan_jax.training import checkpoints, layouts, loop
from flan_jax.training.loop import TrainConfig, TrainResult

EVAL_FOLDER = "eval"
_PLAIN_T5_1_1 = re.compile(r"t5[-_]v?1_1[-_](small|base|large|xl|xxl)\b")
BuildStore = Callable[..., Store]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """A grid of training runs with their evaluations, and what its report says."""

    # Names of recipes: one line of the figure each. The name of a recipe is the size's name.
    recipes: Sequence[str]
    # Gin macro -> values; every combination is a run of every recipe.
    grid: Mapping[str, Sequence[Any]]
    title: str
    # The metric that the figure shows.
    metric: str = "exact_match"


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
            SeqIO mixture nothing is evaluated: `evaluate` does it, from a store.
        operative_config: gives the configuration that checkpoints carry.
    """
    hosts.join()
    if isinstance(data, SeqioInput):
        return _train_on_seqio(model, data, config, evaluation, operative_config)
    if data.layout != model.LAYOUT:
        raise errors.UsageError(
            f"TrainInput.layout {data.layout!r} does not suit the model, a "
            f"{type(model).__name__}; set it to {model.LAYOUT!r}"
        )
    _say_if_not_adapted(config.initial_checkpoint_path)
    with hosts.all_or_none():
        files.check_folder(config.model_dir, "MODEL_DIR")
        store = open_store(data.store, data.mixture, build)
        _check_model(model, store)
    names = sorted(store.mixture_rates(data.mixture))
    eval_batches = eval_fn = None
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
    if evaluation is not None:
        eval_fn = _Evaluator(model, store, evaluation, Path(config.model_dir) / EVAL_FOLDER)
    return loop.train(
        model=model,
        data=data,
        config=config,
        eval_batches=eval_batches,
        eval_fn=eval_fn,
        info={
            "gin": operative_config(),
            "code_version": flan_jax.__version__,
            "vocabulary": store.vocabulary,
        },
    )


def _say_if_not_adapted(path: str) -> None:
    """Says that a start is plain T5 1.1, if its path names it as T5X or Hugging Face do."""
    if _PLAIN_T5_1_1.search(path) and hosts.is_first():  # which starts the devices
        say(
            f"train: INITIAL_CHECKPOINT_PATH {path!r} looks like T5 1.1 as pre-trained, which only "
            "fills spans; Flan-T5 went on from the LM-adapted one (t5_1_1_lm100k_SIZE)"
        )


def _train_on_seqio(
    model: Model,
    data: SeqioInput,
    config: TrainConfig,
    evaluation: EvalConfig | None,
    operative_config: Callable[[], str],
) -> TrainResult:
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
    return loop.train(
        model=model,
        data=data,
        config=config,
        open_data=seqio_loader.open_train,
        info={
            "gin": operative_config(),
            "code_version": flan_jax.__version__,
            "vocabulary": vocabulary,
        },
    )


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
    if params is None and checkpoint_path:
        checkpoints.find(checkpoint_path)  # before anything is built for it
    opened = open_store(store, None, build)
    _check_model(model, opened)
    if params is None:
        params, step = _restore(model, checkpoint_path, opened.vocabulary)
    return _Evaluator(model, opened, config, Path(out)).evaluate(params, step or 0, Path(out))


def infer(
    *,
    model: Model,
    vocabulary: str,
    checkpoint_path: str,
    feature_lengths: Mapping[str, int],
    prompts: Sequence[Mapping[str, Any]],
    output: str,
    batch_size: int = 16,
) -> int:
    """Answers prompts greedily and writes one JSON line each; returns how many were too long.

    Args:
        model: the model.
        vocabulary: the one the model was trained with.
        checkpoint_path: a model folder (its newest step) or the folder of one step.
        feature_lengths: most tokens of `inputs` and `targets`, the EOS included.
        prompts: objects with `inputs`, from `read_prompts`.
        output: the JSON-lines file to write, whole or not at all.
        batch_size: prompts decoded together.
    """
    check_feature_lengths(feature_lengths)
    words = load_vocabulary(vocabulary)
    facts = {"name": vocabulary, "fingerprint": words.fingerprint}
    params, _ = _restore(model, checkpoint_path, facts)
    longest = feature_lengths["inputs"]
    encoded = words.encode_batch([prompt["inputs"] for prompt in prompts])
    tokens = [np.append(ids, words.eos_id).astype(np.int32) for ids in encoded]
    fitting = [(i, ids) for i, ids in enumerate(tokens) if len(ids) <= longest]
    generate = runner.greedy(
        model, params, max_length=feature_lengths["targets"], eos_id=words.eos_id
    )
    outputs = runner.predict(
        fitting, generate, batch_size=batch_size, length_buckets=_buckets(longest)
    )
    with files.atomic_open(output) as file:
        for i, prompt in enumerate(prompts):
            answer = {"prediction": words.decode(outputs[i]) if i in outputs else ""}
            if i not in outputs:
                answer["too_long"] = True
            file.write(files.dumps({**prompt, **answer}) + "\n")
    return len(prompts) - len(fitting)


def read_prompts(path: str) -> list[dict[str, Any]]:
    """Returns the prompts of a text file (one a line) or of a .jsonl file (objects with `inputs`).

    Raises:
        DataError: the file is empty, not UTF-8, or a line is malformed; names file and line.
    """
    if not Path(path).is_file():
        raise errors.UsageError(f"no prompts file {path!r}; name a text or .jsonl file")
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise errors.DataError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); convert it"
        ) from None
    prompts = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if not path.endswith(".jsonl"):
            prompts.append({"inputs": line.rstrip("\r")})
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise errors.DataError(f"{path}:{number}: not valid JSON ({error.msg})") from None
        if not isinstance(row, dict) or not isinstance(row.get("inputs"), str):
            raise errors.DataError(f'{path}:{number}: need an object with a string "inputs"')
        prompts.append(row)
    if not prompts:
        raise errors.DataError(f"{path}: no prompt in it; give one a line")
    return prompts


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
        generate = runner.greedy(
            self._model,
            params,
            max_length=self._store.feature_lengths["targets"],
            eos_id=self._vocabulary.eos_id,
        )
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


def _restore(
    model: Model, checkpoint_path: str, vocabulary: Mapping[str, Any]
) -> tuple[PyTree, int]:
    """Returns the parameters of a checkpoint, on one device, and its total step."""
    path = checkpoints.find(checkpoint_path)
    checkpoints.check_vocabulary(path, vocabulary)
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    def abstract(of: Model) -> PyTree:
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=one),
            jax.eval_shape(of.init, jax.random.key(0)),
        )

    params = layouts.load_params(path, model, abstract(model), abstract(model.other_layout))
    return params, checkpoints.step_of(path)


def _buckets(longest: int) -> tuple[int, ...]:
    return tuple(sorted({-(-longest // parts) for parts in (4, 2, 1)}))
