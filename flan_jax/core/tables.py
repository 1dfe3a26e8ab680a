# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Text tables: with their columns aligned, or in Markdown."""

from collections.abc import Collection, Iterator, Sequence


def aligned(rows: Sequence[Sequence[str]], right: Collection[int]) -> Iterator[str]:
    """Yields a line for each row, two blanks between columns, none at its end.

    Args:
        rows: cells, the heading's first; all rows have as many.
        right: the columns that end at their right, as numbers do.

    Example:
        >>> list(aligned([("task", "rows"), ("a", "12")], right=[1]))
        ['task  rows', 'a       12']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def markdown(rows: Sequence[Sequence[str]], right: Collection[int]) -> str:
    r"""Returns a table in GitHub's Markdown; arguments as `aligned`.

    Example:
        >>> print(markdown([("task", "rows"), ("a|b", "12")], right=[1]), end="")
        | task | rows |
        | --- | ---: |
        | a\|b | 12 |
    """
    rule = ["---:" if number in right else "---" for number in range(len(rows[0]))]
    lines = [rows[0], rule, *rows[1:]]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |\n"
        for line in lines
    )
