"""The collectives of a compiled program, read from the text of its HLO."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_BITS = {"pred": 8, "token": 0, "opaque": 0, "bf16": 16, "c64": 64, "c128": 128}
_SHAPE = re.compile(r"\b([a-z][a-z0-9]*)\[([\d,]*)\]")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")


@dataclasses.dataclass(frozen=True)
class Collective:
    """Collectives of one kind over groups of one size.

    count: how often a step runs one.  bytes: of all their operands on one chip, in a step.
    group: chips of a group.  grows: whether a group has more chips where there are more of them; one along fsdp alone has not.
    """

    kind: str
    count: int
    bytes: int
    group: int
    grows: bool


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    root: bool


def collectives(text: str, *, chips: int, fsdp: int = 1) -> tuple[list[Collective], int]:
    """(the collectives that a step runs on each chip, how many of the loops around them do not say how often they run).

    What stands in a loop counts as often as the loop is known to run, else once; of a conditional every branch counts. A group that has one
    member moves nothing and is left out.

    Args:
      text: `compiled.as_text()`.
      chips: partitions of the program.
      fsdp: places of the mesh's last axis; chips with neighbouring numbers form such a group.
    """
    computations, entry = _parse(text)
    times: Counter[str] = Counter()
    vague: set[str] = set()
    _walk(computations, entry, 1, times, vague)
    found: Counter[tuple[str, int, bool]] = Counter()
    sizes: Counter[tuple[str, int, bool]] = Counter()
    chains: set[str] = set()
    for name, often in times.items():
        types = {instruction.name: instruction.type for instruction in computations[name]}
        for instruction in computations[name]:
            kind = instruction.opcode.removesuffix("-start")
            if kind not in KINDS:
                continue
            group = _group(instruction, chips)
            if len(group) == 1 or _chained(instruction, chains):
                continue
            along = fsdp > 1 and len(group) == fsdp and np.ptp(group) == fsdp - 1
            if name.startswith("all-reduce-scatter"):  # on TPU that is an all-reduce and the slice of it that a chip keeps, fused
                kind = "reduce-scatter"
            key = (kind, len(group), not along)
            found[key] += often
            sizes[key] += often * sum(_bytes(operand if "[" in operand else types[_bare(operand)]) for operand in instruction.operands)
    rows = [Collective(kind, found[kind, group, grows], sizes[kind, group, grows], group, grows) for kind, group, grows in sorted(found)]
    unsure = sum(_holds(computations, name) for name in vague)
    return rows, unsure


def _parse(text: str) -> tuple[dict[str, list[_Instruction]], str]:
    """({computation: its instructions}, the name of the entry)."""
    found: dict[str, list[_Instruction]] = {}
    current, entry = None, ""
    for line in text.splitlines():
        if not line.startswith((" ", "}")) and line.rstrip().endswith("{"):
            current = line.removeprefix("ENTRY ").lstrip("%").split(" ", 1)[0].split("(", 1)[0]
            found[current] = []
            entry = current if line.startswith("ENTRY ") else entry
        elif current is not None and (match := _LINE.match(line)):
            found[current].append(_instruction(match[2], match[3], bool(match[1])))
    if not entry:
        raise ValueError("the text of a compiled program has no ENTRY computation")
    return found, entry


def _instruction(name: str, rest: str, root: bool) -> _Instruction:
    shape, rest = _first(rest)
    opcode, _, rest = rest.strip().partition("(")
    inside, attributes = _closed("(" + rest)
    return _Instruction(name, shape, opcode.strip(), tuple(_split(inside)), attributes, root)


def _first(rest: str) -> tuple[str, str]:
    """(a type, what stands behind it)."""
    if not rest.startswith("("):
        shape, _, behind = rest.partition(" ")
        return shape, behind
    return _closed(rest)


def _closed(text: str) -> tuple[str, str]:
    """(what stands between the bracket that the text begins with and the one that closes it, what stands behind)."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if not depth:
            return text[1:place], text[place + 1 :]
    raise ValueError(f"a bracket is not closed: {text[:80]}")


def _split(inside: str) -> Iterator[str]:
    """Parts between commas that stand in no bracket."""
    depth, start = 0, 0
    for place, letter in enumerate(inside):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            yield inside[start:place].strip()
            start = place + 1
    if last := inside[start:].strip():
        yield last


def _bare(operand: str) -> str:
    return re.sub(r"/\*.*?\*/", "", operand).strip().lstrip("%")


