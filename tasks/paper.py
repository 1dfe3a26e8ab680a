# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every number of the collection that the paper or its released code gives, with its source.

P is Chung et al. 2022 (arXiv 2210.11416), R the released collection (google-research/FLAN at
e9e4ec6). How a family's tasks are rendered where neither says is at the end.
"""

from flan_jax.collection import options, spec

# Tasks of each mixture (P section 2.1, Table 24); they sum to 1,836.
NUM_TASKS = {"muffin": 80, "t0_sf": 193, "niv2": 1_554, "cot": 9}
# R lists two more Natural-Instructions tasks than P counts. Which two is not known.
NUM_RELEASED_TASKS = NUM_TASKS | {"niv2": 1_556}
COUNT_NOTES = {
    "niv2": "the released list has 1,556 names without MMLU's 57, the paper counts 1,554; which "
    "two it does not count is not explained anywhere, so none is left out here"
}

# Muffin's 80 by kind (P Table 24, where 70 NLP tasks are from FLAN 2021; R lists the same 80).
MUFFIN_PARTS = {"nlp": 72, "dialog": 3, "program_synthesis": 5}

# Most examples of a task that count in its mixture's rates, and that are used (P App. E, Table 22).
CAPS = {"muffin": 30_000, "t0_sf": 20_000, "niv2": 5_000, "cot": 100_000}

# Shares of the four mixtures in %. A: the scaling and ablation sections (P sections 3 and 4);
# B: every other model, Flan-T5 among them (P App. E, Table 23). B sums to 99.9 there.
PROPORTIONS_A = {"muffin": 52.0, "t0_sf": 15.0, "cot": 3.0, "niv2": 30.0}
PROPORTIONS_B = {"muffin": 46.0, "t0_sf": 27.9, "cot": 1.8, "niv2": 24.2}
# R, run_example.py: Muffin without dialog, which has a share of its own.
RATES_PUBLIC = {"flan2021": 0.40, "t0_sf": 0.32, "cot": 0.05, "niv2": 0.20, "dialog": 0.03}

# Points of the task-scaling study (P section 3, Figure 4): CoT alone; with Muffin; with T0-SF; all.
SCALING_POINTS = (9, 89, 282, 1_836)

# Rate of an inverted twin beside its task's 1 (R, mixtures.py: CoT and dialog).
INVERTED_RATE = 0.3

# Dialog (R, preprocessors.py): the last turn, counted from 0, that may be the one to predict; and
# the first `turn_id` of QReCC's rows that are used.
LAST_ANSWER_TURN = {"wiki_dialog": 39, "qrecc": 39, "task_master": 19}
QRECC_FIRST_TURN_ID = 7

# Prompt settings (R, mixtures.py): a quarter each of zero-shot and few-shot, with and without
# options. Tasks that have no options use the same texts in both, so half and half.
SETTINGS_ALL = (
    (spec.ZS_OPT, 0.25),
    (spec.FS_OPT, 0.25),
    (spec.ZS_NOOPT, 0.25),
    (spec.FS_NOOPT, 0.25),
)
SETTINGS_PLAIN = ((spec.ZS_NOOPT, 0.5), (spec.FS_NOOPT, 0.5))
# Natural-Instructions has no form without options, as these stand in a task's definition (R). Half
# its few-shot prompts show one explained example, half two exemplars: as many templates of each.
SETTINGS_NIV2 = ((spec.ZS_OPT, 0.5), (spec.FS_OPT, 0.5))

# Tokens that the exemplars of a prompt may take (R: 1,920 of an input of 2,048).
EXEMPLAR_BUDGET = 1_920

# Ours from here on.

# Between input and target, and between exemplars. T5's vocabulary turns line breaks into blanks,
# so the second has marks that stay.
DELIMITERS = (
    ("\n", "\n\n***\n\n"),
    ("\n", "\n\n---\n\n"),
    ("\n", "\n\n=====\n\n"),
    ("\n", "\n\n###\n\n"),
    ("\n", "\n\n+++++\n\n"),
    ("\n", "\n\n........\n\n"),
    ("\n", "\n----\n"),
    ("\n", "\n**********\n"),
    ("\n", "\n\n[Next]\n\n"),
    ("\n", "\n\n* * *\n\n"),
    ("\n\n", "\n\n\n***\n\n\n"),
    ("\n\n", "\n\n\n---\n\n\n"),
    ("\n\n", "\n\n\n=========\n\n\n"),
    ("\n\n", "\n\n\n######\n\n\n"),
    ("\n\n", "\n\n\n_____\n\n\n"),
    ("\n\n", "\n\n\n::::\n\n\n"),
    ("\n--\n", "\n\n=====\n\n"),
    ("\n--\n", "\n\n**********\n\n"),
    ("\n*\n", "\n\n-----\n\n"),
    ("\n...\n", "\n\n###\n\n"),
)
FEW_SHOT = spec.FewShot(budget=EXEMPLAR_BUDGET, delimiters=DELIMITERS)

# Every style whose items stay apart when line breaks are folded.
OPTION_STYLES = tuple(name for name in options.STYLES if name != "lines")
