# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""HTML pages that hold all that they need: their templates, and data for their scripts."""

import re
from collections.abc import Callable
from importlib import resources
from typing import Any

import jinja2
import markupsafe

from flan_jax.core import files

# Signs that may end a script element, or a line of one.
_UNSAFE = re.compile("[<>&\u2028\u2029]")
# Halves of pairs, such as a file's odd name may hold; UTF-8 cannot, and browsers fail on them.
_SURROGATE = re.compile("[\ud800-\udfff]")


def template(package: str, name: str, **filters: Callable[[Any], str]) -> jinja2.Template:
    """Returns a template of a package's folder `templates`, which may include others of it.

    `filters` are those that the template uses besides Jinja's own.
    """

    def source(name: str) -> str:
        folder = resources.files(package).joinpath("templates")
        return folder.joinpath(name).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(name)


def embed(data: Any) -> markupsafe.Markup:
    """Returns JSON that may stand in a script element: parsed, it is `data` again.

    Only half a surrogate pair, which is no character, becomes U+FFFD.
    """
    text = _SURROGATE.sub("\ufffd", files.dumps(data))
    return markupsafe.Markup(_UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text))
