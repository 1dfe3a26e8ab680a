# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Browses the collection: all mixtures, the tasks of one, or the rendered prompts of a task.

flan-jax inspect                  all mixtures
flan-jax inspect mini_all         its tasks with sizes, caps and rates
flan-jax inspect TASK --num 3     rendered prompts and targets
flan-jax inspect --counts         tasks by mixture, beside the published numbers
"""

import argparse

from flan_jax.commands import arguments

_RULE = "-" * 72
_NUM_SHOWN = 3
_TASK_OPTIONS = ("num", "seed", "split", "setting", "vocabulary")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("name", nargs="?", help="a mixture or a task; all mixtures if left out")
    parser.add_argument(
        "--counts", action="store_true", help="tasks by mixture, beside the published numbers"
    )
    group = parser.add_argument_group("for a task")
    group.add_argument(
        "--num", type=arguments.at_least(1), help=f"prompts shown (default: {_NUM_SHOWN})"
    )
    group.add_argument("--seed", type=int, help="rendering seed (default: 0)")
    group.add_argument("--split", help="train or validation (default: the task's first)")
    group.add_argument(
        "--setting",
        choices=("zs_opt", "zs_noopt", "fs_opt", "fs_noopt"),
        help="prompt setting (default: drawn per example by the task's weights)",
    )
    group.add_argument(
        "--vocabulary",
        help="also show token counts, and the prompt after a round trip through this vocabulary: "
        "'bytes', a sentencepiece.model, or package:NAME/PATH",
    )
    arguments.add_modules(parser)


def run(args: argparse.Namespace) -> None:
    """Prints what was asked for."""
    modules = arguments.import_modules(args)
    import seqio

    from flan_jax.collection import registry, subsets
    from flan_jax.core.errors import unknown_name

    if args.counts:
        _print_counts(args)
        return
    if args.name:
        subsets.ensure(args.name)
    if args.name in seqio.TaskRegistry.names():
        _print_task(args)
    elif args.name is None:
        _refuse_task_options(args, "no task is named")
        _print_mixtures(modules)
    elif args.name in seqio.MixtureRegistry.names():
        _refuse_task_options(args, f"{args.name!r} is a mixture")
        _print_mixture(args.name)
    elif args.name in registry.known_names():
        registry.mixture_members(args.name)  # says what is missing, and the remedy
    else:
        raise unknown_name("mixture or task", args.name, registry.known_names())


def _refuse_task_options(args: argparse.Namespace, reason: str) -> None:
    from flan_jax.core.errors import UsageError

    for option in _TASK_OPTIONS:
        if getattr(args, option) is not None:
            raise UsageError(f"--{option} is for a task, but {reason}; name a task")


def _print_mixtures(modules: list[str]) -> None:
    import seqio

    from flan_jax.collection import registry

    names = sorted(seqio.MixtureRegistry.names())
    rows = [("mixture", "tasks")]
    rows += [(name, str(len(seqio.MixtureRegistry.get(name).tasks))) for name in names]
    _print_table(rows)
    tasks = set(seqio.TaskRegistry.names())
    print(f"\n{len(names)} mixtures, {len(tasks)} tasks, registered by {', '.join(modules)}.")
    for name in sorted(set(registry.known_names()) - tasks - set(names)):
        print(f"not available here: {name}: {registry.unavailable_reason(name)}")


def _print_counts(args: argparse.Namespace) -> None:
    from flan_jax.collection import counts
    from flan_jax.core.errors import UsageError

    if args.name:
        raise UsageError(f"--counts is of all mixtures, but {args.name!r} is named; leave one out")
    _refuse_task_options(args, "--counts is of mixtures")
    found = counts.count()
    sources = list(found[-1].published)
    rows = [("mixture", "tasks", *sources, "inverted twins", "readable here")]
    for row in found:
        published = [f"{row.published.get(source, 0):,}" for source in sources]
        numbers = (row.num_tasks, row.num_twins, row.num_readable)
        tasks, twins, readable = (f"{number:,}" for number in numbers)
        rows.append((row.mixture, tasks, *published, twins, readable))
    _print_table(rows, right=tuple(range(1, len(rows[0]))))
    for row in found:
        for source, number in row.published.items():
            if number != row.num_tasks:
                note = f": {row.note}" if row.note else ""
                print(f"{row.mixture}: {row.num_tasks - number:+,} against {source}{note}")


def _print_mixture(name: str) -> None:
    import seqio

    from flan_jax.collection import registry

    rates = registry.mixture_members(name)
    rows = [("task", "family", "category", "examples", "cap", "rate %")]
    total = 0
    for task, rate in rates.items():
        spec = registry.get_spec(task)
        provider = seqio.TaskRegistry.get(task)
        split = "train" if "train" in provider.splits else sorted(provider.splits)[0]
        num = provider.num_input_examples(split) or 0
        total += num
        described = (spec.family, spec.category) if spec else ("seqio", "")
        cap = str(spec.cap or "-") if spec else "-"
        rows.append((task, *described, str(num), cap, f"{100 * rate:.3f}"))
    _print_table(rows, right=(3, 4, 5))
    print(f"\n{name}: {len(rates)} tasks, {total} examples before caps.")


def _print_task(args: argparse.Namespace) -> None:
    from flan_jax.collection import registry, rendering
    from flan_jax.core.errors import UsageError

    spec = registry.get_spec(args.name)
    if spec is None:
        raise UsageError(
            f"{args.name!r} is a plain SeqIO task, which flan_jax does not render; look at it with "
            "seqio.get_mixture_or_task"
        )
    split = args.split or spec.splits[0]
    vocabulary = None
    if args.vocabulary:
        from flan_jax.collection.vocabularies import load_vocabulary

        vocabulary = load_vocabulary(args.vocabulary)
    settings = ", ".join(f"{name} {weight:g}" for name, weight in spec.settings)
    for label, value in (
        ("task", spec.name),
        ("family", spec.family),
        ("category", spec.category or "-"),
        ("licence", spec.licence or "-"),
        ("splits", ", ".join(f"{s} {spec.source.num_rows(s)}" for s in spec.splits)),
        ("cap", spec.cap or "-"),
        ("settings", settings),
        ("metrics", ", ".join(m.__name__ for m in spec.metrics) or "-"),
    ):
        print(f"{label:10}{value}")
    shown = rendering.render_task(
        spec, split, args.seed or 0, setting=args.setting, limit=args.num or _NUM_SHOWN
    )  # fmt: skip
    for example in shown:
        if isinstance(example, rendering.Dropped):
            print(f"{_RULE}\nrow {example.index} dropped: {example.reason}")
        else:
            _print_example(example, vocabulary)


def _print_example(example, vocabulary) -> None:
    notes = ", ".join(f"{k} {v}" for k, v in sorted(example.meta.items()) if v not in (None, ""))
    print(f"{_RULE}\nrow {example.index}: {notes}")
    for label, text in (("inputs", example.inputs), ("targets", example.targets)):
        ids = vocabulary.encode(text) if vocabulary else None
        print(f"[{label}{f', {len(ids)} tokens' if ids is not None else ''}]\n{text}")
        if ids is not None and vocabulary.decode(ids) != text:
            print(f"[{label} as the model reads it]\n{vocabulary.decode(ids)}")
    if len(example.references) > 1:
        print(f"[other accepted answers]\n{chr(10).join(example.references[1:])}")


def _print_table(rows: list[tuple[str, ...]], right: tuple[int, ...] = (1,)) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            c.rjust(w) if i in right else c.ljust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
