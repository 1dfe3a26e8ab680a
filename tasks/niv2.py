# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Natural-Instructions v2 (Wang et al. 2022): one task for each JSON file.

Importing this registers the 1,556 released tasks (niv2_tasks.csv) and the mixture `niv2` of all of
them. Their files are looked for, when a task is read, in the folder that the environment variable
FLAN_JAX_NIV2_DIR names. If it is set on import, the folder is listed for two more mixtures:
`niv2_train`, the tasks that are there, and `niv2_heldout`, every eighth data set or so with all its
tasks, for evaluation on tasks never trained on. Files that are not of the release are in these two.
For curves over numbers of tasks, `niv2_train_4`, `niv2_train_16` and `niv2_train_64` hold so many
of `niv2_train`, of as many kinds as can be (`spread`); each contains the one before.

Half the prompts show the definition alone, a quarter add one explained positive example, a quarter
two exemplars (the released collection's shares). All outputs are references; one is drawn for
training. Negative examples are not used.

The tasks made from MMLU (niv2_mmlu.txt) are left out. The cap is per task.
"""

import collections
import csv
import dataclasses
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from flan_jax.collection import registry, spec
from flan_jax.collection.parsing import Malformed
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.sources import (
    HeldOutSource,
    NaturalInstructionsSource,
    Row,
    Source,
    read_lines,
    resolve,
)
from flan_jax.core.errors import UsageError
from flan_jax.evals import metrics
from tasks import paper

VARIABLE = "FLAN_JAX_NIV2_DIR"
FAMILY = "niv2"
MIXTURE = "niv2"
FOLDER_MIXTURES = ("niv2_train", "niv2_heldout")
# Number of tasks -> the mixture of so many of `niv2_train`.
NESTED_MIXTURES = {size: f"niv2_train_{size}" for size in (4, 16, 64)}
# Instances of each task kept for validation.
NUM_VALIDATION = 100
# One data set in this many is held out.
HELDOUT_EVERY = 8

TEMPLATES = TemplateGroup("package:tasks/templates/niv2.jsonl")

_FETCH = "https://github.com/allenai/natural-instructions, its tasks folder"
_UNSET = (
    f"set the environment variable {VARIABLE} to a folder of Natural-Instructions JSON files "
    f"({_FETCH})"
)


class Released(NamedTuple):
    """A task of the release."""

    # Its file's name without `.json`.
    stem: str
    # As the release declares them; the files may hold a few more or less.
    num_examples: int
    category: str
    languages: tuple[str, ...]


def task_name(stem: str) -> str:
    """Returns the registered name of a task file; signs SeqIO does not allow become `_`."""
    return f"{FAMILY}." + re.sub(r"[^\w.:]", "_", stem)


def _read_released() -> dict[str, Released]:
    lines = read_lines(resolve("package:tasks/niv2_tasks.csv"))
    return {
        task_name(row["task"]): Released(
            row["task"], int(row["num_examples"]), row["category"],
            tuple(row["languages"].split(";")),
        )
        for row in csv.DictReader(lines)
    }  # fmt: skip


# By registered name, which is one for both spellings of a file's name.
RELEASED = _read_released()
# The stems of the tasks made from MMLU.
MMLU = frozenset(read_lines(resolve("package:tasks/niv2_mmlu.txt")))


@dataclasses.dataclass(frozen=True)
class ReleasedSource:
    """The file of a released task, in the folder that FLAN_JAX_NIV2_DIR names when it is read.

    Copies of the release spell `_` for the `-` in 41 file names: where the file is not there under
    its own name, that one is taken.
    """

    stem: str

    def num_rows(self, split: str) -> int:
        """Returns the number of well-formed instances."""
        return self._file.num_rows(split)

    def rows(self, split: str) -> Iterator[tuple[int, Row | Malformed]]:
        """Yields (instance index, row)."""
        return self._file.rows(split)

    def fingerprint(self, split: str) -> str:
        """Returns the SHA-256 of the file."""
        return self._file.fingerprint(split)

    def missing(self) -> str | None:
        """Returns None if the file is there, else why not: in the same words for every task."""
        if not (folder := os.environ.get(VARIABLE)):
            return _UNSET
        if self._find(folder):
            return None
        if not os.path.isdir(folder):
            return f"there is no folder {folder}, which {VARIABLE} names; correct it"
        return f"no file of this name is in {folder} ({VARIABLE}); get it from {_FETCH}"

    @property
    def _file(self) -> NaturalInstructionsSource:
        folder = os.environ.get(VARIABLE)
        path = self._find(folder) if folder else None
        if path is None:
            raise UsageError(f"task {task_name(self.stem)!r}: {self.missing()}")
        return NaturalInstructionsSource(path)

    def _find(self, folder: str) -> str | None:
        for stem in dict.fromkeys((self.stem, _respelled(self.stem))):
            path = os.path.join(folder, f"{stem}.json")
            if os.path.isfile(path):
                return path
        return None


def fields(row: Row) -> spec.Fields:
    """Returns definition, input, output (one of several) and an explained positive example."""
    outputs = [output for output in dict.fromkeys(row["outputs"]) if output.strip()]
    if not outputs:
        raise spec.Drop("empty output")
    if not row["input"].strip():
        raise spec.Drop("empty input")
    return {
        "definition": row["definitions"],
        "input": row["input"],
        "output": outputs,
        "ex": [
            example
            for example in row["positives"]
            if all(text.strip() for text in example.values()) and example["input"] != row["input"]
        ],
    }


def is_mmlu(stem: str) -> bool:
    """Whether a task was made from MMLU, on which models are to be evaluated."""
    return stem in MMLU


def is_held_out(stem: str) -> bool:
    """Whether a task is held out, by a hash of its data set's name (the word after its number)."""
    return _number_of(_data_set(stem)) % HELDOUT_EVERY == 0


def spread(stems: Iterable[str], num: int) -> list[str]:
    """Returns the first `num` tasks of an order in which any first few are of many kinds.

    The next is always one of the category that has had the fewest tasks so far, among these one of
    the data set with the fewest; a hash of its name decides the rest. Giving the names in another
    order, or leaving out some that come later, changes nothing before them.
    """
    rest = {
        stem: (("category", _category(stem)), ("data set", _data_set(stem)))
        for stem in sorted(stems, key=lambda stem: (_number_of(stem), stem))
    }
    num_of: collections.Counter[tuple[str, str]] = collections.Counter()
    order: list[str] = []
    while rest and len(order) < num:
        chosen = min(rest, key=lambda stem: tuple(num_of[kind] for kind in rest[stem]))
        num_of.update(rest.pop(chosen))
        order.append(chosen)
    return order


def task_spec(path: str | os.PathLike) -> spec.TaskSpec:
    """Returns the task of one JSON file; it opens nothing."""
    path = Path(os.path.abspath(path))
    return _task_spec(path.stem, NaturalInstructionsSource(str(path)))


def released_spec(name: str) -> spec.TaskSpec:
    """Returns the task of a name in `RELEASED`; it opens nothing."""
    stem = RELEASED[name].stem
    return _task_spec(stem, ReleasedSource(stem))


def register(
    directory: str | os.PathLike, *, heldout: Iterable[str] | None = None
) -> dict[str, list[str]]:
    """Registers what a folder has: its tasks, and `niv2_train`, `niv2_heldout`, `niv2_train_4` ...

    It lists the folder and opens no file in it. The released tasks are registered already; from
    now on they are read from this folder, as FLAN_JAX_NIV2_DIR is set to it (and so in processes
    that this one starts).

    Args:
        directory: a folder of Natural-Instructions JSON files.
        heldout: stems of the files to hold out; None: those that `is_held_out` names.

    Returns:
        The task names of `niv2_train` and `niv2_heldout`.

    Raises:
        UsageError: there is no such folder or no task in it, or `heldout` names none of its files.
    """
    stems = _stems(directory)
    if heldout is None:
        out = {stem for stem in stems if is_held_out(stem)}
    else:
        out = {_own_spelling(stem) for stem in heldout}
        if unknown := sorted(out - set(stems)):
            raise UsageError(
                f"heldout: {unknown[0]!r} is no task file of {directory}; name stems such as "
                f"{stems[0]!r}"
            )
    for stem in stems:
        if task_name(stem) in RELEASED:
            registry.add_task(released_spec(task_name(stem)))
        else:
            registry.add_task(task_spec(Path(directory, f"{stem}.json")))
    parts = ([s for s in stems if s not in out], [s for s in stems if s in out])
    members = {
        mixture: [task_name(stem) for stem in part]
        for mixture, part in zip(FOLDER_MIXTURES, parts, strict=True)
    }
    for mixture, names in members.items():
        if names:
            registry.add_mixture(mixture, names)
        else:
            registry.add_unavailable(
                mixture,
                f"none of the {len(stems)} tasks in {directory} falls into it; add tasks, or say "
                "which to hold out: tasks.niv2.register(directory, heldout=[...])",
            )
    nested = [task_name(stem) for stem in spread(parts[0], max(NESTED_MIXTURES))]
    for size, mixture in NESTED_MIXTURES.items():
        if size <= len(nested):
            registry.add_mixture(mixture, nested[:size])
        else:
            registry.add_unavailable(
                mixture,
                f"niv2_train has only {len(nested)} task(s) of {directory}; use it, or add tasks",
            )
    if os.environ.get(VARIABLE) != str(directory):
        os.environ[VARIABLE] = os.path.abspath(directory)
    return members


def _task_spec(stem: str, source: Source) -> spec.TaskSpec:
    return spec.TaskSpec(
        name=task_name(stem),
        family=FAMILY,
        source=HeldOutSource(source, by="input", most=NUM_VALIDATION),
        fields=fields,
        templates=TEMPLATES,
        cap=paper.CAPS[FAMILY],
        settings=paper.SETTINGS_NIV2,
        metrics=(metrics.rouge_l, metrics.exact_match),
        category=_category(stem),
        licence="per task: 'Instance License' in its file",
        few_shot=paper.FEW_SHOT,
    )


def _category(stem: str) -> str:
    released = RELEASED.get(task_name(stem))
    return released.category if released else "natural_instructions"


def _data_set(stem: str) -> str:
    """Returns the word after a task's number: for most the name of the data set it is made of."""
    return (stem.split("_") + [stem])[1].lower()


def _number_of(text: str) -> int:
    """Returns a number that looks random and is the same everywhere."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _respelled(stem: str) -> str:
    """Returns the second spelling of a file's name; the first itself for most."""
    return stem.replace("-", "_")


def _own_spelling(stem: str) -> str:
    """Returns the stem as the release spells it; as it is if it is not of the release."""
    released = RELEASED.get(task_name(stem))
    return released.stem if released and stem == _respelled(released.stem) else stem


def _stems(directory: str | os.PathLike) -> list[str]:
    """Returns the stems of a folder's task files, the released ones in their own spelling."""
    try:
        names = os.listdir(directory)
    except OSError as error:
        raise UsageError(
            f"folder of Natural-Instructions tasks {directory}: {error.strerror}; correct "
            f"{VARIABLE}"
        ) from None
    stems = [name.removesuffix(".json") for name in names if name.endswith(".json")]
    stems = sorted(stem for stem in stems if not is_mmlu(stem))
    if not stems:
        raise UsageError(
            f"folder of Natural-Instructions tasks {directory}: no task*.json file in it; correct "
            f"{VARIABLE}"
        )
    taken: dict[str, str] = {}
    for stem in stems:
        if (other := taken.setdefault(task_name(stem), stem)) != stem:
            raise UsageError(
                f"{directory}: {other}.json and {stem}.json would both be task "
                f"{task_name(stem)!r}; rename one"
            )
    return sorted(map(_own_spelling, stems))


def _register_at_import() -> None:
    for name in RELEASED:
        registry.add_task(released_spec(name))
    registry.add_mixture(MIXTURE, list(RELEASED))
    remedy = _UNSET
    if directory := os.environ.get(VARIABLE):
        try:
            register(directory)
            return
        except UsageError as error:
            remedy = str(error)
    for mixture in (*FOLDER_MIXTURES, *NESTED_MIXTURES.values()):
        registry.add_unavailable(mixture, remedy)


_register_at_import()
