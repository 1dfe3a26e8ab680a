# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The playground: one HTML page that loads nothing, and may talk to its own server only.

Its script asks the same addresses as any other client, and puts text in as text.
"""

import functools
import json
import secrets
from importlib import resources

import jinja2
import markupsafe
from starlette.responses import HTMLResponse, Response

import flan_jax
from flan_jax.evals.answers import POSTPROCESSORS
from flan_jax.serving import openai_api
from flan_jax.serving.model import ServedModel
from flan_jax.serving.requests import Limits


def response(model: ServedModel, limits: Limits) -> Response:
    """Returns the page; only the style and the script that stand in it may run."""
    nonce = secrets.token_urlsafe(16)
    settings = {
        "model": model.name,
        "continues_prompts": model.continues_prompts,
        "max_tokens": limits.max_tokens,
        "max_answers": limits.max_answers,
        "max_temperature": openai_api.MAX_TEMPERATURE,
        "max_alternatives": openai_api.MAX_LOGPROBS,
        "rules": sorted(POSTPROCESSORS),
    }
    text = _template().render(
        nonce=nonce, settings=embed(settings), model=model.name, version=flan_jax.__version__
    )
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})


def embed(value: object) -> markupsafe.Markup:
    """Returns JSON that may stand in a script element."""
    return markupsafe.Markup(json.dumps(value).translate(_ESCAPES))


_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("playground.html.j2")


def _source(name: str) -> str:
    folder = resources.files("flan_jax.serving").joinpath("templates")
    return folder.joinpath(name).read_text(encoding="utf-8")
