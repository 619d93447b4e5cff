"""Hidden states of patches by level, in a plane (HVFormer, figure 8)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmre_jax.analysis import point_plots
from mmre_jax.analysis.attention_maps import attended, states, to_itself
from mmre_jax.analysis.embedding import plane
from mmre_jax.analysis.figures.entry import Drawn, View
from mmre_jax.analysis.places import visual_places
from mmre_jax.analysis.watching import Arrays
from mmre_jax.data.loader import Batch

RECORDS = 8  # where none are named
MOST = 6_000  # points: t-SNE takes a minute for as many


def embedding(view: View) -> Drawn:
    """Figure 8: patches, without [CLS], of all levels of a few records: coloured by level, and by whether they are of the photo or of a
    crop; arrays 'points' [n, 2], 'level' [n], 'place' [n], 'record' [n].

    Raises:
      ValueError: for more points than MOST, or where no patch is there.
    """

    def pick(arrays: Arrays, batch: Batch) -> dict[str, Any]:
        hidden = [arrays[name] for name in states(view.shapes, "vision")]
        return {"hidden": hidden, "seen": attended(to_itself(arrays, view.layers("vision")))}

    vectors, rows, ids = [], [], []
    places = None
    for number, watched in enumerate(view.watch_some(pick, RECORDS)):
        hidden = np.stack([level[0] for level in watched.picked["hidden"]])  # [levels, P, D]
        places = visual_places(view.job, hidden.shape[1])
        there = [place for place in np.flatnonzero(watched.picked["seen"][0]) if place or not places.has_class]
        ids.append(watched.records[0].id)
        for level, state in enumerate(hidden):
            vectors.append(state[there])
            rows += [(level, place, number) for place in there]
    if places is None or not rows:
        raise ValueError(f"no record of {view.name} that was looked at has a picture that can be read: there are no patches")
    if len(rows) > MOST:
        raise ValueError(f"{len(rows):,} patches are more than t-SNE is given here, {MOST:,}: name fewer records (--records)")
    points, (level, place, record) = plane(np.concatenate(vectors)), np.array(rows).T
    photo = np.zeros(places.count, bool)
    for part in places.parts:
        photo[part.start : part.stop] = part.slot == "photo"
    page = point_plots.two_colourings(points, level, np.where(photo[place], "the photo", "crops of it"), _title(view, ids, len(points)))
    facts = {"split": view.name, "step": view.step, "records": ids, "places": places.to_json(), "axes": ["point", "x, y"]}
    return Drawn({"points": points, "level": level, "place": place, "record": record}, facts, {"": page})


def _title(view: View, ids: list[str], points: int) -> str:
    return f"{points:,} patches of {len(ids)} record{'s' if len(ids) > 1 else ''} of {view.name} at every level, by t-SNE"
