"""Chips by their published numbers, and slices of them by name."""

from __future__ import annotations

import dataclasses
import math
import re

from mmre_jax.analysis.peaks import peak_of
from mmre_jax.declare import did_you_mean

GIGA, GIB = 10**9, 2**30
PASSES = {"default": 1, "high": 3, "highest": 6}  # of bfloat16 that a TPU makes for a product of float32 (jax.lax.Precision)


class PlanError(ValueError):
    """What cannot be planned, and why."""


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device. All rates are what its vendor says it can do at best.

    kind: as JAX calls it, and as analysis/peaks.py has its FLOP/s.
    hbm: bytes of memory.  bandwidth: bytes/s between it and the chip.
    link: bytes/s that leave the chip over all its links to others together, one way.
    axes: of a slice of a TPU, by which it is named.  cores: the compiler's name for taking both cores of a chip as one device, if need be.
    node: chips that are joined by these links; 0: all of a slice. Beyond it a chip sends `beyond` bytes/s.
    single: FLOP/s of products in float32, of a GPU with train.precision=highest; 0 for a TPU, see PASSES.
    """

    name: str
    kind: str
    hbm: int
    bandwidth: float
    link: float
    source: str
    axes: int = 0
    cores: str = ""
    node: int = 0
    beyond: float = 0.0
    single: float = 0.0

    def flops(self, dtype: str, precision: str) -> float:
        """FLOP/s of dense products for values of train.dtype and train.precision."""
        peak = peak_of(self.kind, dtype)
        assert peak is not None, f"analysis/peaks.py has no FLOP/s of {self.kind}"
        if dtype != "float32":
            return peak * 1e12
        if self.single:
            return self.single if precision == "highest" else peak * 1e12
        return peak * 1e12 / PASSES[precision]


_DOCS = "docs.cloud.google.com/tpu/docs"
# GB of memory are GiB: the compiler leaves a program 15.75 of them on a v5e, 31.25 on a v6e. Of links the documents give bytes/s in both
# directions, or bits/s in one (v5e: 400 GBps, 1600 Gbps); here it is one direction.
TPUS = {
    chip.name: chip
    for chip in (
        Chip("v4", "TPU v4", 32 * GIB, 1200e9, 300e9, f"{_DOCS}/v4; 6 links of 50 GB/s: Jouppi et al. 2023, table 4", 3, "megacore"),
        Chip("v5e", "TPU v5 lite", 16 * GIB, 819e9, 200e9, f"{_DOCS}/v5e", axes=2),
        Chip("v5p", "TPU v5", 95 * GIB, 2765e9, 600e9, f"{_DOCS}/v5p", axes=3),
        Chip("v6e", "TPU v6 lite", 32 * GIB, 1638e9, 400e9, f"{_DOCS}/v6e", axes=2),
    )
}
# Eight to a machine, each with a network adapter of its own: 200 Gbit/s in a DGX A100, 400 in a DGX H100.
_SHEET = "NVIDIA's data sheets of"
_KINDS = ("NVIDIA A100", "NVIDIA H100 80GB HBM3")
GPUS = (
    Chip("A100", _KINDS[0], 80 * GIGA, 2039e9, 300e9, f"{_SHEET} A100 80GB SXM and DGX A100", node=8, beyond=25e9, single=19.5e12),
    Chip("H100", _KINDS[1], 80 * GIGA, 3350e9, 450e9, f"{_SHEET} H100 SXM and DGX H100", node=8, beyond=50e9, single=66.9e12),
)
KNOWN = "v4:AxBxC, v5e:AxB, v5p:AxBxC and v6e:AxB, such as v5e:4x4 or v5p:2x2x2, and cuda:N"


@dataclasses.dataclass(frozen=True)
class Topology:
    """A slice of TPUs, or a number of GPUs. chips: what it may be made of; of GPUs the program does not depend on which."""

    name: str
    platform: str
    count: int
    chips: tuple[Chip, ...]


def read_topology(written: str) -> Topology:
    """The topology that a name such as v5e:4x4 or cuda:8 says.

    Raises:
      PlanError: for another name; with the known ones.
    """
    kind, _, shape = written.partition(":")
    if kind == "cuda" and re.fullmatch(r"[1-9]\d{0,5}", shape):
        return Topology(written, "cuda", int(shape), GPUS)
    if kind in TPUS and re.fullmatch(r"[1-9]\d{0,2}(x[1-9]\d{0,2})*", shape):
        sides = [int(side) for side in shape.split("x")]
        if len(sides) == TPUS[kind].axes:
            return Topology(written, "tpu", math.prod(sides), (TPUS[kind],))
    raise PlanError(f"--topology={written}: known are {KNOWN}{did_you_mean(kind, [*TPUS, 'cuda']) if kind not in TPUS else ''}")


def read_mesh(written: str, count: int) -> tuple[int, int]:
    """(data, fsdp) of DATA,FSDP, as parallel.mesh has them; data=0: as many as there are chips for.

    Raises:
      PlanError: if it is written otherwise, or has another number of places than there are chips.
    """
    found = re.fullmatch(r"(\d{1,6}),([1-9]\d{0,5})", written)
    if not found:
        raise PlanError(f"--mesh={written} is not DATA,FSDP, such as {count},1")
    data, fsdp = int(found[1]), int(found[2])
    if (data or count // fsdp) * fsdp != count:
        raise PlanError(f"--mesh={written}: data={data or 'as many as fit'} times fsdp={fsdp} are not the {count} chips of the topology")
    return data or count // fsdp, fsdp
