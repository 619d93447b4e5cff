"""Hierarchical tracking maps of a checkpoint (HVFormer, figures 6 and 7), and over the pictures of single records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmre_jax.analysis import map_plots, photo_maps
from mmre_jax.analysis.attention_maps import Sight, attended, to_itself, to_picture, word_rows
from mmre_jax.analysis.figures.attention import about, strips_by_head
from mmre_jax.analysis.figures.entry import Drawn, View, labels_of
from mmre_jax.analysis.figures.single import row_titles, spread, title_of
from mmre_jax.analysis.places import Places, visual_places
from mmre_jax.analysis.sharpness import divergence_of_heads
from mmre_jax.analysis.tracking import patch_tracking, token_tracking
from mmre_jax.analysis.watching import Arrays, Watched, first
from mmre_jax.data.loader import Batch

RECORDS = 3  # of the figure of single records, where none are named
LEVELS = 5  # most levels that it shows
NOTHING = "there are no patches to track"


def tracked_levels(view: View) -> tuple[Sight, ...]:
    """The sights that look at a level for which there are tracking maps: all that the vision transformer's layers lead up to."""
    deepest = len(view.layers("vision"))
    return tuple(sight for sight in view.sights if sight.level is not None and sight.level <= deepest)


def patches(view: View) -> Drawn:
    """Figure 6: H_V of each level, mean over records of which the patch is there; arrays 'tracking' [N + 1, P, P]."""

    def pick(arrays: Arrays, batch: Batch) -> dict[str, Any]:
        weights = to_itself(arrays, view.layers("vision"))
        return {"weights": weights.mean(axis=2), "seen": attended(weights)}

    def values(picked: Any) -> tuple[np.ndarray, np.ndarray]:
        return patch_tracking(picked["weights"]).transpose(0, 2, 1, 3), picked["seen"]

    mean = view.mean(pick, values, NOTHING)
    maps = np.nan_to_num(mean.value()).transpose(1, 0, 2)
    places = visual_places(view.job, maps.shape[-1])
    own = np.diagonal(maps, axis1=1, axis2=2).mean(axis=1)
    titles = [f"level {level}" for level in range(len(maps))]
    title = f"tracking maps from patches to patches, mean over {mean.count:,} records of {view.name}"
    page = map_plots.squares(map_plots.wrapped(maps), map_plots.wrapped_titles(titles), places, title, rows="patch of the level")
    axes = ["level", "patch of the level", "embedded patch"]
    facts = {**about(view, places, mean.count), "axes": axes, "share_of_own_patch": own.tolist()}
    return Drawn({"tracking": maps}, facts, {"": page})


def _pick_both(view: View, arrays: Arrays, batch: Batch) -> dict[str, Any]:
    """What H_C is made of: A_V as mean over heads [B, N, P, P], and A_C of the markers at each sight [B, W, M, P]."""
    return {
        "vision": to_itself(arrays, view.layers("vision")).mean(axis=2),
        "rows": [word_rows(to_picture(arrays, sight), batch) for sight in tracked_levels(view)],
    }


def token_maps(view: View, picked: Mapping[str, Any]) -> np.ndarray:
    """H_C [B, S, W, M, P] of the S sights of `tracked_levels`, from what `_pick_both` picked."""
    tracked = patch_tracking(picked["vision"])
    found = [token_tracking(rows, tracked[:, sight.level, None]) for sight, rows in zip(tracked_levels(view), picked["rows"], strict=True)]
    return np.stack(found, axis=1)


def mean_token_maps(view: View) -> tuple[np.ndarray, Places, int]:
    """H_C, mean over the records that have a picture, float64 [S, W, M, P]; what the places are; how many records.

    Raises:
      ValueError: where no record has a picture.
    """

    def values(picked: Any) -> tuple[np.ndarray, np.ndarray]:
        maps = token_maps(view, picked)
        return maps, maps.any(axis=tuple(range(1, maps.ndim)))

    mean = view.mean(lambda arrays, batch: _pick_both(view, arrays, batch), values, NOTHING)
    return mean.value(), visual_places(view.job, mean.value().shape[-1]), mean.count


def tokens(view: View) -> Drawn:
    """Figure 7a, b: H_C of the markers by level and head; arrays 'tracking' [S, W, M, P]."""
    maps, places, records = view.once(mean_token_maps)
    labels = labels_of(tracked_levels(view))
    title = f"tracking maps from patches to the markers by head, mean over {records:,} records of {view.name}"
    page = strips_by_head(view, maps, labels, places, title)
    facts = {**about(view, places, records), "axes": ["sight", "row", "head", "embedded patch"], "sights": labels, "rows": view.rows}
    return Drawn({"tracking": maps}, facts, {"": page})


def divergence(view: View) -> Drawn:
    """Figure 7c: of the mean H_C of each marker the divergence of heads; arrays 'divergence' [S, W], in nats."""
    maps, places, records = view.once(mean_token_maps)
    values = divergence_of_heads(np.moveaxis(maps, 2, 0))
    labels = labels_of(tracked_levels(view))
    title = f"divergence of the tracking maps' heads from their mean (eq. 20)\nmean maps of {records:,} records of {view.name}"
    facts = {**about(view, places, records), "axes": ["sight", "row"], "sights": labels, "rows": view.rows, "divergence": values.tolist()}
    return Drawn({"divergence": values}, facts, {"": map_plots.lines(values, labels, view.rows, title, "nats", decades=True)})


def over_photo(view: View) -> Drawn:
    """Of single records the markers' attention A_C and tracking maps H_C over what the network saw, means over heads; arrays
    'attention_0', ... and 'tracking_0', ... [S, W, P], one a record.

    Raises:
      ValueError: for a record without a picture.
    """

    def pick(arrays: Arrays, batch: Batch) -> dict[str, Any]:
        return {**_pick_both(view, arrays, batch), "pictures": batch["pictures"], "present": batch["present"]}

    arrays: dict[str, np.ndarray] = {}
    pages, facts = {}, []
    places = None
    for number, watched in enumerate(view.watch_some(pick, RECORDS)):
        record = watched.records[0]
        raw = np.stack(watched.picked["rows"], axis=1)[0].mean(axis=2)
        tracked = token_maps(view, watched.picked)[0].mean(axis=2)
        if not raw.any():
            raise ValueError(f"{record.origin or record.id}: no picture to look at")
        places = visual_places(view.job, raw.shape[-1])
        arrays |= {f"attention_{number}": raw, f"tracking_{number}": tracked}
        pages[str(number)] = _page(view, watched, raw, tracked, places)
        facts.append({"id": record.id, "words": list(record.words), "arrays": [f"attention_{number}", f"tracking_{number}"]})
    common = {"split": view.name, "step": view.step, "axes": ["sight", "row", "place"], "sights": labels_of(tracked_levels(view))}
    return Drawn(arrays, {**common, "rows": view.rows, "places": places and places.to_json(), "records": facts}, pages)


def _page(view: View, watched: Watched, raw: np.ndarray, tracked: np.ndarray, places: Places) -> Any:
    """The page of one record: levels down; for each row of words its attention and its tracking map across."""
    found = tracked_levels(view)
    some = spread(len(found), LEVELS)
    names = row_titles(view, watched.records[0])
    columns = [f"{name}\n{kind}" for name in names for kind in ("attention", "tracking map")]
    shown = [[maps[place, row] for row in range(len(names)) for maps in (raw, tracked)] for place in some]
    pictures, present = first(watched.picked["pictures"]), first(watched.picked["present"])
    return photo_maps.grid(shown, columns, [found[place].label for place in some], pictures, present, places, title_of(view, watched))
