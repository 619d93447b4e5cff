"""A comparison of runs as tables for people, and as files."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmre_jax import storage
from mmre_jax.analysis import comparison_plots, plots, report
from mmre_jax.analysis.comparison import Comparison
from mmre_jax.records import plain
from mmre_jax.training.log import write_json, write_text

MEANING = (
    "Differences are first minus second, with 95 % interval and two-sided p value by the paired bootstrap over records. McNemar counts\n"
    "the records that only the first and only the second has wholly right; its p value is exact. Both speak of the records of the split:\n"
    "what another seed of training would change they do not know."
)
HOLM = "p (Holm) is adjusted for the number of pairs."


def text(found: Comparison) -> str:
    """The tables, for a terminal."""
    parts = [report.table(rows, list(rows[0])) for rows in _tables(found).values()]
    return "\n\n".join([_title(found), *parts, _meaning(found), *found.warnings()])


def markdown(found: Comparison) -> str:
    """The same as a page, with the settings that differ."""
    differing: list[report.Row] = [
        {"setting": f"`{name}`", **{run: f"`{value!r}`" for run, value in values.items()}} for name, values in found.settings().items()
    ]
    tables = {**_tables(found), **({"Settings that differ": differing} if differing else {})}
    sections = [f"## {name}\n\n{_as_markdown(rows)}" for name, rows in tables.items()]
    warnings = ["\n".join(f"- **{line}**" for line in found.warnings())] if found.warnings() else []
    return "\n\n".join([f"# {_title(found)}", *warnings, *sections, _meaning(found)]) + "\n"


def write(found: Comparison, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes compare.json, compare.md, disagreements.jsonl, differences.png and agreement.png into a folder. Returns what it wrote."""
    storage.make_folder(folder)
    written = [folder / name for name in ("compare.json", "compare.md", "disagreements.jsonl", "differences.png", "agreement.png")]
    write_json(written[0], found.to_json())
    write_text(written[1], markdown(found))
    lines = [json.dumps(line, ensure_ascii=False, default=plain) for line in found.disagreements()]
    write_text(written[2], "".join(f"{line}\n" for line in lines))
    plots.save(comparison_plots.differences(found.classes(), found.names), written[3])
    right = found.counts.right
    only = np.array([[int((a & ~b).sum()) for b in right] for a in right])
    plots.save(comparison_plots.agreement(found.names, found.counts.agreement.mean(axis=2), only, right.sum(axis=1)), written[4])
    return written


def _title(found: Comparison) -> str:
    evaluation = found.runs[0].evaluation
    return f"{evaluation.split}, {len(evaluation.records):,} records; {found.resamples:,} resamples, seed {found.seed}"


def _meaning(found: Comparison) -> str:
    return "\n".join([MEANING, *([HOLM] if len(found.runs) > 2 else [])])


def _tables(found: Comparison) -> dict[str, list[report.Row]]:
    """{title: rows of what is shown}."""

    def tested(test: Mapping[str, Any]) -> report.Row:
        return {"p": _p(test["p"]), **({"p (Holm)": _p(test["p_holm"])} if len(found.runs) > 2 else {})}

    pairs = found.pairs()
    differences: list[report.Row] = []
    for name in found.counts.measures:
        for pair in pairs:
            test = pair["measures"][name]
            shown = {"difference": _signed(test["difference"]), "95 %": _interval(test)}
            differences.append({"score": name, "pair": _pair(pair), **shown, **tested(test)})
    counts: list[report.Row] = []
    for pair in pairs:
        test = pair["mcnemar"]
        shown = {"only first": test["only_first"], "only second": test["only_second"]}
        counts.append({"pair": _pair(pair), "say the same": pair["agreement"], **shown, **tested(test)})
    classes: list[report.Row] = []
    for each in found.classes():
        name = {"type" if found.kind == "entities" else "relation": each["name"], "support": each["support"]}
        against = {f"{found.names[0]} - {other}": f"{_signed(d['difference'])} {_interval(d)}" for other, d in each["against"].items()}
        classes.append({**name, **{f"F1 {run}": value for run, value in each["f1"].items()}, **against})
    return {"Scores": found.scores(), "Differences (paired bootstrap)": differences, "Records (McNemar)": counts, "By class": classes}


def _as_markdown(rows: list[report.Row]) -> str:
    columns = list(rows[0])
    cells = [columns, ["---"] * len(columns), *([report.cell(row[column]) for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in cells)


def _pair(pair: Mapping[str, Any]) -> str:
    return f"{pair['first']} - {pair['second']}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _interval(found: Mapping[str, float]) -> str:
    return f"[{_signed(found['low'])}, {_signed(found['high'])}]"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 1e-4 else f"{value:.0e}"
