"""Pictures of what was extracted from posts: what was found, what the system saw, and what the posts are annotated with."""

from __future__ import annotations

import logging
import pathlib
import re
from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from mmre_jax.analysis import fonts, object_plots, plots, triple_plots
from mmre_jax.analysis.query_maps import query_mapper
from mmre_jax.analysis.seen import what_was_seen
from mmre_jax.data import datasets
from mmre_jax.data.dataset import objects_of
from mmre_jax.extract import Extractor
from mmre_jax.extraction import Extraction
from mmre_jax.progress import track
from mmre_jax.records import Mention, Record

logger = logging.getLogger(__name__)


def draw(
    extractor: Extractor, records: Sequence[Record], extractions: Sequence[Extraction], out: pathlib.Path, *, attention: bool = False
) -> Iterator[pathlib.Path]:
    """Draws records with what was found in each, and names the files.

    Args:
      records: as they were read, with what is annotated of them.
      attention: QEOT: also what picture and queries attend to, of records with a picture.
    """
    if lacking := fonts.advice(
        text for record, found in zip(records, extractions, strict=True) for text in (record.id, *record.words, *labels_of(found))
    ):
        logger.info("%s", lacking)
    mapper = query_mapper(extractor.job, extractor.predictor.devices.first(extractor.variables)) if attention else None
    pairs = zip(records, extractions, strict=True)
    for number, (record, extraction) in enumerate(track(pairs, "draw", len(records), unit="record")):
        path = out / file_name(number, record.id)
        figures = {path: figure_of(extractor, record, extraction)}
        if mapper is not None and record.image is not None and datasets.readable(record.image):
            drawn = mapper(record).figures(record, extraction.triples, extractor.job.config.task.iou)
            figures |= {path.with_stem(f"{path.stem}_{name}"): figure for name, figure in drawn.items()}
        for place, figure in figures.items():
            plots.save(figure, place)
        yield from figures


def labels_of(extraction: Extraction) -> list[str]:
    """What a picture says of what was found."""
    return [(found.type if isinstance(found, Mention) else found.label) or "" for found in extraction.found]


def file_name(number: int, name: str) -> str:
    """A record's picture's: its place in the input and what of its id every file system takes."""
    return f"{number:03d}_{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:80]}.png"


def figure_of(extractor: Extractor, record: Record, extraction: Extraction) -> Figure:
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
