"""What the text of single records attends to in their pictures, of any system in which it does (IFAformer, figure 1)."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from mmre_jax.analysis import alignment_plots, photo_maps
from mmre_jax.analysis.attention_maps import to_picture, word_rows
from mmre_jax.analysis.figures.entry import Drawn, View, labels_of
from mmre_jax.analysis.figures.single import row_titles, spread, title_of
from mmre_jax.analysis.places import Places, visual_places
from mmre_jax.analysis.tokens import token_names
from mmre_jax.analysis.watching import Arrays, Watched, first
from mmre_jax.data.loader import Batch

RECORDS = 2  # where none are named
SIGHTS = 4  # most that are drawn over the pictures


@dataclasses.dataclass(frozen=True)
class Look:
    """What one record's L tokens attend to at S sights, means over heads.

    weights: float [S, L, P].  rows: float [S, W, P], of the two markers, or the mean of all tokens where there are none.
    """

    watched: Watched
    tokens: tuple[str, ...]
    weights: np.ndarray
    rows: np.ndarray
    places: Places

    @property
    def pictures(self) -> dict[str, np.ndarray]:
        """{slot: uint8 [K, S, S, 3]}, what the network saw."""
        return first(self.watched.picked["pictures"])

    @property
    def present(self) -> dict[str, np.ndarray]:
        """{slot: bool [K]}, which of them there are."""
        return first(self.watched.picked["present"])


def looks(view: View) -> list[Look]:
    """Of each record that is shown what its tokens attend to.

    Raises:
      ValueError: for a record without a picture.
    """

    def pick(arrays: Arrays, batch: Batch) -> dict[str, Any]:
        found = [to_picture(arrays, sight) for sight in view.sights]
        return {
            "weights": jnp.stack([weights.mean(axis=1) for weights in found], axis=1),
            "rows": jnp.stack([word_rows(weights, batch).mean(axis=2) for weights in found], axis=1),
            "pictures": batch["pictures"],
            "present": batch["present"],
        }

    found = []
    for watched in view.watch_some(pick, RECORDS):
        record, picked = watched.records[0], watched.picked
        if not any(there.any() for there in picked["present"].values()):
            raise ValueError(f"{record.origin or record.id}: no picture to look at")
        tokens, places = token_names(view.job, record), visual_places(view.job, picked["weights"].shape[-1])
        found.append(Look(watched, tokens, picked["weights"][0][:, : len(tokens)], picked["rows"][0], places))
    return found


def over_pictures(view: View) -> Drawn:
    """Attention of the two marked entities and of all tokens, mean over heads, over the photo and its crops; arrays 'attention_0', ...
    [S, L, P] of all tokens at all sights, one a record."""
    arrays: dict[str, np.ndarray] = {}
    pages, facts = {}, []
    for number, look in enumerate(view.once(looks)):
        record, some = look.watched.records[0], spread(len(view.sights), SIGHTS)
        columns, everything = row_titles(view, record), look.weights.mean(axis=1)
        maps = [list(look.rows[place]) for place in some]
        if len(columns) > 1:
            columns, maps = [*columns, "all tokens"], [[*maps[n], everything[place]] for n, place in enumerate(some)]
        title, levels = title_of(view, look.watched), [view.sights[place].label for place in some]
        pages[str(number)] = photo_maps.grid(maps, columns, levels, look.pictures, look.present, look.places, title)
        arrays[f"attention_{number}"] = look.weights
        facts.append({"id": record.id, "array": f"attention_{number}", "tokens": list(look.tokens), "places": look.places.to_json()})
    axes = ["sight", "token", "place"]
    return Drawn(arrays, {"split": view.name, "step": view.step, "axes": axes, "sights": labels_of(view.sights), "records": facts}, pages)


def alignment(view: View) -> Drawn:
    """How much of its attention each token gives to each picture, the sum over its cells, mean over heads and sights; arrays
    'alignment_0', ... [L, K], one a record, K the pictures that are there."""
    arrays: dict[str, np.ndarray] = {}
    pages, facts = {}, []
    for number, look in enumerate(view.once(looks)):
        record, weights, places = look.watched.records[0], look.weights.mean(axis=0), look.places
        there = [n for n, part in enumerate(places.parts) if look.present[part.slot][part.number]]
        parts, names = [places.parts[n] for n in there], [places.names[n] for n in there]
        shares = np.stack([weights[:, part.start : part.stop].sum(axis=1) for part in parts], axis=1)
        seen = [look.pictures[part.slot][part.number] for part in parts]
        over = f"mean over heads and {len(view.sights)} {'layers' if len(view.sights) > 1 else 'layer'}"
        title = f"{title_of(view, look.watched)}\nshare of each token's attention that a picture gets, {over}"
        pages[str(number)] = alignment_plots.shares(shares, look.tokens, seen, names, title)
        arrays[f"alignment_{number}"] = shares
        facts.append({"id": record.id, "array": f"alignment_{number}", "tokens": list(look.tokens), "pictures": names})
    return Drawn(arrays, {"split": view.name, "step": view.step, "axes": ["token", "picture"], "records": facts}, pages)
