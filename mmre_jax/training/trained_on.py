"""What an evaluation asks of the examples that a run has learnt from: which entity pairs or mentions they had, how many each relation had.

A run leaves it in its folder, so that no evaluation has to read the whole training split again, and none needs it to be at hand.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence

from mmre_jax.records import Record, RecordError
from mmre_jax.training.log import read_json, write_json

FILE = "trained_on.json"
ASKED = ("relation", "entities")  # the tasks of which something is asked


@dataclasses.dataclass(frozen=True)
class TrainedOn:
    """seen: `key` of each entity pair (relation), or of each mention's text (entities).  counts: {relation: training examples}."""

    seen: frozenset[str] = frozenset()
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, train: Sequence[Record]) -> TrainedOn:
        """What there is to know of a task's training examples.

        Args:
          kind: the task's name.
        """
        if kind == "relation":
            pairs = frozenset(key(*entity_pair(record)) for record in train)
            return cls(pairs, dict(Counter(str(record.relations[0].label) for record in train)))
        if kind == "entities":
            return cls(frozenset(key(record.text(mention.span).lower()) for record in train for mention in record.mentions))
        return cls()

    def write(self, workdir: pathlib.Path) -> None:
        """Leaves it in a run's folder, on the first process only."""
        write_json(workdir / FILE, {"seen": sorted(self.seen), "counts": dict(self.counts)})


def read(workdir: pathlib.Path) -> TrainedOn | None:
    """What a run has left in its folder; None where it is from before runs did.

    Raises:
      RecordError: naming the file, for one that is damaged.
    """
    value = read_json(workdir / FILE)
    if value is None:
        return None
    seen, counts = (value.get(name) for name in ("seen", "counts")) if isinstance(value, dict) else (None, None)
    if not isinstance(seen, list) or not all(isinstance(each, str) for each in seen):
        raise RecordError(f"{workdir / FILE}, field 'seen': expected a list of strings, found {seen!r:.80}")
    if not isinstance(counts, dict) or not all(type(each) is int and each > 0 for each in counts.values()):
        raise RecordError(f"{workdir / FILE}, field 'counts': expected a count of each relation, found {counts!r:.80}")
    return TrainedOn(frozenset(seen), counts)


def entity_pair(record: Record) -> tuple[str, str]:
    """The (head, tail) of a record's relation as lower-cased text, so that a pair is recognised wherever it stands.

    Raises:
      ValueError: if the record does not have exactly one relation.
    """
    if len(record.relations) != 1:
        raise ValueError(f"record {record.id}: expected exactly one relation, found {len(record.relations)}")
    relation = record.relations[0]
    return record.text(relation.head.span).lower(), record.text(relation.tail.span).lower()


def key(*texts: str) -> str:
    """What stands for texts in their order: a run's folder goes where its data may not, and so it holds no text of theirs."""
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()
