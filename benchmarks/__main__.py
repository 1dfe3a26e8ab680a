# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs the benchmarks one after the other and puts what they printed into docs/performance.md.

    python benchmarks                      # all of them, in full
    python benchmarks startup decode       # these
    python benchmarks --quick --out /tmp/b # a smoke test, the page left alone

Each result is kept as JSON beside the page, and the page's blocks are made from those files, so a
block that nobody measured cannot stand there (tests/benchmarks_test.py compares the two). Leave
the machine alone while it runs.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

import measuring

from flan_jax.core import errors, files

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
RESULTS = HERE.parent / "docs" / "performance"
# The order of the page.
BENCHMARKS = (
    "train_step",
    "packed_step",
    "step_memory",
    "input_pipeline",
    "input_scale",
    "packing_fill",
    "collection",
    "startup",
    "decode",
    "decode_mixed",
    "evaluation",
)

# A block of the page: what is between its two markers is written, never edited.
_BLOCK = "<!-- {mark} of python benchmarks {name} -->"


def block(name: str, result: dict) -> str:
    """Returns a benchmark's block of the page, with its markers."""
    begin, end = (_BLOCK.format(mark=mark, name=name) for mark in ("output", "end"))
    return f"{begin}\n```text\n{measuring.result_text(result)}\n```\n{end}"


def with_block(page: str, name: str, result: dict) -> str:
    """Returns the page with the block of one benchmark replaced.

    Raises:
        ValueError: the page has no such block, or several.
    """
    begin, end = (re.escape(_BLOCK.format(mark=mark, name=name)) for mark in ("output", "end"))
    # A function, as the text may hold backslashes.
    changed, count = re.subn(
        f"{begin}.*?{end}", lambda _: block(name, result), page, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(f"{count} blocks of {name!r} on the page, not one")
    return changed


def main() -> int:
    """Runs what the command line asks for and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)} (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="smoke tests; needs --out")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write the JSON files there and leave the page"
    )
    args = parser.parse_args()
    for name in args.names:
        if name not in BENCHMARKS:
            parser.error(str(errors.unknown_name("benchmark", name, BENCHMARKS)))
    if args.quick and not args.out:
        parser.error("--quick measures nothing worth a page: give --out DIR")
    folder = args.out or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in args.names or BENCHMARKS:
        start = time.monotonic()
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(folder / f"{name}.json")]
        measuring.step(f"{name} ...")
        if subprocess.run([*command, *["--quick"] * args.quick], check=False).returncode:
            failed.append(name)
            continue
        measuring.step(f"{name}: {time.monotonic() - start:.0f} s")
        if not args.out:
            result = files.read_json(folder / f"{name}.json")
            page = with_block(PAGE.read_text(encoding="utf-8"), name, result)
            with files.atomic_open(PAGE) as file:
                file.write(page)
    if failed:
        print(f"benchmarks: error: failed: {', '.join(failed)}", file=sys.stderr)
        return errors.EXIT_FAILED
    return errors.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
