# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Metrics on a 0 to 100 scale, per example and as SeqIO metric functions.

A metric is one pure function `(target, prediction) -> score`; `METRICS` names them all. The SeqIO
functions below (`fn(targets, predictions) -> {name: value}`) are means of these, so the value of a
task is always the mean over its examples and has a standard error. A target is a string or a list
of accepted strings; the best one counts (as in SQuAD and Natural-Instructions).

Answers are extracted from generated text by `answers`, never here.
"""

import collections
import functools
import math
import re
import string
import types
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Target = str | Sequence[str]
ExampleMetric = Callable[[Target, str], float]
SeqioMetric = Callable[[Sequence[Any], Sequence[Any]], dict[str, float]]

_PUNCTUATION = set(string.punctuation)


def exact_match(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Returns the percentage of predictions that equal a reference, character for character."""
    return _mean("exact_match", targets, predictions)


def accuracy(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Returns the percentage of right labels; letter case, white space, final periods are ignored.

    For classification, where `Yes`, `yes` and `yes.` are one label. (T5's `accuracy` compares the
    strings as they are: that is `exact_match`.)
    """
    return _mean("accuracy", targets, predictions)


def rouge_l(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Returns mean ROUGE-L F-measure with Porter stemming, as Natural-Instructions scores.

    Reference: `rouge_score` 0.1.2; the best reference counts.
    """
    return _mean("rouge_l", targets, predictions)


def token_f1(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Returns mean F1 of the words shared with the best reference (SQuAD 1.1's normalization)."""
    return _mean("token_f1", targets, predictions)


def squad_em(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Returns the percentage that equals a reference after SQuAD 1.1's normalization.

    That is: lower case, no punctuation (of any script), no English articles, single spaces. The
    text is brought to Unicode's form NFC first.
    """
    return _mean("squad_em", targets, predictions)


def squad_f1(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Returns SQuAD 1.1's mean F1 by its own name; the same as `token_f1`."""
    return _mean("squad_f1", targets, predictions)


def squad_em_multilingual(
    targets: Sequence[Target], predictions: Sequence[str]
) -> dict[str, float]:
    """Returns `squad_em` for other languages than English: "a" or "the" stays a word."""
    return _mean("squad_em_multilingual", targets, predictions)


def squad_f1_multilingual(
    targets: Sequence[Target], predictions: Sequence[str]
) -> dict[str, float]:
    """Returns `squad_f1` for other languages than English: "a" or "the" stays a word."""
    return _mean("squad_f1_multilingual", targets, predictions)


def per_example(name: str, target: Target, prediction: str) -> float:
    """Returns the score of one prediction by the metric called `name`, from 0 to 100.

    Raises:
        ValueError: if there is no reference to compare with.
    """
    references = [target] if isinstance(target, str) else list(target)
    if not references:
        raise ValueError(f"{name}: an example has no reference; drop it when rendering the task")
    score = _SCORES[name]
    return 100.0 * max(score(reference, prediction) for reference in references)


def label_of(text: str) -> str:
    """Returns the label that a text is: letter case, white space and final periods aside.

    Example:
        >>> label_of(" Not  entailed. ")
        'not entailed'
    """
    return " ".join(text.casefold().split()).rstrip(". ")


def check_lengths(name: str, targets: Sequence[Any], predictions: Sequence[Any]) -> None:
    """Checks that a metric is given one prediction for each target.

    Raises:
        ValueError: it is not.
    """
    if len(targets) != len(predictions):
        raise ValueError(
            f"{name}: {len(targets)} targets but {len(predictions)} predictions; "
            "pass one prediction for each target"
        )


def mean_and_stderr(scores: Sequence[float]) -> tuple[float, float | None]:
    """Returns the mean and its standard error s / sqrt(n), with s the n - 1 standard deviation.

    The error is None where it is unknown: for fewer than two scores.
    """
    num = len(scores)
    if not num:
        raise ValueError("the mean of no scores is undefined; evaluate at least one example")
    mean = math.fsum(scores) / num
    if num < 2:
        return mean, None
    variance = math.fsum((score - mean) ** 2 for score in scores) / (num - 1)
    return mean, math.sqrt(variance / num)


def _mean(name: str, targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    check_lengths(name, targets, predictions)
    scores = [per_example(name, t, p) for t, p in zip(targets, predictions, strict=True)]
    return {name: mean_and_stderr(scores)[0]}


def _same_text(reference: str, prediction: str) -> float:
    return float(reference == prediction)


def _same_label(reference: str, prediction: str) -> float:
    return float(label_of(reference) == label_of(prediction))


def _rouge_l(reference: str, prediction: str) -> float:
    return _rouge_scorer().score(target=reference, prediction=prediction)["rougeL"].fmeasure


@functools.cache
def _rouge_scorer():
    from rouge_score import rouge_scorer  # brings in nltk: only where ROUGE is asked for

    return rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)


def _same_words(reference: str, prediction: str, *, articles: bool = False) -> float:
    return float(_words(reference, articles) == _words(prediction, articles))


def _token_f1(reference: str, prediction: str, *, articles: bool = False) -> float:
    expected, got = _words(reference, articles), _words(prediction, articles)
    if not expected or not got:
        return float(expected == got)
    shared = sum((collections.Counter(expected) & collections.Counter(got)).values())
    return 2.0 * shared / (len(expected) + len(got))


def _words(text: str, articles: bool) -> list[str]:
    """Returns the words of `text`: lower case, no punctuation, English articles if wanted."""
    text = unicodedata.normalize("NFC", text).lower()
    kept = "".join(c for c in text if c not in _PUNCTUATION and unicodedata.category(c)[0] != "P")
    return (kept if articles else re.sub(r"\b(a|an|the)\b", " ", kept)).split()


_SCORES: Mapping[str, Callable[[str, str], float]] = types.MappingProxyType(
    {
        "exact_match": _same_text,
        "accuracy": _same_label,
        "rouge_l": _rouge_l,
        "token_f1": _token_f1,
        "squad_em": _same_words,
        "squad_f1": _token_f1,
        "squad_em_multilingual": functools.partial(_same_words, articles=True),
        "squad_f1_multilingual": functools.partial(_token_f1, articles=True),
    }
)

METRICS: Mapping[str, ExampleMetric] = types.MappingProxyType(
    {name: functools.partial(per_example, name) for name in _SCORES}
)
"""Every metric by name: `METRICS[name](target, prediction)` is a score from 0 to 100."""

SEQIO_METRICS: Mapping[str, SeqioMetric] = types.MappingProxyType(
    {
        function.__name__: function
        for function in (
            exact_match,
            accuracy,
            rouge_l,
            token_f1,
            squad_em,
            squad_f1,
            squad_em_multilingual,
            squad_f1_multilingual,
        )
    }
)
"""The same metrics as SeqIO functions, by the same names."""
