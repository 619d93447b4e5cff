"""What QEOT's picture and queries attend to in single records (QEOT, figures 3 and 4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmre_jax.analysis.figures.entry import Drawn, View, last_cross
from mmre_jax.analysis.query_maps import QueryMaps, query_maps
from mmre_jax.analysis.watching import Arrays, first
from mmre_jax.data.loader import Batch
from mmre_jax.records import Record, Triple

RECORDS = 2  # where none are named


def looked_at(view: View) -> list[tuple[Record, tuple[Triple, ...], QueryMaps]]:
    """Of each record that is shown the triples found in it and what was attended to.

    Raises:
      ValueError: for a record without a picture.
    """
    selects, last = "select/image_to_text" in view.shapes, last_cross(view.shapes)

    def pick(arrays: Arrays, batch: Batch) -> dict[str, Any]:
        found = {"mask": batch["text"]["mask"], "present": batch["present"]}
        found |= {"selected": arrays["select/image_to_text"]} if selects else {}
        return found | ({"queries": arrays[last]} if last else {})

    shown = []
    for watched in view.watch_some(pick, RECORDS):
        record, own, picked = watched.records[0], first(watched.prediction), watched.picked
        if not any(there.any() for there in picked["present"].values()):
            raise ValueError(f"{record.origin or record.id}: no picture to look at")
        selected, queries = (picked[name][0] if name in picked else None for name in ("selected", "queries"))
        maps = query_maps(view.job, record, picked["mask"][0], own, selected, queries)
        shown.append((record, tuple(x for x in view.job.task.decode(own, record) if isinstance(x, Triple)), maps))
    return shown


def selective(view: View) -> Drawn:
    """Figure 3: what each cell of the photo attends to in the text; arrays 'attention_0', ... [P, L], one a record."""
    return _drawn(view, "selective", "selected", ["cell of the photo, row by row", "token"])


def by_query(view: View) -> Drawn:
    """Figure 4: where each query looks, the last decoder layer's mean over heads; arrays 'attention_0', ... [Q, h, w], one a record."""
    return _drawn(view, "queries", "queries", ["query", "row of cells", "column of cells"])


def _drawn(view: View, figure: str, array: str, axes: list[str]) -> Drawn:
    arrays: dict[str, np.ndarray] = {}
    pages, facts = {}, []
    for number, (record, found, maps) in enumerate(view.once(looked_at)):
        arrays[f"attention_{number}"] = getattr(maps, array)
        pages[str(number)] = maps.figures(record, found, view.job.config.task.iou)[figure]
        said = [{"entity": record.text(x.mention.span), "relation": x.label, "box": list(x.box or ()), "score": x.score} for x in found]
        facts.append({"id": record.id, "array": f"attention_{number}", "tokens": list(maps.tokens), "grid": list(maps.grid), "found": said})
    return Drawn(arrays, {"split": view.name, "step": view.step, "axes": axes, "records": facts}, pages)
