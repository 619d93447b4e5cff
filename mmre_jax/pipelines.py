"""Trained extractors one behind the other: what QEOT's joint extraction is compared with (section 4.1.2, Pipeline-R50, -R101, -RCNN).

A tagger finds mentions in the words, a detector finds regions in the picture, and a classifier says of each mention with each region
which relation holds, if any. They were trained apart, on views of one data set (data/views.py), and none learns from another's errors.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from mmre_jax import extract
from mmre_jax.analysis.evaluation import Evaluation, scoring_task
from mmre_jax.analysis.reliability import Reliability
from mmre_jax.data import datasets, views
from mmre_jax.extract import Extractor
from mmre_jax.extraction import Extraction
from mmre_jax.records import Mention, Record, Region, Relation, Triple
from mmre_jax.tasks import events
from mmre_jax.tasks.triples import merge
from mmre_jax.training.protocol import protocol
from mmre_jax.training.trained_on import TrainedOn


class PipelineError(ValueError):
    """Extractors that do not make a pipeline. The message says which part is wrong, and what it should be."""


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """Three extractors that together do task `triples`.

    tagger: mentions, of whatever types.
    detector: regions, of whatever classes.
    classifier: the relation of a mention to the one region shown as object crop.
    least: lowest score of a region that is looked at; a detector's own limit leaves many that are hardly believed.
    merge_iou: triples of one span and relation whose boxes overlap by this much are one.

    Raises:
      PipelineError: if a part has another task, or labels or object crops that do not fit.
    """

    tagger: Extractor
    detector: Extractor
    classifier: Extractor
    least: float = 0.5
    merge_iou: float = 0.7

    def __post_init__(self) -> None:
        for part, view in (("tagger", "mentions"), ("detector", "regions"), ("classifier", "pairs")):
            found, wanted = getattr(self, part).task, views.TASK_OF[view]
            if found != wanted:
                again = ": one of before there was that task is to be trained again" if (part, found) == ("detector", "triples") else ""
                raise PipelineError(f"{part}: trained for task {found!r}, not {wanted!r} (data.view={view!r}){again}")
        if (crops := self.classifier.object_sources) != ("detected",):
            seen = f"{' and '.join(crops)} object crops" if crops else "no object crops"
            raise PipelineError(f"classifier: looks at {seen}, not at detected ones, of which it is shown one (data.view='pairs')")

    @property
    def labels(self) -> tuple[str, ...]:
        """The relations that its triples can have."""
        task = self.classifier.job.task
        return tuple(label for label in task.labels if label != task.none)

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raises PipelineError unless the pipeline's relations are these, in whatever order."""
        if differing := set(self.labels) ^ set(labels):
            raise PipelineError(f"classifier: relations that only it or only the data set has: {', '.join(sorted(differing))}")

    def extract_records(self, records: Sequence[Record], progress: str = "", *, strict: bool = False) -> list[Extraction]:
        """The triples of every record, best first; annotations are not looked at.

        Of all pairs of a mention and a region those are triples that the classifier does not call empty. A triple's score is the product
        of its mention's, its region's and its relation's, as if they were independent; a part without a score counts as certain. A
        mention's score is the same for all its triples, and decides nothing between them.

        Args:
          progress: name under which progress is shown; it is not where empty.
          strict: as of Extractor.extract_records.

        Raises:
          PictureError: where `strict`, for a picture that is named but missing or cannot be read.
        """
        names = [progress and f"{progress} {part}" for part in ("mentions", "regions", "pairs")]
        tagged = self.tagger.extract_records(records, names[0], strict=strict)
        detected = self.detector.extract_records([views.photo(record) for record in records], names[1], strict=strict)
        candidates = [
            (index, region, views.beside(record, region.box, tuple(views.pair(mention) for mention in found.mentions)))
            for index, (record, found) in enumerate(zip(records, tagged, strict=True))
            for region in (detected[index].regions if found.mentions else ())
            if region.box is not None and (region.score is None or region.score >= self.least)
        ]
        classified = self.classifier.extract_records([shown for _, _, shown in candidates], names[2], strict=strict) if candidates else []
        triples: list[list[Triple]] = [[] for _ in records]
        for (index, region, _), pairs in zip(candidates, classified, strict=True):
            triples[index] += [_triple(relation, region) for relation in pairs.relations if relation.label != self.classifier.job.task.none]
        return [
            Extraction(tags.record, merge(found, self.merge_iou), regions.notes, "triples", regions.masked)
            for tags, regions, found in zip(tagged, detected, triples, strict=True)
        ]


def _triple(relation: Relation, region: Region) -> Triple:
    assert region.box is not None, "a region without a box is no candidate"
    mention = relation.head
    score = math.prod(1.0 if part is None else part for part in (mention.score, region.score, relation.score))
    return Triple(Mention(mention.start, mention.end, score=mention.score), str(relation.label), region.box, score)


def load(
    tagger: str | os.PathLike[str],
    detector: str | os.PathLike[str],
    classifier: str | os.PathLike[str],
    *,
    least: float = 0.5,
    merge_iou: float = 0.7,
    devices: int = 1,
) -> Pipeline:
    """A pipeline of three trained runs (see extract.load and Pipeline).

    Raises:
      CheckpointError: if one has no checkpoint.
      PipelineError: if they do not fit together.
    """
    return Pipeline(*(extract.load(path, devices) for path in (tagger, detector, classifier)), least=least, merge_iou=merge_iou)


def evaluate(
    config: ConfigDict, runs: Mapping[str, str | os.PathLike[str]], split: str, *, least: float = 0.5, devices: int = 1
) -> Evaluation:
    """A pipeline's triples of a split, scored as those of a configuration of QEOT are.

    Args:
      config: whose task and data say what is found and scored.
      runs: {tagger, detector, classifier: run}.
      split: train, val or test.
      least, devices: as of `load`.

    Raises:
      CheckpointError, PipelineError: as `load`, and for relations that are not those of the data.
      ValueError, RecordError: as `datasets.open_records`.
    """
    limits = {"least": least, "merge_iou": config.task.merge_iou}
    pipeline = load(runs["tagger"], runs["detector"], runs["classifier"], **limits, devices=devices)
    train, records = (datasets.open_records(config.data, name) for name in ("train", split))
    labels, none = datasets.labels(config.data, "triples", train)
    pipeline.check_labels(labels)
    # Its triples are as many as it finds: the number of QEOT's queries is no limit.
    task = dataclasses.replace(scoring_task(config, labels, none), queries=None)
    examples = task.examples(records)
    extracted = pipeline.extract_records(examples, split)
    found = [extraction.found for extraction in extracted]
    seen = frozenset(record.id for record, each in zip(examples, extracted, strict=True) if record.image is not None and not each.masked)
    used = {part: {"run": os.fspath(run), "step": getattr(pipeline, part).step} for part, run in runs.items()}
    about = {**protocol(config), "pipeline": used, "least_score": least}
    scored = events.events(task, examples, found)
    reliability = None if scored is None else Reliability(split, scored)
    return Evaluation(split, "triples", task, examples, found, seen, TrainedOn(), about, reliability=reliability)
