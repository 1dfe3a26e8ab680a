# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""LLaMA-like decoders from GGUF files, llama.cpp's format: read only, numbers as float32.

The package gguf (extra `smollm2`) parses the file and undoes its quantization. llama.cpp stores the
rows of query and key kernels so that neighbours are the pairs that rotary positions turn; here, as
in transformers, a pair is one of either half, so the rows are put back.
"""

import collections
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flan_jax.convert.huggingface import Checkpoint, check_num_layers
from flan_jax.convert.huggingface_llama import BLOCK, FAMILY
from flan_jax.convert.leaves import Index, check_name
from flan_jax.core.errors import DataError, UsageError, closest
from flan_jax.core.progress import say
from flan_jax.models.decoder_network import DecoderConfig

ARCHITECTURE = "llama"
MAGIC = b"GGUF"

_LAYER = {
    "pre_self_attention_layer_norm/scale": "attn_norm",
    "self_attention/query/kernel": "attn_q",
    "self_attention/key/kernel": "attn_k",
    "self_attention/value/kernel": "attn_v",
    "self_attention/out/kernel": "attn_output",
    "pre_mlp_layer_norm/scale": "ffn_norm",
    "mlp/wi_0/kernel": "ffn_gate",
    "mlp/wi_1/kernel": "ffn_up",
    "mlp/wo/kernel": "ffn_down",
}
_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"


def is_at(path: str | os.PathLike) -> bool:
    """Returns whether a file is in this format."""
    if not Path(path).is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read(path: str | os.PathLike) -> Checkpoint:
    """Returns a checkpoint; its layers are apart, and each parameter is read when asked for.

    Raises:
        UsageError: the package gguf is not installed, or the model is of another kind.
        DataError: the file is damaged.
    """
    package = _package()
    if not is_at(path):
        raise UsageError(f"{path} is no GGUF file; give one")
    try:
        reader = package.GGUFReader(os.fspath(path))
        facts = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: a damaged or cut GGUF file ({reason}); fetch it again") from None
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    config = _config(_Facts(path, facts), is_tied=_OUTPUT not in tensors, tensors=tensors)
    check_num_layers(path, config, len(tensors))
    kinds = collections.Counter(tensor.tensor_type.name for tensor in tensors.values())
    listed = ", ".join(f"{num} {kind}" for kind, num in sorted(kinds.items()))
    say(f"{path}: {listed} tensors are read as float32")
    leaves = _Dequantized(path, tensors, config, package.dequantize)
    has_bos = facts.get("tokenizer.ggml.add_bos_token") is True
    return Checkpoint(
        config,
        leaves,
        vocabulary=None,
        eos_id=_fact(facts, "ggml.eos_token_id", int),
        bos_id=_fact(facts, "ggml.bos_token_id", int) if has_bos else None,
        chat_template=_fact(facts, "chat_template", str) or "",
        special_tokens=_special_tokens(facts),
    )


def _special_tokens(facts: dict[str, Any]) -> dict[str, str]:
    """Returns the texts of `bos_token` and `eos_token`, as far as a file says them."""
    texts = dict(enumerate(_fact(facts, "ggml.tokens", list) or []))
    ids = {kind: _fact(facts, f"ggml.{kind}_id", int) for kind in ("bos_token", "eos_token")}
    return {kind: texts[id_] for kind, id_ in ids.items() if isinstance(texts.get(id_), str)}


def _fact(facts: dict[str, Any], name: str, kind: type) -> Any:
    """Returns what a file says of its tokenizer, None if it does not."""
    value = facts.get(f"tokenizer.{name}")
    return value if isinstance(value, kind) else None


def _package() -> Any:
    try:
        import gguf
        import gguf.quants
    except ModuleNotFoundError:
        raise UsageError(
            "reading GGUF files needs the package gguf: pip install 'flan_jax[smollm2]'"
        ) from None
    return gguf


class _Facts:
    """What a file says of its model."""

    def __init__(self, path: str | os.PathLike, facts: dict[str, Any]):
        self.path, self._facts = path, facts

    def get(self, name: str, default: Any = None, *, kind: type = object) -> Any:
        """Returns the fact called `name`, of the architecture's or a whole name."""
        name = name if name in self._facts else f"{ARCHITECTURE}.{name}"
        value = self._facts.get(name, default)
        if value is None:
            raise UsageError(f"{self.path}: it does not say {name}; convert the model again")
        if not isinstance(value, kind):
            raise UsageError(f"{self.path}: {name} {value!r:.120} is no {kind.__name__}")
        return value

    def size(self, name: str, default: Any = None) -> int:
        """Returns a fact that counts something."""
        value = self.get(name, default, kind=int)
        if value < 1:
            raise UsageError(f"{self.path}: {name} {value} cannot be used; it must be at least 1")
        return value

    def expect(self, name: str, wanted: Any, default: Any) -> None:
        """Checks that a fact is the one that can be used."""
        if (value := self.get(name, default)) != wanted:
            raise UsageError(f"{self.path}: {name} {value!r} cannot be used, only {wanted!r}")


