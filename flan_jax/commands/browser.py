# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The collection browser: one HTML page that holds its data, its style and its script.

The data (flan_jax/collection/browsing.py) stands in the page once, as JSON that no HTML parser can
mistake for a tag; the script makes elements of it when they are looked at, and puts text in as
text. The page's own content policy forbids it to load anything. The same data gives the same bytes.
"""

import os
from typing import Any

import flan_jax
from flan_jax.core import files, pages


def write_page(data: dict[str, Any], path: str | os.PathLike) -> int:
    """Writes the page, whole or not at all; returns its size in bytes."""
    page = render_page(data).encode()
    with files.atomic_open(path, "wb") as file:
        file.write(page)
    return len(page)


def render_page(data: dict[str, Any]) -> str:
    """Returns the page of what `browsing.collect` gives."""
    page = pages.template("flan_jax.commands", "browser.html.j2")
    return page.render(title=data["title"], version=flan_jax.__version__, data=pages.embed(data))
