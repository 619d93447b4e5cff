"""Audit of a data set: what stands in its annotation (data/annotation.py), and, of relations, how well the label can be told from metadata
alone, without reading a word or looking at a picture.

Small decision trees are fitted to single groups of metadata, and to all of a kind together, on the training split, and scored on
held-out records against the answer that is most frequent in training. What comes from the pictures (how many object boxes or crops
a record has, whether its picture is there, the picture's size) must not tell the label: where it does, a model that gets pictures can
score without looking at them. What comes from the sentence (its length, where its entities stand) is legitimate input; it is printed
for comparison and not judged, and neither is what is not there: an empty label that never occurs, regions or pictures of which there are
none.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict
from sklearn.tree import DecisionTreeClassifier

from mmre_jax.data import annotation, datasets
from mmre_jax.data.annotation import Finding
from mmre_jax.data.dataset import DataSet
from mmre_jax.data.decode import PictureError, read_picture
from mmre_jax.data.readers import scenes
from mmre_jax.records import SPLITS, Record, RecordError
from mmre_jax.training.job import new_task

COMPLETE = 0.99  # share of the referenced pictures that must be there before presence and absence mean anything
THRESHOLD = 0.1  # MNRE's published crops reach 0.98 (None or some) and 0.33 (relation), image-only detections 0.00
_RESAMPLES = 2000
# Deep enough for an interaction of three or four features; leaves large enough not to memorise.
DEPTH, LEAF = 8, 20


@dataclasses.dataclass(frozen=True)
class Group:
    """A group of metadata: where it comes from ('pictures' or 'text') and its numbers.

    `train` is [N, F] and `held_out` [M, F] float; both None where the group cannot be judged, for the reason in `note`.
    """

    name: str
    source: str
    train: np.ndarray | None
    held_out: np.ndarray | None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the report: what `group` tells of `target` ('None or some', or 'relation').

    `gain` is (accuracy - majority) / (1 - majority): 0 tells nothing, 1 everything. `low` and `high` are its 95 % interval (bootstrap
    over held-out records). All numbers are None where the group was not judged.
    """

    target: str
    group: str
    source: str
    accuracy: float | None
    majority: float | None
    gain: float | None
    low: float | None
    high: float | None
    verdict: str

    @property
    def leaks(self) -> bool:
        """True where this line fails the audit."""
        return self.verdict == "LEAK"


