# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The playground: one HTML page that loads nothing, and may talk to its own server only.

Its script asks the same addresses as any other client, and puts text in as text.
"""

import secrets

from starlette.responses import HTMLResponse, Response

import flan_jax
from flan_jax.core import pages
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
    page = pages.template("flan_jax.serving", "playground.html.j2")
    text = page.render(
        nonce=nonce, settings=pages.embed(settings), model=model.name, version=flan_jax.__version__
    )
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})
