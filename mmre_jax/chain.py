"""A tagger and a classifier behind each other: text and picture in, mentions and the relations between them out."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmre_jax import extract
from mmre_jax.data.given import Picture
from mmre_jax.extract import Extractor
from mmre_jax.extraction import Extraction, UntilError, all_pairs, post, record_of
from mmre_jax.progress import track
from mmre_jax.records import Box, Mention, Record

PAIRS = 90  # of a post that are tried at most: all of 10 mentions


@dataclasses.dataclass(frozen=True)
class Chain:
    """Two checkpoints as one that needs no mentions; make one with `load`. It is used as an `Extractor` is.

    Of a post the first finds the mentions, with their types and scores, and the second a relation for every ordered pair of these. Each
    looks at the picture, and at the regions that a record brings, as it was trained to.

    pairs: of a post that are tried at most. Of more mentions than make so many the most certain ones are paired, which the notes say.
    """

    entities: Extractor
    relations: Extractor
    pairs: int = PAIRS

    @property
    def task(self) -> str:
        """What is found in the end: 'relation'."""
        return self.relations.task

    @property
    def none(self) -> str:
        """The label that says that there is no relation."""
        return self.relations.none

    def extract(
        self,
        *,
        text: str | Sequence[str],
        image: Picture | None = None,
        boxes: Sequence[Box] = (),
        caption: str | None = None,
        id: str = "text",
        meta: Mapping[str, Any] | None = None,
        strict: bool = True,
        top: int = 0,
    ) -> Extraction:
        """The mentions and relations of a post; arguments and errors as of `Extractor.extract`.

        Returns:
          `relations`, one for every ordered pair of `mentions`, the empty relation included; none for fewer than two mentions.
        """
        record = post(self.entities.task, self._sources, text=text, image=image, boxes=boxes, caption=caption, id=id, meta=meta)
        return self.extract_records([record], strict=strict, top=top)[0]

    def extract_records(self, records: Sequence[Record], progress: str = "", *, strict: bool = False, top: int = 0) -> list[Extraction]:
        """`extract_many` of a list. progress: name under which progress is shown; it is not where empty."""
        ready = [self.prepared(record) for record in records]  # what it refuses is refused at once
        return list(track(self.extract_many(ready, strict=strict, top=top), progress, len(ready), unit="record"))

    def extract_many(self, records: Iterable[Record | Mapping[str, Any]], *, strict: bool = False, top: int = 0) -> Iterator[Extraction]:
        """The mentions and relations of posts as they come, in their order, whatever is annotated; see `Extractor.extract_many`.

        A group of records is tagged, and then all their pairs classified.
        """
        posts = (record_of(self.entities.task, self._sources, each, f"post-{n}") for n, each in enumerate(records, 1))
        tagged = UntilError(self.entities.extract_many(posts, strict=strict))
        while group := list(itertools.islice(tagged, self.entities.ahead)):
            yield from self._related(group, strict, top)
        tagged.end()

    @property
    def _sources(self) -> tuple[str, ...]:
        """As what boxes are shown to both."""
        return tuple(dict.fromkeys((*self.entities.object_sources, *self.relations.object_sources))) or ("detected",)

    def prepared(self, record: Record) -> Record:
        """As `Extractor.prepared`: any record with words will do."""
        return self.entities.prepared(record)

    def groups(self, records: Iterable[Record]) -> Iterator[list[Record]]:
        """As `Extractor.groups`."""
        return self.entities.groups(records)

    def about(self) -> dict[str, str | int]:
        """As `Extractor.about`, of both."""
        both = {"entities": self.entities, "relations": self.relations}
        return {**{name: each.about()["checkpoint"] for name, each in both.items()}, "pairs": self.pairs}

    def calibrations(self) -> dict[str, Mapping[str, Any] | None]:
        """As `Extractor.calibrations`, of both."""
        return {"entities": self.entities.calibration, "relations": self.relations.calibration}

    def warm(self) -> None:
        """Compiles all that can be needed."""
        self.entities.warm()
        self.relations.warm()

    def _related(self, tagged: Sequence[Extraction], strict: bool, top: int) -> Iterator[Extraction]:
        """Posts whose mentions were found, with the relations between these."""
        records, notes = [], []
        for each in tagged:
            paired, note = self._paired(each.mentions)
            pairs = all_pairs(paired, each.record.id) if len(paired) > 1 else ()
            records.append(dataclasses.replace(each.record, mentions=each.mentions, relations=pairs))
            notes.append((*each.notes, *note))
        found = self.relations.extract_many([record for record in records if record.relations], strict=strict, top=top)
        for record, each, said in zip(records, tagged, notes, strict=True):
            if not record.relations:
                yield Extraction(record, (), said, self.task, each.masked)
                continue
            one = next(found)
            notes_of_both, masked = (_said(*both) for both in ((said, one.notes), (each.masked, one.masked)))
            yield dataclasses.replace(one, notes=notes_of_both, masked=masked)

    def _paired(self, mentions: Sequence[Mention]) -> tuple[list[Mention], tuple[str, ...]]:
        """The mentions that are paired, in their order, and a note where these are not all."""
        most = int((1 + math.sqrt(1 + 4 * self.pairs)) / 2)  # the largest n of which n (n - 1) is at most `pairs`
        if len(mentions) <= most:
            return list(mentions), ()
        by_score = sorted(range(len(mentions)), key=lambda i: -(mentions[i].score or 0.0))
        kept = [mentions[i] for i in sorted(by_score[:most])]
        return kept, (f"of {len(mentions)} mentions the {most} most certain ones are paired, {most * (most - 1)} pairs",)


def _said(entities: Sequence[str], relations: Sequence[str]) -> tuple[str, ...]:
    """The notes of both, those that are one checkpoint's alone with its name."""
    first = (note if note in relations else f"entities: {note}" for note in entities)
    return (*first, *(f"relations: {note}" for note in relations if note not in entities))


def load(
    path: str | os.PathLike[str] | None = None,
    devices: int = 1,
    *,
    entities: str | os.PathLike[str] | None = None,
    relations: str | os.PathLike[str] | None = None,
    warm: bool = False,
) -> Extractor | Chain:
    """A checkpoint as an extractor, see `extract.load`; or two behind each other, which need no mentions.

    Args:
      path: a run's workdir (its best step by dev score, else its last) or the directory of one step. A checkpoint for triples finds them
        in text and picture by itself.
      devices: local devices to predict on; 0 for all.
      entities, relations: instead of `path`: two of these, one that finds mentions and one that finds the relation of a pair.
      warm: whether all that can be needed is compiled now; else each shape of a batch is when it first comes.

    Raises:
      ValueError: for neither or both, or a checkpoint of another task.
      CheckpointError: if there is no checkpoint, or it is of another format or version.
    """
    if path is not None and entities is None and relations is None:
        return extract.load(path, devices, warm=warm)
    if path is not None or entities is None or relations is None:
        raise ValueError("give a checkpoint, or entities=RUN and relations=RUN")
    tagger, classifier = (extract.load(where, devices, warm=warm) for where in (entities, relations))
    for name, where, extractor, task in (("entities", entities, tagger, "entities"), ("relations", relations, classifier, "relation")):
        if extractor.task != task:
            raise ValueError(f"{name}={where}: the task of this checkpoint is {extractor.task!r}, not {task!r}")
    return Chain(tagger, classifier)
