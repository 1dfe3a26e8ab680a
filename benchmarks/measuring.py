# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: contenders, spreads and ratios, tables, the machine, the command line.

Each side of a comparison is a *contender*: a generator that runs in a process of its own, so that
imports, memory and thread pools of one never touch another. Rounds go from contender to contender,
so a machine that slows down slows all of them; a ratio is taken round by round, then its median.
"""

import argparse
import contextlib
import csv
import dataclasses
import datetime
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

from flan_jax import main as command_line
from flan_jax.core import errors, files
from flan_jax.core.progress import say

# Yields facts about itself once it is ready, then the measurements of one round each time.
Side = Callable[..., Generator[dict[str, Any], None, None]]


class Contender:
    """One side of a comparison, in a process of its own that has what the command line sets.

    Args:
        name: what errors call it.
        side: a generator function at the top of a module.
        arguments: of `side`; pickled.
    """

    def __init__(self, name: str, side: Side, *arguments: Any):
        self._name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, side, arguments))
        self._process.start()
        theirs.close()
        self.facts = self._receive()

    def round(self) -> dict[str, Any]:
        """Runs one round and returns its measurements."""
        self._pipe.send(True)
        return self._receive()

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self._pipe.send(False)
        self._process.join()

    def _receive(self) -> dict[str, Any]:
        try:
            found = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise errors.FlanError(
                f"the process of {self._name!r} ended with {self._process.exitcode}; its own "
                "message is above"
            ) from None
        if isinstance(found, errors.FlanError):
            raise found
        return found


def _serve(pipe: Any, side: Side, arguments: tuple[Any, ...]) -> None:
    try:
        for found in side(*arguments):
            pipe.send({**found, "peak_rss_mb": peak_rss_mb()})
            if not pipe.recv():
                return
    except errors.FlanError as error:
        pipe.send(error)
    except (EOFError, KeyboardInterrupt):  # the parent is gone, or going
        pass
    except BaseException:
        traceback.print_exc()
        sys.exit(1)


@contextlib.contextmanager
def contenders(
    sides: Mapping[str, tuple[Side, tuple[Any, ...]]],
) -> Iterator[dict[str, Contender]]:
    """Starts contenders one after the other, each ready before the next, and ends them."""
    started: dict[str, Contender] = {}
    try:
        for name, (side, arguments) in sides.items():
            started[name] = Contender(name, side, *arguments)
        yield started
    finally:
        for contender in started.values():
            contender.close()


def alternate(
    runs: Mapping[str, Callable[[], dict[str, Any]]], num_rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Returns what each run gave, round by round; every other round goes backwards.

    Going to and fro, no run is always the one that follows a heavy neighbour.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in runs}
    for i in range(num_rounds):
        for name in list(runs)[:: -1 if i % 2 else 1]:
            found[name].append(runs[name]())
    return found


def peak_rss_mb() -> float:
    """Returns the most memory this process has held, in MB (10^6 bytes)."""
    # Not getrusage where it can be helped: it keeps the parent's peak from before exec.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


@dataclasses.dataclass(frozen=True)
class Spread:
    """The median of several rounds, and the least and the most."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Returns the spread of `values`."""
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def ratio(cls, values: Sequence[float], peers: Sequence[float]) -> "Spread":
        """Returns the spread of `values` over `peers`, round by round."""
        return cls.of([value / peer for value, peer in zip(values, peers, strict=True)])


Cell = str | float | int | Spread | None


@dataclasses.dataclass
class Table:
    """A table of measurements.

    Args:
        title: what was measured, and under what conditions.
        columns: heading -> how a number under it is written, as `format` takes it.
        note: how to read it; lines.
    """

    title: str
    columns: Mapping[str, str]
    note: str = ""
    rows: list[list[Cell]] = dataclasses.field(default_factory=list)

    def add(self, *cells: Cell) -> None:
        """Adds a row."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{self.title}: {len(cells)} cells for {len(self.columns)} columns")
        self.rows.append(list(cells))

    def to_json(self) -> dict[str, Any]:
        """Returns the table as JSON values."""
        # Pairs, as JSON objects have no order.
        return dataclasses.asdict(self) | {"columns": list(self.columns.items())}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Table":
        """Returns the table that `to_json` was called on."""
        rows = [[Spread(**c) if isinstance(c, dict) else c for c in row] for row in found["rows"]]
        return cls(found["title"], dict(found["columns"]), found["note"], rows)

    def text(self) -> str:
        """Returns the table with its columns aligned: text to the left, numbers to the right."""
        lines = [list(self.columns)]
        for row in self.rows:
            formats = self.columns.values()
            lines.append([_shown(cell, how) for cell, how in zip(row, formats, strict=True)])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        is_text = [all(isinstance(c, str) for c in column) for column in zip(*self.rows)]  # noqa: B905
        out = [self.title]
        for line in lines:
            parts = [
                cell.ljust(width) if left else cell.rjust(width)
                for cell, width, left in zip(line, widths, is_text, strict=True)
            ]
            out.append("  " + "  ".join(parts).rstrip())
        out.insert(2, "  " + "  ".join("-" * width for width in widths))
        return "\n".join([*out, *self.note.splitlines()])


def _shown(cell: Cell, how: str) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Spread):
        median, low, high = (format(n, how) for n in (cell.median, cell.low, cell.high))
        return median if low == high else f"{median} ({low}-{high})"
    return format(cell, how)


def machine(libraries: Sequence[str]) -> dict[str, Any]:
    """Returns what the numbers depend on beside the code: hardware, versions, settings, load."""
    return {
        "cpu": _cpu_model(),
        "cores": num_cores(),
        "ram_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in libraries if _is_installed(name)},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        # Of others, when the benchmark starts: a quiet machine shows less than half a process.
        "load": round(os.getloadavg()[0], 2),
        "date": datetime.date.today().isoformat(),
    }


def num_cores() -> int:
    """Returns how many cores this process may use; jax and torch are given all of them."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _is_installed(library: str) -> bool:
    try:
        metadata.version(library)
    except metadata.PackageNotFoundError:
        return False
    return True


