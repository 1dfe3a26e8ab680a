# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What storage libraries say at length becomes one line that says the most."""

import pytest

from flan_jax.training import storage_errors


@pytest.mark.parametrize("code", [" [os_error_code='27']", "", " [source='file.cc:1'] [code='27']"])
def test_a_long_message_keeps_what_the_operating_system_said(code):
    """TensorStore may say it before hundreds of characters of an array's specification."""
    specification = f"[tensorstore_spec='{{{'x' * 300}}}']"
    said = "Failed to write 1142614 bytes to file 9: File too large"
    message = (
        f'OUT_OF_RANGE: Error opening "zarr" driver: {"writing " * 30}: {said}{code} '
        f"{specification}"
    )
    reason = storage_errors.in_one_line(ValueError(message))
    assert reason.startswith("OUT_OF_RANGE: Error opening")
    assert reason.endswith(said)
    assert len(reason) <= 240