def _bytes(shape: str) -> int:
    """Of all arrays of a type, tuples included; layouts hold no brackets of this form."""
    return sum(math.prod(int(side) for side in sides.split(",") if side) * _bits(kind) // 8 for kind, sides in _SHAPE.findall(shape))


def _bits(kind: str) -> int:
    if kind in _BITS:
        return _BITS[kind]
    number = re.match(r"[a-z]+(\d+)", kind)
    if number is None:
        raise ValueError(f"a type of HLO without a size: {kind}")
    return int(number[1])


def _walk(computations: Mapping[str, list[_Instruction]], name: str, often: int, times: Counter[str], vague: set[str]) -> None:
    """Adds to `times` how often a computation is run, and those that it calls; to `vague` the bodies of loops that do not say."""
    times[name] += often
    for instruction in computations[name]:
        if instruction.opcode in ("async-update", "async-done"):  # they name again what async-start began
            continue
        for key, called in _called(instruction.attributes):
            if key == "to_apply" and instruction.opcode != "call":
                continue  # what a reduction does with two numbers
            repeated = often
            if key == "body":
                trips = _trips(computations, name, instruction)
                repeated = often * (1 if trips is None else trips)
                if trips is None:
                    vague.add(called)
            _walk(computations, called, repeated, times, vague)


def _trips(computations: Mapping[str, list[_Instruction]], name: str, loop: _Instruction) -> int | None:
    """How often a loop runs: as it says, or as follows from a counter that goes from 0 by 1 while it is below a number; None elsewhere."""
    if said := re.search(r'"known_trip_count":\s*\{\s*"n":\s*"?(\d+)', loop.attributes):
        return int(said[1])
    parts = dict(_called(loop.attributes))
    outside, test, body = ({found.name: found for found in computations[part]} for part in (name, parts["condition"], parts["body"]))
    ends = [next(found for found in part.values() if found.root) for part in (test, body)]
    first = outside.get(_bare(loop.operands[0]))
    if ends[0].opcode != "compare" or "direction=LT" not in ends[0].attributes or ends[1].opcode != "tuple" or first is None:
        return None
    place = _element(ends[0].operands[0], test)
    if place is None or first.opcode != "tuple":
        return None
    step = body.get(_bare(ends[1].operands[place]))
    if step is None or step.opcode != "add" or _element(step.operands[0], body) != place or _number(step.operands[1], body) != 1:
        return None
    return _number(ends[0].operands[1], test) if _number(first.operands[place], outside) == 0 else None


def _element(operand: str, within: Mapping[str, _Instruction]) -> int | None:
    """Which element of what a computation is given an operand is."""
    found = within.get(_bare(operand))
    if found is None or found.opcode != "get-tuple-element" or within[_bare(found.operands[0])].opcode != "parameter":
        return None
    place = re.search(r"index=(\d+)", found.attributes)
    return int(place[1]) if place else None


def _number(operand: str, within: Mapping[str, _Instruction]) -> int | None:
    """The whole number that an operand is, if it is a constant."""
    found = within.get(_bare(operand))
    while found is not None and found.opcode == "copy":
        found = within.get(_bare(found.operands[0]))
    whole = found is not None and found.opcode == "constant" and re.match(r"[su]\d+\[\]", found.type)
    return int(found.operands[0]) if found is not None and whole else None


def _called(attributes: str) -> Iterator[tuple[str, str]]:
    """(attribute, computation) of what an instruction calls."""
    for key, several, one in re.findall(
        r"\b(calls|to_apply|body|condition|true_computation|false_computation|branch_computations)=(?:\{([^}]*)\}|%?([\w.\-]+))", attributes
    ):
        yield from ((key, called.strip().lstrip("%")) for called in (several.split(",") if several else [one]))


def _holds(computations: Mapping[str, list[_Instruction]], name: str) -> bool:
    """Whether a computation runs a collective, itself or by what it calls."""
    times: Counter[str] = Counter()
    _walk(computations, name, 1, times, set())
    return any(instruction.opcode.removesuffix("-start") in KINDS for inner in times for instruction in computations[inner])


def _chained(instruction: _Instruction, chains: set[str]) -> bool:
    """Whether a collective is a further part of one that was counted: on TPU one that goes on beside products stands in each of them."""
    chain = re.search(r'chain_id="(\d+)"', instruction.attributes)
    if chain is None:
        return False
    known = chain[1] in chains
    chains.add(chain[1])
    return known


def _group(instruction: _Instruction, chips: int) -> list[int]:
    """The numbers of the chips of the first group."""
    if instruction.opcode.startswith("collective-permute"):
        pairs = re.search(r"source_target_pairs=\{(.*?)\}\}", instruction.attributes)
        moved = pairs and any(a != b for a, b in re.findall(r"\{(\d+),(\d+)", pairs[0] + "}"))
        return list(range(chips)) if moved else [0]
    if found := re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", instruction.attributes):
        shape, sides = (tuple(map(int, found[place].split(","))) for place in (1, 2))
        numbers = np.arange(math.prod(sides)).reshape(sides)
        if found[3]:
            numbers = numbers.transpose(tuple(map(int, found[3].split(","))))
        return [int(number) for number in numbers.reshape(shape)[0]]
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", instruction.attributes):
        return [int(number) for number in found[1].split(",")]
    return list(range(chips))