def machine_text(found: Mapping[str, Any]) -> str:
    """Returns the description of a machine as lines."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (
        f"machine: {found['cpu']}, {found['cores']} cores, {found['ram_gb']} GB RAM, "
        f"{found['system']}, load {found['load']} at the start, {found['date']}\n"
        f"versions: Python {found['python']}, {versions}\n"
        f"environment: XLA_FLAGS={found['xla_flags']!r} (as the flan-jax command sets it)"
    )


def result_text(result: Mapping[str, Any]) -> str:
    """Returns what a benchmark prints, from the result it writes with `--json`."""
    tables = [Table.from_json(table).text() for table in result["tables"]]
    return "\n\n".join([*tables, machine_text(result["machine"])])


def make_parser(description: str, num_rounds: int) -> argparse.ArgumentParser:
    """Returns a parser of what every benchmark takes, to which one adds its own arguments."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few and small cases: a smoke test")
    parser.add_argument(
        "--rounds", type=positive, help=f"rounds of each comparison (default: {num_rounds})"
    )
    parser.add_argument(
        "--threads", type=positive, help="cores to use, the first ones (default: all there are)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there as JSON")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the result there as CSV")
    parser.set_defaults(default_rounds=num_rounds)
    return parser


def positive(text: str) -> int:
    """Returns the number that an argument says; as a type of `argparse`."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def require(*modules: str) -> None:
    """Raises a `UsageError` if a module of the extra `hf` is not installed."""
    missing = [name for name in modules if util.find_spec(name) is None]
    if missing:
        raise errors.UsageError(
            f"the peer of this benchmark needs {' and '.join(missing)}, not installed here; "
            "pip install 'torch==2.13.0' -e '.[hf]'"
        )


def run(
    script: str,
    parser: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace], list[Table]],
    *,
    libraries: Sequence[str],
) -> int:
    """Runs a benchmark from its command line, prints its tables and returns the exit code.

    Args:
        script: its path.
        parser: from `make_parser`, with the benchmark's own arguments.
        measure: the benchmark.
        libraries: distributions whose versions matter.
    """
    name = Path(script).stem
    args = parser.parse_args()
    args.rounds = args.rounds or (1 if args.quick else args.default_rounds)
    # Contenders inherit it.
    command_line._set_environment()
    if args.threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    found = machine(("flan_jax", *libraries))
    try:
        tables = measure(args)
    except errors.FlanError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return error.exit_code
    result = {
        "benchmark": name,
        "quick": args.quick,
        "machine": found,
        "tables": [table.to_json() for table in tables],
    }
    if args.json:
        files.write_json(args.json, result)
    if args.csv:
        _write_csv(args.csv, name, tables)
    # Through JSON, so that what is printed now is what is shown of the file later.
    print(result_text(json.loads(json.dumps(result))))
    return errors.EXIT_OK


def _write_csv(path: Path, name: str, tables: Sequence[Table]) -> None:
    """Writes one line a cell; a row goes by the texts in it."""
    with files.atomic_open(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["benchmark", "table", "row", "column", "value", "low", "high"])
        for table in tables:
            for row in table.rows:
                label = " ".join(cell for cell in row if isinstance(cell, str))
                for column, cell in zip(table.columns, row, strict=True):
                    if isinstance(cell, Spread):
                        numbers = [cell.median, cell.low, cell.high]
                    elif isinstance(cell, int | float):
                        numbers = [cell, cell, cell]
                    else:
                        continue
                    writer.writerow([name, table.title, label, column, *numbers])


def step(message: str) -> None:
    """Says on standard error what is measured now."""
    say(f"benchmark: {message}")
