"""A part of a benchmark as text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmre_jax.analysis.report import table
from mmre_jax.benchmark.kept import against
from mmre_jax.benchmark.parts import BEFORE, COMPILED, EAGER, OURS
from mmre_jax.benchmark.turns import medians, ratio

# Seconds a training step of the authors' own PyTorch code on two quiet cores: 8 records, 80 tokens, full size, fp32, random weights.
AUTHORS = {"hvformer": 2.23, "ifaformer": 3.04, "hvpnet": 6.1, "rsrnet": 8.1}
RATIO = ("ours / it", "low", "high")
SIDES_ARE = {
    OURS: "this checkout",
    BEFORE: "the other checkout",
    EAGER: "PyTorch, SDPA, fused AdamW",
    COMPILED: "the same with torch.compile",
    "optax.adamw": "optax's AdamW alone, no clipping, no test",
}


def text(name: str, part: Mapping[str, Any], before: tuple[str, Mapping[str, Any]] | None = None) -> str:
    """The times of a part, what each side is, and what changed since an earlier run, (its name, its part)."""
    lines = [f"{name}:", *_machine(part), *_sizes(name, part), _times(part)]
    if "logits" in part:
        found = part["logits"]
        lines.append(f"logits differ from PyTorch's by at most {found['difference']:.1e}; their own deviation is {found['deviation']:.2f}")
    for what, message in part.get("failed", {}).items():
        lines.append(f"torch.compile, {what}: {message}")
    lines += [*_speed(part), *_cold(part)]
    if before is not None:
        changes = against(part, before[1])
        told = [f"{what} {side} {times:.2f}" for what, sides in changes.items() for side, times in sides.items()]
        lines.append(f"times as long as in run {before[0]}: {', '.join(told) or 'nothing was measured in both'}")
    return "\n".join(lines)


def _machine(part: Mapping[str, Any]) -> list[str]:
    if "about" not in part:
        return []
    lines = []
    for side, about in part["about"].items():
        versions = about["versions"]
        package = "torch" if "torch" in versions else "jax"
        said = f"{package} {versions[package]} on {about['device']}, {about['threads']} threads, subnormals {about['subnormals']}"
        lines.append(f"  {side} ({SIDES_ARE[side]}): {said}")
    return lines


def _sizes(name: str, part: Mapping[str, Any]) -> list[str]:
    case = part.get("case", {})
    case = case.get(OURS, case)
    if "parameters" not in case:
        return []
    words = f" of {case['tokens']} tokens" if case["tokens"] else ""
    said = f"{case['records']} records{words}, {case['parameters']:,} parameters, {case['trained']:,} of them train, {case['dtype']}"
    return [f"  {said}"] + ([f"  the authors' own code: {AUTHORS[name]} s a step (batch 8, 80 tokens)"] if name in AUTHORS else [])


def _times(part: Mapping[str, Any]) -> str:
    rows = []
    for what, seconds in part["timed"].items():
        middle = medians(seconds)
        for side, value in middle.items():
            row: dict[str, Any] = {"what": what, "side": side, "ms": 1e3 * value, "a second": 1 / value, **dict.fromkeys(RATIO)}
            if side != OURS and OURS in middle:
                found = ratio(seconds, OURS, side)
                row |= dict(zip(RATIO, (found["median"], found["low"], found["high"]), strict=True))
            row["compile s"] = part.get("compile", {}).get(what, {}).get(side)
            row["MiB"] = part.get("memory_mib", {}).get(side) if what == "step" else None
            rows.append(row)
    return table(rows, ["what", "side", "ms", "a second", *RATIO, "compile s", "MiB"])


def _speed(part: Mapping[str, Any]) -> list[str]:
    """Of a system at one of its sizes."""
    if "peak_gflops" not in part:
        return []
    lines = []
    for side, seconds in medians(part["timed"]["step"]).items():
        records, gflops = part["case"][side]["records"], part["flops"][side] / seconds / 1e9
        lines.append(
            f"  {side}: {records / seconds:,.1f} samples/s, {gflops:,.1f} model GFLOP/s (products of the traced program), "
            f"{gflops / part['peak_gflops']:.1%} of {part['peak_gflops']:,.0f}, {part['callbacks'][side]:.1%} of a step in callbacks"
        )
    if "loop" in part:
        loop = part["loop"]
        lines.append(f"  with the loader: {loop['samples_per_second']:,.1f} samples/s, {loop['waiting']:.1%} of the time waiting for data")
    return lines


def _cold(part: Mapping[str, Any]) -> list[str]:
    found = part.get("cold")
    return [] if found is None else ["  with an empty cache: " + ", ".join(f"{side} {seconds:.1f} s" for side, seconds in found.items())]
