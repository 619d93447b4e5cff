"""Entity recognition (MNER): which words are mentions of which type, as a BIO tag per word."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from mmre_jax.data.annotation import flat, not_flat
from mmre_jax.data.dataset import RecordSource
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.spelling import spelled
from mmre_jax.data.text import TextEncoder
from mmre_jax.records import Mention, Record, RecordError
from mmre_jax.tasks.calibration import Calibration
from mmre_jax.tasks.task import Found, Outputs, precision_recall_f1

CONTINUED, CLS, SEP = "X", "[CLS]", "[SEP]"
LEFT_OUT = ("overlapping", "truncated", "without_pieces")
SPECIAL_TAGS = ("PAD", CONTINUED, CLS, SEP)  # what the released code has beside the BIO tags


@dataclasses.dataclass(frozen=True)
class EntitiesTask:
    """One example is a record; one without mentions is an example too.

    A word's tag stands at its first piece. Further pieces, specials and padding are skipped over, and so is a word of which the tokenizer
    leaves no piece. Words that were cut off cannot be found, and what lies there counts as missed.

    labels: the tags in the order of the head's outputs: `none`, B-X and I-X.  none: the tag of a word outside of mentions.
    released: tag as the released PyTorch code does, for converted checkpoints: no position of the text is skipped, [CLS] and [SEP] have
      tags named like them, further pieces X, and an entity that the data set begins with I- keeps that tag; the labels hold these, and PAD.
    calibration: of the probabilities of mentions.
    letters: how many bytes of each word the system is shown (data/spelling.py); 0: it reads words by their ids alone.
    """

    encoder: TextEncoder
    labels: tuple[str, ...]
    none: str = "O"
    released: bool = False
    calibration: Calibration = Calibration()
    letters: int = 0

    headline: ClassVar[tuple[str, ...]] = ("entity.micro.f1", "entity.micro.precision", "entity.micro.recall")

    def __post_init__(self) -> None:
        special = SPECIAL_TAGS if self.released else ()
        if missing := [tag for tag in (self.none, *special) if tag not in self.labels]:
            raise ValueError(f"the tags {list(self.labels)} lack {', '.join(missing)}")
        if strange := [tag for tag in self.labels if tag not in (self.none, *special) and not (tag[:2] in ("B-", "I-") and tag[2:])]:
            raise ValueError(f"a tag is {self.none!r}, 'B-TYPE' or 'I-TYPE', found {', '.join(map(repr, strange))}")

    @property
    def types(self) -> tuple[str, ...]:
        """The types of mentions that the tags tell apart, in the tags' order."""
        return tuple(dict.fromkeys(tag[2:] for tag in self.labels if tag[:2] in ("B-", "I-")))

    def examples(self, records: RecordSource) -> list[Record]:
        """All records.

        Raises:
          RecordError: for a mention without a type, which can be neither learnt from nor scored, or of one that no tag is for.
        """
        found = list(map(records.__getitem__, range(len(records))))
        for record in found:
            for _, _, kind in _entities(record.mentions, record):
                self._tag_id(f"B-{kind}", record)
        return found

    def encode(self, records: Sequence[Record]) -> list[Encoded]:
        """The sentence of each record."""
        return self.encoder.encode_all([record.words for record in records])

    def features(self, record: Record, length: int, encoded: Encoded | None = None) -> dict[str, Any]:
        """Model inputs and targets of one example, padded to `length` tokens.

        Mentions that overlap cannot all be tagged (see annotation.flat).

        Returns:
          text.ids int32 [L], text.mask bool [L], with `letters` text.letters int32 [L, C]; tags int32 [L]; scored bool [L], the positions
          that have a tag; as released, where others than words have one, words bool [L], the positions of words' tags.

        Raises:
          RecordError: for a mention whose tags are not among the labels.
        """
        encoded = encoded or self.encoder.encode(record.words)
        size = len(encoded)
        ids = np.full(length, self.encoder.special_ids["pad"], np.int32)
        ids[:size] = encoded.ids
        mask = np.arange(length) < size
        tags = np.zeros(length, np.int32)
        if self.released:
            tags[:size] = self.labels.index(CONTINUED)
            tags[[0, size - 1]] = self.labels.index(CLS), self.labels.index(SEP)
        positions, words = first_pieces(encoded)
        tags[positions] = [self._tag_id(tag, record) for tag in self._tags(record, words)]
        at_words = np.isin(np.arange(length), positions)
        written = {"letters": spelled(record.words, encoded.words, length, self.letters)} if self.letters else {}
        found = {"text": {"ids": ids, "mask": mask, **written}, "tags": tags, "scored": mask if self.released else at_words}
        return {**found, "words": at_words} if self.released else found

    def _tags(self, record: Record, words: np.ndarray) -> list[str]:
        """The tags of the words that have a piece, int [n].

        A mention begins at the first such word: an I- never stands alone. As released every word has its published tag instead, whatever
        the tokenizer leaves of the words before it.
        """
        tags = dict.fromkeys(words.tolist(), self.none)
        for mention in flat(record.mentions):
            inside = [word for word in range(mention.start, mention.end) if word in tags]
            begins = {mention.start} - set(record.dangling) if self.released else set(inside[:1])
            tags.update((word, f"{'B' if word in begins else 'I'}-{mention.type}") for word in inside)
        return list(tags.values())

    def _tag_id(self, tag: str, record: Record) -> int:
        if tag not in self.labels:
            raise RecordError(f"{record.origin or record.id}: mentions: the tag {tag!r} is not one of {', '.join(self.labels)}")
        return self.labels.index(tag)

    def decode(self, prediction: Mapping[str, np.ndarray], record: Record, encoded: Encoded | None = None) -> tuple[Mention, ...]:
        """The mentions that a record's tags spell, by seqeval's default rules: an I- without a predecessor of its type begins a mention.

        Words without a piece are no part of the sequence: a mention goes on over them. PAD, X, [CLS] and [SEP] on a word mean `none`. A
        mention's score is its calibrated probability among all sequences of tags (heads/marginals.py).

        Args:
          prediction: tags int [L], and mention float [L], at a mention's last word its probability; without it mentions have no score.
        """
        from seqeval.metrics.sequence_labeling import get_entities  # slow to import: it loads scikit-learn

        positions, words = first_pieces(encoded or self.encoder.encode(record.words))
        outside = (self.none, *SPECIAL_TAGS)
        tags = [self.labels[i] for i in prediction["tags"][positions]]
        found = get_entities(["O" if tag in outside else tag for tag in tags])
        sure = self.calibration.event(prediction["mention"][positions]) if "mention" in prediction else None
        scores = [None if sure is None else float(sure[last]) for _, _, last in found]
        spans = [(int(words[first]), int(words[last]) + 1, kind) for kind, first, last in found]
        return tuple(Mention(*span, score) for span, score in zip(spans, scores, strict=True))

    def metrics(
        self,
        records: Sequence[Record],
        predicted: Sequence[Found],
        outputs: Sequence[Outputs] | None = None,
        encoded: Sequence[Encoded] | None = None,
    ) -> dict[str, Any]:
        """`entity_metrics` of all mentions, with what no prediction can find because the encoder does not see it.

        Returns:
          count (records); entity; truncated {words, mentions}: words cut off, mentions with such a word; pieceless {words, mentions}: the
          same of words of which the tokenizer leaves nothing.

        Raises:
          RecordError: for a mention without a type.
        """
        gold = [_entities(record.mentions, record) for record in records]
        guesses = [_entities(found, record) for record, found in zip(records, predicted, strict=True)]
        lost: dict[str, Counter[str]] = {"truncated": Counter(words=0, mentions=0), "pieceless": Counter(words=0, mentions=0)}
        for record, entities, each in zip(records, gold, self.encode(records) if encoded is None else encoded, strict=True):
            for name, words in zip(lost, _unseen(record, each), strict=True):
                lost[name].update(words=len(words), mentions=sum(not words.isdisjoint(range(start, end)) for start, end, _ in entities))
        return {"count": len(records), "entity": entity_metrics(gold, guesses, self.types), **{name: dict(n) for name, n in lost.items()}}

    def left_out(self, examples: Sequence[Record], encoded: Sequence[Encoded] | None = None) -> dict[str, int]:
        """How many gold mentions training does not see, or not whole; the metrics count them all the same.

        Returns:
          overlapping: in or across a longer one, or one span's second type, which one tag per word cannot tell.  truncated: a word of it
          is cut off.  without_pieces: the tokenizer leaves nothing of it.
        """
        total = Counter[str](dict.fromkeys(LEFT_OUT, 0))
        for record, each in zip(examples, self.encode(examples) if encoded is None else encoded, strict=True):
            total["overlapping"] += len(not_flat(record.mentions))
            cut, pieceless = _unseen(record, each)
            for mention in flat(record.mentions) if cut or pieceless else ():
                words = set(range(mention.start, mention.end))
                total["truncated"] += not cut.isdisjoint(words)
                total["without_pieces"] += words <= pieceless
        return dict(total)

    def stratum(self, record: Record) -> str:
        """The types that a record mentions, joined by '+'; 'none' for a record without mentions."""
        return "+".join(sorted({str(mention.type) for mention in record.mentions})) or "none"


