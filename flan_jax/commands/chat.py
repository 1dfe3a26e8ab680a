# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Talks to a model: each line is a question, a line that begins with / a command; see /help.

A prompt is made of exemplars (/shots), what was said before, and the question: by the checkpoint's
chat template, else as Q: and A:. Where that is more than the model takes, the oldest exchanges are
left out, which is said. Ctrl-C stops an answer. Lines may come from a file or a pipe, too.

    flan-jax chat --checkpoint hf:flan-t5-xl
"""

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flan_jax.commands import generate, prediction_arguments
from flan_jax.core import errors, files
from flan_jax.core.progress import say

if TYPE_CHECKING:
    from flan_jax.inference.conversation import Exchange
    from flan_jax.inference.decode_config import DecodeConfig
    from flan_jax.predicting import Predictor

QUIT = "/quit"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chat:
    """A conversation so far, and how it goes on."""

    config: "DecodeConfig"
    shots: tuple["Exchange", ...] = ()  # exemplars, before all that is said
    turns: tuple["Exchange", ...] = ()
    is_step_by_step: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    prediction_arguments.add_predictor(parser)
    prediction_arguments.add_decoding(parser, several=False)


def run(args: argparse.Namespace) -> None:
    """Talks until /quit or the end of the input."""
    prediction_arguments.configure(args)
    chat = Chat(config=prediction_arguments.decoding(args))
    predictor = prediction_arguments.load(args, batch_size=1)
    say(f"chat: {predictor.name}; /help lists commands, {QUIT} leaves")
    with predictor.on_mesh():
        for line in _lines():
            if line == QUIT:
                return
            try:
                chat = follow(predictor, chat, line)
            except errors.FlanError as error:
                say(f"chat: {error}")


def follow(predictor: "Predictor", chat: Chat, line: str) -> Chat:
    """Does what a line asks for; returns the conversation after it."""
    from flan_jax.inference import prompt_files

    prompt_files.check_text(line, "the line")
    if not line.startswith("/"):
        return answer(predictor, chat, line)
    word, _, rest = line.partition(" ")
    if word == QUIT:
        _no_more(word, rest.strip())
    if word not in COMMANDS:
        raise errors.unknown_name("command", word, [*COMMANDS, QUIT], "(see /help)")
    chat, said = COMMANDS[word].act(chat, rest.strip())
    if said:
        print(said, flush=True)
    return chat


def answer(predictor: "Predictor", chat: Chat, question: str) -> Chat:
    """Prints the answer to a question; returns the conversation with both."""
    from flan_jax.inference import conversation

    question = conversation.step_by_step(question) if chat.is_step_by_step else question
    prompt, num_dropped = conversation.fitting(
        predictor.phrase,
        lambda prompt: len(predictor.encode_as_is(prompt)),
        predictor.max_input_length,
        shots=chat.shots,
        turns=chat.turns,
        question=question,
    )
    if num_dropped:
        say(
            f"chat: the first {num_dropped} of {len(chat.turns)} exchanges are left out, as the "
            f"model takes {predictor.max_input_length} tokens"
        )
    ids = predictor.encode_as_is(prompt)
    try:
        if chat.config.num_beams > 1:
            text = predictor.engine.generate([ids], chat.config)[0].texts[0]
            print(text, flush=True)
        else:
            text = generate.stream(predictor, ids, chat.config)
    except KeyboardInterrupt as stopped:
        say("chat: stopped")
        text = stopped.text if isinstance(stopped, generate.Stopped) else ""
        if not text.strip():  # such as of beams, of which there is none until the end
            return chat
    return dataclasses.replace(
        chat, turns=(*chat.turns, conversation.Exchange(question, text.strip()))
    )


def _lines() -> Iterator[str]:
    """Yields the lines typed, or those of standard input, without empty ones."""
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - input() then has its editing and history
    while True:
        try:
            line = input("> ") if is_terminal else next(sys.stdin)
        except (EOFError, StopIteration):
            return
        except UnicodeDecodeError as error:
            raise errors.DataError(f"standard input is not UTF-8 text ({error.reason})") from None
        except KeyboardInterrupt:
            print()
            say(f"chat: {QUIT} leaves")
            continue
        if line.strip():
            yield line.strip()


def _shots(chat: Chat, rest: str) -> tuple[Chat, str]:
    from flan_jax.inference import conversation

    word, _, after = rest.partition(" ")
    if not rest:
        return chat, conversation.as_markdown(chat.shots).rstrip() or "no exemplars"
    if rest == "clear":
        return dataclasses.replace(chat, shots=()), "no exemplars"
    if word == "add":
        added = [conversation.parse_exchange(after)]
    else:
        added = conversation.read_exchanges(rest)
    shots = (*chat.shots, *added)
    return dataclasses.replace(chat, shots=shots), f"{len(shots)} exemplar(s)"


def _step_by_step(chat: Chat, rest: str) -> tuple[Chat, str]:
    from flan_jax.inference.conversation import STEP_BY_STEP

    if rest not in ("", "on", "off"):
        raise errors.UsageError(f"/cot takes 'on' or 'off', got {rest!r}")
    is_on = rest == "on" if rest else not chat.is_step_by_step
    said = f"questions end with {STEP_BY_STEP!r}" if is_on else "questions stay as they are"
    return dataclasses.replace(chat, is_step_by_step=is_on), said


def _temperature(chat: Chat, rest: str) -> tuple[Chat, str]:
    value = _number(rest, float, "/temperature takes a number >= 0; 0 is the likeliest token")
    config = dataclasses.replace(chat.config, temperature=value, num_beams=1)
    said = f"sampling at temperature {value:g}" if value else "the likeliest token each time"
    return dataclasses.replace(chat, config=config), said


def _beam(chat: Chat, rest: str) -> tuple[Chat, str]:
    value = _number(rest, int, "/beam takes how many beams, >= 1")
    config = dataclasses.replace(chat.config, num_beams=value, temperature=0.0)
    said = f"beam search with {value} beams" if value > 1 else "the likeliest token each time"
    return dataclasses.replace(chat, config=config), said


def _save(chat: Chat, rest: str) -> tuple[Chat, str]:
    from flan_jax.inference import conversation

    suffix = Path(rest).suffix
    if suffix not in (".jsonl", ".md"):
        raise errors.UsageError(f"/save takes a file .jsonl or .md, got {rest!r}")
    files.check_file(rest, "/save")
    if suffix == ".md":
        text = conversation.as_markdown(chat.turns)
    else:
        rows = [{"inputs": turn.question, "targets": turn.answer} for turn in chat.turns]
        text = "".join(files.dumps(row) + "\n" for row in rows)
    with files.atomic_open(rest) as file:
        file.write(text)
    return chat, f"{len(chat.turns)} exchange(s) are in {rest}"


def _reset(chat: Chat, rest: str) -> tuple[Chat, str]:
    _no_more("/reset", rest)
    return dataclasses.replace(chat, turns=()), "what was said is forgotten"


def _help(chat: Chat, rest: str) -> tuple[Chat, str]:
    _no_more("/help", rest)
    rows = [(command.usage, command.meaning) for command in COMMANDS.values()]
    return chat, "\n".join(f"{usage:24} {meaning}" for usage, meaning in [*rows, (QUIT, "leave")])


def _number(text: str, kind: Callable[[str], Any], remedy: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise errors.UsageError(f"{remedy}, got {text!r}") from None


def _no_more(word: str, rest: str) -> None:
    if rest:
        raise errors.UsageError(f"{word} takes nothing, got {rest!r}")


@dataclasses.dataclass(frozen=True)
class Command:
    """What a line that begins with / does."""

    usage: str
    meaning: str
    # From the conversation and the rest of the line to the conversation after it, and what to say.
    act: Callable[[Chat, str], tuple[Chat, str]]


COMMANDS = {
    "/shots": Command(
        "/shots [FILE|add Q => A|clear]",
        'show exemplars, add those of a .jsonl file ("inputs", "targets") or one, or forget them',
        _shots,
    ),
    "/cot": Command(
        "/cot [on|off]", "ask for a chain of thought with each question", _step_by_step
    ),
    "/temperature": Command(
        "/temperature T", "sample; 0: the likeliest token each time", _temperature
    ),
    "/beam": Command("/beam N", "search with N beams; 1: none", _beam),
    "/save": Command("/save FILE", "write what was said to a .jsonl or .md file", _save),
    "/reset": Command("/reset", "forget what was said, not the exemplars", _reset),
    "/help": Command("/help", "this", _help),
}
