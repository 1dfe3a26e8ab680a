# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The builder: renders and tokenizes every task of a mixture into a token store, once.

Each task's split is built alone and marked done last, so a build that was stopped goes on where
it was, any number of processes give the same bytes, and a task that fails stops no other. Until
all are done a store that is there already stays as it is; one without a manifest is unfinished.
"""

import collections
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flan_jax
from flan_jax.collection import (
    beam_build,
    foreign,
    registry,
    remote,
    staging,
    subsets,
    workers,
)
from flan_jax.collection import store as store_lib
from flan_jax.collection.rendering import BEYOND_CAP, Dropped, render_task
from flan_jax.collection.sources import describe
from flan_jax.collection.spec import EXEMPLAR_POLICIES, SPLITS, TRAIN, TaskSpec
from flan_jax.collection.store import Store, StoreWriteError, TaskWriter
from flan_jax.collection.tokenizing import Counter, tokenized
from flan_jax.collection.vocabularies import Vocabulary, load_vocabulary
from flan_jax.core import files, modules
from flan_jax.core.errors import (
    DataError,
    FlanError,
    IncompleteError,
    UsageError,
    in_words,
    unknown_name,
)
from flan_jax.core.progress import Progress, say

_NUM_NAMED = 10  # tasks that a message names before it only counts them
_NUM_PLACES = 3  # places of malformed rows that the manifest keeps for each reason


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Plan:
    """What all tasks of a build share; sent to the workers."""

    out: str
    vocabulary: str
    # (name, length), sorted.
    feature_lengths: tuple[tuple[str, int], ...]
    seed: int
    limit: int | None
    exemplar_policy: str | None
    module_imports: tuple[str, ...]
    # Names of the mixtures: some are registered only when asked for.
    mixtures: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Result:
    """How building one task's split ended: an entry for the manifest, or what went wrong."""

    task: str
    split: str
    entry: dict[str, Any] | None = None
    error: str = ""


def build(
    *,
    mixture: str,
    out: str | os.PathLike,
    vocabulary: str,
    feature_lengths: Mapping[str, int],
    seed: int = 0,
    splits: Sequence[str] = SPLITS,
    num_workers: int = 1,
    skip_unavailable: bool = False,
    limit: int | None = None,
    exemplar_policy: str | None = None,
    submixtures: Sequence[str] = (),
    module_imports: Sequence[str] = (),
    beam_runner: str | None = None,
    beam_options: Sequence[str] = (),
) -> Store:
    """Builds the token store of a mixture, or what is missing of it, and opens it.

    Args:
        mixture: a registered mixture or task.
        out: the store's folder; made if absent.
        vocabulary: as for `vocabularies.load_vocabulary`.
        feature_lengths: most tokens of `inputs` and `targets`, the EOS included.
        seed: decides the rendering.
        splits: which splits to build, of those that a task has.
        num_workers: processes; 1 builds in this one. The bytes are the same.
        skip_unavailable: leave out tasks whose data is not here, and record them.
        limit: most examples of each task's split, for a trial.
        exemplar_policy: one of `spec.EXEMPLAR_POLICIES` instead of the tasks' own.
        submixtures: more mixtures that the store is to know by name; their tasks are built too.
        module_imports: modules that register the tasks, imported here and by every worker.
        beam_runner: build on this runner of Apache Beam instead, whose workers must see `out` and
            the tasks' data under the same names as this process. The bytes are the same.
        beam_options: Beam's own, such as "--direct_num_workers=2".

    Raises:
        UsageError: a name is unknown, an argument is wrong, or data is not here.
        IncompleteError: some tasks failed; the message names them, the others are kept.
        StoreWriteError: the disk is full, or another fault of the folder.
    """
    plan = _Plan(
        out=os.path.abspath(out) if beam_runner else str(out),  # workers start in other folders
        vocabulary=vocabulary, feature_lengths=tuple(sorted(feature_lengths.items())),
        seed=seed, limit=limit, exemplar_policy=exemplar_policy,
        module_imports=tuple(module_imports),
        mixtures=(mixture, *submixtures),
    )  # fmt: skip
    _check_arguments(plan, splits, num_workers)
    if remote.is_remote(out):
        raise UsageError(
            f"a store is not built in a bucket: {out}; build it in a folder and copy that there"
        )
    run_jobs = _job_runner(plan, num_workers, beam_runner, beam_options)
    _register(plan)
    vocabulary_facts = load_vocabulary(vocabulary).facts()
    members = {name: _members(name, skip_unavailable) for name in (mixture, *submixtures)}
    tasks = sorted(set().union(*members.values()))
    skipped = sorted(set().union(*map(registry.task_names, members)) - set(tasks))
    if skipped:
        more = f" and {len(skipped) - _NUM_NAMED} more" if len(skipped) > _NUM_NAMED else ""
        named = ", ".join(skipped[:_NUM_NAMED])
        say(
            f"build: left out {len(skipped)} tasks whose data is not here, recorded in the "
            f"manifest: {named}{more}"
        )
    jobs = _jobs(tasks, splits)

    with files.locked(out, "build"):
        results = _run(plan, jobs, run_jobs)
        _raise_failures(results, mixture)
        mixtures = {
            name: registry.mixture_members(name, skip_missing=skip_unavailable) for name in members
        }
        if skipped:
            _say_shares(mixture, mixtures[mixture])
        entries: dict[str, dict[str, Any]] = {}
        for result in sorted(results, key=lambda r: (r.task, r.split)):
            entries.setdefault(result.task, {})[result.split] = result.entry
        manifest = {
            "format": store_lib.FORMAT,
            "code_version": flan_jax.__version__,
            "code": _code_hash(),
            "mixture": mixture,
            "mixtures": mixtures,
            "rates": mixtures[mixture],
            "seed": seed,
            "limit": limit,
            "exemplar_policy": exemplar_policy,
            "splits": sorted(splits),
            "skipped": skipped,
            "skipped_because": _reasons(skipped),
            "vocabulary": vocabulary_facts,
            "token_dtype": store_lib.token_dtype(vocabulary_facts["padded_size"]).str,
            "feature_lengths": dict(plan.feature_lengths),
            "tasks": entries,
        }
        staging.install(out, manifest)
    return Store.open(out)


