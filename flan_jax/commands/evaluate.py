# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Evaluates a checkpoint: on the tasks of a token store, or, with --suite, on benchmarks.

Without --suite every task of the store's groups is answered greedily. The recipe is the one the
model was trained with; CHECKPOINT_PATH is its MODEL_DIR (the newest step) or one step's folder.

With --suite the paper's benchmarks are asked, from your copies of their public files (--data):
"paper" is MMLU, BBH, TyDiQA and MGSM as in its Table 5; --list shows all. A benchmark that is done
is kept: the same command goes on where it was stopped. No prompt is cut: exemplars that do not fit
are dropped from the left and counted.

Both write scores.csv and files of predictions; a suite also report.md.

    flan-jax eval --recipe mini --gin.CHECKPOINT_PATH=runs/mini --out scores/mini
    flan-jax eval --suite paper --checkpoint hf:flan-t5-xl --data benchmark_files --out scores/xl
    flan-jax eval --suite mmlu,bbh_cot --split mmlu=test --answer_by both --num_examples 20 \
        --checkpoint gguf:SmolLM2-135M-Instruct.Q4_1.gguf --data files --out scores/smollm2
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flan_jax.commands import arguments, prediction_arguments
from flan_jax.core import errors, files
from flan_jax.core.progress import say

if TYPE_CHECKING:
    from flan_jax.predicting import Predictor

DATA_VARIABLE = "FLAN_JAX_EVAL_DATA"
DEFAULT_DATA = "benchmark_files"
# Tokens of a prompt, where no recipe says it: as many as the released Flan collection is for, and
# as hendrycks/test evaluates with; 2.7 % of MMLU's 5-shot prompts are longer.
MAX_INPUT_LENGTH = 2048
_DEFAULT_MODULE = "tasks.evals.benchmarks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--out", metavar="DIR", help="folder for scores and predictions")
    group = parser.add_argument_group("benchmarks")
    group.add_argument(
        "--suite",
        action="append",
        default=[],
        metavar="NAMES",
        help="benchmarks or suites, with commas between; may be repeated",
    )
    group.add_argument(
        "--list", action="store_true", help="show the benchmarks and suites there are, and end"
    )
    group.add_argument(
        "--data",
        metavar="DIR",
        help="folder of the benchmarks' public files, one folder each (default: the environment "
        f"variable {DATA_VARIABLE}, else {DEFAULT_DATA})",
    )
    group.add_argument(
        "--split",
        action="append",
        default=[],
        metavar="BENCHMARK=SPLIT",
        help="where it is not to be the paper's, such as mmlu=test; may be repeated",
    )
    group.add_argument(
        "--answer_by",
        choices=("generate", "rank", "both"),
        default="",
        help="write the answer, or compare the choices' probabilities (default: as the benchmark "
        "says; a benchmark without choices always generates)",
    )
    group.add_argument(
        "--num_examples",
        type=arguments.at_least(1),
        metavar="N",
        help="questions of each subtask, evenly spread (default: all)",
    )
    group.add_argument("--seed", type=arguments.at_least(0), default=0, help="of sampling")
    group.add_argument(
        "--name", metavar="NAME", help="of the model in scores.csv (default: the checkpoint's name)"
    )
    group.add_argument(
        "--paper_model",
        metavar="MODEL",
        help="the model of the paper that the report compares with, such as Flan-T5-XL",
    )
    group.add_argument(
        "--module_import",
        action="append",
        default=[],
        metavar="MODULE",
        help=f"module that registers benchmarks (default: {_DEFAULT_MODULE}); may be repeated",
    )
    prediction_arguments.add_predictor(parser, MAX_INPUT_LENGTH)


def run(args: argparse.Namespace) -> None:
    """Evaluates and prints the means."""
    if args.list:
        _list(args)
        return
    if not args.out:
        raise errors.UsageError("no --out; give the folder for scores and predictions")
    files.check_folder(args.out, "--out")
    if args.suite:
        _ask_benchmarks(args)
    else:
        _ask_store(args)


