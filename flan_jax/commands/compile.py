# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compiles a run's training step for a TPU slice, ahead of time and with no TPU attached.

Says whether the step fits, how full a device's memory gets, FLOPs, collectives, and an estimate of
the step's time. Needs the extra `aot` (libtpu, the compiler). Exit code 3: it does not fit. The
usual names of slices count cores on v2 to v4, v5p and tpu7x, chips on v5litepod and v6e.

    flan-jax compile --recipe flan_t5_xxl --slice v4-32
    flan-jax compile --recipe flan_t5_xxl --slice v5litepod-256 --suggest --results xxl.json
"""

import argparse
import contextlib
import functools
import os

from flan_jax.commands import arguments
from flan_jax.core import errors, files

# What the step does not depend on; what a recipe requires of these may be left unset here.
_UNNEEDED = ("MODEL_DIR", "STORE_DIR", "VOCABULARY", "INITIAL_CHECKPOINT_PATH")

# Read by jax and libtpu when they are first imported. No device is used, so a real TPU is left
# alone; several compilations may run side by side; libtpu is not told to look for a TPU host.
_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v4-8",  # any: it stops two warnings and decides nothing
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
}
# The compiler's own 64 KiB overflowed on a T5 XXL of two rows a device (libtpu 0.0.42.1).
_LARGE_STACKS = "--fibers_default_thread_stack_size=1048576"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    arguments.add_gin(parser)
    parser.add_argument("--slice", metavar="NAME", help="such as v4-32, v5litepod-16 or v6e-8")
    parser.add_argument(
        "--num_slices",
        type=arguments.at_least(1),
        metavar="N",
        help="so many of them, joined by the data center's network (default: the recipe's, 1)",
    )
    parser.add_argument(
        "--effort",
        choices=("memory", "quick", "default"),
        default="quick",
        help="memory: what is needed, within seconds, and nothing else; quick: a third to a "
        "seventh of default's time, and less memory than default may take (default: quick)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    parser.add_argument(
        "--suggest",
        action="store_true",
        help="look for the smallest slice of that generation, up to --slice, and there the fastest "
        "layout by estimate: mesh, microbatches, remat policy",
    )
    parser.add_argument(
        "--results",
        metavar="FILE",
        help="keep results there, as JSON, and compile nothing twice",
    )
    parser.add_argument(
        "--table",
        metavar="FOLDER",
        help="make FOLDER/what_fits.json and the table of FOLDER/what_fits.md; goes on where it "
        "was stopped",
    )


def prepare() -> None:
    """Sets what jax and libtpu read when they are first imported, to compile for TPUs elsewhere."""
    given = os.environ.get("LIBTPU_INIT_ARGS", "")
    os.environ.update(_ENVIRONMENT, LIBTPU_INIT_ARGS=f"{_LARGE_STACKS} {given}".strip())


def run(args: argparse.Namespace) -> None:
    """Compiles."""
    prepare()
    if args.json:
        files.check_file(args.json, "--json")
    if args.results:
        files.check_file(args.results, "--results")
    if not args.slice and not args.table:
        raise errors.UsageError("no slice; give --slice NAME, such as --slice v4-32")
    from flan_jax.aot.worker import Worker

    with contextlib.closing(Worker()) as worker:
        if args.table:
            _make_table(args, worker.compile_step)
        else:
            _compile(args, worker.compile_step)


def _compile(args: argparse.Namespace, compile_step) -> None:
    from flan_jax.aot import plans, results, slices

    slices.find(args.slice)  # before anything is read for it
    case = _case(args)
    kept = results.Results(args.results, compile_step)
    title = f"{case.name} on {case.slice.shown}"
    if args.suggest:
        found = plans.suggest(case, kept.run, args.effort)
        if found is None:
            raise errors.DoesNotFitError(
                f"{title} and smaller slices fits in none of the layouts tried; give a larger slice"
            )
        plan, report = found
        title = f"{case.name} on {report.slice}, with {plan.bindings}"
    else:
        report = kept.run(case, args.effort)
    if args.json:
        files.write_json(args.json, report.as_json())
    print(results.shown(report, title))
    if not report.fits:
        raise errors.DoesNotFitError(
            f"{title} needs {results.gib(report.needed_bytes)} or more a device, which has "
            f"{results.gib(report.limit_bytes)}; see --suggest, or give a larger slice"
        )


def _case(args: argparse.Namespace):
    from flan_jax import config
    from flan_jax.aot import slices
    from flan_jax.aot.compiling import Case

    arguments.parse_gin(args, roots=("train",), unneeded=_UNNEEDED)
    train = config.bindings("train")
    shape = train["config"].mesh
    where = slices.find(args.slice, args.num_slices or shape.num_slices)
    return Case(
        name=args.recipe or " ".join(args.gin_file),
        model=train["model"],
        data=train["data"],
        config=train["config"],
        slice=where,
    )


def _make_table(args: argparse.Namespace, compile_step) -> None:
    from flan_jax.aot import what_fits

    if args.recipe or args.gin_file or args.slice or args.suggest or args.gin_bindings:
        raise errors.UsageError("--table has its own recipes and slices; give it without others")
    files.check_folder(args.table, "--table")
    what_fits.make(args.table, functools.partial(_case_of, args), compile_step)


def _case_of(args: argparse.Namespace, recipe: str, slice_name: str, num_slices: int):
    given = dict(vars(args)) | {"recipe": recipe, "slice": slice_name, "num_slices": num_slices}
    return _case(argparse.Namespace(**given))
