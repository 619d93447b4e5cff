"""What stands in the annotation of a data set that a score would not show: contradictions, mentions that one tag per word cannot tell,
pairs of a mention with itself, an empty label that is never used, and test records that stand in training. Counted over records with
examples, before anything is learnt.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmre_jax import storage
from mmre_jax.data.dataset import RecordSource, objects_of
from mmre_jax.records import Mention, Record, RecordError

EXAMPLES = 3
OVERLAP = 0.01  # share of a test split that may stand in training
EMPTY_NAMES = frozenset("empty na negative nil no none noneoftheabove norel norelation nota nothing null other unrelated".split())
_ANNOTATED = {
    "relation": "a pair with a label",
    "entities": "a mention",
    "triples": "a triple",
    "objects": "a gold region with a box and a label",
}
_PLACES = {
    "relation": "pairs_with_two_labels",
    "entities": "mentions_with_two_types",
    "triples": "pairs_with_two_labels",
    "objects": "boxes_with_two_labels",
}
_TWICE = {
    "relation": "pairs have two labels or more",
    "entities": "mentions have two types or more",
    "triples": "pairs of a mention and a box have two relations or more",
    "objects": "boxes have two labels or more",
}
_SAME = {"relation": "words and picture", "entities": "words and picture", "triples": "words and picture", "objects": "picture"}
_OVERLAPS = {  # names and sentences by whether examples are pairs
    False: (
        ("in_training_by_text", "records stand in training, by their words"),
        ("in_training_by_text_and_picture", "records stand in training, by their words and picture"),
    ),
    True: (
        ("in_training_by_text_and_pair", "pairs stand in training, by their words and spans"),
        ("in_training_by_text_pair_and_picture", "pairs stand in training, by their words, spans and picture"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One count over a split.

    name: what was counted, as it stands in metrics files.  count, total: how many, and of how many.  meaning: what follows from it, a
    sentence.  examples: where, at most `EXAMPLES`.  limit: the share past which an audit fails; None where it does not judge.
    """

    split: str
    name: str
    count: int
    total: int
    meaning: str
    examples: tuple[str, ...] = ()
    limit: float | None = None

    @property
    def fails(self) -> bool:
        """Whether an audit fails for it."""
        return self.limit is not None and self.count > self.limit * self.total

    def __str__(self) -> str:
        such = f". Such as {'; '.join(self.examples)}" if self.examples else ""
        return f"{self.split}: {self.count:,} of {self.total:,} {self.meaning}{such}"


def look(task: str, none: str, splits: Mapping[str, RecordSource], *, limit: float = OVERLAP, view: str = "") -> tuple[Finding, ...]:
    """Looks through the records of a data set as a task sees them.

    Args:
      task: one of dataset.TASKS.
      none: the label that says that there is nothing.
      splits: {split: records}; the first is the one that is learnt from.
      limit: share of the test split that may stand in training.
      view: of triples that the records are (data/views.py), if they are one: a pair of its view 'pairs' has one mention, beside a box.

    Returns:
      What there is to be told, and, there or not, how many records of each further split stand in training.

    Raises:
      RecordError: for a split that is not annotated for the task: there would be nothing to learn, or to choose and to score by.
    """
    first, *others = splits
    found: list[Finding] = []
    records = {split: [source[i] for i in range(len(source))] for split, source in splits.items()}
    for split, those in records.items():
        check_annotated(task, split, those)
        found += _contradictions(task, split, those)
        if task == "entities":
            found += _overlapping(split, those)
        elif task == "relation":
            found += [] if view == "pairs" else _of_one_mention(split, those)
            found += _emptiness(split, those, none, learnt=split == first)
    if task == "triples":
        found += _empty_looking(first, "triples", Counter(triple.label for record in records[first] for triple in record.triples), none)
    for split in others:
        found += _in_training(task, split, records[first], records[split], limit if split == "test" else None)
    return tuple(found)


def counts(findings: Iterable[Finding]) -> dict[str, dict[str, int]]:
    """{split: {name: count}}, as metrics files have it."""
    found: dict[str, dict[str, int]] = {}
    for finding in findings:
        found.setdefault(finding.split, {})[finding.name] = finding.count
    return found


def warnings(findings: Sequence[Finding]) -> list[str]:
    """What a person is to be told, a line each; of records that stand in training by words alone only where there are more of them."""
    words, pictures = zip(*_OVERLAPS.values(), strict=True)
    pictured = {finding.split: finding.count for finding in findings if finding.name in dict(pictures)}
    seen = [finding.name in dict(words) and finding.count == pictured[finding.split] for finding in findings]
    return [str(finding) for finding, again in zip(findings, seen, strict=True) if finding.count and not again]


def check_annotated(task: str, split: str, records: Sequence[Record]) -> None:
    """Raises RecordError for records of which none is annotated for the task."""
    if not any(True for record in records for _ in _places(task, record)):
        where = f" ({records[0].origin or records[0].id} is the first)" if records else ""
        raise RecordError(f"split {split!r}: none of its {len(records):,} records{where} has {_ANNOTATED[task]}, so task {task!r} is empty")


