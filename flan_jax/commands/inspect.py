# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Browses the collection: all mixtures, the tasks of one, or the rendered prompts of a task.

flan-jax inspect                       all mixtures
flan-jax inspect mini_all              its tasks with sizes, caps and rates
flan-jax inspect mini_all --licences   its tasks by licence
flan-jax inspect TASK --num 3          rendered prompts and targets
flan-jax inspect [NAME] --html FILE    a page to search and read all of this in
flan-jax inspect --counts              tasks by mixture, beside the published numbers
"""

import argparse
import textwrap
from typing import Any

from flan_jax.commands import arguments
from flan_jax.core import files
from flan_jax.core.errors import UsageError, unknown_name
from flan_jax.core.progress import Progress, say
from flan_jax.core.tables import aligned

_RULE = "-" * 72
_NUM_SHOWN = 3
# Examples whose lengths are measured: of a task, and of each task of a page about many.
_NUM_LENGTHS, _NUM_LENGTHS_EACH = 1_000, 100
_TASK_OPTIONS = ("num", "seed", "split", "setting", "vocabulary", "template", "shots", "lengths")
# Those that a page about many tasks takes as well.
_PAGE_OPTIONS = ("num", "seed", "vocabulary")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("name", nargs="?", help="a mixture or a task; all mixtures if left out")
    parser.add_argument(
        "--counts", action="store_true", help="tasks by mixture, beside the published numbers"
    )
    parser.add_argument(
        "--html",
        metavar="FILE",
        help="write one page, which needs nothing else, to search and read tasks, templates and "
        "prompts in",
    )
    parser.add_argument(
        "--licences",
        action="store_true",
        help="the tasks of a mixture by the licence of their data",
    )
    group = parser.add_argument_group("for a task, or for each task of a page")
    group.add_argument(
        "--num", type=arguments.at_least(1), help=f"prompts shown (default: {_NUM_SHOWN})"
    )
    group.add_argument("--seed", type=int, help="rendering seed (default: 0)")
    group.add_argument(
        "--vocabulary",
        help="also show token counts, and the prompt after a round trip through this vocabulary: "
        "'bytes', a sentencepiece.model, or package:NAME/PATH",
    )
    group = parser.add_argument_group("for a task")
    group.add_argument("--split", help="train or validation (default: the task's first)")
    group.add_argument(
        "--setting",
        choices=("zs_opt", "zs_noopt", "fs_opt", "fs_noopt"),
        help="prompt setting (default: drawn per example by the task's weights)",
    )
    group.add_argument("--template", metavar="ID", help="only prompts of this template")
    group.add_argument(
        "--shots", type=arguments.at_least(1), metavar="K", help="only prompts with K exemplars"
    )
    group.add_argument(
        "--lengths",
        action="store_true",
        default=None,
        help=f"percentiles of token counts over up to {_NUM_LENGTHS:,} examples",
    )
    arguments.add_modules(parser)


def run(args: argparse.Namespace) -> None:
    """Prints what was asked for, or writes the page."""
    if args.html is not None:
        files.check_file(args.html, "--html")
    modules = arguments.import_modules(args)
    import seqio

    from flan_jax.collection import registry, subsets

    if args.counts:
        _print_counts(args)
        return
    if args.name:
        subsets.ensure(args.name)
    if args.name in seqio.TaskRegistry.names():
        _refuse(args, ("licences",), "a mixture", f"{args.name!r} is a task")
        _print_task(args)
    elif args.name is None:
        _refuse(args, ("licences",), "a mixture", "none is named")
        _refuse(args, _task_options(args), "a task", "no task is named")
        if args.html is None:
            _print_mixtures(modules)
        else:
            _write_page(args, "All tasks", sorted(seqio.MixtureRegistry.names()))
    elif args.name in seqio.MixtureRegistry.names():
        _refuse(args, _task_options(args), "a task", f"{args.name!r} is a mixture")
        if args.licences:
            if args.html is not None:
                raise UsageError("--licences prints text and --html writes a page; leave one out")
            _print_licences(args.name)
        elif args.html is None:
            _print_mixture(args.name)
        else:
            from flan_jax.collection import browsing

            _write_page(args, args.name, browsing.submixtures(args.name))
    elif args.name in registry.known_names():
        registry.mixture_members(args.name)  # says what is missing, and the remedy
    else:
        raise unknown_name("mixture or task", args.name, registry.known_names())


def _task_options(args: argparse.Namespace) -> tuple[str, ...]:
    if args.html is None:
        return _TASK_OPTIONS
    return tuple(option for option in _TASK_OPTIONS if option not in _PAGE_OPTIONS)


def _refuse(args: argparse.Namespace, options: tuple[str, ...], kind: str, reason: str) -> None:
    for option in options:
        if getattr(args, option) not in (None, False):
            raise UsageError(f"--{option} is for {kind}, but {reason}; name {kind}")


def _print_mixtures(modules: list[str]) -> None:
    import seqio

    from flan_jax.collection import registry

    names = sorted(seqio.MixtureRegistry.names())
    rows = [("mixture", "tasks")]
    rows += [(name, str(len(seqio.MixtureRegistry.get(name).tasks))) for name in names]
    print("\n".join(aligned(rows, right=(1,))))
    tasks = set(seqio.TaskRegistry.names())
    print(f"\n{len(names)} mixtures, {len(tasks)} tasks, registered by {', '.join(modules)}.")
    for name in sorted(set(registry.known_names()) - tasks - set(names)):
        print(f"not available here: {name}: {registry.unavailable_reason(name)}")


def _print_counts(args: argparse.Namespace) -> None:
    from flan_jax.collection import counts

    if args.name:
        raise UsageError(f"--counts is of all mixtures, but {args.name!r} is named; leave one out")
    if args.html is not None or args.licences:
        raise UsageError("--counts prints text of its own; leave --html and --licences out")
    _refuse(args, _TASK_OPTIONS, "a task", "--counts is of mixtures")
    found = counts.count()
    sources = list(found[-1].published)
    rows = [("mixture", "tasks", *sources, "inverted twins", "readable here")]
    for row in found:
        published = [f"{row.published.get(source, 0):,}" for source in sources]
        numbers = (row.num_tasks, row.num_twins, row.num_readable)
        tasks, twins, readable = (f"{number:,}" for number in numbers)
        rows.append((row.mixture, tasks, *published, twins, readable))
    print("\n".join(aligned(rows, right=range(1, len(rows[0])))))
    for row in found:
        for source, number in row.published.items():
            if number != row.num_tasks:
                note = f": {row.note}" if row.note else ""
                print(f"{row.mixture}: {row.num_tasks - number:+,} against {source}{note}")


def _print_mixture(name: str) -> None:
    import seqio

    from flan_jax.collection import browsing, registry

    names = registry.task_names(name)
    here = {task for task in names if registry.is_readable(task)}
    rates = registry.mixture_members(name, skip_missing=True) if here else {}
    rows = [("task", "family", "category", "examples", "cap", "rate %")]
    total = num_unknown = 0
    for task in names:
        spec = registry.get_spec(task)
        provider = seqio.TaskRegistry.get(task)
        split = "train" if "train" in provider.splits else sorted(provider.splits)[0]
        described = (spec.family, spec.category) if spec else (browsing.FOREIGN, "")
        cap = str(spec.cap or "-") if spec else "-"
        if task not in here:
            rows.append((task, *described, "not here", cap, "-"))
            continue
        num = provider.num_input_examples(split)
        total += num or 0
        num_unknown += num is None
        size = "-" if num is None else str(num)
        rows.append((task, *described, size, cap, f"{100 * rates[task]:.3f}"))
    print("\n".join(aligned(rows, right=(3, 4, 5))))
    uncounted = f" (not counted: {num_unknown} tasks of unknown size)" if num_unknown else ""
    print(f"\n{name}: {len(names)} tasks, {total} examples before caps{uncounted}.")
    if gone := len(names) - len(here):
        rates_are = "; the rates are those among the others" if here else ""
        print(f"{gone} of them are not here{rates_are}. `flan-jax inspect TASK` says why.")


def _print_licences(name: str) -> None:
    from flan_jax.collection import browsing

    found = browsing.by_licence(name)
    for licence, tasks in found.items():
        print(f"{licence or 'not stated'}: {len(tasks)} tasks")
        print(textwrap.fill(" ".join(tasks), 100, initial_indent="  ", subsequent_indent="  "))
    stated = sum(len(tasks) for licence, tasks in found.items() if licence)
    total = sum(map(len, found.values()))
    print(f"\n{name}: {total} tasks, {stated} of them with a stated licence.")


def _print_task(args: argparse.Namespace) -> None:
    from flan_jax.collection import browsing, narrowing, registry, rendering

    spec = registry.get_spec(args.name)
    if spec is None:
        raise UsageError(
            f"{args.name!r} is a plain SeqIO task, which flan_jax does not render; look at it with "
            "seqio.get_mixture_or_task"
        )
    narrowed = narrowing.narrow(
        spec, split=args.split, setting=args.setting, template=args.template, shots=args.shots
    )
    if args.lengths and not args.vocabulary and args.html is None:
        raise UsageError("--lengths counts tokens; name their --vocabulary")
    look = _look(args, one_task=True)
    if args.html is not None:
        _write(args, browsing.collect(spec.name, {spec.name: narrowed}, [], look))
        return
    missing = spec.source.missing()
    settings = ", ".join(f"{name} {weight:g}" for name, weight in spec.settings)

    def counted(split: str) -> str:
        return f"{split} {spec.source.num_rows(split)}"

    for label, value in (
        ("task", spec.name),
        ("family", spec.family),
        ("category", spec.category or "-"),
        ("licence", spec.licence or "-"),
        ("splits", ", ".join(spec.splits if missing else map(counted, spec.splits))),
        ("cap", spec.cap or "-"),
        ("settings", settings),
        ("metrics", ", ".join(m.__name__ for m in spec.metrics) or "-"),
    ):
        print(f"{label:10}{value}")
    if missing:
        _print_templates(narrowed)
        print(f"{_RULE}\nno prompts: {missing}")
        return
    split, num = narrowed.splits[0], look.num_examples
    # More are rendered than are shown: of some rows too few exemplars can be had.
    for example in rendering.render_task(narrowed, split, look.seed):
        if isinstance(example, rendering.Dropped):
            print(f"{_RULE}\nrow {example.index} dropped: {example.reason}")
        elif args.shots is not None and example.meta["num_shots"] != args.shots:
            had = example.meta["num_shots"]
            print(f"{_RULE}\nrow {example.index} left out: only {had} exemplars can be shown")
        else:
            _print_example(example, look.vocabulary)
            num -= 1
        if num == 0:
            break
    if args.lengths:
        examples = rendering.render_task(narrowed, split, look.seed, limit=look.num_lengths)
        _print_lengths(browsing.measure(examples, look))


def _print_templates(spec: Any) -> None:
    """Prints every template with its slots: all there is to see where the rows are not here."""
    for template in spec.templates.load():
        kind, options = template.kind, template.options
        print(f"{_RULE}\ntemplate {template.id}: {kind}, options {options}, {template.direction}")
        print("[inputs]")
        if template.head:
            print(f"{template.head}\n")
        print(f"{template.input_prefix}{template.input}")
        print(f"{template.target_prefix}\n" if template.target_prefix else "", end="")
        print(f"[targets]\n{template.target}")


def _look(args: argparse.Namespace, *, one_task: bool = False) -> Any:
    """Returns how much to look at, of one task or of each of many."""
    from flan_jax.collection import browsing, vocabularies

    return browsing.Look(
        num_examples=args.num or _NUM_SHOWN,
        num_lengths=_NUM_LENGTHS if one_task else _NUM_LENGTHS_EACH,
        seed=args.seed or 0,
        vocabulary=vocabularies.load_vocabulary(args.vocabulary) if args.vocabulary else None,
    )


def _write_page(args: argparse.Namespace, title: str, mixtures: list[str]) -> None:
    """Writes the page of the mixtures' tasks; of all tasks if no mixture was named."""
    import seqio

    from flan_jax.collection import browsing, registry

    names = registry.task_names(args.name) if args.name else sorted(seqio.TaskRegistry.names())
    specs = {name: registry.get_spec(name) for name in names}
    with Progress("inspect", total=len(specs), unit="task") as progress:
        data = browsing.collect(
            title, specs, mixtures, _look(args), advance=lambda task: progress.advance(note=task)
        )
    _write(args, data)


def _write(args: argparse.Namespace, data: dict[str, Any]) -> None:
    from flan_jax.collection import browsing
    from flan_jax.commands import browser

    num_bytes = browser.write_page(data, args.html)
    readable = sum(map(browsing.is_readable, data["tasks"]))
    say(
        f"inspect: {args.html}: {len(data['tasks'])} tasks, {readable} of them readable here, "
        f"{num_bytes / 1e6:.1f} MB"
    )
    for task in data["tasks"]:
        if "fault" in task:
            say(f"inspect: {task['name']}: {task['fault']}")


def _print_lengths(lengths: dict[str, Any]) -> None:
    print(f"{_RULE}\n{lengths['unit']} without EOS, of the first {lengths['num']} examples")
    if not lengths["num"]:
        return
    marks = [f"{p}%" for p in lengths["inputs"]["percentiles"]]
    rows = [("", *marks, "longest", "mean")]
    for side in ("inputs", "targets"):
        found = lengths[side]
        numbers = (*found["percentiles"].values(), found["max"], found["mean"])
        rows.append((side, *map(str, numbers)))
    print("\n".join(aligned(rows, right=range(1, len(rows[0])))))


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
