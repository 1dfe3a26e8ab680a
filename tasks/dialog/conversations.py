# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From the turns of a conversation to `dialog` and `answer`, in many styles.

Which turn is the answer, and the style, are hashed from the conversation itself. So one candidate
is made for a row and not one for each of its turns, exemplars of the same text are recognized as
such, and a validation set is the same under every seed of a build.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flan_jax.collection import spec
from flan_jax.core.rng import ExampleKey

NO_ANSWER = "no turn to predict"

# Before the first turn; "" is none.
HEADERS = (
    "", "Conversation:", "Dialog:", "CHAT:", "The conversation so far:", "Transcript:",
    "What was said:", "Messages:", "The talk up to now:", "[conversation]", "[dialog]",
    "Turn by turn:", "Exchange:",
)  # fmt: skip

# Before each turn: of who speaks first, and of the other. All of them are visible signs, since
# T5's vocabulary turns the line breaks between turns into blanks.
MARKS = (
    ("-", "-"), ("*", "*"), ("+", "+"), ("--", "--"), ("#", "#"), ("|", "|"), (">>", ">>"),
    ("=>", "=>"), ("[-]", "[-]"), ("(*)", "(*)"), ("A:", "B:"), ("1:", "2:"), ("X:", "Y:"),
    ("[A]", "[B]"), ("(1)", "(2)"), ("M:", "N:"), ("I:", "II:"), ("One:", "Other:"),
    ("First speaker:", "Second speaker:"), ("Speaker 1:", "Speaker 2:"),
    ("Person A:", "Person B:"), ("Voice 1:", "Voice 2:"), ("- A:", "- B:"), ("#1:", "#2:"),
)  # fmt: skip


class Turns(NamedTuple):
    """A conversation up to its first turn without text."""

    # What is said, each on one line.
    texts: list[str]
    # Who says it: 0 for who speaks first, 1 for the other.
    speakers: list[int]


def alternating(texts: Iterable[str]) -> Turns:
    """Returns the turns of two speakers who take turns."""
    said = _said(texts)
    return Turns(said, [i % 2 for i in range(len(said))])


def spoken(texts: Iterable[str], speakers: Sequence[str]) -> Turns:
    """Returns the turns of named speakers, one of whom may have several turns in a row."""
    said = _said(texts)
    names = [name.strip().casefold() for name in speakers[: len(said)]]
    return Turns(said, [int(name != names[0]) for name in names])


def forward(turns: Turns, answers: range) -> spec.Fields:
    """Returns `dialog`, which ends with the mark of who speaks next, and `answer`, that turn.

    Args:
        turns: the conversation.
        answers: the turns, counted from 0, that may be the answer.

    Raises:
        Drop: the conversation has none of these turns.
    """
    answer, header, marks = _draw(turns, answers)
    lines = [*([header] if header else []), *_lines(turns, answer, marks)]
    return {
        "dialog": "\n".join([*lines, marks[turns.speakers[answer]]]),
        "answer": turns.texts[answer],
    }


def inverted(turns: Turns, answers: range) -> spec.Fields:
    """Returns the same with a `dialog` that is a target: its turns alone, no header, no open mark.

    Args:
        turns: the conversation.
        answers: the turns, counted from 0, that may be the answer.

    Raises:
        Drop: the conversation has none of these turns.
    """
    answer, _, marks = _draw(turns, answers)
    return {"dialog": "\n".join(_lines(turns, answer, marks)), "answer": turns.texts[answer]}


def _said(texts: Iterable[str]) -> list[str]:
    said = []
    for text in texts:
        if not (line := " ".join(text.split())):
            break  # what follows a turn without text may make no sense
        said.append(line)
    return said


def _draw(turns: Turns, answers: range) -> tuple[int, str, tuple[str, str]]:
    """Returns the turn that is the answer, the header and the marks."""
    within = answers[: len(range(answers.start, len(turns.texts), answers.step))]
    if not within:
        raise spec.Drop(NO_ANSWER)
    content = "\n".join(turns.texts)
    answer = ExampleKey(0, content, -1).choice("answer", within)
    key = ExampleKey(0, content, answer)
    return answer, key.choice("header", HEADERS), key.choice("marks", MARKS)


def _lines(turns: Turns, end: int, marks: tuple[str, str]) -> list[str]:
    pairs = zip(turns.speakers[:end], turns.texts[:end], strict=True)
    return [f"{marks[speaker]} {text}" for speaker, text in pairs]
