"""What DGF-PT asks of a record beside its marked sentence: where the entities are, of which types, the boxes of objects, the caption."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmre_jax.data.dataset import RecordSource
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.text import Span, TextEncoder
from mmre_jax.declare import SettingError
from mmre_jax.fusion.prefixes import words_around
from mmre_jax.heads.joint import UNKNOWN
from mmre_jax.records import Record, Region

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Prompted:
    """Which of it is asked for.

    types: the entity types that can be told, in the order of their ids.
    source: of the regions whose boxes are objects, 'detected' or 'grounded'.
    objects: K, the most of them; 0: none are asked for.
    caption_tokens: of the longest caption; 0: none is asked for.
    """

    types: tuple[str, ...] = ()
    source: str = "detected"
    objects: int = 0
    caption_tokens: int = 0

    def captioned(self, encoded: Sequence[Encoded], records: Sequence[Record], encoder: TextEncoder) -> list[Encoded]:
        """The sentences of examples with their captions, where any are asked for; one of several records is tokenised once."""
        if not self.caption_tokens:
            return list(encoded)
        captions = [tuple((record.caption or "").split()) for record in records]
        said = dict(zip(captions, encoder.encode_all(captions, self.caption_tokens), strict=True))
        return [dataclasses.replace(e, caption=said[words].ids if words else None) for e, words in zip(encoded, captions, strict=True)]

    def features(self, record: Record, encoded: Encoded, spans: Sequence[Span], pad: int, length: int) -> dict[str, Any]:
        """Further inputs and targets of one example.

        Args:
          encoded: its marked sentence, and its caption.
          spans: of head and tail in that sentence's words.
          pad: what a caption is padded with.
          length: tokens that the sentence is padded to.

        Returns:
          entities bool [2, length], the pieces of head and tail, or the opening marker of one that has none; types int32 [2], targets,
          UNKNOWN where none is known; with objects {boxes float32 [K, 4], mask bool [K]}; with captions {ids int32 [C], mask bool [C]}.
        """
        found: dict[str, Any] = {
            "entities": np.stack([_pieces(encoded, *place, length) for place in zip(spans, encoded.markers, strict=True)]),
            "types": np.array([self._type_id(name) for name in types_of(record)], np.int32),
        }
        if self.objects:
            boxes, mask = np.zeros((self.objects, 4), np.float32), np.zeros(self.objects, bool)
            for k, region in enumerate(self.best(record)):
                boxes[k], mask[k] = region.box, True
            found["objects"] = {"boxes": boxes, "mask": mask}
        if self.caption_tokens:
            said = np.zeros(0, np.int32) if encoded.caption is None else encoded.caption
            ids = np.full(self.caption_tokens, pad, np.int32)
            ids[: len(said)] = said
            found["caption"] = {"ids": ids, "mask": np.arange(self.caption_tokens) < len(said)}
        return found

    def best(self, record: Record) -> list[Region]:
        """The objects of a record that has a picture: the regions with a box, best score first, then those without one as they stand."""
        if record.image is None:
            return []
        regions = [region for region in record.regions if region.source == self.source and region.box is not None]
        lowest = float("-inf")
        return sorted(regions, key=lambda region: lowest if region.score is None else region.score, reverse=True)[: self.objects]

    def unusable(self, record: Record) -> int:
        """How many of a record's regions have a file but no box, so that nothing can be read at it."""
        return sum(region.source == self.source and region.box is None for region in record.regions) if self.objects else 0

    def is_bare(self, record: Record) -> bool:
        """Whether objects are asked for and a record that has a picture has none that can be read."""
        return self.objects > 0 and record.image is not None and not self.best(record)

    def _type_id(self, name: str | None) -> int:
        known = [kind.casefold() for kind in self.types]
        return known.index(name.casefold()) if name is not None and name.casefold() in known else UNKNOWN


def types_of(record: Record) -> tuple[str | None, str | None]:
    """The types of an example's head and tail: the mention's own, else what the relation's name says of it, else None."""
    relation = record.relations[0]
    named = types_in(relation.label) or (None, None)
    return relation.head.type or named[0], relation.tail.type or named[1]


def types_in(label: str | None) -> tuple[str, str] | None:
    """The types of head and tail that a relation's name carries, '/per/org/member_of'; None for other names."""
    parts = (label or "").split("/")
    return (parts[1], parts[2]) if len(parts) == 4 and not parts[0] and all(parts[1:]) else None


def settled(config: ConfigDict, encoder: TextEncoder, labels: Sequence[str], records: RecordSource) -> ConfigDict:
    """A locked copy of DGF-PT's configuration in which what follows from tokenizer and training records is written out: the ids of the
    prefixes' words, how many tokens were added, the entity types, and that no caption is read where training has none.

    Types that are written alike but for capitals are one. A caption would be read as none of training was, and room for it costs every
    step a pass of the language model over padding.

    Args:
      labels: of the relations.
      records: of the training split.

    Raises:
      ValueError: for a template that does not say where its slots are, or settings that do not go with the tokenizer.
    """
    config = ConfigDict(copy.deepcopy(config.to_dict()))
    prefix, config.system.added = config.system.prefix, config.system.added or len(encoder.added)
    if config.system.added != len(encoder.added):
        raise SettingError(f"system.added={config.system.added}, but the tokenizer has {len(encoder.added)} (0 takes them)")
    for name, words in zip(("before", "behind"), words_around(prefix.words), strict=True):
        prefix[name] = tuple(prefix[name]) or tuple(encoder.pieces(words)[0] if words else ())
        if beyond := [i for i in prefix[name] if i >= encoder.vocab_size]:
            raise SettingError(f"system.prefix.{name}: the word table has {encoder.vocab_size} rows, none for the id {beyond[0]}")
    if config.system.caption_tokens and not any(records[index].caption for index in range(len(records))):
        config.system.caption_tokens = 0
        logger.info("no training record has a caption: none is read")
    if not config.system.types:
        named = [kind for label in labels for kind in types_in(label) or ()]
        pairs = [pair for record in map(records.__getitem__, range(len(records))) for pair in record.relations]
        own = sorted({side.type for pair in pairs for side in (pair.head, pair.tail) if side.type})
        found = {kind.casefold(): kind for kind in reversed([*named, *own])}
        config.system.types = tuple(sorted(found.values(), key=str.casefold))
    return config.lock()


def _pieces(encoded: Encoded, span: Span, marker: int, length: int) -> np.ndarray:
    """bool [length]: the pieces of a span's words; where there are none, the marker before it."""
    words = encoded.words
    inside = np.zeros(length, bool)
    inside[: len(words)] = (words >= span[0]) & (words < span[1])
    if not inside.any():
        inside[marker] = True
    return inside