def _reasons(skipped: Sequence[str]) -> dict[str, list[str]]:
    """Returns the tasks that are left out, by what they miss."""
    reasons: dict[str, list[str]] = {}
    for task in skipped:
        reasons.setdefault(registry.get_spec(task).source.missing() or "", []).append(task)
    return reasons


def _say_shares(mixture: str, rates: Mapping[str, float]) -> None:
    """Says what becomes of the declared proportions when tasks are left out."""
    if declared := registry.declared_shares(mixture):
        changes = [
            f"{name} {100 * share:.1f} to {100 * sum(rates.get(t, 0) for t in tasks):.1f} %"
            for name, (share, tasks) in declared.items()
        ]
        say(f"build: shares of {mixture} without them: {', '.join(changes)}")


def _check_arguments(plan: _Plan, splits: Sequence[str], num_workers: int) -> None:
    store_lib.check_feature_lengths(dict(plan.feature_lengths))
    if num_workers < 1:
        raise UsageError(f"num_workers must be >= 1, got {num_workers}")
    if plan.limit is not None and plan.limit < 1:
        raise UsageError(f"limit must be >= 1 or None, got {plan.limit}")
    if plan.exemplar_policy not in (None, *EXEMPLAR_POLICIES):
        raise unknown_name("exemplar policy", plan.exemplar_policy, EXEMPLAR_POLICIES)
    if not splits or not set(splits) <= set(SPLITS):
        raise UsageError(f"splits must be out of {SPLITS}, got {tuple(splits)}")


def _register(plan: _Plan) -> None:
    for name in plan.module_imports:
        modules.import_tasks(name, "module_imports of the build")
    for name in plan.mixtures:
        subsets.ensure(name)


def _members(mixture: str, skip_missing: bool) -> list[str]:
    """Returns the names of a mixture's tasks, those included whose files cannot be read.

    Such a task has no size and the mixture no rates; building it says what is wrong with the file.
    """
    try:
        return list(registry.mixture_members(mixture, skip_missing=skip_missing))
    except (DataError, OSError):
        specs = {task: registry.get_spec(task) for task in registry.task_names(mixture)}
        return [task for task, spec in specs.items() if not (spec and spec.source.missing())]


def _jobs(tasks: Sequence[str], splits: Sequence[str]) -> list[tuple[str, str]]:
    """Returns (task, split) pairs, the larger train splits first."""
    jobs = []
    for task in tasks:
        spec = registry.get_spec(task)
        own = foreign.task_splits(task) if spec is None else spec.splits
        found = [split for split in splits if split in own]
        if not found:
            raise UsageError(
                f"task {task!r} has none of the splits {tuple(splits)}, it has {tuple(own)}; "
                "drop it from the mixture or build another split"
            )
        jobs += [(task, split) for split in found]
    return sorted(jobs, key=lambda job: (job[1] != TRAIN, job))


