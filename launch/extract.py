"""Extracts relations, mentions, triples or objects from posts with a trained checkpoint, to JSON lines and to a picture per record.

    python -m launch.extract --checkpoint=runs/quickstart --input=posts.jsonl --out=extracted
    python -m launch.extract --checkpoint=runs/quickstart --scenes=4 --out=extracted

Input lines are in the library's JSON-lines format (mmre_jax/data/readers/jsonl.py), one post a line, such as
    {"text": "Ada meets Grace in Paris", "image": "photos/17.jpg"}
    {"text": "Ada meets Grace in Paris", "image": "photos/17.jpg", "relations": [{"head": [0, 1], "tail": [2, 3]}]}
    {"text": "Ada meets Grace in Paris", "mentions": [[0, 1], [2, 3], [4, 5]], "regions": [{"box": [0.1, 0.2, 0.4, 0.9]}]}
with spans [start, end) in words and the image's path relative to the file. A checkpoint for entities or triples needs no more than the
first; one for relations needs either `relations` (pairs) or `mentions`, all ordered pairs of which are tried. `regions` are for systems
trained with object crops. Annotation of what is to be found is not looked at, but drawn beside what was found.

A picture that is missing or cannot be read is masked, as in training: the post's notes in extracted.jsonl say so, and summary.json counts
such posts. With --strict the first one ends the program, and nothing is written.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags
from matplotlib.figure import Figure

import mmre_jax
from launch import console
from mmre_jax import storage
from mmre_jax.analysis import fonts, object_plots, plots, triple_plots
from mmre_jax.analysis.query_maps import QueryMaps, query_mapper
from mmre_jax.analysis.seen import what_was_seen
from mmre_jax.data import datasets
from mmre_jax.data.dataset import objects_of
from mmre_jax.data.readers import jsonl, scenes
from mmre_jax.extraction import KINDS, Extraction, all_pairs
from mmre_jax.progress import track
from mmre_jax.records import Mention, Record, Region, Relation, Triple
from mmre_jax.training.log import write_json, write_text

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's workdir (its best step is taken) or the directory of one step.")
_INPUT = flags.DEFINE_string("input", None, "JSON lines of posts.")
_SCENES = flags.DEFINE_integer("scenes", 0, "Instead of --input: that many test records of the embedded data set.", lower_bound=0)
_OUT = flags.DEFINE_string("out", None, "Folder for extracted.jsonl, summary.json and the pictures.")
_ATTENTION = flags.DEFINE_bool("attention", False, "QEOT: also draw what picture and queries attend to, of records with a picture.")
_STRICT = flags.DEFINE_bool("strict", False, "End at the first picture that is missing or cannot be read, instead of masking it.")
_PICTURES = flags.DEFINE_integer("pictures", 20, "Draw at most so many records.", lower_bound=0)


def main() -> None:
    """Extracts, writes and names what was written."""
    if (_INPUT.value is None) == (_SCENES.value == 0):
        raise app.UsageError("give either --input or --scenes")
    logger = console.setup()
    out = storage.path(_OUT.value)
    posts = None if _INPUT.value is None else jsonl.read(_INPUT.value)
    extractor = mmre_jax.load(_CHECKPOINT.value)
    records = scenes.read(_scene(extractor), "test", _SCENES.value) if posts is None else posts
    mapper = query_mapper(extractor.job, extractor.predictor.devices.first(extractor.variables)) if _ATTENTION.value else None
    if extractor.task == "relation":
        records = [with_pairs(record) for record in records]
    extractions = extractor.extract_records(records, progress="extract", strict=_STRICT.value)
    summary = summary_of(extractions)
    storage.make_folder(out)
    lines = [json.dumps(extraction.to_json(), ensure_ascii=False) for extraction in extractions]
    write_text(out / "extracted.jsonl", "".join(f"{line}\n" for line in lines))
    write_json(out / "summary.json", summary)
    some = list(zip(records, extractions, strict=True))[: _PICTURES.value]
    if lacking := fonts.advice(text for record, found in some for text in (record.id, *record.words, *labels_of(found))):
        logger.info("%s", lacking)
    numbered = enumerate(track(some, "draw", len(some), unit="record"))
    drawn = [_draw(extractor, mapper, *pair, out / file_name(number, pair[0].id)) for number, pair in numbered]
    for line in itertools.chain.from_iterable(map(as_text, extractions[:5])):
        print(line)
    kind = KINDS[extractor.task]
    logger.info("%d records, %d %s: %s", summary["records"], summary["found"], kind, out / "extracted.jsonl")
    if masked := summary["masked"]:
        logger.info("%d of %d records have pictures that were masked, such as %s", masked, summary["records"], summary["examples"][0])
    for path in itertools.chain.from_iterable(drawn):
        logger.info("picture: %s", path)


def with_pairs(record: Record) -> Record:
    """The record itself if it names pairs, else with every ordered pair of its mentions.

    Raises:
      RecordError: if it names neither a pair nor two mentions, or one mention twice.
    """
    if record.relations:
        return record
    where = f"{record.origin or record.id}: no 'relations', so all pairs of 'mentions' are tried"
    return dataclasses.replace(record, relations=all_pairs(record.mentions, where))


def summary_of(extractions: Sequence[Extraction], most: int = 5) -> dict[str, Any]:
    """How many records, what was found in them, how many have pictures that were missing or could not be read, and the first of these."""
    masked = [(extraction.record, extraction.masked) for extraction in extractions if extraction.masked]
    examples = [f"{record.origin or record.id}: {notes[0]}" for record, notes in masked[:most]]
    found = sum(len(extraction.found) for extraction in extractions)
    return {"records": len(extractions), "found": found, "masked": len(masked), "examples": examples}


def labels_of(extraction: Extraction) -> list[str]:
    """What a picture says of what was found."""
    return [(found.type if isinstance(found, Mention) else found.label) or "" for found in extraction.found]


def as_text(extraction: Extraction, width: int = 120, most: int = 6) -> list[str]:
    """Lines for a terminal, none wider than `width`: the post, and indented what was found in it, the first `most` of it, with scores."""
    record = extraction.record
    lines = [f"{record.id}: {' '.join(record.words)}", *(f"      note: {note}" for note in extraction.notes)]
    for found in extraction.found[:most]:
        if isinstance(found, Relation):
            said = f"{record.text(found.head.span)} -> {record.text(found.tail.span)}: {found.label}"
        elif isinstance(found, Triple):
            place = "" if found.box is None else f" at {', '.join(f'{side:.2f}' for side in found.box)}"
            said = f"{record.text(found.mention.span)}: {found.label}{place}"
        elif isinstance(found, Region):
            said = f"{found.label} at {', '.join(f'{side:.2f}' for side in found.box or ())}"
        else:
            said = f"{record.text(found.span)}: {found.type}"
        lines.append(f"{'' if found.score is None else f'{found.score:.2f}':>8}  {said}")
    rest = len(extraction.found) - most
    if rest > 0 or not extraction.found:
        lines.append(f"          {f'and {rest} more' if rest > 0 else 'nothing found'}")
    return [line if len(line) <= width else f"{line[: width - 3]}..." for line in lines]


def file_name(number: int, name: str) -> str:
    """A record's picture's: its place in the input and what of its id every file system takes."""
    return f"{number:03d}_{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:80]}.png"


def _scene(extractor: mmre_jax.Extractor) -> str:
    """The checkpoint's own kind of scene; if it was trained on something else, the kind that its task is annotated in."""
    data = extractor.job.config.data
    return data.scene if data.name == "scenes" else {"relation": "relations"}.get(extractor.task, extractor.task)


