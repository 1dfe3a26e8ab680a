# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A gcloud on PATH that notes its calls and answers by a script: no network, no credentials."""

import json
import os
import shlex
import sys
from pathlib import Path

# A shell's script, as it starts ten times as fast as Python. It notes its words, then goes through
# the answers; each says how often it may still be given.
_PROGRAM = """#!/bin/sh
cd {folder} || exit 9
{{ printf '%s\\037' "$@"; echo; }} >>calls
words="$*"
. ./answers.sh
exit 0
"""
_ANSWER = """read -r left <left.{number}
case $words in {pattern}
if [ "$left" -ne 0 ]; then
  echo $((left - 1)) >left.{number}
  printf %s {out}
  printf %s {err} >&2
  exit {code}
fi
{end}
"""


class FakeGcloud:
    """Puts itself first on PATH, and this Python second.

    Args:
        folder: for its files.
        monkeypatch: pytest's.
    """

    def __init__(self, folder: Path, monkeypatch):
        self._folder, self._num = folder, 0
        program = folder / "gcloud"
        program.write_text(_PROGRAM.format(folder=shlex.quote(str(folder))))
        program.chmod(0o755)
        (folder / "answers.sh").touch()
        own = os.path.dirname(sys.executable)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{own}{os.pathsep}{os.environ['PATH']}")

    def answer(self, of: str, out: str = "", err: str = "", code=0, times=-1) -> None:
        """Adds an answer to calls that hold all of `of`, parts joined by '+'; -1 times: always."""
        self._num += 1
        (self._folder / f"left.{self._num}").write_text(f"{times}\n")
        parts = of.split("+")
        pattern = " case $words in ".join(f"*{shlex.quote(part)}*)" for part in parts)
        with open(self._folder / "answers.sh", "a", encoding="utf-8") as file:
            file.write(
                _ANSWER.format(
                    number=self._num, pattern=pattern, out=shlex.quote(out), err=shlex.quote(err),
                    code=code, end=";; esac " * len(parts),
                )
            )  # fmt: skip

    def states(self, *states: str) -> None:
        """Answers one after the other to `describe`; the last one for good. ABSENT: not found."""
        for index, state in enumerate(states):
            times = 1 if index < len(states) - 1 else -1
            if state == "ABSENT":
                error = "ERROR: (gcloud.compute.tpus.queued-resources.describe) NOT_FOUND: Resource"
                self.answer("describe", err=f"{error} 'xl' was not found\n", code=1, times=times)
                continue
            name, _, message = state.partition(":")
            found = {"state": name} | (
                {"failedData": {"error": {"message": message}}} if message else {}
            )
            self.answer("describe", out=json.dumps({"state": found}), times=times)

    def workers(self, *states: str, node: str = "", times=-1) -> None:
        """Answers to `status` with these states of a node's workers."""
        lines = [f"flan-jax worker {i} of {len(states)}: {s}\n" for i, s in enumerate(states)]
        self.answer(f"worker.sh status+ssh {node}", out="".join(lines), times=times)

    def calls(self) -> list[list[str]]:
        """Returns what it was called with."""
        path = self._folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split("\037")[:-1] for line in lines]

    def verbs(self) -> list[str]:
        """Returns the calls in a word each: create, describe, scp, install, start, status, ..."""
        found = []
        for call in self.calls():
            command = [word for word in call if word.startswith("--command=")]
            found.append(command[0].split()[2] if command else _verb(call))
        return found


def _verb(call: list[str]) -> str:
    return call[1] if call[0] == "storage" else call[3]