def _config(facts: _Facts, *, is_tied: bool, tensors: dict[str, Any]) -> DecoderConfig:
    facts.expect("general.architecture", ARCHITECTURE, None)
    facts.expect("rope.scaling.type", "none", "none")
    facts.expect("expert_count", 0, 0)
    emb_dim, num_heads = facts.size("embedding_length"), facts.size("attention.head_count")
    if _EMBEDDING not in tensors:
        raise UsageError(f"{facts.path}: no tensor {_EMBEDDING!r}; the file is no whole model")
    head_dim = facts.size("attention.key_length", emb_dim // num_heads)
    facts.expect("rope.dimension_count", head_dim, head_dim)
    return DecoderConfig(
        vocab_size=int(tensors[_EMBEDDING].shape[-1]),
        emb_dim=emb_dim,
        num_heads=num_heads,
        num_kv_heads=facts.size("attention.head_count_kv", num_heads),
        head_dim=head_dim,
        num_layers=facts.size("block_count"),
        mlp_dim=facts.size("feed_forward_length"),
        # Stored as float32: 1e-5 would come back as 9.999999747378752e-06.
        norm_epsilon=float(
            str(np.float32(facts.get("attention.layer_norm_rms_epsilon", kind=float)))
        ),
        rotary_theta=facts.get("rope.freq_base", 10000.0, kind=float),
        logits_via_embedding=is_tied,
        **BLOCK,
    )


def _names(config: DecoderConfig) -> dict[str, str]:
    """Returns our names -> those of a file's tensors."""
    names = {
        "token_embedder/embedding": _EMBEDDING,
        "decoder/decoder_norm/scale": "output_norm.weight",
    }
    if not config.logits_via_embedding:
        names["decoder/logits_dense/kernel"] = _OUTPUT
    for i in range(config.num_layers):
        for ours, theirs in _LAYER.items():
            names[f"decoder/layers_{i}/{ours}"] = f"blk.{i}.{theirs}.weight"
    return names


class _Dequantized:
    """The parameters of a file; a part is cut from the whole, as blocks of numbers share a scale.

    The package maps the file into memory and takes what is read from there.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        tensors: dict[str, Any],
        config: DecoderConfig,
        dequantize: Callable[[np.ndarray, Any], np.ndarray],
    ):
        self._tensors, self._config, self._dequantize = tensors, config, dequantize
        self._names = _names(config)
        wanted = FAMILY.shapes(config)
        for ours, theirs in self._names.items():
            if theirs not in tensors:
                near = closest(theirs, tensors, 1)
                hint = f", only {near[0]!r}" if near else ""
                raise UsageError(f"{path}: no tensor {theirs!r} (our {ours}){hint}")
            # Dimensions are listed from the last: a kernel's are those of ours.
            shape = tuple(int(n) for n in tensors[theirs].shape)
            shape = shape[::-1] if ours == "token_embedder/embedding" else shape
            if shape != wanted[ours]:
                raise UsageError(
                    f"{path}: {theirs!r} is {list(shape)}, but what the file says of the model "
                    f"makes it {list(wanted[ours])}; convert the model again"
                )
        if unknown := sorted(tensors.keys() - set(self._names.values())):
            raise UsageError(
                f"{path}: {unknown[0]!r} ({len(unknown)} in all) belongs to no parameter of a "
                "LLaMA-like decoder; nothing is dropped unasked"
            )
        self._shapes = {n: jax.ShapeDtypeStruct(s, np.dtype(np.float32)) for n, s in wanted.items()}

    @property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of each parameter."""
        return self._shapes

    def read(self, name: str, index: Index | None = None) -> np.ndarray:
        """Returns one parameter or a part of it."""
        check_name(name, self._names)
        tensor = self._tensors[self._names[name]]
        array = np.asarray(self._dequantize(tensor.data, tensor.tensor_type), np.float32)
        if "/query/" in name or "/key/" in name:
            array = _halves(array, self._config.head_dim)
        array = array.T if name.endswith("/kernel") else array
        return np.array(array if index is None else array[index], order="C")


def _halves(rows: np.ndarray, head_dim: int) -> np.ndarray:
    """Returns `[heads*kv, embed]` whose pairs are of either half, of one with them as neighbours.

    Example:
        >>> _halves(np.array([[0], [2], [1], [3]]), 4)[:, 0].tolist()
        [0, 1, 2, 3]
    """
    pairs = rows.reshape(-1, head_dim // 2, 2, rows.shape[-1])
    return pairs.swapaxes(1, 2).reshape(rows.shape)
