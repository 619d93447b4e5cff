"""Object detection: which things are where in the picture. The words of a record are not read.

The scores are COCO's, computed by pycocotools (extra `detector`): of all pictures together, at most 100 detections each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from mmre_jax.data.dataset import RecordSource, objects_of
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.text import TextEncoder
from mmre_jax.declare import Section, SettingError, whole
from mmre_jax.records import Record, RecordError, Region
from mmre_jax.tasks.task import Found, Outputs

SETTINGS: Section = {"max_targets": whole(64, "[1, inf)", "annotated boxes a picture can train with")}
LEFT_OUT = ("beyond_max_targets",)
_SIDE = 1000.0  # what boxes are multiplied by for pycocotools, which takes them in pixels; overlaps do not depend on it


@dataclasses.dataclass(frozen=True)
class ObjectsTask:
    """One example is a record; one in whose picture nothing is annotated is an example too.

    A record's objects are its regions with source 'gold', a box and a label. Those of a record whose picture is missing or cannot be read
    cannot be learnt, since it is masked, and count as missed.

    labels: the classes in the order of the head's outputs, `none`, the background, first.
    none: the background, which no object is.
    max_targets: T, the objects of a picture that training can hold.
    encoder: of no use here; a checkpoint keeps one with every task.
    """

    encoder: TextEncoder
    labels: tuple[str, ...]
    none: str
    max_targets: int

    headline: ClassVar[tuple[str, ...]] = ("AP50", "AP", "AP75")

    def __post_init__(self) -> None:
        if not self.labels or self.labels[0] != self.none:
            raise ValueError(f"the background {self.none!r} is the first of a detector's classes, found {list(self.labels)}")

    def examples(self, records: RecordSource) -> list[Record]:
        """The records as they are.

        Raises:
          RecordError: for an object of a class that is not among the labels.
        """
        found = [records[index] for index in range(len(records))]
        for record in found:
            for region in objects_of(record):
                self.label_id(region, record)
        return found

    def encode(self, records: Sequence[Record]) -> list[Encoded]:
        """A token of padding for each, since no words are read: all batches have one shape."""
        nothing = np.full(1, -1, np.int32)
        return [Encoded(np.full(1, self.encoder.special_ids["pad"], np.int32), nothing, nothing[:0])] * len(records)

    def features(self, record: Record, length: int, encoded: Encoded | None = None) -> dict[str, Any]:
        """Targets of one example, with T rows, `valid` ones first: box float32 [T, 4], normalised xyxy, label int32 [T], valid bool [T].

        Objects that `left_out` counts have no row. Rows that are not valid hold the whole picture, and the background.

        Raises:
          RecordError: for an object of a class that is not among the labels.
        """
        del length, encoded
        kept = objects_of(record)[: self.max_targets]
        box = np.tile(np.array([0.0, 0.0, 1.0, 1.0], np.float32), (self.max_targets, 1))
        label = np.zeros(self.max_targets, np.int32)
        for row, region in enumerate(kept):
            box[row], label[row] = region.box, self.label_id(region, record)
        return {"targets": {"box": box, "label": label, "valid": np.arange(self.max_targets) < len(kept)}}

    def left_out(self, examples: Sequence[Record], encoded: Sequence[Encoded] | None = None) -> dict[str, int]:
        """How many objects training does not see; the metrics count them all the same.

        Returns:
          beyond_max_targets: of a picture that has more; the first ones are kept.
        """
        del encoded
        return {LEFT_OUT[0]: sum(max(len(objects_of(record)) - self.max_targets, 0) for record in examples)}

    def label_id(self, region: Region, record: Record) -> int:
        """The class of an object.

        Raises:
          RecordError: naming the record, if it is not among the labels, or is the background.
        """
        if region.label not in self.labels[1:]:
            where = record.origin or record.id
            raise RecordError(f"{where}: regions: {region.label!r} is not one of {', '.join(self.labels[1:])}")
        return self.labels.index(region.label)

    def decode(self, prediction: Outputs, record: Record, encoded: Encoded | None = None) -> tuple[Region, ...]:
        """The objects that were detected, best first.

        Args:
          prediction: box float [D, 4], normalised xyxy, label int [D], score float [D], found bool [D].
        """
        del record, encoded
        found = []
        for row in np.flatnonzero(prediction["found"]):
            x0, y0, x1, y1 = (float(side) for side in np.clip(prediction["box"][row].astype(np.float64), 0.0, 1.0))
            if x0 < x1 and y0 < y1:
                label, score = self.labels[int(prediction["label"][row])], float(prediction["score"][row])
                found.append(Region((x0, y0, x1, y1), label=label, score=score))
        return tuple(sorted(found, key=lambda region: -(region.score or 0.0)))

    def metrics(
        self,
        records: Sequence[Record],
        predicted: Sequence[Found],
        outputs: Sequence[Outputs] | None = None,
        encoded: Sequence[Encoded] | None = None,
    ) -> dict[str, Any]:
        """`average_precision` of the records' objects and of those that were found by whatever program.

        Raises:
          RecordError: naming the record, if a class on either side is not among the labels.
        """
        gold = [objects_of(record) for record in records]
        for record, regions, found in zip(records, gold, predicted, strict=True):
            for region in (*regions, *found):
                self.label_id(region, record)
        return average_precision(gold, predicted, self.labels[1:])

    def stratum(self, record: Record) -> str:
        """The classes that occur in the record, in alphabetical order."""
        return " + ".join(sorted({str(region.label) for region in objects_of(record)})) or self.none


def check_scorer() -> None:
    """Raises SettingError where pycocotools is not installed: to be asked before a run begins, not at its first evaluation."""
    if importlib.util.find_spec("pycocotools") is None:
        raise SettingError("task.name=objects is scored by pycocotools, which is not installed: pip install 'mmre_jax[detector]'")


def average_precision(gold: Sequence[Sequence[Region]], predicted: Sequence[Sequence[Region]], labels: Sequence[str]) -> dict[str, Any]:
    """COCO's average precision, by pycocotools.

    Args:
      gold: of each picture the annotated objects.
      predicted: of each picture the detected ones; one without a score counts as certain.
      labels: the classes.

    Returns:
      count (pictures), objects, detections; AP, the mean over IoU 0.50 to 0.95 and over the classes that are annotated, AP50 and AP75, at
      one IoU; per_label {label: {AP, AP50, support}} (0 for a class that is not annotated).
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    ids = {label: number for number, label in enumerate(labels, 1)}
    truth, found = (
        [_row(region, picture, ids) for picture, regions in enumerate(side, 1) for region in regions] for side in (gold, predicted)
    )
    support = Counter(str(region.label) for regions in gold for region in regions)
    annotated = [label for label in labels if support[label]]
    precision = np.zeros((10, 0))
    if truth and found:
        coco = COCO()
        coco.dataset = {
            "images": [{"id": picture} for picture in range(1, len(gold) + 1)],
            "categories": [{"id": number, "name": label} for label, number in ids.items()],
            "annotations": [{**row, "id": number, "iscrowd": 0} for number, row in enumerate(truth, 1)],
        }
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
            coco.createIndex()
            scorer = COCOeval(coco, coco.loadRes([dict(row) for row in found]), "bbox")
            scorer.params.catIds = [ids[label] for label in annotated]
            scorer.evaluate()
            scorer.accumulate()
        precision = scorer.eval["precision"][:, :, :, 0, -1].mean(axis=1)  # IoUs, classes: over 101 recalls, all sizes, 100 detections
    by_label = dict(zip(annotated, precision.T, strict=True)) if precision.size else {}
    nothing = np.zeros(10)
    means = precision.mean(axis=1) if precision.size else nothing
    return {
        "count": len(gold),
        "objects": len(truth),
        "detections": len(found),
        "AP": float(means.mean()),
        "AP50": float(means[0]),
        "AP75": float(means[5]),
        "per_label": {
            label: {
                "AP": float(by_label.get(label, nothing).mean()),
                "AP50": float(by_label.get(label, nothing)[0]),
                "support": support[label],
            }
            for label in labels
        },
    }


def _row(region: Region, picture: int, ids: Mapping[str, int]) -> dict[str, Any]:
    x0, y0, x1, y1 = (side * _SIDE for side in region.box or (0.0, 0.0, 0.0, 0.0))
    width, height = x1 - x0, y1 - y0
    return {
        "image_id": picture,
        "category_id": ids[str(region.label)],
        "bbox": [x0, y0, width, height],
        "area": width * height,
        "score": 1.0 if region.score is None else float(region.score),
    }
