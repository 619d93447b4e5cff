"""One evaluation protocol for our checkpoints and for anyone's predictions: scores, a table per class, slices, files of all that."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from ml_collections import ConfigDict

from mmre_jax import storage, tasks
from mmre_jax.analysis import extracted, frequency, plots, reliability_plots, report
from mmre_jax.analysis.reliability import Reliability
from mmre_jax.data.dataset import objects_of
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.records import Mention, Record, RecordError, Region, Relation, Triple, as_number, check_box, check_span, plain
from mmre_jax.tasks import task as task_lib
from mmre_jax.tasks.entities import EntitiesTask
from mmre_jax.tasks.task import Found, Outputs, Task
from mmre_jax.text_files import parse_json, read_text
from mmre_jax.training.evaluate import told
from mmre_jax.training.log import write_json, write_text
from mmre_jax.training.trained_on import TrainedOn

T = TypeVar("T")
logger = logging.getLogger(__name__)
# Of a line of predictions.jsonl, by task.
FIELDS = {"relation": "relation", "entities": "mentions", "triples": "triples", "objects": "regions"}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A scored split.

    kind: the task's name.  records: the task's examples.  predicted: what was found in each.  seen: ids of the examples of which a picture
    was seen.  known: of what the system was trained on, None where nothing is.  protocol: see training/protocol.py.
    outputs: of each example what the system predicted that `predicted` was decoded from; None for predictions of another program.
    encoded: the examples' tokens; None where they are yet to be found.
    reliability: how reliable the scores are; None where they are no probabilities.
    more: what else stands in metrics.json, by its name.
    """

    split: str
    kind: str
    task: Task
    records: Sequence[Record]
    predicted: Sequence[Found]
    seen: frozenset[str]
    known: TrainedOn | None
    protocol: Mapping[str, Any]
    outputs: Sequence[Outputs] | None = None
    encoded: Sequence[Encoded] | None = None
    reliability: Reliability | None = None
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def scores(self) -> dict[str, Any]:
        """The task's metrics."""
        return self._scores

    def headline(self) -> dict[str, float]:
        """The scores to look at first."""
        return task_lib.headline(self.task, self.scores())

    def slices(self) -> list[report.Row]:
        """The first scores on parts of the split (report.slices)."""
        return self._slices

    def by_training_count(self) -> list[report.Row]:
        """Of relations the scores by how often training had them (frequency.blocks); nothing where that is not known."""
        return frequency.blocks(self._confusion, self.task.labels, self.task.none, self.trained) if self.trained else []

    @property
    def trained(self) -> Mapping[str, int]:
        """Of relations, how often training had each; nothing where that is not known."""
        return {} if self.known is None else self.known.counts

    @functools.cached_property
    def _confusion(self) -> np.ndarray:
        return report.confusion_counts(self.records, self.predicted, self.task.labels)

    @functools.cached_property
    def _scores(self) -> dict[str, Any]:
        return {**self.task.metrics(self.records, self.predicted, self.outputs, self.encoded), **told(self.outputs or ())}

    @functools.cached_property
    def _slices(self) -> list[report.Row]:
        return report.slices(
            self.kind,
            self.records,
            self.predicted,
            self.task.metrics,
            self.task.headline,
            has_picture=lambda record: record.id in self.seen,
            known=self.known,
            outputs=self.outputs,
            encoded=self.encoded,
        )

    def text(self) -> str:
        """A table per class, one of relations by training count, one of slices, and one of how reliable scores are, for a terminal: of the
        headline all but precision and recall."""
        classes = report.per_class(self.kind, self.scores())
        numbers = [name for name in self.task.headline if not name.endswith(("precision", "recall"))]
        parts = [report.table(rows, list(rows[0])) for rows in (classes, self.by_training_count()) if rows]
        parts.append(report.table(self.slices(), ["slice", "count", *numbers]))
        if self.reliability is not None:
            rows = self.reliability.rows()
            parts.append("\n".join([report.table(rows, list(rows[0])), *self.reliability.says()]))
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Scores under the split's name, the first of them, slices, of relations those by training count, calibration, `more`, protocol."""
        counted = {"by_training_count": rows} if (rows := self.by_training_count()) else {}
        scores = {self.split: self.scores(), "headline": self.headline(), "slices": self.slices()}
        reliable = {"calibration": self.reliability.to_json()} if self.reliability is not None else {}
        return {**scores, **counted, **reliable, **self.more, "protocol": dict(self.protocol)}

    def write(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """Writes metrics.json, predictions.jsonl, of relations confusion.png and training_count.png, and of probabilities reliability.png
        into a folder. Returns what it wrote."""
        storage.make_folder(folder)
        written = [folder / "metrics.json", folder / "predictions.jsonl"]
        write_json(written[0], self.to_json())
        rows = [row(self.kind, *each) for each in zip(self.records, self.predicted, strict=True)]
        lines = [json.dumps(value, ensure_ascii=False, default=plain) for value in rows]
        write_text(written[1], "".join(f"{line}\n" for line in lines))
        if self.kind == "relation":
            written.append(folder / "confusion.png")
            plots.save(plots.confusion(self._confusion, self.task.labels), written[-1])
        if self.trained:
            written.append(folder / "training_count.png")
            plots.save(frequency.figure(self._confusion, self.task.labels, self.task.none, self.trained), written[-1])
        if self.reliability is not None and len(self.reliability.raw.score):
            written.append(folder / "reliability.png")
            plots.save(reliability_plots.figure(self.reliability), written[-1])
        return written


def row(kind: str, record: Record, found: Found) -> dict[str, Any]:
    """A line of predictions.jsonl: what `read_predictions` reads, and the annotation under 'gold'."""
    gold: dict[str, Found] = {"relation": record.relations, "entities": record.mentions, "triples": record.triples}
    gold["objects"] = objects_of(record)
    guesses, golds = ([_plain(each) for each in side] for side in (found, gold[kind]))
    if kind == "relation":
        return {"id": record.id, **guesses[0], "gold": golds[0]["relation"]}
    return {"id": record.id, FIELDS[kind]: guesses, "gold": golds}


def _plain(found: Relation | Mention | Triple | Region) -> dict[str, Any]:
    score = {} if found.score is None else {"score": round(float(found.score), 6)}
    if isinstance(found, Relation):
        return {"relation": found.label, **score}
    if isinstance(found, Triple):
        box = {} if found.box is None else {"box": list(found.box)}
        return {"span": _words_of(found.mention), "relation": found.label, **box, **score}
    if isinstance(found, Region):
        return {"box": list(found.box or ()), "label": found.label, **score}
    return {"span": _words_of(found), "type": found.type, **score}


def _words_of(mention: Mention) -> list[int] | None:
    return None if extracted.is_off(mention) else list(mention.span)


def scoring_task(config: ConfigDict, labels: Sequence[str], none: str) -> Task:
    """The task of a configuration, to score any program's predictions by.

    What the program cannot see is not known: the task's tokenizer has no vocabulary and cuts nothing off, so that the metrics count no word
    as truncated.
    """
    return tasks.build(config, TextEncoder(train_tokenizer([], 8, "word"), max_tokens=sys.maxsize), labels, none)


def read_predictions(path: str | os.PathLike[str], kind: str, task: Task, examples: Sequence[Record]) -> list[Found]:
    """Any program's predictions: JSON lines, one for each example, in any order. Returns them in the order of the examples.

    relation: {"id": example, "relation": label, "score": optional probability}
    entities: {"id": example, "mentions": [{"span": [start, end], "type": "PER", "score"}]}
    triples: {"id": example, "triples": [{"span": [start, end], "relation": label, "box": [x_min, y_min, x_max, y_max], "score"}]}, with no
      box where the program saw no picture
    objects: {"id": example, "regions": [{"box": [x_min, y_min, x_max, y_max], "label": class, "score"}]}

    Or the lines of extracted.jsonl, one for each record (analysis/extracted.py): a pair of which a line says nothing then has the empty
    relation, without a score, and the log tells how many do. Spans are words, end-exclusive, null for what was found on none of the
    example's words, which is wrong; boxes are divided by the picture's width and height. Other keys are not looked at.

    Raises:
      RecordError: naming line and field, for broken JSON, an unknown or repeated id, an unknown label, a span or box that does not fit,
        or a score that is no number; if examples are missing.
    """
    lines = read_text(path).split("\n")
    by_id = {record.id: record for record in examples}
    names = task.types if isinstance(task, EntitiesTask) else [label for label in task.labels if label != task.none or kind != "objects"]
    found: dict[str, Found] = {}
    records, unsaid = extracted.by_record(kind, examples), 0
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{path}:{number}"
            value = parse_json(line, where)
            if extracted.is_record(kind, value):
                its = _known(value.get("id"), records, where)
                there = extracted.found_in(kind, value, its, names, where)
                unsaid += there.count(None)
                said = [_no_relation(example, task) if each is None else each for example, each in zip(its, there, strict=True)]
            else:
                its = [_known(_object(value, FIELDS[kind], line, where)["id"], by_id, where)]
                said = [_found(kind, value, its[0], names, where)]
            for example, each in zip(its, said, strict=True):
                if example.id in found:
                    raise RecordError(f"{where}: field 'id': {example.id!r} was predicted before")
                found[example.id] = each
    if missing := sorted(by_id.keys() - found.keys()):
        raise RecordError(f"{path}: {len(missing)} of {len(by_id)} examples have no prediction, such as {', '.join(missing[:3])}")
    if unsaid:
        logger.info("%s: nothing is said of %d of %d pairs: they count as %r", path, unsaid, len(by_id), task.none)
    if off := sum(isinstance(each, Mention) and extracted.is_off(each) for own in found.values() for each in map(_mention_of, own)):
        logger.info("%s: %d mentions stand on none of their examples' words: they count as wrong", path, off)
    return [found[record.id] for record in examples]


def _mention_of(found: Relation | Mention | Triple | Region) -> Any:
    return found.mention if isinstance(found, Triple) else found


def _no_relation(example: Record, task: Task) -> Found:
    return (dataclasses.replace(example.relations[0], label=task.none, score=None, alternatives=()),)


def _object(value: Any, field: str, line: str, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not {"id", field} <= value.keys():
        raise RecordError(f'{where}: expected an object with "id" and "{field}", found {line.strip()[:120]}')
    return value


def _known(name: Any, examples: Mapping[str, T], where: str) -> T:
    if not isinstance(name, str) or name not in examples:
        like = min(examples, default="")
        raise RecordError(f"{where}: field 'id': {name!r:.80} is not an example of this split, whose ids look like {like!r}")
    return examples[name]


def _found(kind: str, value: dict[str, Any], record: Record, names: Sequence[str], where: str) -> Found:
    if kind == "relation":
        label = _name(value["relation"], names, f"{where}: field 'relation'")
        return (dataclasses.replace(record.relations[0], label=label, score=_score(value, where)),)
    field, parse = FIELDS[kind], {"entities": _mention, "triples": _triple, "objects": _region}[kind]
    if not isinstance(value[field], list):
        raise RecordError(f"{where}: field '{field}': expected a list, found {value[field]!r:.80}")
    return tuple(parse(item, i, record, names, f"{where}: {field}[{i}]") for i, item in enumerate(value[field]))


def _mention(item: Any, number: int, record: Record, names: Sequence[str], where: str) -> Mention:
    start, end = _span(item, number, record, ("span", "type"), where)
    return Mention(start, end, _name(item["type"], names, f"{where}: field 'type'"), _score(item, where))


def _triple(item: Any, number: int, record: Record, names: Sequence[str], where: str) -> Triple:
    mention = Mention(*_span(item, number, record, ("span", "relation"), where))
    label = _name(item["relation"], names, f"{where}: field 'relation'")
    box = None if item.get("box") is None else check_box(item["box"], f"{where}: field 'box'")
    return Triple(mention, label, box, _score(item, where))


def _region(item: Any, number: int, record: Record, names: Sequence[str], where: str) -> Region:
    if not isinstance(item, dict) or not {"box", "label"} <= item.keys():
        raise RecordError(f"{where}: expected an object with box, label, found {item!r:.80}")
    label = _name(item["label"], names, f"{where}: field 'label'")
    return Region(check_box(item["box"], f"{where}: field 'box'"), label=label, score=_score(item, where))


def _span(item: Any, number: int, record: Record, fields: Sequence[str], where: str) -> tuple[int, int]:
    if not isinstance(item, dict) or not set(fields) <= item.keys():
        raise RecordError(f"{where}: expected an object with {', '.join(fields)}, found {item!r:.80}")
    span = item["span"]
    if span is None:
        return extracted.off_the_words(number, number)
    if not isinstance(span, list) or len(span) != 2:
        raise RecordError(f"{where}: field 'span': expected [start, end], found {span!r:.80}")
    return check_span(*span, len(record.words), f"{where}: field 'span'")


def _name(value: Any, names: Sequence[str], where: str) -> str:
    if value not in names:
        raise RecordError(f"{where}: {value!r:.80} is not one of {', '.join(names)}")
    return value


def _score(item: dict[str, Any], where: str) -> float | None:
    if item.get("score") is None:
        return None
    score = as_number(item["score"])
    if score is None:
        raise RecordError(f"{where}: field 'score': expected a number, found {item['score']!r:.80}")
    return score
