"""Weights of the experts: over training, at the checkpoint, and by relation (HVFormer, figures 9 and 10)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from mmre_jax.analysis import expert_plots
from mmre_jax.analysis.figures.entry import Drawn, View, frequent
from mmre_jax.analysis.plots import short_names
from mmre_jax.analysis.watching import Arrays
from mmre_jax.data.loader import Batch
from mmre_jax.fusion.mome import expert_names
from mmre_jax.training.log import read_rows


def names_of(view: View) -> tuple[str, ...]:
    """The experts, in the order of their weights."""
    return tuple(name if name == "text" else f"level {name}" for name in expert_names(view.job.system.net.config.levels))


def weights_of(view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights float32 [n, 2, E] of the split's n examples at their two markers, which their relations are, and their ids, both str [n]."""

    def pick(arrays: Arrays, batch: Batch) -> Any:
        return jnp.take_along_axis(arrays["mome/expert_weights"], batch["text"]["markers"][:, :, None], axis=1)

    found = list(view.watch(pick))
    index = np.concatenate([watched.index for watched in found])
    weights = np.concatenate([watched.picked for watched in found])[np.argsort(index)]
    records = view.looked_at.records
    return weights, np.array([str(r.relations[0].label) for r in records]), np.array([r.id for r in records])


def history(view: View) -> tuple[np.ndarray, np.ndarray]:
    """From the run's log: steps int [T], and the mean weights on val that were logged then, float [T, E].

    Raises:
      ValueError: for a run that logged none.
    """
    told = [(row["step"], row["val"]["told"]) for row in read_rows(view.workdir) if "told" in row.get("val", {})]
    keys = [f"expert_{name}" for name in expert_names(view.job.system.net.config.levels)]
    rows = [(step, [values[key] for key in keys]) for step, values in told if set(keys) <= set(values)]
    if not rows:
        raise ValueError(f"{view.workdir}: metrics.jsonl has no experts' weights, which training logs at each evaluation")
    return np.array([step for step, _ in rows]), np.array([values for _, values in rows])


def over_training(view: View) -> Drawn:
    """Figure 9: the experts' mean weights on val after each epoch, and their distribution over the split at the checkpoint; arrays 'steps'
    [T], 'history' [T, E], 'weights' [n, 2, E], 'ids' [n]."""
    steps, means = history(view)
    weights, _, ids = view.once(weights_of)
    names = names_of(view)
    page = expert_plots.training(steps, means, weights.reshape(-1, len(names)), names, view.name, view.step)
    now = dict(zip(names, weights.mean(axis=(0, 1)).tolist(), strict=True))
    facts = {"split": view.name, "records": len(weights), "step": view.step, "experts": names, "mean_weights": now}
    return Drawn({"steps": steps, "history": means, "weights": weights, "ids": ids}, facts, {"": page})


def by_relation(view: View) -> Drawn:
    """Figure 10: the distribution of weights at both markers for each relation; arrays 'weights' [n, 2, E], 'relations' [n], 'ids' [n]."""
    weights, relations, ids = view.once(weights_of)
    names = names_of(view)
    some, all_of_them = frequent(relations), len(set(relations))
    groups = {label: weights[relations == label].reshape(-1, len(names)) for label in some}
    titles = dict(zip(some, short_names(some), strict=True))
    note = f" ({len(some)} of {all_of_them})" if len(some) < all_of_them else ""
    page = expert_plots.relations(groups, titles, names, f"weights of the experts by relation{note}, {view.name}")
    means = {label: dict(zip(names, group.mean(axis=0).tolist(), strict=True)) for label, group in groups.items()}
    facts = {"split": view.name, "records": len(weights), "step": view.step, "experts": names, "mean_weights": means}
    return Drawn({"weights": weights, "relations": relations, "ids": ids}, facts, {"": page})
