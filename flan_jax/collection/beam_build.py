# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The builder's jobs on Apache Beam: many machines that share the store's folder.

Like `workers.run_jobs`, for what one machine cannot do. The pipeline is one Map over the jobs; each
job writes its part of the store as it does anywhere, and how it ended beside it, so results come
back the same way from every runner, and a job that a runner tries again is found done. A runner
must not work at one job twice at the same time.

Beam is the extra `beam`; it is imported only here, when a build asks for it.
"""

import contextlib
import dataclasses
import functools
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from flan_jax.collection.workers import Died
from flan_jax.core import files
from flan_jax.core.errors import FlanError, UsageError, unknown_name

Job = TypeVar("Job")

_PREFIX = "beam."
_POLL_S = 0.5


def check(runner: str, options: Sequence[str]) -> None:
    """Checks that Beam is here and takes this runner and these options.

    Raises:
        UsageError: it is not installed, or does not know one of them.
    """
    _pipeline(runner, options)


def run_jobs(
    function: Callable[[Job], Any],
    jobs: Sequence[Job],
    done: Callable[[Job, Any], None],
    *,
    folder: Path,
    result_type: Callable[..., Any],
    runner: str,
    options: Sequence[str] = (),
) -> None:
    """Calls `function` with every job on a Beam runner, and `done` with its result.

    Args:
        function: can be pickled; returns a `result_type`.
        jobs: they begin and end in any order.
        done: called in this process, by one thread at a time, with a job and its result or `Died`.
        folder: shared by this process and all that Beam starts; made if absent.
        result_type: a dataclass of JSON values.
        runner: Beam's name of it, such as DirectRunner.
        options: Beam's own, as on a command line.

    Raises:
        FlanError: what a job raised of that kind; the others are done all the same.
    """
    import apache_beam as beam

    folder.mkdir(parents=True, exist_ok=True)
    for left_by_a_killed_build in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(left_by_a_killed_build)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as name:
        results = Path(name)
        pipeline = _pipeline(runner, options)
        numbered = list(enumerate(jobs))
        _ = (
            pipeline
            | "Jobs" >> beam.Create(numbered, reshuffle=False)
            | "Spread" >> beam.Reshuffle()
            | "Build" >> beam.Map(functools.partial(_do, function, str(results)))
        )
        how = ""

        def give(number: int, fields: dict[str, Any]) -> None:
            done(jobs[number], result_type(**fields))

        with _collected(results, len(jobs), give) as left:
            try:
                pipeline.run().wait_until_finish()
            except Exception as error:  # a runner may raise anything
                how = f"; Beam says: {_last_line(error)}"
    for number in sorted(left):
        done(jobs[number], Died(f"on the {runner}{how}"))


def _do(function: Callable[[Job], Any], results: str, numbered: tuple[int, Job]) -> None:
    """Does one job and writes how it ended; runs wherever the runner wants."""
    number, job = numbered
    try:
        ended = {"result": dataclasses.asdict(function(job))}
    except FlanError as error:
        ended = {"error": str(error)}
    files.write_json(Path(results, f"{number}.json"), ended)


@contextlib.contextmanager
def _collected(
    results: Path, num: int, give: Callable[[int, dict[str, Any]], None]
) -> Iterator[set[int]]:
    """Passes results on as they come; yields the numbers of the jobs still without one.

    Raises:
        FlanError: the first that a job raised, at the end.
    """
    left = set(range(num))
    raised: list[str] = []
    stop = threading.Event()

    def collect() -> None:
        for number in sorted(left):
            path = results / f"{number}.json"
            if not path.exists():
                continue
            ended = files.read_json(path)
            left.discard(number)
            if "result" in ended:
                give(number, ended["result"])
            else:
                raised.append(ended["error"])

    def watch() -> None:
        while not stop.wait(_POLL_S):
            collect()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield left
    finally:
        stop.set()
        watcher.join()
    collect()
    if raised:
        raise FlanError(raised[0])


def _pipeline(runner: str, options: Sequence[str]):
    """Returns an empty pipeline."""
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ModuleNotFoundError as error:
        raise UsageError(
            f"a build on the {runner} needs Apache Beam, and {error.name!r} is not installed; "
            "pip install 'flan_jax[beam]', or build without --beam_runner"
        ) from None
    made = PipelineOptions([*options, f"--runner={runner}"])
    known = PipelineOptions([]).get_all_options()
    unknown = made.get_all_options(retain_unknown_options=True).keys() - known.keys()
    if unknown:
        raise unknown_name("option of Beam", min(unknown), known, "(in --beam_options)")
    try:
        return beam.Pipeline(options=made)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(
            f"Apache Beam does not take the runner {runner!r} with the options "
            f"{' '.join(options)!r}: {_last_line(error)}"
        ) from None


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
