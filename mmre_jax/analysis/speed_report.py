"""A measurement of `speed.measure` as text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmre_jax.analysis.report import table

FLOPS_ARE = (
    "FLOP/s: XLA's cost analysis of the compiled step (forward, backward, optimiser; not what custom kernels compute), all devices;\n"
    "none with optim.accumulate > 1, since XLA counts a loop's body once"
)
_RATES = {"steps_per_second": "steps/s", "samples_per_second": "samples/s"}
_COST = {"gflops_per_second": "GFLOP/s", "utilisation": "utilisation", "compile_seconds": "compile s", "memory_mib": "MiB/device"}


def text(result: Mapping[str, Any]) -> str:
    """Tables of the steps, the loop and the ratios of dtypes, with what the columns mean."""
    about, loader = result["about"], result["loader"]
    alone, again = loader["samples_per_second_first_pass"], loader["samples_per_second_second_pass"]
    lines = [
        f"{about['system']} on {about['data']}, objects={about['objects']}, on {about['devices']} x {about['device']}: "
        f"batch {about['batch']}, {about['epoch_steps']} steps an epoch; {about['steps']} steps timed a row",
        "",
        _table([*result["steps"], *result["epoch"]], {"dtype": "dtype", "tokens": "tokens", "share": "share", **_RATES, **_COST}),
        FLOPS_ARE,
        "",
        f"loader alone: {alone:,.0f} samples/s, a second time {again:,.0f} samples/s",
        "loader and step together (waiting: share of time in which the host waits for data; lost: share beyond the steps alone):",
        _table(result["loop"], {"dtype": "dtype", **_RATES, "waiting": "waiting", "lost": "lost"}),
    ]
    if result["ratios"]:
        columns = {"dtype": "dtype", "tokens": "tokens", "times": "times", "low": "low", "high": "high"}
        lines += ["", f"how many times faster than {about['dtypes'][0]}, timed in turns:", _table(result["ratios"], columns)]
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> str:
    shown = [{head: str(row[name]) if name == "tokens" else row[name] for name, head in columns.items()} for row in rows]
    return table(shown, list(columns.values()))
