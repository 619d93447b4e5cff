"""How fast a step can be at most, and how that scales: arithmetic with published rates. Nothing here is measured.

Each chip works through the same number of records however many chips there are (weak scaling). A step takes at least
    compute  F / P              F FLOPs of products on one chip, P its FLOP/s
    memory   M / W              M bytes that must pass between chip and memory, of what is updated: read once, written once
    links    sum of the collectives' times

With S bytes of operands on each of n chips, of which each sends B bytes/s over all its links, a collective takes at least (Chan et al.
2007, Collective communication: theory, practice, and experience; a ring reaches it):
    all-reduce      2 S (n - 1) / (n B)
    all-gather      S (n - 1) / B
    reduce-scatter  S (n - 1) / (n B)
    all-to-all      S (n - 1) / (n B)
    permutation     S / B
Where n chips are m machines of g chips with adapters of A bytes/s each, the machines send to each other like m chips of rate g A: the
slower of the two counts. For S the machine has then, of an all-reduce or reduce-scatter, S (its chips add theirs up), else g S.

If the three went on side by side all the time, a step would take the longest of them: `steps_per_second`, the bound. If nothing is sent
while something is computed, it takes the longer of the first two and the links: `efficiency` is their share of that. A real step is slower.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mmre_jax.planning.chips import Chip
from mmre_jax.planning.hlo import Collective

SIZES = (8, 64, 256)


@dataclasses.dataclass(frozen=True)
class Work:
    """A chip's share of a step. flops: of products.  moved: bytes read and written of what is updated.  chips: those of the plan."""

    flops: float
    moved: float
    collectives: Sequence[Collective]
    chips: int
    fsdp: int
    records: int


@dataclasses.dataclass(frozen=True)
class Bound:
    """Seconds, and what follows from them, for a number of chips."""

    chip: str
    chips: int
    compute: float
    memory: float
    links: float
    steps_per_second: float
    records_per_second: float
    efficiency: float


def bound(work: Work, chip: Chip, chips: int, flops: float) -> Bound | None:
    """The bound for a number of chips of a kind; None where they do not divide by fsdp.

    Args:
      flops: FLOP/s of a chip.
    """
    if chips % work.fsdp:
        return None
    compute, memory = work.flops / flops, work.moved / chip.bandwidth
    links = sum(seconds(found, scaled(found, work.chips, chips), chip) for found in work.collectives)
    busy = max(compute, memory)
    longest = max(busy, links)
    return Bound(chip.name, chips, compute, memory, links, 1 / longest, chips * work.records / longest, busy / (busy + links))


def scaled(found: Collective, planned: int, chips: int) -> int:
    """The members of a collective's group where there are `chips`."""
    return found.group * chips // planned if found.grows else found.group


def seconds(found: Collective, n: int, chip: Chip) -> float:
    """Seconds that the chip's rates allow the collectives of a kind, in groups of n chips."""
    machines = -(-n // chip.node) if chip.node else 1
    within = _seconds(found.kind, found.bytes, min(n, chip.node or n), chip.link)
    if machines == 1:
        return within
    summed = found.kind in ("all-reduce", "reduce-scatter")
    return max(within, _seconds(found.kind, found.bytes * (1 if summed else chip.node), machines, chip.node * chip.beyond))


def _seconds(kind: str, size: float, n: int, rate: float) -> float:
    if n == 1:
        return 0.0
    share = {
        "all-reduce": 2 * (n - 1) / n,
        "all-gather": n - 1,
        "reduce-scatter": (n - 1) / n,
        "all-to-all": (n - 1) / n,
        "collective-permute": 1,
    }
    return size * share[kind] / rate
