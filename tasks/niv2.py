# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Natural-Instructions v2 (Wang et al. 2022): one task for each JSON file of a folder.

The folder is named by the environment variable FLAN_JAX_NIV2_DIR when this module is imported, or
by a call of `register`. Half the prompts show the definition alone, a quarter add one explained
positive example, a quarter two exemplars (the released collection's shares). All outputs are
references; one is drawn for training.

Tasks made from MMLU are left out. Every eighth data set or so is held out of `niv2_train` with all
its tasks, for evaluation on tasks never trained on. Negative examples are not used.

The cap is 5,000 examples a task (Chung et al. 2022, App. E).
"""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from flan_jax.collection import registry, spec
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.sources import HeldOutSource, NaturalInstructionsSource, Row
from flan_jax.core.errors import UsageError
from flan_jax.evals import metrics

VARIABLE = "FLAN_JAX_NIV2_DIR"
MIXTURES = ("niv2", "niv2_train", "niv2_heldout")
CAP = 5_000
# Instances of each task kept for validation.
NUM_VALIDATION = 100
# One data set in this many is held out.
HELDOUT_EVERY = 8

TEMPLATES = TemplateGroup("package:tasks/templates/niv2.jsonl")

# The 57 tasks made from MMLU: task664-667 and task685-737, all called mmmlu.
_MMLU = re.compile(r"task(66[4-7]|68[5-9]|69\d|7[0-2]\d|73[0-7])_mmmlu_.*")


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
    return _MMLU.fullmatch(stem) is not None


def is_held_out(stem: str) -> bool:
    """Whether a task is held out, by a hash of its data set's name (the word after its number)."""
    data_set = (stem.split("_") + [stem])[1].lower()
    digest = hashlib.blake2b(data_set.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % HELDOUT_EVERY == 0


def task_name(stem: str) -> str:
    """Returns the registered name of a task file; signs SeqIO does not allow become `_`."""
    return "niv2." + re.sub(r"[^\w.:]", "_", stem)


def task_spec(path: str | os.PathLike) -> spec.TaskSpec:
    """Returns the task of one JSON file; it opens nothing."""
    path = Path(os.path.abspath(path))
    return spec.TaskSpec(
        name=task_name(path.stem),
        family="niv2",
        source=HeldOutSource(NaturalInstructionsSource(str(path)), by="input", most=NUM_VALIDATION),
        fields=fields,
        templates=TEMPLATES,
        cap=CAP,
        settings=((spec.ZS_OPT, 0.5), (spec.FS_OPT, 0.5)),
        metrics=(metrics.rouge_l, metrics.exact_match),
        category="natural_instructions",
        licence="per task: 'Instance License' in its file",
    )


def register(
    directory: str | os.PathLike, *, heldout: Iterable[str] | None = None
) -> dict[str, list[str]]:
    """Registers the tasks of a folder and the mixtures `niv2`, `niv2_train`, `niv2_heldout`.

    It lists the folder and opens no file in it.

    Args:
        directory: a folder of Natural-Instructions JSON files.
        heldout: stems of the files to hold out; None: those that `is_held_out` names.

    Returns:
        The task names of each mixture.

    Raises:
        UsageError: there is no such folder or no task in it, or `heldout` names none of its files.
    """
    stems = _stems(directory)
    if heldout is None:
        out = {stem for stem in stems if is_held_out(stem)}
    else:
        out = set(heldout)
        if unknown := sorted(out - set(stems)):
            raise UsageError(
                f"heldout: {unknown[0]!r} is no task file of {directory}; name stems such as "
                f"{stems[0]!r}"
            )
    for stem in stems:
        registry.add_task(task_spec(Path(directory, f"{stem}.json")))
    chosen = (stems, [s for s in stems if s not in out], [s for s in stems if s in out])
    members = {m: [task_name(s) for s in part] for m, part in zip(MIXTURES, chosen, strict=True)}
    for mixture, names in members.items():
        if names:
            registry.add_mixture(mixture, names)
        else:
            registry.add_unavailable(
                mixture,
                f"none of the {len(stems)} tasks in {directory} falls into it; add tasks, or say "
                "which to hold out: tasks.niv2.register(directory, heldout=[...])",
            )
    return members


def _stems(directory: str | os.PathLike) -> list[str]:
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
    return stems


def _register_at_import() -> None:
    directory = os.environ.get(VARIABLE)
    if directory:
        try:
            register(directory)
        except UsageError as error:
            _all_unavailable(str(error))
    else:
        _all_unavailable(
            f"set the environment variable {VARIABLE} to a folder of Natural-Instructions JSON "
            "files (https://github.com/allenai/natural-instructions, its tasks folder)"
        )


def _all_unavailable(remedy: str) -> None:
    for mixture in MIXTURES:
        registry.add_unavailable(mixture, remedy)


_register_at_import()
