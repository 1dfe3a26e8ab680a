# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The playground's page: one document that loads nothing, and lets only its own script run."""

import html.parser
import json
import re

import pytest

pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from flan_jax.serving import page
from flan_jax.serving.requests import Limits
from tests.serving.tiny_servers import SpelledModel


class Elements(html.parser.HTMLParser):
    """Attributes and text of every element, by tag."""

    def __init__(self, text):
        super().__init__()
        self.found, self._open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes), []))
        self._open.append(self.found[-1])

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self._open:
            self._open[-1][2].append(data)


def rendered(name="tiny"):
    reply = page.response(SpelledModel(name=name), Limits())
    return reply.body.decode(), reply.headers["content-security-policy"]


def test_only_its_own_style_and_script_may_run():
    text, policy = rendered()
    [nonce] = set(re.findall(r"'nonce-([\w-]+)'", policy))
    elements = Elements(text).found
    carriers = [attributes.get("nonce") for tag, attributes, _ in elements if tag == "style"]
    carriers += [
        attributes.get("nonce")
        for tag, attributes, _ in elements
        if tag == "script" and attributes.get("type") != "application/json"
    ]
    assert carriers == [nonce, nonce]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert re.search(r"nonce-([\w-]+)", rendered()[1])[1] != nonce


def test_it_loads_nothing_and_has_no_handlers_or_styles_in_its_elements():
    for tag, attributes, _ in Elements(rendered()[0]).found:
        assert "style" not in attributes and not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)


def test_a_hostile_name_stays_text():
    name = "</script><img src=x onerror=alert(1)>&\"'"
    elements = Elements(rendered(name)[0]).found
    assert "img" not in [tag for tag, _, _ in elements]
    [heading] = [text for tag, _, text in elements if tag == "h1"]
    assert "".join(heading) == name
    [settings] = [text for tag, attributes, text in elements if attributes.get("id") == "settings"]
    assert json.loads("".join(settings))["model"] == name
