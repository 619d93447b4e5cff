"""A case study: what several checkpoints say of the same records (DGF-PT, figure 5, with what each looks at)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmre_jax.analysis import case_plots
from mmre_jax.analysis.attention_maps import to_picture, word_rows
from mmre_jax.analysis.case_plots import Case, Verdict
from mmre_jax.analysis.figures.entry import Drawn, View
from mmre_jax.analysis.places import Part, Places, visual_places
from mmre_jax.analysis.seen import what_was_seen
from mmre_jax.analysis.watching import Arrays, Watched, first
from mmre_jax.data.loader import Batch
from mmre_jax.records import Mention, Record, Relation, Triple
from mmre_jax.tasks.triple_metrics import strict_matches

CASES = 4  # records, where none are named


def study(view: View) -> Drawn:
    """Each run's predictions of the records, right or wrong, over what its words attend to; where no records are named those that some runs
    are right about and others are not come first. Arrays 'attention_R_C' [P], of record R and run C, the mean over markers and heads at the
    last sight, for runs in which words attend to the picture.

    Raises:
      ValueError: for runs of different tasks, for objects, or for records that a run's split does not have.
    """
    views, names = (view, *view.beside), run_names((view, *view.beside))
    tasks = [str(each.job.config.task.name) for each in views]
    if len(set(tasks)) > 1 or tasks[0] == "objects":
        raise ValueError(f"a case study compares relations, mentions or triples, of one task: these runs have {', '.join(tasks)}")
    ids = view.ids or instructive(views)
    looked = [list(dataclasses.replace(each, ids=tuple(ids), beside=()).watch_some(_picker(each), len(ids))) for each in views]
    arrays: dict[str, np.ndarray] = {}
    pages, rows = {}, []
    for number, shown in enumerate(zip(*looked, strict=True)):
        record = shown[0].records[0]
        if any(watched.records[0].words != record.words for watched in shown):
            raise ValueError(f"{record.id}: the runs read different sentences under this id: they are of different data")
        verdicts = [_verdict(*each) for each in zip(views, names, shown, strict=True)]
        arrays |= {f"attention_{number}_{n}": v.weights for n, v in enumerate(verdicts) if v.weights is not None}
        plan = next((each.job.system.plan for each in views if each.job.system.plan), ())
        case = Case(record, what_was_seen(record, plan).photo, gold_of(record, tasks[0]), tuple(verdicts))
        pages[str(number)] = case_plots.page(case)
        rows.append(case)
    runs = [
        {"run": name, "system": str(each.job.config.system.name), "step": each.step, "workdir": str(each.workdir)}
        for name, each in zip(names, views, strict=True)
    ]
    facts = {"split": view.name, "axes": ["place"], "runs": runs, "records": [_plain(case) for case in rows]}
    return Drawn(arrays, facts, pages, table(rows, names))


def run_names(views: Sequence[View]) -> list[str]:
    """The runs' folders, by their last parts that tell them apart; with the step where one run is there with several."""
    depth, most = 1, max(len(view.workdir.parts) for view in views)
    folders = {view.workdir for view in views}
    while depth < most and len({folder.parts[-depth:] for folder in folders}) < len(folders):
        depth += 1
    names = ["/".join(view.workdir.parts[-depth:]) for view in views]
    return [f"{name} step {view.step}" if names.count(name) > 1 else name for name, view in zip(names, views, strict=True)]


def judged(view: View, prediction: Mapping[str, np.ndarray], record: Record) -> tuple[tuple[str, float | None, bool], ...]:
    """What is said of one record: in words, with its score, and whether it is right. prediction: of this record alone."""
    found = view.job.task.decode(prediction, record)
    golds = {(mention.span, mention.type) for mention in record.mentions}
    triples = tuple(x for x in found if isinstance(x, Triple))
    hits = {place for _, place in strict_matches(record.triples, triples, view.job.config.task.iou)} if triples else set()
    said: list[tuple[str, float | None, bool]] = []
    for number, each in enumerate(found):
        if isinstance(each, Relation):
            said.append((str(each.label), each.score, each.label == record.relations[0].label))
        elif isinstance(each, Triple):
            said.append((f"{record.text(each.mention.span)}: {each.label}", each.score, number in hits))
        elif isinstance(each, Mention):
            said.append((f"{record.text(each.span)}: {each.type}", each.score, (each.span, each.type) in golds))
    return tuple(said)


