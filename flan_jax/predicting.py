# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint made ready to answer: its model and vocabulary found, its parameters on devices.

A checkpoint is named by a path, of ours, of T5X's or of a GGUF file, or by what it is and a path:

    hf:FOLDER    as transformers stores it       t5x:FOLDER    T5X's
    gguf:FILE    llama.cpp's

What is known of a model comes from a recipe, else from the checkpoint, else from the shapes of its
parameters. Parameters go to the devices one at a time, as they are stored but for bfloat16, which
becomes float32, and that is said.
"""

import contextlib
import dataclasses
import functools
import hashlib
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

import flan_jax
from flan_jax import formats
from flan_jax.collection.store import check_feature_lengths
from flan_jax.collection.vocabularies import ByteBpeVocabulary, Vocabulary, load_vocabulary
from flan_jax.convert import deducing, huggingface
from flan_jax.convert.huggingface_tokenizer import TOKENIZER
from flan_jax.convert.leaves import is_stacked
from flan_jax.core import axes, errors, files, ranges
from flan_jax.core.progress import say
from flan_jax.core.tree import PyTree
from flan_jax.formats import Source
from flan_jax.inference import conversation
from flan_jax.inference.conversation import Exchange
from flan_jax.inference.engine import Engine
from flan_jax.inference.scoring import Scorer
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.model import Model
from flan_jax.models.t5 import T5, T5Config
from flan_jax.parallel import arrays, hosts
from flan_jax.parallel.mesh import MeshShape, make_mesh
from flan_jax.parallel.rules import ShardingRules, preset
from flan_jax.training import checkpoints, layouts

PREFIXES = {"hf": "huggingface", "t5x": "t5x", "gguf": "gguf"}
MAX_INPUT_LENGTH = 1024  # tokens of a prompt, where no recipe says it
_STORED_SMALLER = "bfloat16"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictor:
    """A model that answers texts."""

    source: Source
    model: Model
    params: PyTree
    vocabulary: Vocabulary
    max_input_length: int  # tokens of a prompt, its EOS included
    batch_size: int  # answers decoded together
    phrase: conversation.Phrase  # from exchanges and a question to a prompt
    ends_prompts: bool  # with an EOS, as T5's are and all that are trained here
    mesh: Mesh | None = None  # None: all is on one device

    @property
    def name(self) -> str:
        """What to call the model: the path of its checkpoint."""
        return self.source.path

    @functools.cached_property
    def engine(self) -> Engine:
        """Decodes; use it `on_mesh`."""
        return self.new_engine(with_logprobs=True)

    def new_engine(self, *, with_logprobs: bool) -> Engine:
        """Returns an engine whose answers have log-probabilities, or that is faster without."""
        return Engine(
            self.model, self.params, self.vocabulary, max_input_length=self.max_input_length,
            num_rows=self.batch_size, with_logprobs=with_logprobs,
        )  # fmt: skip

    @functools.cached_property
    def scorer(self) -> Scorer:
        """Scores; use it `on_mesh`."""
        return Scorer(
            self.model, self.params, max_input_length=self.max_input_length,
            num_rows=self.batch_size,
        )  # fmt: skip

    def encode(self, question: str, exchanges: Sequence[Exchange] = ()) -> list[int]:
        """Returns the tokens of a question, phrased as the checkpoint wants it."""
        return self.encode_as_is(self.phrase(exchanges, question))

    def encode_as_is(self, prompt: str) -> list[int]:
        """Returns the tokens of a prompt, with the BOS or EOS that the model expects."""
        bos_id, ids = self.source.bos_id, self.vocabulary.encode(prompt)
        begin = [] if bos_id is None or ids[:1] == [bos_id] else [bos_id]  # a template may write it
        end = [self.vocabulary.eos_id] if self.ends_prompts else []
        return [*begin, *ids, *end]

    def encode_answer(self, answer: str) -> list[int]:
        """Returns the tokens of a whole answer, its EOS included."""
        return [*self.vocabulary.encode(answer), self.vocabulary.eos_id]

    def encode_choice(self, choice: str) -> list[int]:
        """Returns the tokens of a text as an answer that is compared with others.

        It has an EOS where the model was trained to end answers with one; of a decoder from
        elsewhere the harnesses compare the texts alone. After a chat template an answer begins
        anew, without the white space that parts it from its question.
        """
        if self.phrase is not conversation.plain:
            choice = choice.lstrip() or choice
        end = [self.vocabulary.eos_id] if self.ends_prompts else []
        return [*self.vocabulary.encode(choice), *end]

    def on_mesh(self) -> contextlib.AbstractContextManager:
        """Enters the mesh that the parameters lie on, if they lie on one."""
        return contextlib.nullcontext() if self.mesh is None else jax.set_mesh(self.mesh)

    def deciding(self) -> dict[str, Any]:
        """Returns what of all this decides an answer, as JSON."""
        return {
            "checkpoint": self.name,
            "files": _fingerprint(self.name),
            "vocabulary": self.vocabulary.fingerprint,
            "model": self.model,
            "max_input_length": self.max_input_length,
            "prompt": self.encode_as_is(self.phrase([], "?")),
            "code_version": flan_jax.__version__,
        }


def load(
    *,
    checkpoint_path: str,
    model: Model | None = None,
    vocabulary: str = "",
    feature_lengths: Mapping[str, int] = types.MappingProxyType({}),
    max_input_length: int | None = None,
    batch_size: int = 32,
    mesh: MeshShape | None = None,
    rules: str = "",
    raw: bool = False,
) -> Predictor:
    """Loads a checkpoint for prediction.

    Of several processes (`parallel.hosts`) each calls this, and then does the same.

    Args:
        checkpoint_path: see above; a MODEL_DIR stands for its latest.
        model: the model; None where the checkpoint says what it is, or is a T5's.
        vocabulary: the one it was trained with; '' where the checkpoint brings or names it.
        feature_lengths: most tokens of `inputs` and `targets`, as it was trained; empty: not said.
        max_input_length: most tokens of a prompt; None for that of `inputs`.
        batch_size: answers decoded together.
        mesh: what all processes decode on together; None: each on one device of its own.
        rules: how parameters and activations lie on the mesh, a preset of `parallel.rules`, but
            prompts are not split; '': parameters whole on each device.
        raw: whether prompts are taken as they are, though the checkpoint has a chat template.

    Raises:
        UsageError: there is no such checkpoint, or it does not fit model or vocabulary, or model
            or vocabulary is unknown.
        FlanError: it is damaged.
    """
    ranges.check("infer", "[1, inf)", batch_size=batch_size, max_input_length=max_input_length)
    if feature_lengths:
        check_feature_lengths(feature_lengths)
    if rules and mesh is None:
        raise errors.UsageError(
            f"infer.rules {rules!r} without a mesh to apply to; set infer.mesh = @MeshShape()"
        )
    hosts.join()
    with hosts.all_or_none():
        source = open_checkpoint(checkpoint_path)
        words = _vocabulary(source, vocabulary)
        model = model or _model(source)
        huggingface.check_vocabulary(f"{source.path}: vocab_size", model.config.vocab_size, words)
        template = "" if raw else source.chat_template
        phrase = conversation.templated(template, source.path, source.special_tokens)
    is_foreign = _is_foreign_decoder(source, model, words)
    if is_foreign:
        model = dataclasses.replace(model, begins_with_prompt=True)
    placed = None if mesh is None else make_mesh(mesh)
    if placed is not None:
        model = dataclasses.replace(model, rules=_rules(rules) if rules else None)
    return Predictor(
        source=source,
        model=model,
        params=restore(model, source, placed),
        vocabulary=words,
        max_input_length=max_input_length or feature_lengths.get("inputs") or MAX_INPUT_LENGTH,
        batch_size=batch_size,
        phrase=phrase,
        ends_prompts=not is_foreign,
        mesh=placed,
    )


def open_checkpoint(path: str) -> Source:
    """Returns the checkpoint that a path, perhaps with one of `PREFIXES`, names.

    Raises:
        UsageError: there is none.
    """
    prefix, colon, rest = path.partition(":")
    if colon and prefix in PREFIXES:
        return formats.open_source(rest, PREFIXES[prefix], path)
    if not any(reader.is_at(path) for reader in formats.READERS.values()):
        raise errors.UsageError(
            f"no checkpoint at {path!r}; give a checkpoint_<step> folder or a model directory that "
            f"holds some, hf:FOLDER, t5x:FOLDER or gguf:FILE"
        )
    return formats.open_source(path)


def restore(model: Model, source: Source, mesh: Mesh | None = None) -> PyTree:
    """Returns the parameters of a checkpoint: on one device, or on a mesh by the model's rules.

    Raises:
        UsageError: they are not the model's.
    """
    abstract = jax.eval_shape(model.init, jax.random.key(0))
    if mesh is None:
        one = SingleDeviceSharding(jax.local_devices()[0])
        shardings = jax.tree.map(lambda _: one, abstract)
    elif model.rules is None:
        shardings = jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec()), abstract)
    else:
        shardings = arrays.params_sharding(abstract, model.logical_axes(), model.rules, mesh)
    wanted = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        abstract,
        shardings,
    )
    return layouts.place(source.leaves, source.path, wanted, cast_from=_STORED_SMALLER)


def _vocabulary(source: Source, name: str) -> Vocabulary:
    """Returns the vocabulary of a checkpoint: the one named, the one it brings, or names."""
    if name:
        vocabulary = load_vocabulary(name)
    elif source.vocabulary is not None:
        return source.vocabulary
    elif source.format == "gguf":
        return ByteBpeVocabulary(source.path, source.path)
    elif source.format == "huggingface" and Path(source.path, TOKENIZER).is_file():
        return load_vocabulary(str(Path(source.path, TOKENIZER)))
    elif named := (source.info.get("vocabulary") or {}).get("name"):
        vocabulary = load_vocabulary(named)
    else:
        raise errors.UsageError(
            f"{source.path} brings no vocabulary that can be read; give --vocabulary: 'bytes', a "
            "sentencepiece.model, a tokenizer.json or a .gguf file"
        )
    if source.format == "flan_jax":
        checkpoints.check_vocabulary(source.path, vocabulary.facts())
    return vocabulary


def _model(source: Source) -> Model:
    """Returns the model of a checkpoint that no recipe tells of."""
    config = source.config
    if config is None:
        config = deducing.t5_config(source.leaves.shapes)
        say(f"{source.path}: {deducing.in_words(config)}; if it is another, give --recipe")
    # Answers should not depend on how coarse the activations are, unless a recipe says so.
    config = dataclasses.replace(
        config, dtype="float32", scan_layers=is_stacked(source.leaves.shapes)
    )
    return T5(config) if isinstance(config, T5Config) else DecoderLM(config)


def _rules(name: str) -> ShardingRules:
    """Returns a preset under which rows stay whole: as many as there are change, down to one."""
    rules = preset(name)
    whole = tuple((axis, None if axis == axes.BATCH else on) for axis, on in rules.activations)
    return dataclasses.replace(rules, activations=whole)


def _is_foreign_decoder(source: Source, model: Model, vocabulary: Vocabulary) -> bool:
    """Returns whether a checkpoint is a decoder that was trained to go on from a prompt's end.

    T5's tokenizers and ours end a prompt with an EOS, also where transformers has them.
    """
    is_foreign = source.format in ("gguf", "huggingface")
    return isinstance(model, DecoderLM) and is_foreign and isinstance(vocabulary, ByteBpeVocabulary)


def _fingerprint(path: str) -> str:
    """Returns a hash of the names, sizes and times of a checkpoint's files.

    Whatever begins with a dot is none of them: a .git, a cache, or the journal of a job itself.
    """
    root = Path(path)
    below = [p for p in root.rglob("*") if not _is_hidden(p.relative_to(root))]
    found = sorted(p for p in (root, *below) if p.is_file())
    facts = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in found]
    return hashlib.sha256(files.dumps(facts).encode()).hexdigest()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