def flat(mentions: Iterable[Mention]) -> tuple[Mention, ...]:
    """The mentions that one tag per word can tell: of those that overlap the longest, of equally long ones the first; by position."""
    kept: list[Mention] = []
    for mention in sorted(mentions, key=lambda m: (m.start - m.end, m.start)):
        if all(mention.end <= other.start or other.end <= mention.start for other in kept):
            kept.append(mention)
    return tuple(sorted(kept, key=lambda m: m.start))


def not_flat(mentions: Iterable[Mention]) -> list[tuple[int, int, str | None]]:
    """(start, end, type) of the mentions that `flat` does not keep, each different one once."""
    different = dict.fromkeys((m.start, m.end, m.type) for m in mentions)
    kept = {(m.start, m.end, m.type) for m in flat(Mention(*one) for one in different)}
    return [one for one in different if one not in kept]


def _places(task: str, record: Record) -> Iterator[tuple[Hashable, str, str]]:
    """(place, label, its words) of everything that a record is annotated with for a task: a place has one label, or contradicts itself."""
    if task == "relation":
        for pair in record.relations:
            if pair.label is not None:
                said = f"{record.text(pair.head.span)!r} -> {record.text(pair.tail.span)!r}"
                yield (pair.head.span, pair.tail.span), pair.label, said
    elif task == "entities":
        for mention in record.mentions:
            yield mention.span, str(mention.type), repr(record.text(mention.span))
    elif task == "objects":
        for region in objects_of(record):
            yield region.box, str(region.label), "one box"
    else:
        for triple in record.triples:
            yield (triple.mention.span, triple.box), triple.label, f"{record.text(triple.mention.span)!r} and one box"


def _contradictions(task: str, split: str, records: Sequence[Record]) -> list[Finding]:
    """Places with two labels: within a record, and in records with the same words and picture, which nothing can tell apart."""
    labels: dict[Hashable, dict[str, Record]] = {}
    said: dict[Hashable, str] = {}
    within: set[Hashable] = set()
    for record in records:
        shown = _shown(task, record)
        own: dict[Hashable, set[str]] = {}
        for place, label, words in _places(task, record):
            labels.setdefault((shown, place), {}).setdefault(label, record)
            said.setdefault((shown, place), words)
            own.setdefault(place, set()).add(label)
        within |= {(shown, place) for place, names in own.items() if len(names) > 1}
    two = [key for key, found in labels.items() if len(found) > 1]
    if not two:
        return []
    inside = sum(key in within for key in two)
    meaning = (
        f"{_TWICE[task]} ({inside:,} within one record, {len(two) - inside:,} across records of the same {_SAME[task]}): "
        "they contradict each other, and no prediction fits both"
    )
    examples = [f"{_names(labels[key].values())}: {said[key]}: {' and '.join(map(repr, labels[key]))}" for key in two[:EXAMPLES]]
    return [Finding(split, _PLACES[task], len(two), len(labels), meaning, tuple(examples))]


def _shown(task: str, record: Record) -> Hashable:
    """What of a record a system of the task sees: records that have it in common cannot be told apart."""
    if task == "objects":
        return record.image or record.id
    return record.words, record.image, tuple((region.box, region.file) for region in record.regions)


def _overlapping(split: str, records: Sequence[Record]) -> list[Finding]:
    lost = [(record, one) for record in records for one in not_flat(record.mentions)]
    if not lost:
        return []
    total = sum(len({(m.start, m.end, m.type) for m in record.mentions}) for record in records)
    meaning = "mentions lie in or across a longer one: one tag per word cannot tell them, so they are neither learnt nor found"
    examples = [f"{_names([record])}: {record.text((start, end))!r} ({kind})" for record, (start, end, kind) in lost[:EXAMPLES]]
    return [Finding(split, "overlapping_mentions", len(lost), total, meaning, tuple(examples))]


def _of_one_mention(split: str, records: Sequence[Record]) -> list[Finding]:
    pairs = [(record, pair) for record in records for pair in record.relations if pair.label is not None]
    same = [(record, pair) for record, pair in pairs if pair.head.span == pair.tail.span]
    if not same:
        return []
    meaning = "pairs have one span as head and tail: the two markers of each stand around the same words, and nothing tells them apart"
    examples = [f"{_names([record])}: {record.text(pair.head.span)!r} ({pair.label})" for record, pair in same[:EXAMPLES]]
    return [Finding(split, "pairs_of_one_mention", len(same), len(pairs), meaning, tuple(examples))]