def _job_runner(
    plan: _Plan, num_workers: int, beam_runner: str | None, beam_options: Sequence[str]
) -> Callable[..., None]:
    """Returns what calls a function with every job, and `done` with each result, as asked for."""
    if beam_runner:
        if num_workers > 1:
            raise UsageError(
                f"num_workers is {num_workers}, but the processes of a build on Beam are its "
                "runner's; leave that out, or the runner"
            )
        beam_build.check(beam_runner, beam_options)
        return functools.partial(
            beam_build.run_jobs, folder=Path(plan.out, store_lib.BUILDING), result_type=_Result,
            runner=beam_runner, options=beam_options,
        )  # fmt: skip
    if beam_options:
        raise UsageError(
            f"options for Beam, {' '.join(beam_options)!r}, and no Beam runner; name one "
            "(--beam_runner DirectRunner)"
        )
    if num_workers > 1:
        quietly = modules.import_tensorflow
        return functools.partial(workers.run_jobs, num_workers=num_workers, prepare=quietly)
    return _run_here


def _run_here(
    function: Callable[[Any], Any], jobs: Sequence[Any], done: Callable[[Any, Any], None]
) -> None:
    for job in jobs:
        done(job, function(job))


def _run(
    plan: _Plan, jobs: Sequence[tuple[str, str]], run_jobs: Callable[..., None]
) -> list[_Result]:
    """Builds every job and returns how each ended."""
    results = []
    with Progress("build", total=len(jobs), unit="task") as progress:

        def done(job: tuple[str, str], result: _Result | workers.Died) -> None:
            if isinstance(result, workers.Died):
                error = f"not built: a worker process died ({result.how})"
                result = _Result(*job, error=error)
            results.append(result)
            progress.advance(note=job[0])

        run_jobs(functools.partial(_build_one, plan), jobs, done=done)
    return results


def _build_one(plan: _Plan, job: tuple[str, str]) -> _Result:
    task, split = job
    _register(plan)  # a worker has not yet
    try:
        return _Result(task, split, entry=_build_split(plan, task, split))
    except StoreWriteError:  # no task can be written
        raise
    except FlanError as error:
        return _Result(task, split, error=str(error))
    except OSError as error:
        return _Result(task, split, error=f"{error.strerror or error}: {error.filename}")
    except Exception as error:  # a user's source or field mapping may raise anything
        return _Result(task, split, error=in_words(error))


def _build_split(plan: _Plan, task: str, split: str) -> dict[str, Any]:
    """Returns the manifest entry of a task's split after writing it, unless that is done."""
    vocabulary = load_vocabulary(plan.vocabulary)
    facts = _facts(plan, vocabulary, task, split)
    if (entry := staging.finished(plan.out, task, split, facts["key"])) is not None:
        # How answers are scored decides no token, so it is as the task says now.
        return entry | {name: facts[name] for name in ("metrics", "postprocessor")}
    dropped, cuts = _DropCounts(), collections.Counter(num_trimmed=0, num_shots_cut=0)
    folder = staging.folder(plan.out, task, split)
    with TaskWriter(folder, store_lib.token_dtype(vocabulary.padded_size)) as writer:
        for example in _examples(plan, vocabulary, task, split):
            if isinstance(example, Dropped):
                dropped.add(example)
                continue
            writer.add(example.tokens["inputs"], example.tokens["targets"], example.text)
            cuts["num_trimmed"] += bool(example.text["meta"].get("trimmed"))
            cuts["num_shots_cut"] += example.text["meta"].get("num_shots_cut", 0)
            if writer.num_examples == plan.limit:
                break
        if not writer.num_examples:
            raise DataError(
                f"no examples: {dropped.num.total()} rows, dropped: {dropped}; mend the task or "
                "leave it out of the mixture"
            )
        facts |= dropped.facts() | cuts
        facts["num_rows"] = writer.num_examples + dropped.num.total()
        return writer.finish(facts)


