"""Attention as it is, of any system: of words to the picture, and of both encoders to themselves (HVFormer, figures 5 and 11-13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mmre_jax.analysis import map_plots
from mmre_jax.analysis.attention_maps import attended, to_itself, to_picture, word_rows
from mmre_jax.analysis.figures.entry import Drawn, View, labels_of
from mmre_jax.analysis.places import Places, visual_places
from mmre_jax.analysis.sharpness import kurtosis
from mmre_jax.analysis.tokens import token_names
from mmre_jax.analysis.tracking import normalised
from mmre_jax.analysis.watching import Arrays
from mmre_jax.data.loader import Batch

HEADS = ("spreads most", "looks most at [CLS]", "does both")
RECORDS = 2  # of a figure of single records, where none are named


def mean_cross(view: View) -> tuple[np.ndarray, Places, int]:
    """Attention of the markers to the picture, mean over the split's records that have one: float64 [N, W, H, P] of N sights, W rows of
    words; what the P places are; and how many records that is.

    Raises:
      ValueError: where no record has a picture.
    """

    def pick(arrays: Arrays, batch: Batch) -> dict[str, Any]:
        found = [to_picture(arrays, sight) for sight in view.sights]
        return {"rows": [word_rows(weights, batch) for weights in found], "seen": [attended(weights).any(axis=1) for weights in found]}

    def values(picked: Any) -> tuple[np.ndarray, np.ndarray]:
        return np.stack(picked["rows"], axis=1), np.stack(picked["seen"], axis=1).any(axis=1)

    mean = view.mean(pick, values, "there is no attention to one")
    return mean.value(), visual_places(view.job, mean.value().shape[-1]), mean.count


def about(view: View, places: Places, records: int) -> dict[str, Any]:
    """The facts of all figures of means over a split."""
    return {"split": view.name, "records": records, "step": view.step, "places": places.to_json()}


def cross(view: View) -> Drawn:
    """Figure 5a: each level a panel, rows of markers over places of the picture; arrays 'attention' [N, W, P]."""
    weights, places, records = view.once(mean_cross)
    maps, labels = weights.mean(axis=2), labels_of(view.sights)
    title = f"attention to the picture, mean over heads and {records:,} records of {view.name}"
    facts = {**about(view, places, records), "axes": ["sight", "row", "place"], "sights": labels, "rows": view.rows}
    return Drawn({"attention": maps}, facts, {"": map_plots.strips(maps, labels, view.rows, places, title)})


def cross_by_head(view: View) -> Drawn:
    """Figure 13: the same with a row for each head; arrays 'attention' [N, W, H, P]."""
    weights, places, records = view.once(mean_cross)
    title = f"attention to the picture by head, mean over {records:,} records of {view.name}"
    page = strips_by_head(view, weights, labels_of(view.sights), places, title)
    axes = ["sight", "row", "head", "place"]
    facts = {**about(view, places, records), "axes": axes, "sights": labels_of(view.sights), "rows": view.rows}
    return Drawn({"attention": weights}, facts, {"": page})


def strips_by_head(view: View, maps: np.ndarray, labels: Sequence[str], places: Places, title: str) -> Figure:
    """A panel for each of N sights, in it a row for each of W rows of words and H heads: maps [N, W, H, P]."""
    rows = [f"{row} head {head + 1}" for row in view.rows for head in range(maps.shape[2])]
    return map_plots.strips(maps.reshape(len(labels), -1, maps.shape[-1]), labels, rows, places, title, groups=len(view.rows))


def kurtosis_by_level(view: View) -> Drawn:
    """Figure 5b: of each marker's mean attention the kurtosis over the places, summed over heads; arrays 'kurtosis' [N, W]."""
    weights, places, records = view.once(mean_cross)
    values, labels = kurtosis(weights).sum(axis=2), labels_of(view.sights)
    title = f"kurtosis of attention to the picture, summed over heads (eq. 19)\nmean attention of {records:,} records of {view.name}"
    facts = {**about(view, places, records), "axes": ["sight", "row"], "sights": labels, "rows": view.rows, "kurtosis": values.tolist()}
    return Drawn({"kurtosis": values}, facts, {"": map_plots.lines(values, labels, view.rows, title, "kurtosis")})