def _emptiness(split: str, records: Sequence[Record], none: str, *, learnt: bool) -> list[Finding]:
    """What is to be told of the empty relation: never used in training, used beside others that look like it, or the only one."""
    labels = Counter(label for record in records for _, label, _ in _places("relation", record))
    if not learnt:
        if set(labels) != {none}:
            return []
        meaning = f"pairs have the empty label {none!r}: micro-F1 is 0 whatever is predicted"
        return [Finding(split, "only_the_empty_label", labels.total(), labels.total(), meaning)]
    if none in labels:
        return _empty_looking(split, "pairs", labels, none)
    looking = [name for name, _ in labels.most_common() if looks_empty(name)]
    hint = f"what looks empty: {', '.join(map(repr, looking))} (see data.none_label)" if looking else "none of the labels looks empty"
    meaning = (
        f"pairs have other labels than the empty one, {none!r}, which never occurs: micro-F1 is over all pairs, as accuracy is, and a "
        f"class {none!r} is there for nothing; {hint}"
    )
    return [Finding(split, "without_the_empty_label", labels.total(), labels.total(), meaning)]


def _empty_looking(split: str, what: str, labels: Counter[str], none: str) -> list[Finding]:
    """Labels beside the empty one that look empty, too; not 'other', which is a class of its own beside an empty one."""
    looking = [name for name in labels if name != none and looks_empty(name) and _bare(name) != "other"]
    if not looking:
        return []
    said = ", ".join(map(repr, looking))
    meaning = f"{what} have a label that looks empty, {said}, and are learnt and scored as relations: the empty label is {none!r}"
    return [Finding(split, "labels_that_look_empty", sum(labels[name] for name in looking), labels.total(), meaning)]


def looks_empty(label: str) -> bool:
    """Whether a label's name says that there is nothing: no_relation, NA, N/A, Other, none, null and the like, in any case."""
    return _bare(label) in EMPTY_NAMES


def _bare(label: str) -> str:
    """The letters and digits of a label, in lower case."""
    return re.sub(r"[\W_]", "", label).lower()


def _in_training(task: str, split: str, train: Sequence[Record], records: Sequence[Record], limit: float | None) -> list[Finding]:
    """How many examples have the words (and pair) of one in training, and how many its picture too."""
    learnt: dict[Hashable, dict[str | None, Record]] = {}
    for record in train:
        for key in _keys(task, record):
            learnt.setdefault(key, {}).setdefault(record.image, record)
    shown: dict[Hashable, _Pictures] = {}
    total, text, both = 0, [], []
    for record in records:
        for key in _keys(task, record):
            total += 1
            if key in learnt:
                text.append((record, next(iter(learnt[key].values()))))
                if key not in shown:
                    shown[key] = _Pictures(learnt[key])
                if (found := shown[key].find(record.image)) is not None:
                    both.append((record, found))
    if len(learnt) == 1:  # a view whose records all have the same words: they tell nothing
        text = both
    findings = []
    for (name, meaning), hits, limited in zip(_OVERLAPS[task == "relation"], (text, both), (None, limit), strict=True):
        examples = tuple(dict.fromkeys(f"{_names([record])} is {_names([other])}" for record, other in hits))[:EXAMPLES]
        findings.append(Finding(split, name, len(hits), total, meaning, examples, limited))
    return findings


def _keys(task: str, record: Record) -> list[Hashable]:
    """What an example of a record is known by: its words; of relations, an example each, with the spans; of objects its picture alone."""
    if task == "objects":
        return [()]
    if task != "relation":
        return [record.words]
    return [(record.words, pair.head.span, pair.tail.span) for pair in record.relations if pair.label is not None]


class _Pictures:
    """Finds the record of a picture again: by its path, elsewhere by its bytes, and where either file is not there by its name.

    Only files of one size are read, each once.
    """

    def __init__(self, records: Mapping[str | None, Record]) -> None:
        self._records = records
        self._sizes: dict[int | None, list[str]] = {}
        for image in filter(None, records):
            self._sizes.setdefault(_size(image), []).append(image)
        self._digests: dict[int, dict[bytes, Record]] = {}
        self._lost = {os.path.basename(image): records[image] for image in self._sizes.pop(None, ())}
        self._names = {os.path.basename(image): record for image, record in records.items() if image}

    def find(self, image: str | None) -> Record | None:
        """A record whose picture this is."""
        if not image or image in self._records:
            return self._records.get(image)
        if (size := _size(image)) is None:
            return self._names.get(os.path.basename(image))
        if size in self._sizes and size not in self._digests:
            self._digests[size] = {_digest(other): self._records[other] for other in self._sizes[size]}
        found = self._digests[size].get(_digest(image)) if size in self._sizes else None
        return found or self._lost.get(os.path.basename(image))


def _size(image: str) -> int | None:
    """The bytes of a file that can be read; None where there is none."""
    if storage.is_remote(image):
        return storage.size(image)
    return os.stat(image).st_size if os.path.isfile(image) and os.access(image, os.R_OK) else None


def _digest(image: str) -> bytes:
    return hashlib.sha256(storage.read_bytes(image)).digest()


def _names(records: Iterable[Record]) -> str:
    """Records by their ids and where they stand, each once."""
    names = [record.id if record.origin in ("", record.id) else f"{record.id} ({record.origin})" for record in records]
    return " and ".join(dict.fromkeys(names))


def to_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings as plain JSON values."""
    return [{**dataclasses.asdict(finding), "fails": finding.fails} for finding in findings]
