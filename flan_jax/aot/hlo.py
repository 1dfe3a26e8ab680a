# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a compiled program does, counted in its HLO text: collectives, and bytes moved in memory.

The compiler's own counts take a loop's body once; here it counts as often as it runs, where its
condition compares a counter with a constant, as that of each `jax.lax.scan` does. A loop whose
number of rounds is not to be seen counts once, and is told of.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

KINDS = (
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all",
    "collective-permute", "collective-broadcast",
)  # fmt: skip

_BITS = {"pred": 8, "bf16": 16, "token": 0, "opaque": 0}
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"(?:^|[ )}])([a-z][\w\-]*)\(")
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\](\{[^}]*\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"\b(?:calls|body|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_CONDITION = re.compile(r"\bcondition=%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')

# They move nothing: names for what is there already, or what runs other computations.
_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional",
    "call", "after-all", "partition-id", "replica-id", "iota", "opt-barrier",
}  # fmt: skip
_ALLOCATION = 'custom_call_target="AllocateBuffer"'


@dataclasses.dataclass(frozen=True)
class Collective:
    """The collectives of one kind in a step, of one device."""

    count: float
    bytes: float  # what goes in or what comes out, the larger


@dataclasses.dataclass(frozen=True)
class Counts:
    """What a program does in one run, of one device."""

    collectives: Mapping[str, Collective]  # by kind
    bytes_accessed: float  # read and written in memory
    bytes_once: float  # the same with each loop's body counted once
    unknown_loops: int  # loops whose body is counted once for want of a number


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    opcode: str
    result: str  # the text of its shape
    inside: str  # its brackets' text: operands, a parameter's number, a constant's value
    rest: str  # what follows the operands
    is_root: bool

    @property
    def operands(self) -> list[str]:
        """Names of other instructions of its computation."""
        return _NAME.findall(self.inside)


_Computations = Mapping[str, Mapping[str, _Instruction]]


def count(text: str) -> Counts:
    """Returns the counts of a program, from the text of its compiled module."""
    computations, entry = _parse(text)
    found: dict[str, list[float]] = {}
    channels: set[tuple[str, str]] = set()
    moved = once = 0.0
    unknown = 0
    for name, times, is_fused in _runs(computations, entry):
        if times < 0:  # a loop without a number
            unknown, times = unknown + 1, -times
        for instruction in computations[name].values():
            kind = instruction.opcode.removesuffix("-start")
            if kind in KINDS and _is_first(instruction, name, channels):
                totals = found.setdefault(kind, [0.0, 0.0])
                totals[0] += times
                totals[1] += times * _payload(instruction, computations[name])
            if not is_fused:
                size = _moved(instruction, computations[name], computations)
                moved, once = moved + times * size, once + size
    return Counts(
        collectives={kind: Collective(*found[kind]) for kind in sorted(found)},
        bytes_accessed=moved,
        bytes_once=once,
        unknown_loops=unknown,
    )


