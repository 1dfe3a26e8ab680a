# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a client may ask for: JSON bodies read field by field, and refused in words of HTTP.

No field is passed over: one that is unknown, or asks for what is not done here, is an error that
names it.
"""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, NoReturn

from flan_jax.core import errors

_KINDS = {429: "rate_limit_error"}


class ApiError(errors.FlanError):
    """A refusal, in the form that clients of OpenAI read."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ):
        super().__init__(message)
        self.status, self.param, self.code = status, param, code
        self.headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}

    def as_json(self) -> dict[str, Any]:
        """Returns the body of the reply."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": str(self),
                "type": _KINDS.get(self.status, kind),
                "param": self.param,
                "code": self.code,
            }
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may ask for at most, and all of them together."""

    max_tokens: int = 256  # decoded, for one answer
    max_answers: int = 64  # of a request: prompts times samples or beams; choices to be scored
    max_pending: int = 256  # answers in work or waiting, of all requests
    max_body_bytes: int = 1 << 20
    timeout_s: float = 300.0  # for a request and its reply

    def __post_init__(self):
        if self.max_pending < self.max_answers:
            raise errors.UsageError(
                f"Limits.max_pending {self.max_pending} is below max_answers {self.max_answers}, "
                "which one request may ask for; change one"
            )


class Fields:
    """The fields of a request, taken one by one; null stands for a field's default."""

    def __init__(self, body: bytes):
        self._left = _parse(body)
        self._known: list[str] = []

    def take(self, name: str, default: Any = None) -> Any:
        """Returns a field's value, whatever it is."""
        self._known.append(name)
        value = self._left.pop(name, None)
        return default if value is None else value

    def integer(self, name: str, default: int | None, low: int, high: int) -> Any:
        """Returns a whole number within `[low, high]`, or the default, which may be None."""
        value = self.take(name, default)
        if value is None:
            return None
        if type(value) is not int or not low <= value <= high:
            _refuse(name, f"must be a whole number from {low} to {high}", value)
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """Returns a number within `[low, high]`."""
        value = self.take(name, default)
        if type(value) not in (int, float) or not low <= value <= high:
            _refuse(name, f"must be a number from {low:g} to {high:g}", value)
        return float(value)

    def flag(self, name: str) -> bool:
        """Returns true or false; the default is false."""
        value = self.take(name, False)
        if type(value) is not bool:
            _refuse(name, "must be true or false", value)
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """Returns a text; one without a default is required."""
        value = self.take(name, default)
        if value is None:
            raise ApiError(400, f"{name} is missing; it must be a text", param=name)
        return checked_text(name, value)

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        """Returns a list of texts, of which none is empty; one text stands for a list of it."""
        value = self.take(name, [])
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or len(value) > most:
            _refuse(name, f"must be a text or a list of at most {most} texts", value)
        for i, text in enumerate(value):
            if not checked_text(f"{name}[{i}]", text):
                raise ApiError(400, f"{name}[{i}] is empty; leave it out", param=name)
        return tuple(value)

    def only(self, name: str, harmless: Sequence[Any], what: str) -> None:
        """Takes a field that changes nothing as long as it has one of these values."""
        value = self.take(name)
        if value is not None and value not in harmless:
            _refuse(name, f"{what} is not supported; leave it out", value)

    def ignore(self, name: str) -> None:
        """Takes a field that says nothing about the answer."""
        self.take(name)

    def finish(self) -> None:
        """Raises an `ApiError` for a field that nobody took."""
        for name in self._left:
            near = errors.closest(name[:80], self._known, num=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self._known)}"
            param = name if name.isprintable() and len(name) <= 80 else None
            raise ApiError(
                400, f"unknown field {_shown(name)}; {hint}", param=param, code="unknown_field"
            )


def prompts_of(fields: Fields, limits: Limits, vocab_size: int) -> list[str | tuple[int, ...]]:
    """Returns the prompts in the field `prompt`: one or several, each a text or token ids."""
    value = fields.take("prompt")
    if value is None:
        raise ApiError(
            400, "prompt is missing; give a text, token ids, or a list of these", param="prompt"
        )
    if isinstance(value, str) or (isinstance(value, list) and value and _is_id(value[0])):
        value = [value]
    if not isinstance(value, list) or not value:
        _refuse("prompt", "must be a text, token ids, or a list of these", value)
    if len(value) > limits.max_answers:
        raise ApiError(
            400,
            f"prompt has {len(value)} prompts; a request may have {limits.max_answers}",
            param="prompt",
        )
    return [_prompt(f"prompt[{i}]", prompt, vocab_size) for i, prompt in enumerate(value)]


def _prompt(name: str, value: Any, vocab_size: int) -> str | tuple[int, ...]:
    if isinstance(value, str):
        return checked_text(name, value, param="prompt")
    if not isinstance(value, list) or not value or not all(map(_is_id, value)):
        _refuse(name, "must be a text or a list of token ids", value, param="prompt")
    for token in value:
        if not 0 <= token < vocab_size:
            _refuse(name, f"must hold token ids from 0 to {vocab_size - 1}", token, param="prompt")
    return tuple(value)


def _is_id(value: Any) -> bool:
    return type(value) is int


def checked_text(name: str, value: Any, param: str | None = None) -> str:
    """Returns a value, if it is a text that has a place in UTF-8."""
    param = param or name.partition("[")[0]
    if not isinstance(value, str):
        _refuse(name, "must be a text", value, param=param)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ApiError(
            400,
            f"{name} is no valid Unicode: half of a surrogate pair at character {error.start}",
            param=param,
        ) from None
    return value


def _parse(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body.decode(), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise ApiError(400, f"the body is no UTF-8 text: byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ApiError(
            400, f"the body is no JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except RecursionError:
        raise ApiError(400, "the body is JSON nested too deeply to be read") from None
    except ValueError as error:  # a number of thousands of digits, NaN
        raise ApiError(400, f"the body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ApiError(400, f"the body must be a JSON object, got {_shown(found)}")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _refuse(name: str, rule: str, value: Any, *, param: str | None = None) -> NoReturn:
    raise ApiError(400, f"{name} {rule}, got {_shown(value)}", param=param or name)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
