# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Prompts of several exchanges: exemplars, what was said before, and the question at the end.

A checkpoint that brings a chat template (Jinja) has its prompts phrased by it. For all others a
question alone is the prompt, as in zero-shot finetuning, and with exchanges before it the prompt is

    Q: <question>
    A: <answer>

    Q: <the question>
    A:
"""

import dataclasses
import types
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from flan_jax.core import errors
from flan_jax.inference import prompt_files

STEP_BY_STEP = "Let's think step by step."
"""Asks for a chain of thought without exemplars (Kojima et al. 2022, arXiv 2205.11916)."""


@dataclasses.dataclass(frozen=True)
class Exchange:
    """A question and its answer."""

    question: str
    answer: str


# What somebody said: a `role` and a `content`, as chat templates have it.
Message = Mapping[str, str]

# From exchanges and the question after them to a prompt.
Phrase = Callable[[Sequence[Exchange], str], str]


def plain(exchanges: Sequence[Exchange], question: str) -> str:
    r"""Returns the prompt for a checkpoint without a chat template.

    Example:
        >>> plain([Exchange("1+1?", "2")], "1+2?")
        'Q: 1+1?\nA: 2\n\nQ: 1+2?\nA:'
    """
    if not exchanges:
        return question
    before = "".join(f"Q: {e.question}\nA: {e.answer}\n\n" for e in exchanges)
    return f"{before}Q: {question}\nA:"


def templated(
    template: str, place: str, tokens: Mapping[str, str] = types.MappingProxyType({})
) -> Phrase:
    """Returns the function that phrases prompts by a chat template; `plain` for an empty one.

    Args:
        template: as of `renderer`, as are the others.
        place: where it was found, for messages.
        tokens: what else it may name.

    Raises:
        DataError: it is no template; the function raises it where the template fails.
    """
    if not template:
        return plain
    render = renderer(template, place, tokens)

    def phrase(exchanges: Sequence[Exchange], question: str) -> str:
        messages = []
        for exchange in exchanges:
            messages.append({"role": "user", "content": exchange.question})
            messages.append({"role": "assistant", "content": exchange.answer})
        messages.append({"role": "user", "content": question})
        return render(messages, True)

    return phrase


def renderer(
    template: str, place: str, tokens: Mapping[str, str] = types.MappingProxyType({})
) -> Callable[[Sequence[Message], bool], str]:
    """Returns the function that renders messages by a chat template.

    It takes the messages, and whether an answer is to begin at the end. Templates come with
    checkpoints, so they run in a sandbox, as in transformers.

    Args:
        template: in Jinja, of `messages` with a role and a content.
        place: where it was found, for messages.
        tokens: what else it may name, such as `bos_token`; the rest is empty, as in transformers.

    Raises:
        DataError: it is no template; the function raises it where the template fails.
    """
    import jinja2
    from jinja2 import sandbox

    def fail(message: str) -> NoReturn:
        raise jinja2.TemplateError(message)

    def broken(error: Exception) -> errors.DataError:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return errors.DataError(
            f"the chat template of {place} fails ({reason}); do without it (--raw)"
        )

    environment = sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = fail
    try:
        compiled = environment.from_string(template)
    except Exception as error:  # a template is a program: it may fail in any way
        raise broken(error) from None

    def render(messages: Sequence[Message], begins_answer: bool) -> str:
        try:
            prompt = compiled.render(
                messages=list(messages), add_generation_prompt=begins_answer, **tokens
            )
            prompt.encode()  # half a pair of surrogates has no UTF-8, thus no tokens
        except Exception as error:
            raise broken(error) from None
        return prompt

    return render


def step_by_step(question: str) -> str:
    """Returns a question that asks for a chain of thought."""
    return f"{question}\n{STEP_BY_STEP}"


def fitting(
    phrase: Phrase,
    num_tokens: Callable[[str], int],
    max_length: int,
    *,
    shots: Sequence[Exchange],
    turns: Sequence[Exchange],
    question: str,
) -> tuple[str, int]:
    """Returns a prompt of at most `max_length` tokens, and how many turns it had to leave out.

    The oldest turns are left out; never an exemplar or a part of the question.

    Args:
        phrase: makes the prompt.
        num_tokens: of a prompt.
        max_length: what the model takes.
        shots: exemplars, before the turns.
        turns: the exchanges so far, oldest first.
        question: the question to answer.

    Raises:
        UsageError: exemplars and question alone are longer.
    """
    for num_dropped in range(len(turns) + 1):
        prompt = phrase([*shots, *turns[num_dropped:]], question)
        if (length := num_tokens(prompt)) <= max_length:
            return prompt, num_dropped
    what = f"the question and {len(shots)} exemplar(s) are" if shots else "the question is"
    raise errors.UsageError(
        f"{what} {length} tokens, the model takes {max_length}; shorten them, or raise "
        "--max_input_length"
    )


def read_exchanges(path: str) -> list[Exchange]:
    """Returns the exemplars of a JSON-lines file of objects with `inputs` and `targets`.

    Raises:
        UsageError: there is no such file.
        DataError: it is malformed, or empty.
    """
    rows = prompt_files.read_rows(path, ("inputs", "targets"))
    return [Exchange(row["inputs"], row["targets"]) for row in rows]


def parse_exchange(text: str) -> Exchange:
    """Returns the exchange that `question => answer` says.

    Raises:
        UsageError: it is none.
    """
    question, arrow, answer = (part.strip() for part in text.partition("=>"))
    if not (question and arrow and answer):
        raise errors.UsageError(f"{text!r} is no exemplar; write QUESTION => ANSWER")
    return Exchange(question, answer)


def as_markdown(exchanges: Sequence[Exchange]) -> str:
    """Returns a transcript for people."""
    return "\n".join(f"**Q:** {e.question}\n\n**A:** {e.answer}\n" for e in exchanges)
