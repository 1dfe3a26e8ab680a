# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From rendered texts to tokens, many at a time and each text once.

The renderer must know whether a prompt fits. Most are so short that their characters say so; their
tokens are left for a batch. The others are counted by tokenizing them, and those tokens are kept.
"""

from collections.abc import Iterable, Iterator, Mapping

from flan_jax.collection.foreign import Tokenized
from flan_jax.collection.rendering import Dropped, Rendered
from flan_jax.collection.vocabularies import Vocabulary

# Examples tokenized together.
_BATCH = 256


class Counter:
    """Counts the tokens of texts for the renderer, and keeps them."""

    def __init__(self, vocabulary: Vocabulary):
        self._vocabulary = vocabulary
        self._known: dict[str, list[int]] = {}

    def __call__(self, text: str) -> int:
        """Returns how many tokens a text has, without EOS."""
        if text not in self._known:
            self._known[text] = self._vocabulary.encode(text)
        return len(self._known[text])

    def at_most(self, text: str, limit: int) -> bool:
        """Whether a text has no more tokens than `limit`; tokenizes it only where it must."""
        # A token stands for one character at least, of ASCII, which no vocabulary expands; one
        # more may stand for the blank that SentencePiece puts before a text.
        if len(text) < limit and text.isascii():
            return True
        return self(text) <= limit

    def take(self, texts: Iterable[str]) -> dict[str, list[int]]:
        """Returns the tokens of texts, without EOS, and forgets all texts."""
        known, self._known = self._known, {}
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        return known | dict(zip(missing, self._vocabulary.encode_all(missing), strict=True))


def tokenized(
    items: Iterable[Rendered | Dropped],
    counter: Counter,
    *,
    eos_id: int,
    feature_lengths: Mapping[str, int],
) -> Iterator[Tokenized | Dropped]:
    """Yields the items in order, rendered ones with their tokens.

    Args:
        items: from `rendering.render_task`, which counts with `counter`.
        counter: what counts their tokens.
        eos_id: ends each text's tokens.
        feature_lengths: most tokens of `inputs` and `targets`, EOS included.
    """
    batch: list[Rendered | Dropped] = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            yield from _batch(batch, counter, eos_id, feature_lengths)
            batch = []
    if batch:
        yield from _batch(batch, counter, eos_id, feature_lengths)


def _batch(
    batch: list[Rendered | Dropped],
    counter: Counter,
    eos_id: int,
    feature_lengths: Mapping[str, int],
) -> Iterator[Tokenized | Dropped]:
    rendered = [item for item in batch if isinstance(item, Rendered)]
    known = counter.take(text for item in rendered for text in (item.inputs, item.targets))
    for item in batch:
        if isinstance(item, Dropped):
            yield item
            continue
        texts = {"inputs": item.inputs, "targets": item.targets}
        tokens = {name: [*known[text], eos_id] for name, text in texts.items()}
        for name, length in feature_lengths.items():
            if len(tokens[name]) > length:
                raise AssertionError(f"row {item.index}: {name} over {length} was not dropped")
        record = {"references": item.references, "meta": item.meta, "index": item.index}
        yield Tokenized(tokens, texts | record)