@dataclasses.dataclass(frozen=True)
class AuditReport:
    """What `audit` found.

    findings: what stands in the annotation (annotation.look).  left_out: what of the training split's is not learnt from (Task.left_out).
    """

    rows: tuple[Row, ...]
    threshold: float
    train_count: int
    held_out_count: int
    findings: tuple[Finding, ...] = ()
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """True where metadata of the pictures tells a target past the threshold, or too much of the test split stands in training."""
        return any(row.leaks for row in self.rows) or any(finding.fails for finding in self.findings)

    def table(self) -> str:
        """The report as a person reads it."""
        reasons = ["metadata of the pictures tells the label"] if any(row.leaks for row in self.rows) else []
        reasons += [f"{finding.name} of {finding.split} past {finding.limit:.2%}" for finding in self.findings if finding.fails]
        counts = f"trained on {self.train_count:,} records, scored on {self.held_out_count:,}"
        counts += f"; threshold of the gain {self.threshold:g}" if self.rows else ""
        verdict = f"FAILED: {'; '.join(reasons)}" if reasons else "passed"
        return "\n".join([*(self._gains() if self.rows else ()), *self._annotation(), f"{verdict} ({counts})"])

    def _annotation(self) -> list[str]:
        lines = ["annotation"] if self.findings or self.left_out else []
        for finding in self.findings:
            lines.append(f"  {'FAILS' if finding.fails else 'warning' if finding.count else 'ok'}: {finding}")
        if self.left_out:
            lines.append(f"  train: not learnt from: {', '.join(f'{count:,} {what}' for what, count in self.left_out.items())}")
        return [*lines, ""] if lines else []

    def _gains(self) -> list[str]:
        head = f"{'target':<13} {'from':<9} {'metadata':<17} {'accuracy':>8} {'majority':>8} {'gain':>6}  {'95 %':<15}  verdict"
        lines = [head, "-" * len(head)]
        for row in self.rows:
            numbers = f"{'-':>8} {'-':>8} {'-':>6}  {'':<15}"
            if row.gain is not None:
                numbers = f"{row.accuracy:8.4f} {row.majority:8.4f} {row.gain:6.3f}  {f'[{row.low:.3f}, {row.high:.3f}]':<15}"
            lines.append(f"{row.target:<13} {row.source:<9} {row.group:<17} {numbers}  {row.verdict}")
        return [*lines, ""]

    def to_json(self) -> str:
        """The same as JSON: {failed, threshold, train, held_out, rows: [...], annotation: [...], not_learnt_from: {...}}."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        counts = {"train": self.train_count, "held_out": self.held_out_count}
        told = {"annotation": annotation.to_json(self.findings), "not_learnt_from": dict(self.left_out)}
        return json.dumps(
            {"failed": self.failed, "threshold": self.threshold, **counts, "rows": rows, **told}, indent=2, ensure_ascii=False
        )


def audit(
    train: Sequence[Record],
    held_out: Sequence[Record],
    none_label: str,
    threshold: float = THRESHOLD,
    *,
    size: Callable[[str], tuple[int, int] | None] | None = None,
    findings: Sequence[Finding] = (),
    left_out: Mapping[str, int] | None = None,
) -> AuditReport:
    """Audits a data set with one relation a record.

    Args:
      train: records to learn from.
      held_out: records to score on (validation and test together, say).
      none_label: the label that says that there is no relation.
      threshold: a group of picture metadata fails where its normalised gain exceeds this and the interval's lower end exceeds 0.
      size: gives a picture's (width, height) by a record's `image`, or None where it is missing or no picture; `picture_size` if None.
      findings, left_out: see AuditReport.

    Raises:
      RecordError: a record has not exactly one labelled relation.
      ValueError: a split is empty.
    """
    if not train or not held_out:
        raise ValueError(f"an audit needs records to learn from and to score on, found {len(train)} and {len(held_out)}")
    labels = np.array([_label(record) for record in (*train, *held_out)])
    groups = _joined(_text_groups(train, held_out) + _picture_groups(train, held_out, size or picture_size))
    rows = []
    for target, values in (("None or some", labels != none_label), ("relation", labels)):
        learnt, scored = values[: len(train)], values[len(train) :]
        nothing = _nothing_to_tell(target, learnt, none_label)
        rows += [_row(target, _unjudged(group, nothing) if nothing else group, learnt, scored, threshold) for group in groups]
    return AuditReport(tuple(rows), threshold, len(train), len(held_out), tuple(findings), dict(left_out or {}))


def audit_dataset(
    config: ConfigDict, threshold: float = THRESHOLD, overlap: float = annotation.OVERLAP, *, dataset: DataSet | None = None
) -> AuditReport:
    """What stands in the annotation of a configuration's data set, and of relations `audit`, learnt from the training split, scored on
    validation and test together.

    Args:
      config: as configs/ makes them.
      threshold: see `audit`.
      overlap: largest share of the test split that may stand in training.
      dataset: a user's own, if it is not one of datasets.DATASETS.

    Raises:
      ValueError, RecordError: as `datasets.open_records` and `datasets.labels`.
    """
    records = {split: datasets.open_records(config.data, split, dataset) for split in SPLITS}
    task = new_task(config, records["train"], dataset)
    train, val, test = (list(task.examples(found)) for found in records.values())
    findings, left_out = annotation.look(config.task.name, task.none, records, limit=overlap, view=config.data.view), task.left_out(train)
    if config.task.name == "relation":
        return audit(train, val + test, task.none, threshold, findings=findings, left_out=left_out)
    return AuditReport((), threshold, len(train), len(val + test), tuple(findings), dict(left_out))


def picture_size(image: str) -> tuple[int, int] | None:
    """(width, height) of a picture by its path or by its key in `scenes`, as training sees it; None where there is none to be read."""
    if image.startswith(scenes.PREFIX):
        side = scenes.parse_key(image)[-1]
        return side, side
    try:
        return read_picture(image).size
    except PictureError:
        return None


def _label(record: Record) -> str:
    if len(record.relations) != 1 or record.relations[0].label is None:
        raise RecordError(f"{record.origin or record.id}: the audit takes records with one labelled relation, found {record.relations!r}")
    return record.relations[0].label


def _text_groups(train: Sequence[Record], held_out: Sequence[Record]) -> list[Group]:
    def length(record: Record) -> list[int]:
        return [len(record.words)]

    def positions(record: Record) -> list[int]:
        head, tail = record.relations[0].head, record.relations[0].tail
        return [head.start, tail.start, tail.start - head.start, len(record.words) - max(head.end, tail.end)]

    def spans(record: Record) -> list[int]:
        head, tail = record.relations[0].head, record.relations[0].tail
        return [head.end - head.start, tail.end - tail.start]

    named = (("sentence length", length), ("entity positions", positions), ("entity lengths", spans))
    return [Group(name, "text", _matrix(train, of), _matrix(held_out, of)) for name, of in named]


def _picture_groups(train: Sequence[Record], held_out: Sequence[Record], size: Callable[[str], tuple[int, int] | None]) -> list[Group]:
    def regions(record: Record) -> list[int]:  # a number for each way they were found: a leaking kind must not drown in another
        found = [region.source for region in record.regions]
        return [found.count(source) for source in found_by]

    def present(record: Record) -> list[int]:
        return [record.image is not None and sizes[record.image] is not None]

    def sides(record: Record) -> list[int]:
        return list(sizes[record.image])

    everything = (*train, *held_out)
    found_by = sorted({region.source for record in everything for region in record.regions}) or ["detected"]
    sizes = {image: size(image) for image in {record.image for record in everything} if image is not None}
    there = sum(found is not None for found in sizes.values())
    groups = [Group("number of regions", "pictures", _matrix(train, regions), _matrix(held_out, regions))]
    if not any(record.regions for record in everything):
        groups[0] = _unjudged(groups[0], "no record has regions")
    if not sizes:
        groups.append(Group("picture present", "pictures", None, None, "not judged: no record has a picture"))
    elif there >= COMPLETE * len(sizes):
        groups.append(Group("picture present", "pictures", _matrix(train, present), _matrix(held_out, present)))
    else:
        note = f"not judged: folder incomplete ({there:,} of {len(sizes):,} pictures are there)"
        groups.append(Group("picture present", "pictures", None, None, note))
    if all(record.image is not None and sizes[record.image] is not None for record in everything):
        groups.append(Group("picture size", "pictures", _matrix(train, sides), _matrix(held_out, sides)))
    else:
        reason = "not every record's picture is there" if sizes else "no record has a picture"
        groups.append(Group("picture size", "pictures", None, None, f"not judged: {reason}"))
    return groups


def _matrix(records: Sequence[Record], features: Callable[[Record], list[int]]) -> np.ndarray:
    return np.array([features(record) for record in records], np.float32)


def _joined(groups: list[Group]) -> list[Group]:
    """Behind the groups of either source, one of all its numbers together."""
    result = []
    for source in ("pictures", "text"):
        own = [group for group in groups if group.source == source]
        judged = [group for group in own if group.train is not None]
        if judged:
            train, held_out = (np.concatenate([getattr(g, part) for g in judged], axis=1) for part in ("train", "held_out"))
            result += [*own, Group("all of these", source, train, held_out)]
        else:
            result += [*own, Group("all of these", source, None, None, "not judged: there is nothing to tell by")]
    return result


def _unjudged(group: Group, reason: str) -> Group:
    return Group(group.name, group.source, None, None, f"not judged: {reason}")


def _nothing_to_tell(target: str, train: np.ndarray, none_label: str) -> str:
    """Why a target cannot be told from anything: all of training has one value. '' where it has more."""
    if len(np.unique(train)) > 1:
        return ""
    if target == "relation":
        return f"every record is {train[0]!s}"
    return f"{'no' if train[0] else 'every'} record is {none_label}"


def _row(target: str, group: Group, train: np.ndarray, held_out: np.ndarray, threshold: float) -> Row:
    if group.train is None or group.held_out is None:
        return Row(target, group.name, group.source, None, None, None, None, None, group.note)
    names, counts = np.unique(train, return_counts=True)
    by_majority = held_out == names[counts.argmax()]
    tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=LEAF, random_state=0).fit(group.train, train)
    correct = tree.predict(group.held_out) == held_out
    gain, low, high = _gain(correct, by_majority)
    verdict = "text, not judged"
    if group.source == "pictures":
        verdict = "LEAK" if gain > threshold and low > 0 else "ok"
    return Row(target, group.name, group.source, float(correct.mean()), float(by_majority.mean()), gain, low, high, verdict)


def _gain(correct: np.ndarray, by_majority: np.ndarray) -> tuple[float, float, float]:
    """Normalised gain with its 95 % interval by paired bootstrap.

    Args:
      correct: bool [M], whether the tree is right.
      by_majority: bool [M], whether the majority's answer is.

    Returns:
      gain, lower end, upper end; zeros where the majority's answer is always right.
    """
    if by_majority.all():
        return 0.0, 0.0, 0.0

    def normalised(shares: np.ndarray) -> np.ndarray:
        # Only records on which the two differ count in the numerator.
        return (shares[..., 2] - shares[..., 1]) / np.maximum(shares[..., 0] + shares[..., 2], 1 / correct.size)

    cells = np.bincount(2 * correct + by_majority, minlength=4) / correct.size
    samples = np.random.default_rng(0).multinomial(correct.size, cells, _RESAMPLES) / correct.size
    low, high = np.quantile(normalised(samples), (0.025, 0.975))
    return float(normalised(cells)), float(low), float(high)
