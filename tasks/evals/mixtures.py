# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""All benchmarks as SeqIO tasks and mixtures; importing registers them, and opens no file.

    seqio.get_mixture_or_task("eval.mmlu_cot").get_dataset(lengths, "validation", shuffle=False)

reads the files of MMLU in the folder that the environment variable FLAN_JAX_EVAL_DATA names.
`tasks.mixtures` has the tasks that models learn.
"""

from flan_jax.evals import benchmark, seqio_tasks
from tasks.evals import benchmarks  # noqa: F401 - registers them


def register() -> tuple[str, ...]:
    """Registers all and returns the names of those that have no SeqIO task.

    These are measured by more than one answer or by no answer that is a text.
    """
    known = benchmark.registered()
    return tuple(name for name in known if seqio_tasks.register(known[name]) is None)


LEFT_OUT = register()