def mean_vision(view: View) -> tuple[np.ndarray, Places, int]:
    """The vision transformer's attention to itself, mean over records of which the attending place is there: float64 [N, H, P, P].

    Raises:
      ValueError: where no record has a picture.
    """

    def pick(arrays: Arrays, batch: Batch) -> dict[str, Any]:
        weights = to_itself(arrays, view.layers("vision"))
        return {"weights": weights.transpose(0, 3, 1, 2, 4), "seen": attended(weights)}

    mean = view.mean(pick, lambda picked: (picked["weights"], picked["seen"]), "there is no attention in one")
    value = mean.value().transpose(1, 2, 0, 3)
    return np.nan_to_num(value), visual_places(view.job, value.shape[-1]), mean.count


def vision_by_head(view: View) -> Drawn:
    """Figure 11: a panel for each layer and head; arrays 'attention' [N, H, P, P]."""
    weights, places, records = view.once(mean_vision)
    title = f"the image encoder's attention to itself, mean over {records:,} records of {view.name}"
    facts = {**about(view, places, records), "axes": ["layer", "head", "attending place", "place"]}
    return Drawn({"attention": weights}, facts, {"": map_plots.squares(*_wide(weights), places, title)})


def three_heads(view: View) -> Drawn:
    """Figure 12: the head that spreads most over the patches, the one that looks most at [CLS], and of the others the one whose lesser of
    both, each as a share of the largest, is largest; arrays 'attention' [3, P, P].

    Spread is the mean entropy of the rows' attention among patches alone, in nats.

    Raises:
      ValueError: for an encoder without [CLS], or of fewer than three heads.
    """
    weights, places, records = view.once(mean_vision)
    if not places.has_class:
        raise ValueError("this figure compares attention to patches with attention to [CLS], which this image encoder has none of")
    if weights.shape[0] * weights.shape[1] < len(HEADS):
        raise ValueError(f"this figure shows three heads: the image encoder has {weights.shape[0] * weights.shape[1]}")
    patches = normalised(weights[..., 1:])
    spread = -(patches * np.log(np.where(patches > 0, patches, 1.0))).sum(axis=-1).mean(axis=-1)
    on_class = weights[..., 0].mean(axis=-1)
    both = np.minimum(spread / spread.max(), on_class / on_class.max())
    found: dict[str, tuple[int, int]] = {}
    for name, measure in zip(HEADS, (spread, on_class, both), strict=True):
        left = measure.copy()
        for place in found.values():
            left[place] = -np.inf
        layer, head = np.unravel_index(int(left.argmax()), left.shape)
        found[name] = (int(layer), int(head))
    titles = [f"{name}:\nlayer {layer + 1}, head {head + 1}" for name, (layer, head) in found.items()]
    maps = np.stack([weights[place] for place in found.values()])
    title = f"three heads of the image encoder, mean over {records:,} records of {view.name}"
    page = map_plots.squares(maps[None], [titles], places, title)
    heads = [
        {"head": name, "layer": layer + 1, "number": head + 1, "spread": spread[layer, head], "on_class": on_class[layer, head]}
        for name, (layer, head) in found.items()
    ]
    return Drawn({"attention": maps}, {**about(view, places, records), "heads": heads}, {"": page})


def text_by_head(view: View) -> Drawn:
    """Of single records the text encoder's attention to itself; arrays 'attention_0', ... [N, H, L, L], one a record."""

    def pick(arrays: Arrays, batch: Batch) -> dict[str, Any]:
        return {"weights": to_itself(arrays, view.layers("text")), "mask": batch["text"]["mask"]}

    arrays, pages, facts = {}, {}, []
    for number, watched in enumerate(view.watch_some(pick, RECORDS)):
        record, length = watched.records[0], int(watched.picked["mask"].sum())
        weights = watched.picked["weights"][0, ..., :length, :length]
        tokens = token_names(view.job, record)
        arrays[f"attention_{number}"] = weights
        pages[str(number)] = map_plots.token_squares(*_wide(weights), tokens, f"{record.id}: the text encoder's attention to itself")
        facts.append({"id": record.id, "array": f"attention_{number}", "tokens": list(tokens)})
    axes = ["layer", "head", "attending token", "token"]
    return Drawn(arrays, {"split": view.name, "step": view.step, "axes": axes, "records": facts}, pages)


def _wide(weights: np.ndarray) -> tuple[np.ndarray, list[list[str]]]:
    """Maps [N, H, ...] of layers and heads as rows and columns of panels, whichever there are more of across; and their titles."""
    titles = np.array([[f"layer {layer + 1}, head {head + 1}" for head in range(weights.shape[1])] for layer in range(weights.shape[0])])
    if weights.shape[0] > weights.shape[1]:
        weights, titles = weights.swapaxes(0, 1), titles.T
    return weights, titles.tolist()
