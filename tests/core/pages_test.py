# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Data in HTML pages can end no element, and is itself again when parsed."""

import json
import re

import pytest

from flan_jax.core import pages


@pytest.mark.parametrize(
    "value", ["</script>", "<!--", "\u2028\u2029", "a\\u003cb", '"', "'", "\x00", "\U0001f600"]
)
def test_embedded_json_is_the_value_again_and_can_be_written(value):
    embedded = pages.embed([value])
    assert json.loads(embedded) == [value]
    assert not re.search("[<>&\u2028\u2029]", embedded)


def test_half_a_surrogate_pair_does_not_stop_the_page():
    assert json.loads(pages.embed(["a\ud800b"]).encode()) == ["a\ufffdb"]