def _parse(text: str) -> tuple[_Computations, str]:
    """Returns the instructions of every computation, by name, and which is the entry."""
    computations: dict[str, dict[str, _Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (found := _INSTRUCTION.match(line)):
            instruction = _instruction(found[2], found[3], bool(found[1]))
            if instruction is not None:
                current[instruction.name] = instruction
    if not entry:
        raise ValueError("no ENTRY computation in the HLO text")
    return computations, entry


def _instruction(name: str, text: str, is_root: bool) -> _Instruction | None:
    at = _OPCODE.search(text)
    if at is None:
        return None
    depth, end = 1, at.end()
    while depth and end < len(text):  # operands may hold shapes, and those brackets
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        end += 1
    inside = text[at.end() : end - 1]
    return _Instruction(name, at[1], text[: at.start()], inside, text[end:], is_root)


def _runs(computations: _Computations, entry: str) -> Iterator[tuple[str, float, bool]]:
    """Yields each computation that runs, how often, and whether it is inside a fusion.

    The number is negative for the body of a loop whose rounds are not known, which counts as often
    as its loop. One that is called at several places comes several times.
    """
    queue: list[tuple[str, float, bool]] = [(entry, 1.0, False)]
    while queue:
        name, times, is_fused = queue.pop()
        if name not in computations:
            continue
        yield name, times, is_fused
        for instruction in computations[name].values():
            inside = is_fused or instruction.opcode not in ("while", "conditional", "call")
            inner = abs(times)
            if instruction.opcode == "while":
                trips = _trips(instruction, computations)
                inner *= -1 if trips is None else trips
            called = _CALLED.findall(instruction.rest)
            for branches in _BRANCHES.findall(instruction.rest):
                called += [branch.strip(" %") for branch in branches.split(",")]
            queue += [(other, inner, inside) for other in called]


def _trips(loop: _Instruction, computations: _Computations) -> int | None:
    """Returns how often a loop's body runs; None if its condition does not show it."""
    if known := _TRIPS.search(loop.rest):
        return int(known[1])
    condition = computations.get(_CONDITION.search(loop.rest)[1], {})
    root = next((i for i in condition.values() if i.is_root), None)
    if root is None or root.opcode != "compare" or "direction=LT" not in root.rest:
        return None
    bound = condition.get(root.operands[1])
    # Loops of jax and of the compiler's own windowed products count up from 0 by 1.
    return int(bound.inside) if bound and bound.opcode == "constant" else None


def _is_first(instruction: _Instruction, place: str, channels: set[tuple[str, str]]) -> bool:
    """Whether this is the first sight of a collective: its parts in fusions share a channel."""
    channel = re.search(r"\bchannel_id=(\d+)", instruction.rest)
    key = (instruction.opcode, channel[1] if channel else f"{place}/{instruction.name}")
    if key in channels:
        return False
    channels.add(key)
    return True


def _payload(instruction: _Instruction, scope: Mapping[str, _Instruction]) -> int:
    """Returns the bytes that a collective takes in or gives, the larger."""
    results = [_bytes(*array) for array in _ARRAY.findall(instruction.result)]
    if instruction.opcode.endswith("-start") and instruction.opcode != "all-reduce-start":
        given = max(results)  # among them are the operand, and what the transfer needs
    else:
        given = sum(results)
    operands = [scope[name].result for name in instruction.operands if name in scope]
    return max(given, sum(_bytes(*array) for text in operands for array in _ARRAY.findall(text)))


def _bytes(kind: str, dims: str, layout: str = "", *, everywhere: bool = True) -> int:
    """Returns an array's bytes; outside of HBM none, unless `everywhere`."""
    if not everywhere and re.search(r"S\([1-9]", layout):
        return 0
    bits = _BITS.get(kind) or int((re.search(r"\d+", kind) or ["0"])[0])
    return math.prod(int(d) for d in dims.split(",") if d) * bits // 8


def _hbm_bytes(shape: str) -> int:
    return sum(_bytes(*array, everywhere=False) for array in _ARRAY.findall(shape))


def _moved(
    instruction: _Instruction, scope: Mapping[str, _Instruction], computations: _Computations
) -> int:
    """Returns the bytes that an instruction reads and writes in HBM."""
    opcode = instruction.opcode
    if opcode in _FREE or opcode.endswith("-done") or _ALLOCATION in instruction.rest:
        return 0
    results = _hbm_bytes(instruction.result)
    if opcode == "dynamic-slice":
        return 2 * results
    sizes = [
        _hbm_bytes(scope[name].result) if name in scope else 0 for name in instruction.operands
    ]
    if opcode == "dynamic-update-slice":
        return 2 * (sizes[1] if len(sizes) > 1 else results)
    if opcode == "fusion" and (called := _CALLED.search(instruction.rest)):
        return _fusion_moved(results, sizes, computations.get(called[1], {}))
    return results + sum(sizes)


def _fusion_moved(results: int, sizes: list[int], inner: Mapping[str, _Instruction]) -> int:
    """Returns the bytes of a fusion; of a stack of which it reads or writes a part, the part's."""
    users: dict[str, list[_Instruction]] = {}
    for instruction in inner.values():
        for operand in instruction.operands:
            users.setdefault(operand, []).append(instruction)
    root = next((i for i in inner.values() if i.is_root), None)
    total = results if root is None else _written(root, inner)
    for parameter in (i for i in inner.values() if i.opcode == "parameter"):
        size = sizes[int(parameter.inside)]
        uses = users.get(parameter.name, [])
        if size and uses and all(_is_part(use, parameter.name) for use in uses):
            size = min(size, sum(_part_bytes(use, inner) for use in uses))
        total += size
    return total


def _written(root: _Instruction, inner: Mapping[str, _Instruction]) -> int:
    """Returns the bytes that a fusion with this root writes."""
    if root.opcode == "tuple":
        return sum(_written(inner[name], inner) for name in root.operands)
    result = root.result
    while root.opcode == "bitcast" and root.operands:
        root = inner[root.operands[0]]
    return _part_bytes(root, inner) if root.opcode == "dynamic-update-slice" else _hbm_bytes(result)


def _is_part(use: _Instruction, name: str) -> bool:
    return use.opcode in ("dynamic-slice", "dynamic-update-slice") and use.operands[0] == name


def _part_bytes(use: _Instruction, inner: Mapping[str, _Instruction]) -> int:
    part = use.result if use.opcode == "dynamic-slice" else inner[use.operands[1]].result
    return _hbm_bytes(part)
