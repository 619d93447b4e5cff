"""A plan as text for people, and several as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmre_jax.analysis.report import table

Result = Mapping[str, Any]

MEMORY = {
    "parameters": "parameters",
    "optimiser": "optimiser's state",
    "other": "other arguments (batch, statistics)",
    "padding": "padding of the arguments",
    "results": "results that replace no argument",
    "temporaries": "activations and other temporaries",
    "program": "program",
}
BOUNDS_ARE = (
    "at most, by published rates, each chip with as many records: compute is products at peak speed; HBM what is updated, read and\n"
    "written once; links the collectives. steps/s if these went on side by side all the time; efficiency if the links waited for the rest."
)
HEADS = (
    "system",
    "topology",
    "batch (a chip)",
    "tokens",
    "fits",
    "parameters",
    "optimiser",
    "other arguments",
    "temporaries",
    "total of HBM",
    "TFLOP a chip",
    "collectives",
    "compile",
    "steps/s at most (if all bytes accessed came from HBM)",
    "records/s at most at 8, 64, 256 chips",
    "efficiency there",
)


def text(result: Result) -> str:
    """A plan in words and tables."""
    about, flops = result["about"], result["flops"]
    lines = [
        f"{about['system']} on {about['data']} for {about['topology']}: {about['chips']} chips, mesh data={about['mesh']['data']}, "
        f"fsdp={about['mesh']['fsdp']}; {about['dtype']}, products {about['precision']}",
        f"batch {_batch(about)}" + (f", padded to {about['tokens']} tokens" if about["tokens"] else ""),
        *([f"assumed: {', '.join(about['assumed'])}"] if about["assumed"] else []),
        "",
        _fits(result),
        _memory(result["memory"]),
        "",
        f"FLOPs of a step, each chip: {flops['products']:.3e} of products in the traced program, loops as often as they run"
        + (f"; {flops['compiler']:.3e} of all operations by the compiler, which counts a loop once" if flops["compiler"] else ""),
    ]
    if flops["while_loops"]:
        lines.append(f"{flops['while_loops']} loops end by a condition: what they compute is counted once")
    if result["callbacks"]:
        lines.append(f"{result['callbacks']} calls of the host, whose time nothing here tells")
    if result["accessed"]:
        lines.append(
            f"bytes accessed by the compiler's count, what stays on the chip included: {result['accessed'] / 2**30:.2f} GiB; "
            f"if all of them came from HBM: {result['accessed_steps_per_second']:,.1f} steps/s"
        )
    lines += ["", "collectives of a step, bytes of their operands on each chip:", _collectives(result["collectives"])]
    if result["loops_of_unknown_length"]:
        lines.append(f"{result['loops_of_unknown_length']} loops around them do not say how often they run: counted once")
    lines += ["", BOUNDS_ARE, _bounds(result["bounds"]), "", _seconds(result["seconds"])]
    return "\n".join(lines)


def markdown(results: Mapping[str, Result]) -> str:
    """Plans, by what they are called, as the rows of one Markdown table."""
    rows = [" | ".join(HEADS), " | ".join("---" for _ in HEADS), *(" | ".join(_row(*named)) for named in results.items())]
    return "\n".join(f"| {row} |" for row in rows)


def _row(name: str, result: Result) -> list[str]:
    about, memory = result["about"], result["memory"]
    chips = result["bounds"][0]["chip"]
    own = [row for row in result["bounds"] if row["chip"] == chips]
    at = {row["chips"]: row for row in own}
    scaled = [row for size, row in at.items() if size in (8, 64, 256)]
    fits = "unknown" if memory["fits"] is None else "yes" if memory["fits"] else f"no: {memory['says']}" if memory["says"] else "no"
    share = f"{memory['total'] / memory['hbm']:.0%}" if memory.get("total") and memory["hbm"] else "-"
    sizes = [_gib(memory.get(name)) for name in ("parameters", "optimiser")]
    known = memory.get("total") is not None
    other = _gib(memory["other"] + memory["padding"] + memory["results"] + memory["program"]) if known else _gib(memory["other"])
    return [
        f"{name}: {about['system']}, {about['data']}",
        about["topology"],
        f"{about['batch']} ({about['per_chip']})",
        str(about["tokens"] or "-"),
        fits,
        *sizes,
        other,
        _gib(memory.get("temporaries")),
        share,
        f"{result['flops']['products'] / 1e12:.3f}",
        ", ".join(f"{row['count']} {row['kind']} {_gib(row['bytes'])}" for row in result["collectives"]) or "none",
        f"{result['seconds']['compile']:.0f} s" if "compile" in result["seconds"] else "-",
        f"{at[about['chips']]['steps_per_second']:,.0f} ({_rate(result['accessed_steps_per_second'])})",
        ", ".join(f"{row['records_per_second']:,.0f}" for row in scaled),
        ", ".join(f"{row['efficiency']:.0%}" for row in scaled),
    ]


def _batch(about: Result) -> str:
    said = f"{about['batch']}, {about['per_chip']} a chip"
    return f"{said} ({about['batch_is_not_train_batch']})" if about["batch_is_not_train_batch"] else f"{said} (train.batch)"


def _fits(result: Result) -> str:
    memory = result["memory"]
    if memory["fits"] is None:
        return "whether it fits cannot be known here: without a GPU nothing compiles for one. By their shapes, in MiB a chip:"
    if memory["says"]:
        return f"does not fit: {memory['says']}. By their shapes, in MiB a chip:"
    verdict = "fits" if memory["fits"] else "does not fit"
    total, hbm = memory["total"], memory["hbm"]
    return f"{verdict}: {total / 2**30:.2f} of {hbm / 2**30:.2f} GiB, {total / hbm:.0%}; MiB a chip:"


def _memory(memory: Result) -> str:
    rows = [{"what": said, "MiB": memory[name] / 2**20} for name, said in MEMORY.items() if name in memory]
    return table(rows, ["what", "MiB"])


def _collectives(rows: Sequence[Result]) -> str:
    shown = [{"kind": row["kind"], "group": row["group"], "count": row["count"], "MiB": row["bytes"] / 2**20} for row in rows]
    return table(shown, ["kind", "group", "count", "MiB"])


def _bounds(rows: Sequence[Result]) -> str:
    shown = [
        {
            "chips": f"{row['chips']} {row['chip']}",
            "compute ms": 1e3 * row["compute"],
            "HBM ms": 1e3 * row["memory"],
            "links ms": 1e3 * row["links"],
            "steps/s": row["steps_per_second"],
            "records/s": round(row["records_per_second"]),
            "efficiency": row["efficiency"],
        }
        for row in rows
    ]
    return table(shown, list(shown[0]))


def _seconds(seconds: Result) -> str:
    return "seconds here: " + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _gib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**30:.2f} GiB" if size >= 2**27 else f"{size / 2**20:.1f} MiB"
