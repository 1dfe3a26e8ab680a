# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""SeqIO metric functions over all examples together: `fn(targets, predictions) -> {name: value}`.

A target is one answer or a list of accepted ones. Values go from 0 to 100, correlations from -100.
What the published task table calls a metric is here, and in `metrics`:

    accuracy                                    metrics.accuracy
    ROUGE                                       metrics.rouge_l
    max-over-references ROUGE                   metrics.rouge_l (the best reference counts)
    SQuAD EM/F1, TriviaQA EM/F1                 metrics.exact_match, metrics.token_f1
    BLEU                                        bleu
    edit distance                               edit_distance_ratio
    F1 + accuracy                               f1_yes, metrics.accuracy
    mean multiclass F1 + accuracy               macro_f1, metrics.accuracy
    Pearson + Spearman                          pearson_and_spearman
    multirc F1 over all answers + group exact   multirc_f1

A metric that needs a kind of answer (a number, a yes or no) leaves out examples whose target is of
another kind: they come from templates that ask for another field.
"""

import collections
import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from flan_jax.evals.metrics import Target, check_lengths, label_of

YES, NO = "yes", "no"

Answer = tuple[Hashable, str]


def bleu(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Returns corpus BLEU as sacreBLEU computes it by default (13a tokens, cased, 4-grams)."""
    pairs = list(_pairs("bleu", targets, predictions))
    from sacrebleu.metrics import BLEU  # brings in much: only where BLEU is asked for

    most = max(len(references) for references, _ in pairs)
    streams = [
        [references[i] if i < len(references) else None for references, _ in pairs]
        for i in range(most)
    ]
    return {"bleu": BLEU().corpus_score([prediction for _, prediction in pairs], streams).score}


def f1_yes(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Returns the F1 of the answer "yes", 2 TP / (2 TP + FP + FN); 0 if there is no TP.

    A prediction that is neither yes nor no counts as the wrong one, as in T5's GLUE metrics.
    """
    true_positive = wrong = 0
    for references, prediction in _pairs("f1_yes", targets, predictions):
        target, label = label_of(references[0]), label_of(prediction)
        if target not in (YES, NO):
            continue
        if label not in (YES, NO):
            label = NO if target == YES else YES
        true_positive += label == target == YES
        wrong += label != target
    f1 = 100.0 * 2 * true_positive / (2 * true_positive + wrong) if true_positive else 0.0
    return {"f1": f1}


def macro_f1(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Returns the unweighted mean over the labels among the targets of each label's F1."""
    right: collections.Counter[str] = collections.Counter()
    expected: collections.Counter[str] = collections.Counter()
    given: collections.Counter[str] = collections.Counter()
    for references, prediction in _pairs("macro_f1", targets, predictions):
        target, label = label_of(references[0]), label_of(prediction)
        expected[target] += 1
        given[label] += 1
        right[target] += label == target
    scores = [2 * right[label] / (expected[label] + given[label]) for label in expected]
    return {"macro_f1": 100.0 * math.fsum(scores) / len(scores)}


def pearson_and_spearman(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Returns the correlations of the numbers answered with the numbers expected, times 100.

    A prediction that is no number counts as -1, as in T5's GLUE metrics. Where either side is the
    same number throughout, or there are fewer than two, nothing correlates and both are 0.
    """
    expected, given = [], []
    for references, prediction in _pairs("pearson_and_spearman", targets, predictions):
        if (number := _number(references[0])) is not None:
            answer = _number(prediction)
            expected.append(number)
            given.append(-1.0 if answer is None else answer)
    if len(set(expected)) < 2 or len(set(given)) < 2:
        return {"pearson": 0.0, "spearman": 0.0}
    from scipy import stats

    return {
        "pearson": 100.0 * float(stats.pearsonr(expected, given).statistic),
        "spearman": 100.0 * float(stats.spearmanr(expected, given).statistic),
    }


def multirc_f1(
    targets: Sequence[Answer | Sequence[Answer]], predictions: Sequence[Answer]
) -> dict[str, float]:
    """Returns MultiRC's F1 over all candidate answers, and how many questions are wholly right.

    Targets and predictions are pairs (question the candidate belongs to, "yes" or "no").
    `group_exact_match` is the percentage of questions that have all their candidates right; it is
    left out where a question is not known (None).
    """
    _check("multirc_f1", targets, predictions)
    pairs = []
    for target, prediction in zip(targets, predictions, strict=True):
        group, label = target[0] if isinstance(target, list) else target
        if label_of(label) in (YES, NO):
            pairs.append((group, label, prediction[1]))
    labels, answers = [label for _, label, _ in pairs], [answer for _, _, answer in pairs]
    values = f1_yes(labels, answers) if pairs else {"f1": 0.0}
    right: dict[Hashable, bool] = {}
    for group, label, answer in pairs:
        right[group] = right.get(group, True) and label_of(label) == label_of(answer)
    if right and None not in right:
        values["group_exact_match"] = 100.0 * sum(right.values()) / len(right)
    return values


def edit_distance_ratio(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Returns the mean of 100 * (1 - edits / characters of the longer text); 100 if both are equal.

    Edits are insertions, deletions and substitutions of one character; letter case counts. The
    closest reference counts.
    """
    scores = []
    for references, prediction in _pairs("edit_distance_ratio", targets, predictions):
        scores.append(max(_likeness(reference, prediction) for reference in references))
    return {"edit_distance_ratio": 100.0 * math.fsum(scores) / len(scores)}


def edit_distance(first: str, second: str) -> int:
    """Returns the Levenshtein distance of two texts.

    Columns of the table are bit vectors of their steps up and down (Myers 1999, in Hyyrö's form
    for whole texts), so texts of thousands of characters take milliseconds.

    Example:
        >>> edit_distance("kitten", "sitting")
        3
    """
    if not first or not second:
        return len(first) + len(second)
    where: dict[str, int] = collections.defaultdict(int)
    for i, character in enumerate(first):
        where[character] |= 1 << i
    full = (1 << len(first)) - 1
    last = 1 << (len(first) - 1)
    up, down, distance = full, 0, len(first)
    for character in second:
        match = where.get(character, 0)
        same = match | down
        diagonal = (((match & up) + up) ^ up) | match
        rises = down | (full & ~(diagonal | up))
        falls = up & diagonal
        distance += bool(rises & last) - bool(falls & last)
        rises = (rises << 1) | 1
        falls <<= 1
        up = (falls | ~(same | rises)) & full
        down = rises & same & full
    return distance


def _likeness(reference: str, prediction: str) -> float:
    longest = max(len(reference), len(prediction))
    return 1.0 - edit_distance(reference, prediction) / longest if longest else 1.0


def _pairs(
    name: str, targets: Sequence[Any], predictions: Sequence[Any]
) -> Iterator[tuple[list[str], str]]:
    """Yields (accepted answers, prediction) of each example."""
    _check(name, targets, predictions)
    for target, prediction in zip(targets, predictions, strict=True):
        yield [target] if isinstance(target, str) else list(target), prediction


def _check(name: str, targets: Sequence[Any], predictions: Sequence[Any]) -> None:
    check_lengths(name, targets, predictions)
    if not targets:
        raise ValueError(f"{name}: there is no example; evaluate at least one")
    if any(len(target) == 0 and not isinstance(target, str) for target in targets):
        raise ValueError(f"{name}: an example has no reference; drop it when rendering the task")


def _number(text: str) -> float | None:
    try:
        value = float(text.strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None