class _DropCounts:
    """How many rows were dropped for each reason, and where the first of them are."""

    def __init__(self):
        self.num: collections.Counter[str] = collections.Counter()
        self.rows: dict[str, list[int]] = {}
        self.places: dict[str, list[str]] = {}

    def add(self, row: Dropped) -> None:
        self.num[row.reason] += 1
        if not row.reason.startswith(BEYOND_CAP):  # those follow from the seed
            self.rows.setdefault(row.reason, []).append(row.index)
        if row.where:
            places = self.places.setdefault(row.reason, [])
            if len(places) < _NUM_PLACES:
                places.append(row.where)

    def facts(self) -> dict[str, Any]:
        """Returns the part of the manifest's entry; rows and places where there are any."""
        found = {"dropped": dict(self.num), "dropped_rows": self.rows, "dropped_at": self.places}
        return {name: value for name, value in found.items() if value or name == "dropped"}

    def __str__(self) -> str:
        parts = []
        for reason, num in self.num.most_common():
            first = f", first at {self.places[reason][0]}" if reason in self.places else ""
            parts.append(f"{reason} ({num}{first})")
        return ", ".join(parts) or "none"


def _function_name(function: Callable[..., Any]) -> str:
    """Returns `module:qualname`, by which evaluation finds the function again."""
    return f"{function.__module__}:{function.__qualname__}"


def _spec(plan: _Plan, task: str) -> TaskSpec | None:
    """Returns a task's spec with the exemplar policy of the build; None for a plain SeqIO task."""
    spec = registry.get_spec(task)
    if spec is None or plan.exemplar_policy is None:
        return spec
    few_shot = dataclasses.replace(spec.few_shot, policy=plan.exemplar_policy)
    return dataclasses.replace(spec, few_shot=few_shot)


def _facts(plan: _Plan, vocabulary: Vocabulary, task: str, split: str) -> dict[str, Any]:
    """Returns what the manifest says of a task beforehand; `key` changes if the bytes would."""
    spec = _spec(plan, task)
    if spec is None:
        facts = {
            "source": "seqio",
            "source_name": "a SeqIO task's own",
            "family": "",
            "category": "",
            "licence": "",
            "cap": None,
        }
        code = [foreign.fingerprint(task, split)]
    else:
        names = ("family", "category", "licence", "cap")
        facts = {name: getattr(spec, name) for name in names}
        facts["source"] = spec.source.fingerprint(split)
        facts["source_name"] = describe(spec.source)
        # Exemplars of any split come from the train split.
        train = spec.source.fingerprint(TRAIN) if TRAIN in spec.splits else ""
        code = [spec.fingerprint(), facts["source"], train]
    scored = foreign.scoring(task) if spec is None else (spec.metrics, spec.postprocessor)
    facts["metrics"] = [_function_name(metric) for metric in scored[0]]
    facts["postprocessor"] = _function_name(scored[1]) if scored[1] else None
    decisive = [
        store_lib.FORMAT, task, split, plan.seed, plan.limit, plan.feature_lengths,
        vocabulary.fingerprint, vocabulary.padded_size, *code,
    ]  # fmt: skip
    facts["key"] = hashlib.sha256(files.dumps(decisive).encode()).hexdigest()
    return facts


def _examples(
    plan: _Plan, vocabulary: Vocabulary, task: str, split: str
) -> Iterator[foreign.Tokenized | Dropped]:
    """Yields a row's tokens and text, or why it has none."""
    lengths = dict(plan.feature_lengths)
    spec = _spec(plan, task)
    if spec is None:
        yield from foreign.examples(
            task, split, plan.seed, vocabulary=vocabulary, feature_lengths=lengths
        )
        return
    counter = Counter(vocabulary)
    items = render_task(
        spec, split, plan.seed, count_tokens=counter, feature_lengths=lengths, limit=plan.limit
    )
    yield from tokenized(items, counter, eos_id=vocabulary.eos_id, feature_lengths=lengths)


@functools.cache
def _code_hash() -> str:
    """Returns a hash of the code that renders and tokenizes."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _raise_failures(results: Sequence[_Result], mixture: str) -> None:
    failed = sorted((r for r in results if r.error), key=lambda r: (r.task, r.split))
    if not failed:
        return
    named = [f"{r.task} ({r.split}): {r.error}" for r in failed[:_NUM_NAMED]]
    if len(failed) > _NUM_NAMED:
        named.append(f"and {len(failed) - _NUM_NAMED} more")
    raise IncompleteError(
        f"mixture {mixture!r} is not complete: {len(failed)} of {len(results)} parts failed; the "
        "others are kept, so mend these and build again: " + "; ".join(named)
    )