def gold_of(record: Record, task: str) -> tuple[str, ...]:
    """The annotation in the words of `judged`."""
    if task == "relation":
        return (str(record.relations[0].label),)
    if task == "triples":
        return tuple(f"{record.text(triple.mention.span)}: {triple.label}" for triple in record.triples)
    return tuple(f"{record.text(mention.span)}: {mention.type}" for mention in record.mentions if mention.type)


def instructive(views: Sequence[View]) -> tuple[str, ...]:
    """The ids of CASES records that all runs have: those with a picture about which they disagree in being right, then the others."""
    right: list[dict[str, bool]] = []
    for view in views:
        right.append({})
        for watched in view.watch(lambda _, batch: {"index": batch["index"]}):
            for each in watched.each():
                record = each.records[0]
                said = judged(view, first(each.prediction), record)
                gold = gold_of(record, str(view.job.config.task.name))
                right[-1][record.id] = len(said) == len(gold) and all(hit for *_, hit in said)
    shared = [record for record in views[0].split.records if all(record.id in found for found in right)]
    if not shared:
        raise ValueError(f"the runs have no record of {views[0].name} in common")
    order = sorted(shared, key=lambda record: (len({found[record.id] for found in right}) == 1, record.image is None))
    return tuple(record.id for record in order[:CASES])


def table(cases: Sequence[Case], names: Sequence[str]) -> str:
    """The records as a table in Markdown: sentence, entities, annotation, and of each run what it says, right or wrong, with its score."""
    head = ["record", "text", "gold", *names]
    lines = [head, ["---"] * len(head)]
    for case in cases:
        said = ["; ".join(_in_words(*each) for each in verdict.said) or "nothing" for verdict in case.verdicts]
        lines.append([case.record.id, marked(case.record), "; ".join(case.gold) or "nothing", *said])
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def marked(record: Record) -> str:
    """The sentence in Markdown, head and tail of its first relation in bold letters."""
    ends = [(record.relations[0].head.span, "head"), (record.relations[0].tail.span, "tail")] if record.relations else []
    words = list(record.words)
    for (start, end), role in ends:
        words[start] = f"**{words[start]}"
        words[end - 1] = f"{words[end - 1]}** ({role})"
    return " ".join(words)


def _in_words(text: str, score: float | None, right: bool) -> str:
    return f"{'✓' if right else '✗'} {text}" + ("" if score is None else f" {score:.2f}")


def _picker(view: View) -> Any:
    def pick(arrays: Arrays, batch: Batch) -> dict[str, Any]:
        found = {name: batch.get(name, {}) for name in ("pictures", "present")}  # a system of text alone has none
        if view.sights:
            found["weights"] = word_rows(to_picture(arrays, view.sights[-1]), batch).mean(axis=(1, 2))
        return found

    return pick


def _verdict(view: View, name: str, watched: Watched) -> Verdict:
    record, picked = watched.records[0], watched.picked
    weights = picked["weights"][0] if "weights" in picked else None
    places = whole_pictures(view) if weights is None else visual_places(view.job, len(weights))
    pictures, present = first(picked["pictures"]), first(picked["present"])
    seen = any(there.any() for there in present.values())
    said = judged(view, first(watched.prediction), record)
    system = str(view.job.config.system.name)
    return Verdict(name, system, said, pictures, present, places, weights if seen else None)


def whole_pictures(view: View) -> Places:
    """The pictures of the plan as places of one cell each."""
    pictures = [(slot.name, number) for slot in view.job.system.plan for number in range(slot.count)]
    return Places(len(pictures), tuple(Part(name, number, place, 1) for place, (name, number) in enumerate(pictures)))


def _plain(case: Case) -> dict[str, Any]:
    runs = [
        {"run": verdict.run, "found": [{"text": text, "score": score, "right": hit} for text, score, hit in verdict.said]}
        for verdict in case.verdicts
    ]
    relation = case.record.relations[0] if case.record.relations else None
    ends = {} if relation is None else {"head": list(relation.head.span), "tail": list(relation.tail.span)}
    return {"id": case.record.id, "words": list(case.record.words), **ends, "gold": list(case.gold), "runs": runs}
