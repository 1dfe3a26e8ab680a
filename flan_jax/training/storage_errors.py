# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What Orbax, TensorStore and the operating system say where a checkpoint fails, in one line."""

import errno
import functools
import logging
import os
import sys
from typing import Any


@functools.cache
def quiet_orbax() -> None:
    """Keeps stack traces of errors that Orbax also raises off the terminal.

    Orbax logs them. When one write of a save fails it closes its event loop; the others, failing
    after it, find it closed or end as tasks that nobody asks for: asyncio and Python tell of each.
    """
    logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
    logging.getLogger("asyncio").addFilter(lambda record: "orbax" not in record.getMessage())
    report = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        code = getattr(unraisable.object, "cr_code", None)
        is_orbax = code is not None and "orbax" in code.co_filename
        if not is_orbax and str(unraisable.exc_value) != "Event loop is closed":
            report(unraisable)

    sys.unraisablehook = hook


def in_one_line(error: BaseException) -> str:
    """Returns an error's message as one line; of a long one its start and what says the most.

    Orbax's errors name no file, those that they came from do. TensorStore repeats the whole
    specification of an array in some messages; what the operating system said stands anywhere.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    if len(text) <= 240:
        return text
    said = next((s for s in map(os.strerror, sorted(errno.errorcode)) if s in text), "")
    end = text.find(said) + len(said) if said else len(text)
    return f"{text[:80]} ... {text[max(80, end - 150) : end]}".rstrip()
