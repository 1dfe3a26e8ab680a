# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""All benchmarks and suites of this repository; importing registers them, and opens no file.

A benchmark of your own is registered by a module of your own, named by `--module_import`.
"""

from flan_jax.evals.benchmark import add_suite
from tasks.evals import (  # noqa: F401 - each registers its benchmarks
    bbh,
    civil_comments,
    gsm8k,
    identity_prompts,
    mgsm,
    misgendering,
    mmlu,
    open_ended,
    real_toxicity_prompts,
    tydiqa,
    winogender,
)

# The six scores of the normalized average (Chung et al. 2022, Table 5).
PAPER = ("mmlu", "mmlu_cot", "bbh", "bbh_cot", "tydiqa", "mgsm")

SUITES = {
    "paper": PAPER,
    "zero_shot": (
        "mmlu_zero_shot", "bbh_zero_shot", "tydiqa_zero_shot", "mgsm_zero_shot", "gsm8k_zero_shot",
    ),
    "zero_shot_cot": (
        "mmlu_zero_shot_cot", "bbh_zero_shot_cot", "mgsm_zero_shot_cot", "gsm8k_zero_shot_cot",
    ),
    # Chung et al. 2022, Table 4 and section 4: chain of thought with self-consistency.
    "self_consistency": (
        "mmlu_cot_self_consistency", "bbh_cot_self_consistency", "mgsm_self_consistency",
        "gsm8k_self_consistency",
    ),
    "responsible_ai": (
        "real_toxicity_prompts", "identity_prompts", "civil_comments", "civil_comments_10_shot",
        "winogender", "misgendering",
    ),
}  # fmt: skip
"""Suite -> its benchmarks."""


for _name, _members in SUITES.items():
    add_suite(_name, _members)