def _ask_store(args: argparse.Namespace) -> None:
    from flan_jax import benchmark_jobs, config

    of_suites = {
        "--data": args.data, "--split": args.split, "--answer_by": args.answer_by,
        "--num_examples": args.num_examples, "--seed": args.seed, "--name": args.name,
        "--raw": args.raw, "--paper_model": args.paper_model, "--vocabulary": args.vocabulary,
        "--max_input_length": args.max_input_length, "--module_import": args.module_import,
    }  # fmt: skip
    if given := [name for name, value in of_suites.items() if value]:
        raise errors.UsageError(f"{given[0]} is for benchmarks; give --suite too, or leave it out")
    if Path(args.out, benchmark_jobs.DONE).exists():
        raise errors.UsageError(f"--out {args.out!r} holds scores of --suite; give another folder")
    extra = [f"CHECKPOINT_PATH={args.checkpoint}"] if args.checkpoint else []
    arguments.parse_gin(args, extra, roots=("evaluate",))
    result = config.configured("evaluate")(out=args.out)
    for name, value in result.summary().items():
        print(f"{name:40} {value:6.2f}")
    say(f"eval: {result.num_examples} examples; scores and predictions are in {args.out}")


def _ask_benchmarks(args: argparse.Namespace) -> None:
    from flan_jax import benchmark_jobs
    from flan_jax.evals.suite import SuiteConfig
    from flan_jax.paper import results as paper
    from flan_jax.parallel import hosts

    data = args.data or os.environ.get(DATA_VARIABLE)
    if data and not Path(data).is_dir():
        raise errors.UsageError(f"no folder {data!r}; --data names that of the benchmarks' files")
    if args.paper_model is not None:
        paper.named_model(args.paper_model)
    prediction_arguments.configure(args)
    facts: dict[str, Any] = {
        "benchmarks": _names(args.suite),
        "data": data or DEFAULT_DATA,
        "splits": _splits(args.split),
        "ways": args.answer_by,
        "num_examples": args.num_examples,
        "seed": args.seed,
        "module_imports": tuple(args.module_import or (_DEFAULT_MODULE,)),
    }
    benchmark_jobs.read(SuiteConfig(**facts))  # before a model is
    longest = {} if prediction_arguments.has_gin(args) else {"max_input_length": MAX_INPUT_LENGTH}
    predictor = prediction_arguments.load(args, **longest)
    suite = SuiteConfig(**facts, model_name=args.name or _name_of(predictor))
    results = benchmark_jobs.evaluate(predictor, suite, args.out, paper_model=args.paper_model)
    if hosts.is_first():
        _print(results)
        say(f"eval: scores, predictions and the report are in {args.out}")


def _list(args: argparse.Namespace) -> None:
    """Prints every benchmark with what it needs, then the suites."""
    from flan_jax.core import modules
    from flan_jax.evals import benchmark

    for name in args.module_import or (_DEFAULT_MODULE,):
        modules.import_tasks(name, "--module_import")
    found = benchmark.registered()
    width = max(map(len, found), default=0)
    for name, each in found.items():
        asked = f"{each.protocol}; {'/'.join(each.splits)}; {'/'.join(each.ways())}"
        print(f"{name:{width}}  {asked}")
        print(f"{'':{width}}  {each.folder}/: {each.files}")
    for name, members in benchmark.suites().items():
        print(f"suite {name}: {', '.join(members)}")


def _print(results: Any) -> None:
    from flan_jax.evals import normalized

    for row in results.headlines:
        stderr = "" if row.stderr is None else f" ± {row.stderr:.2f}"
        is_average = row.metric == normalized.NAME
        name = row.benchmark if is_average else f"{row.benchmark} {row.metric}"
        print(f"{name:36} {row.value:6.2f}{stderr:8}  {row.protocol}")


def _name_of(predictor: "Predictor") -> str:
    """Returns the name of a checkpoint's file or folder; of one step's that of the MODEL_DIR."""
    path = Path(predictor.name)
    return path.parent.name if path.name == f"checkpoint_{predictor.source.step}" else path.name


def _names(given: Sequence[str]) -> tuple[str, ...]:
    names = [name.strip() for text in given for name in text.split(",")]
    if "" in names:
        raise errors.UsageError(f"--suite {','.join(given)!r} has an empty name; give names")
    return tuple(dict.fromkeys(names))


def _splits(given: Sequence[str]) -> Mapping[str, str]:
    pairs = [text.partition("=") for text in given]
    for (name, equals, split), text in zip(pairs, given, strict=True):
        if not (name and equals and split):
            raise errors.UsageError(f"--split {text!r}; give BENCHMARK=SPLIT, such as mmlu=test")
    splits = {name: split for name, _, split in pairs}
    if len(splits) < len(pairs):
        raise errors.UsageError(f"--split {' '.join(given)} names a benchmark twice; name it once")
    return splits
