# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A gcloud on PATH that notes its calls and answers by a script: no network, no credentials."""

import json
import os
import stat
import sys
from pathlib import Path

# Answers with the first line of the script that fits and was not used up; else with nothing.
_PROGRAM = """#!{python} -IS
import json, sys

folder, words = {folder!r}, " ".join(sys.argv[1:])
with open(folder + "/calls.jsonl", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + chr(10))
with open(folder + "/answers.json") as file:
    answers = json.load(file)
for answer in answers:
    if all(part in words for part in answer["of"].split("+")) and answer["times"] != 0:
        answer["times"] -= 1
        with open(folder + "/answers.json", "w") as file:
            json.dump(answers, file)
        sys.stdout.write(answer["out"])
        sys.stderr.write(answer["err"])
        sys.exit(answer["code"])
"""


class FakeGcloud:
    """Puts itself first on PATH.

    Args:
        folder: for its files.
        monkeypatch: pytest's.
    """

    def __init__(self, folder: Path, monkeypatch):
        self._folder, self._answers = folder, []
        program = folder / "gcloud"
        program.write_text(_PROGRAM.format(python=sys.executable, folder=str(folder)))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        own = os.path.dirname(sys.executable)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{own}{os.pathsep}{os.environ['PATH']}")
        self.answer()

    def answer(self, of: str | None = None, out: str = "", err: str = "", code=0, times=-1) -> None:
        """Adds an answer to calls that hold all of `of`, parts joined by '+'."""
        if of is not None:
            self._answers.append({"of": of, "out": out, "err": err, "code": code, "times": times})
        (self._folder / "answers.json").write_text(json.dumps(self._answers))

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
        path = self._folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def verbs(self) -> list[str]:
        """Returns the calls in a word each: create, describe, scp, install, start, status, ..."""
        found = []
        for call in self.calls():
            command = [word for word in call if word.startswith("--command=")]
            found.append(command[0].split()[2] if command else _verb(call))
        return found


def _verb(call: list[str]) -> str:
    return call[1] if call[0] == "storage" else call[3]