def _draw(
    extractor: mmre_jax.Extractor, mapper: Callable[[Record], QueryMaps] | None, record: Record, extraction: Extraction, path: pathlib.Path
) -> list[pathlib.Path]:
    figures = {path: figure_of(extractor, record, extraction)}
    if mapper is not None and record.image is not None and datasets.readable(record.image):
        drawn = mapper(record).figures(record, extraction.triples, extractor.job.config.task.iou)
        figures |= {path.with_stem(f"{path.stem}_{name}"): figure for name, figure in drawn.items()}
    for place, figure in figures.items():
        plots.save(figure, place)
    return list(figures)


def figure_of(extractor: mmre_jax.Extractor, record: Record, extraction: Extraction) -> Figure:
    """What was found, what the system saw, and what the record is annotated with, if it is."""
    seen = what_was_seen(record, extractor.job.system.plan)
    note = "; ".join(extraction.notes) or None
    if extractor.task == "triples":
        iou = extractor.job.config.task.iou
        return triple_plots.triples_figure(record, extraction.triples, seen.photo, record.triples or None, iou=iou)
    if extractor.task == "objects":
        return object_plots.objects_figure(record, extraction.regions, seen.photo, objects_of(record) or None, note=note)
    if extractor.task == "entities":
        return plots.entities(
            record,
            extraction.mentions,
            seen.photo,
            seen.crops,
            boxes=seen.boxes,
            gold=tuple(mention for mention in record.mentions if mention.type is not None) or None,
            note=note,
            types=extractor.job.task.types,
        )
    gold = tuple(relation for relation in record.relations if relation.label is not None)
    return plots.extraction(
        record,
        extraction.relations,
        seen.photo,
        seen.crops,
        boxes=seen.boxes,
        gold=gold or None,
        note=note,
        none=extractor.job.task.none,
    )


if __name__ == "__main__":
    flags.mark_flags_as_required(["checkpoint", "out"])
    console.run(main, cached=True)
