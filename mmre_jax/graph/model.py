"""The graph that all writers write: entities, parts of pictures, statements between them, and where each was found. Frozen values.

Scores are probabilities, with six digits behind the point.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

from mmre_jax.graph import iris
from mmre_jax.records import Box, Record


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an entity is mentioned: characters [start, end) of a post's text, and what stands there."""

    post: str
    start: int
    end: int
    text: str
    type: str | None = None
    score: float | None = None


@dataclasses.dataclass(frozen=True)
class Entity:
    """All that is mentioned by one normalised name and type, or has one id by the user's table.

    id: an absolute IRI. name: its most frequent form, without the marks of handles and possessives. types: mostly one; several where the
    user's table gives one id to several. forms: as it was written, the most frequent first.
    """

    id: str
    name: str
    types: tuple[str, ...]
    forms: tuple[str, ...]
    places: tuple[Place, ...]


@dataclasses.dataclass(frozen=True)
class Area:
    """A part of a picture. id: the picture's IRI with a media fragment. file: the picture, as the record names it."""

    id: str
    image: str
    file: str
    box: Box


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a statement was found: the label and the direction as they were found there.

    head, tail: characters [start, end) of the post's text; of a triple the tail is None, and `box` is its part of the picture.
    """

    post: str
    label: str
    head: tuple[int, int]
    tail: tuple[int, int] | None = None
    box: Box | None = None
    score: float | None = None


@dataclasses.dataclass(frozen=True)
class Statement:
    """Subject, relation, object: ids of entities or areas, once for all posts that say so.

    property: the relation's IRI. score: see `combined`; None where a source has none, which is annotated, not predicted.
    symmetric: it holds in the other direction too, which no second statement says.
    """

    id: str
    subject: str
    relation: str
    property: str
    object: str
    sources: tuple[Source, ...]
    score: float | None
    symmetric: bool = False


@dataclasses.dataclass(frozen=True)
class Graph:
    """What was found in many posts. `left_out`: {reason: how many findings are not in it}. `base` begins the IRIs that are made here."""

    base: str
    posts: tuple[Record, ...]
    entities: tuple[Entity, ...]
    areas: tuple[Area, ...]
    statements: tuple[Statement, ...]
    classes: Mapping[str, str]
    images: Mapping[str, str]
    left_out: Mapping[str, int]

    @functools.cached_property
    def nodes(self) -> dict[str, Entity | Area]:
        """{id: what a statement's ends are}."""
        return {node.id: node for node in (*self.entities, *self.areas)}

    @functools.cached_property
    def post_iris(self) -> dict[str, str]:
        """{a post's id: its IRI}."""
        return {post.id: iris.post(self.base, post.id) for post in self.posts}


def text_of(record: Record) -> str:
    """A post's text: as it was written where that is known, else its words with single spaces between."""
    return " ".join(record.words) if record.string is None else record.string


def characters(record: Record, span: tuple[int, int]) -> tuple[int, int]:
    """Where a span of words stands in `text_of`, [start, end) in characters."""
    found = record.characters(span)
    if found is not None:
        return found
    start = sum(len(word) + 1 for word in record.words[: span[0]])
    return start, start + len(record.text(span))


def combined(scores: Sequence[float | None]) -> float | None:
    """The probability that at least one of several findings is right, 1 - product(1 - score): noisy-or (Pearl 1988, section 4.3.2).

    It takes the findings to be independent, each score to be a probability. Posts that repeat each other, or an extractor that errs in the
    same way on all of them, make it too high; so one post, and posts of the same words and picture, should give one score, their highest.

    Returns:
      None if there is no score, or one is None: what a person annotated is not in doubt.
    """
    known = [score for score in scores if score is not None]
    if not known or len(known) < len(scores):
        return None
    return known[0] if len(known) == 1 else 1.0 - math.prod(1.0 - score for score in sorted(known))