def released_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """The tags with those that the released code has beside them: PAD first, the others last, where they are not there already."""
    pad, *others = SPECIAL_TAGS
    return (*((pad,) if pad not in tags else ()), *tags, *(tag for tag in others if tag not in tags))


Entity = tuple[int, int, str]  # start, end, type


def _entities(mentions: Iterable[Mention], record: Record) -> set[Entity]:
    found = set()
    for mention in mentions:
        if mention.type is None:
            where = f"{record.origin or record.id}: mentions: [{mention.start}, {mention.end})"
            raise RecordError(f"{where} has no type and can be neither learnt from nor scored")
        found.add((mention.start, mention.end, mention.type))
    return found


def _unseen(record: Record, encoded: Encoded) -> tuple[set[int], set[int]]:
    """The words of a record that were cut off, and those that have no piece."""
    return encoded.cut_off(), set(range(len(record.words))).difference(encoded.whole.tolist())


def first_pieces(encoded: Encoded) -> tuple[np.ndarray, np.ndarray]:
    """The words of a sentence that have a piece, and where the first of each stands: positions int [n], words int [n], ascending."""
    words, positions = np.unique(encoded.words, return_index=True)
    return positions[words >= 0], words[words >= 0]


def entity_metrics(gold: Sequence[set[Entity]], predicted: Sequence[set[Entity]], types: Sequence[str]) -> dict[str, Any]:
    """Precision, recall and F1 of entities by exact span and type, as seqeval and conlleval count them.

    Args:
      gold, predicted: per record; gold entities may overlap.
      types: rows of the table that are there whether they occur or not.

    Returns:
      micro and macro {precision, recall, f1}, per_type {type: {precision, recall, f1, support}}. A ratio without a denominator is 0. Macro
      averages over the types that are annotated or predicted.
    """
    hits, guesses, golds = (
        Counter(kind for record in records for _, _, kind in record)
        for records in ([g & p for g, p in zip(gold, predicted, strict=True)], predicted, gold)
    )
    occurring = sorted(guesses.keys() | golds.keys())
    per_type = {
        kind: {**precision_recall_f1(hits[kind], guesses[kind], golds[kind]), "support": golds[kind]}
        for kind in dict.fromkeys((*types, *occurring))
    }
    rows = [per_type[kind] for kind in occurring]
    return {
        "micro": precision_recall_f1(hits.total(), guesses.total(), golds.total()),
        "macro": {name: float(np.mean([row[name] for row in rows])) if rows else 0.0 for name in ("precision", "recall", "f1")},
        "per_type": per_type,
    }
