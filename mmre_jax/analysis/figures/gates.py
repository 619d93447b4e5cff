"""Values of gates: RSRNeT's over the stages of its image encoder, and DGF-PT's over what of a picture goes into the text."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mmre_jax.analysis import gate_plots
from mmre_jax.analysis.figures.entry import Drawn, View, frequent
from mmre_jax.analysis.plots import short_names
from mmre_jax.analysis.watching import Arrays
from mmre_jax.data.loader import Batch
from mmre_jax.heads.joint import TOLD
from mmre_jax.training.evaluate import Predictor, make_predictor
from mmre_jax.training.splits import picture_of


def by_stage(view: View) -> Drawn:
    """The weight of each stage in the prefix of each text layer (RSRNeT, eq. 6-8), mean and standard deviation over the pictures of the
    split, photos and crops apart; arrays 'gates' [n, K, N, S], 'there' [n, K], 'ids' [n].

    Raises:
      ValueError: where no record has a picture.
    """
    slots = [slot.name for slot in view.job.system.plan for _ in range(slot.count)]

    def pick(arrays: Arrays, batch: Batch) -> dict[str, Any]:
        return {"gates": arrays["prefix/gates"], "present": batch["present"]}

    found = list(view.watch(pick))
    order = np.argsort(np.concatenate([watched.index for watched in found]))
    gates = np.concatenate([watched.picked["gates"] for watched in found])[order]
    present = [np.concatenate([x.picked["present"][slot.name] for slot in view.job.system.plan], axis=1) for x in found]
    there = np.concatenate(present)[order]
    kinds = {name: [place for place, slot in enumerate(slots) if slot == name] for name in dict.fromkeys(slots)}
    seen = {name: gates[:, own][there[:, own]] for name, own in kinds.items() if there[:, own].any()}
    if not seen:
        raise ValueError(f"no record of {view.name} has a picture that can be read: there are no gates over one")
    means, spreads = (np.stack([measure(weights, axis=0) for weights in seen.values()]) for measure in (np.mean, np.std))
    names = [f"{name}: {len(weights):,} pictures" for name, weights in seen.items()]
    title = f"weight of each stage of the image encoder in the prefix of\neach text layer, mean and standard deviation, {view.name}"
    facts = {"split": view.name, "records": len(gates), "step": view.step, "axes": ["record", "picture", "layer", "stage"]}
    facts |= {"pictures": slots, "mean": dict(zip(seen, means.tolist(), strict=True))}
    arrays = {"gates": gates, "there": there, "ids": np.array([record.id for record in view.looked_at.records])}
    return Drawn(arrays, facts, {"": gate_plots.stages(means, spreads, names, title)})


def told(view: View, predictor: Predictor, *, shuffled: bool) -> tuple[np.ndarray, np.ndarray]:
    """What `joint.TOLD` names of each of a split's n records, float32 [n, 5], and which saw a picture, bool [n]; shuffled: with another
    record's picture, as launch.gates shows them."""
    split = view.looked_at
    if shuffled:
        split = dataclasses.replace(split, picture_of=picture_of(view.job, split.records, shuffled=True))
    predicted = predictor.predict(view.variables, split, view.name, keep=True)
    return np.stack([each.outputs["fusion"] for each in predicted]), np.array([each.seen for each in predicted])


def dual(view: View) -> Drawn:
    """What DGF-PT's gates let through (eq. 4-8 and 10), with a record's own picture and with another's, and by relation; arrays 'own' and
    'other' [n, 5], 'own_seen' and 'other_seen' [n], 'relations' [n], 'ids' [n].

    Raises:
      ValueError: where no record has a picture.
    """
    predictor = make_predictor(view.job, view.devices)
    (own, own_seen), (other, other_seen) = (told(view, predictor, shuffled=shuffled) for shuffled in (False, True))
    if not own_seen.any() or not other_seen.any():
        raise ValueError(f"no record of {view.name} has a picture that can be read: nothing goes through the gates")
    relations = np.array([str(record.relations[0].label) for record in view.looked_at.records])
    some = frequent(relations[own_seen])
    groups = {label: relations[own_seen] == label for label in some}
    title = f"what the gates let through of the pictures, {int(own_seen.sum()):,} records of {view.name}"
    page = gate_plots.fusion(own[own_seen], other[other_seen], list(TOLD), groups, short_names(some), title)
    means = {
        name: dict(zip(TOLD, values[seen].mean(axis=0).tolist(), strict=True))
        for name, values, seen in (("own", own, own_seen), ("other", other, other_seen))
    }
    by_relation = {label: dict(zip(TOLD, own[own_seen][chosen].mean(axis=0).tolist(), strict=True)) for label, chosen in groups.items()}
    facts = {"split": view.name, "records": len(own), "step": view.step, "axes": ["record", "number"], "numbers": TOLD}
    facts |= {"mean": means, "mean_by_relation": by_relation}
    arrays = {"own": own, "other": other, "own_seen": own_seen, "other_seen": other_seen, "relations": relations}
    arrays["ids"] = np.array([record.id for record in view.looked_at.records])
    return Drawn(arrays, facts, {"": page})
