# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files of a store, finished or not, to compare one build with another."""

import hashlib


def contents(root):
    """Every file of a store by its content, but for the lock."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def written_at(root):
    """When each task's split was written, finished parts of an unfinished build among them."""
    return {path.parts[-3:-1]: path.stat().st_mtime_ns for path in root.rglob("tokens.bin")}
