# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The collection browser: one HTML page that holds its data, its style and its script.

The data (flan_jax/collection/browsing.py) stands in the page once, as JSON that no HTML parser can
mistake for a tag; the script makes elements of it when they are looked at, and puts text in as
text. The page's own content policy forbids it to load anything. The same data gives the same bytes.
"""

import os
import re
from importlib import resources
from typing import Any

import jinja2
import markupsafe

import flan_jax
from flan_jax.core import files

# Signs that may end a script element, or a line of one.
_UNSAFE = re.compile("[<>&\u2028\u2029]")
# Halves of pairs, such as a file's odd name may hold; UTF-8 cannot, and browsers fail on them.
_SURROGATE = re.compile("[\ud800-\udfff]")


def write_page(data: dict[str, Any], path: str | os.PathLike) -> int:
    """Writes the page, whole or not at all; returns its size in bytes."""
    page = render_page(data).encode()
    with files.atomic_open(path, "wb") as file:
        file.write(page)
    return len(page)


def render_page(data: dict[str, Any]) -> str:
    """Returns the page of what `browsing.collect` gives."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("browser.html.j2")
    return page.render(
        title=data["title"], version=flan_jax.__version__, data=markupsafe.Markup(embed(data))
    )


def embed(data: Any) -> str:
    """Returns JSON that may stand in a script element: parsed, it is `data` again.

    Only half a surrogate pair, which is no character, becomes U+FFFD.
    """
    text = _SURROGATE.sub("\ufffd", files.dumps(data))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _template(name: str) -> str:
    folder = resources.files("flan_jax.commands").joinpath("templates")
    return folder.joinpath(name).read_text(encoding="utf-8")
