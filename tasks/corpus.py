# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Text corpora as tasks: span corruption, LM adaptation, and UL2's mixtures of denoisers.

`corpus.*` read the folder that the environment variable FLAN_JAX_CORPUS_DIR names. `mini_corpus.*`
read an embedded corpus: the prompts of the mini collection's training tasks, without their targets.
Importing registers both and opens nothing.
"""

import functools
import os

from flan_jax.collection import registry, rendering
from flan_jax.collection.spec import TRAIN, VALIDATION
from flan_jax.data import corpus, corruption
from flan_jax.data.corpus import Documents, FolderDocuments, GeneratedDocuments
from tasks.mini import catalogue
from tasks.mini import tasks as mini_tasks

VARIABLE = "FLAN_JAX_CORPUS_DIR"
FOLDER, MINI = "corpus", "mini_corpus"
DENOISERS = (corruption.T5_SPANS, corruption.PREFIX_LM, *corruption.UL2, *corruption.UL2R)
MIXTURES = {"ul2": corruption.UL2, "ul2r": corruption.UL2R}
# Documents of each training task of the mini collection, at most, by split.
NUM_MINI_DOCUMENTS = {TRAIN: 64, VALIDATION: 4}


@functools.cache  # as many tasks read it as there are denoisers
def mini_documents(split: str) -> tuple[str, ...]:
    """Returns prompts of the mini collection's training tasks, the tasks taking turns."""
    limit = NUM_MINI_DOCUMENTS[split]
    by_task = [
        [
            row.inputs
            for row in rendering.render_task(mini_tasks.task_spec(entry), split, 0, limit=limit)
            if isinstance(row, rendering.Rendered)
        ]
        for entry in catalogue.training()
    ]
    return tuple(text for turn in zip(*by_task, strict=True) for text in turn)


def register(name: str, documents: Documents) -> list[str]:
    """Registers a corpus as `<name>.<denoiser>` and `<name>.<mixture>`; returns these names."""
    tasks = [corpus.add_task(f"{name}.{d.name}", documents, d).name for d in DENOISERS]
    for mixture, denoisers in MIXTURES.items():
        registry.add_mixture(
            f"{name}.{mixture}", [(f"{name}.{d.name}", d.share) for d in denoisers]
        )
    return [*tasks, *(f"{name}.{mixture}" for mixture in MIXTURES)]


def _register_at_import() -> None:
    register(MINI, GeneratedDocuments(mini_documents, version=mini_tasks.VERSION))
    if os.environ.get(VARIABLE):
        register(FOLDER, FolderDocuments(VARIABLE))
        return
    for name in [corruption.T5_SPANS.name, corruption.PREFIX_LM.name, *MIXTURES]:
        registry.add_unavailable(f"{FOLDER}.{name}", corpus.unset(VARIABLE))


_register_at_import()
