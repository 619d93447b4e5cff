"""How well relations are found by how often training had them (DGF-PT, figure 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from mmre_jax.analysis.annotate import COLOURS, INK, tint
from mmre_jax.analysis.fonts import families, shown
from mmre_jax.analysis.plots import short_names
from mmre_jax.analysis.report import Row
from mmre_jax.tasks.task import precision_recall_f1

# Training examples of a relation. Of MNRE's 22 relations all but two have fewer than 700, none more than 1,000, as in the paper's figure.
BLOCKS = ((0, 0), (1, 50), (51, 100), (101, 200), (201, 500), (501, 1000), (1001, None))
NAMED = 40  # the most relations whose names are drawn
BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8}  # of a number over bars


def blocks(confusion: np.ndarray, labels: Sequence[str], none: str, trained: Mapping[str, int]) -> list[Row]:
    """Micro precision, recall and F1 over the relations of each block of training counts.

    A prediction counts where its own relation belongs: one of a frequent relation for a rare one is a miss of the rare block, and wrong in
    the frequent one. So hits, predictions and golds of the blocks add up to those of the micro scores; the empty relation is in no block.

    Args:
      confusion: int [R, R], examples of gold relation i predicted as relation j.
      labels: R names.
      none: the empty relation.
      trained: {relation: training examples}; one that is not there had none.

    Returns:
      A row for each block that has relations: trained (how often), relations (how many), support (gold examples), precision, recall, f1:
      None where nothing is gold or predicted.
    """
    return [row for row, _ in _rows_and_bounds(confusion, labels, none, trained)]


def _rows_and_bounds(
    confusion: np.ndarray, labels: Sequence[str], none: str, trained: Mapping[str, int]
) -> list[tuple[Row, tuple[int, int | None]]]:
    """The rows of `blocks`, each with its block."""
    hits, golds, guesses = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    rows: list[tuple[Row, tuple[int, int | None]]] = []
    for low, high in BLOCKS:
        own = [i for i, label in enumerate(labels) if label != none and _inside(trained.get(label, 0), low, high)]
        if own:
            counts = [int(found[own].sum()) for found in (hits, guesses, golds)]
            scores = precision_recall_f1(*counts) if any(counts) else dict.fromkeys(("precision", "recall", "f1"))
            rows.append(({"trained": _name(low, high), "relations": len(own), "support": counts[2], **scores}, (low, high)))
    return rows


def _inside(count: int, low: int, high: int | None) -> bool:
    return count >= low and (high is None or count <= high)


def _name(low: int, high: int | None) -> str:
    return "never" if high == 0 else f"{low:,} to {high:,}" if high is not None else f"over {low - 1:,}"


def figure(confusion: np.ndarray, labels: Sequence[str], none: str, trained: Mapping[str, int]) -> Figure:
    """The F1 of each relation as a bar, in rising order of its training examples, and the micro-F1 of each block as a line over its bars.

    Arguments are those of `blocks`. A relation that is neither gold nor predicted is left out; names are shown up to NAMED relations.
    """
    golds, guesses = confusion.sum(1), confusion.sum(0)
    there = [i for i, label in enumerate(labels) if label != none and golds[i] + guesses[i]]
    there.sort(key=lambda i: (trained.get(labels[i], 0), labels[i]))
    names = short_names(labels)
    page = Figure(figsize=(2.4 + 0.3 * max(min(len(there), NAMED), 8), 4.8), layout="constrained")
    axes = page.add_subplot()
    scores = [precision_recall_f1(int(confusion[i, i]), int(guesses[i]), int(golds[i]))["f1"] for i in there]
    axes.bar(range(len(there)), scores, width=0.7, color=tint(COLOURS[0]), edgecolor=COLOURS[0], linewidth=0.6)
    for row, (low, high) in _rows_and_bounds(confusion, labels, none, trained):
        own = [x for x, i in enumerate(there) if _inside(trained.get(labels[i], 0), low, high)]
        if own:
            ends = own[0] - 0.5, own[-1] + 0.5
            axes.plot(ends, [row["f1"]] * 2, color=COLOURS[1], linewidth=1.8)
            middle = sum(ends) / 2
            axes.text(middle, row["f1"], f"{row['f1']:.2f}", ha="center", va="bottom", fontsize=8.5, color=COLOURS[1], bbox=BEHIND)
            axes.text(middle, 1.1, row["trained"].replace(" to ", "\nto "), ha="center", va="center", fontsize=7.5, color=INK)
            axes.axvline(ends[1], color="#d0d0d0", linewidth=0.6)
    ticks = [shown(f"{names[i]}  {trained.get(labels[i], 0):,}") for i in there] if len(there) <= NAMED else []
    look = {"fontsize": 8, "parse_math": False, "family": families("".join(ticks))}
    axes.set_xticks(range(len(ticks)), ticks, rotation=90, **look)
    axes.set_xlim(-0.6, max(len(there), 1) - 0.4)
    axes.set_ylim(0, 1.18)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_xlabel("relations, with their training examples")
    axes.set_ylabel("F1 (lines: micro-F1 of a block)")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return page
