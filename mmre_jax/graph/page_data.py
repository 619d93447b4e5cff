"""What the page shows, as plain JSON values: a bounded part of a graph, with texts cut into pieces and pictures as small data URLs."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from mmre_jax.data import datasets
from mmre_jax.data.decode import PictureError
from mmre_jax.graph.model import Area, Entity, Graph, Source, Statement, text_of
from mmre_jax.records import Box, Record

SIDE, CROP = 360, 72  # pixels of the longer side of a picture, and of a part of one
QUALITY = 80

Span = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Bounds:
    """How much of a graph a page shows at most.

    posts: those with a statement first, in their order. pictures: of the first of these posts, and as many parts of pictures. statements:
    the surest, and of these those with most sources.
    """

    posts: int = 500
    pictures: int = 200
    statements: int = 5000


def page_data(graph: Graph, bounds: Bounds, read: Callable[[str], Image.Image] = datasets.read_picture) -> dict[str, Any]:
    """What the page shows.

    Args:
      read: a picture by the name that a record has for it.

    Returns:
      types, relations: names. nodes: entities, then areas, [name, type number or -1, forms, IRI, picture or None]. statements: [subject,
      relation, object, score, symmetric, sources], ends as numbers of nodes, each source [post's id, its number on the page or -1, score].
      posts: see `_Posts`. pictures: data URLs. totals and shown: counts.
    """
    said = {source.post for statement in graph.statements for source in statement.sources}
    posts = sorted(graph.posts, key=lambda post: post.id not in said)[: bounds.posts]
    statements = sorted(graph.statements, key=lambda s: (-1.0 if s.score is None else -s.score, -len(s.sources)))[: bounds.statements]
    numbers = {post.id: number for number, post in enumerate(posts)}
    named = {end for statement in statements for end in (statement.subject, statement.object)}
    entities = [e for e in graph.entities if e.id in named or any(place.post in numbers for place in e.places)]
    areas = [area for area in graph.areas if area.id in named]
    node_of = {node.id: number for number, node in enumerate((*entities, *areas))}
    types = sorted({type_ for entity in entities for type_ in entity.types})
    relations = sorted({statement.relation for statement in statements})
    pictures = _Pictures(read, bounds.pictures)
    shown_posts = _Posts(graph, entities, statements, node_of, types, pictures).all(posts)
    return {
        "types": types,
        "relations": relations,
        "nodes": [*(_entity(e, types) for e in entities), *(_area(area, pictures) for area in areas)],
        "statements": [_statement(s, node_of, relations, numbers) for s in statements],
        "posts": shown_posts,
        "pictures": pictures.urls,
        "totals": {"posts": len(graph.posts), "entities": len(graph.entities), "statements": len(graph.statements)},
        "shown": {"posts": len(posts), "pictures": pictures.photos, "statements": len(statements)},
    }


def _entity(entity: Entity, types: Sequence[str]) -> list[Any]:
    return [entity.name, types.index(entity.types[0]) if entity.types else -1, list(entity.forms), entity.id, None]


def _area(area: Area, pictures: _Pictures) -> list[Any]:
    return [_base(area.file), -1, [], area.id, pictures.part(area.file, area.box)]


def _base(file: str) -> str:
    """A picture's name without its folders, which are nobody else's business."""
    return re.split(r"[/\\]", file)[-1]


def _statement(statement: Statement, node_of: dict[str, int], relations: Sequence[str], numbers: dict[str, int]) -> list[Any]:
    sources = [[source.post, numbers.get(source.post, -1), _rounded(source.score)] for source in statement.sources]
    ends = node_of[statement.subject], relations.index(statement.relation), node_of[statement.object]
    return [*ends, _rounded(statement.score), statement.symmetric, sources]


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 4)


class _Posts:
    """Posts as {id, pieces, marks, arrows, boxes, picture, note}.

    marks: [node, type number or -1] of each place where an entity is mentioned. pieces: the text, cut where marks begin or end: [text, the
    marks it is in, the outer ones first]. arrows: [statement, mark of the head, mark of the tail, label, score], boxes: [statement, mark,
    box, label, score], as found in this post. picture: its number, or None, and the note says why.
    """

    def __init__(
        self,
        graph: Graph,
        entities: Sequence[Entity],
        statements: Sequence[Statement],
        node_of: dict[str, int],
        types: Sequence[str],
        pictures: _Pictures,
    ) -> None:
        self._pictures = pictures
        self._marks: dict[str, dict[Span, list[int]]] = {post.id: {} for post in graph.posts}
        for entity in entities:
            for place in entity.places:
                type_ = -1 if place.type is None else types.index(place.type)
                self._marks[place.post].setdefault((place.start, place.end), [node_of[entity.id], type_])
        self._found: dict[str, list[tuple[int, Source]]] = {}
        for number, statement in enumerate(statements):
            for source in statement.sources:
                self._found.setdefault(source.post, []).append((number, source))

    def all(self, posts: Sequence[Record]) -> list[dict[str, Any]]:
        """Posts, in their order."""
        return [self._post(post) for post in posts]

    def _post(self, post: Record) -> dict[str, Any]:
        marks = dict(sorted(self._marks[post.id].items(), key=lambda mark: (mark[0][0], -mark[0][1])))
        at = {span: number for number, span in enumerate(marks)}
        found = self._found.get(post.id, [])
        picture, note = self._pictures.whole(post.image)
        return {
            "id": post.id,
            "pieces": pieces(text_of(post), list(marks)),
            "marks": list(marks.values()),
            "arrows": [[n, at[s.head], at[s.tail], s.label, _rounded(s.score)] for n, s in found if s.tail is not None],
            "boxes": [
                [n, at[s.head], [round(side, 4) for side in s.box], s.label, _rounded(s.score)] for n, s in found if s.box is not None
            ],
            "picture": picture,
            "note": note,
        }


def pieces(text: str, spans: Sequence[Span]) -> list[list[Any]]:
    """A text cut where spans begin or end: [piece, the numbers of the spans that it lies in, in their order]."""
    cuts = sorted({0, len(text), *(side for span in spans for side in span)})
    return [
        [text[a:b], [number for number, (start, end) in enumerate(spans) if start <= a and b <= end]]
        for a, b in zip(cuts, cuts[1:], strict=False)
    ]


class _Pictures:
    """Pictures as small JPEG data URLs, each once. `photos` counts those of posts."""

    def __init__(self, read: Callable[[str], Image.Image], most: int) -> None:
        self.urls: list[str] = []
        self.photos = self._parts = 0
        self._read, self._most = read, most
        self._known: dict[str, tuple[int | None, str]] = {}
        self._last: tuple[str, Image.Image] | None = None

    def whole(self, name: str | None) -> tuple[int | None, str]:
        """(the number of a post's picture, what is to be said where there is none)."""
        if name is None:
            return None, ""
        if name not in self._known:
            if self.photos >= self._most:
                return None, f"its picture is not on this page, which has the first {self._most}"
            try:
                self._known[name] = self._add(self._open(name), SIDE), ""
                self.photos += 1
            except PictureError as error:
                self._known[name] = None, f"no picture: {str(error).replace(name, _base(name))}"
        return self._known[name]

    def part(self, name: str, box: Box) -> int | None:
        """The number of a part of a picture; None where it cannot be read, or there are enough."""
        if self._parts >= self._most:
            return None
        try:
            image = self._open(name)
        except PictureError:
            return None  # which is said at the post
        self._parts += 1
        left, top, right, bottom = (round(side * size) for side, size in zip(box, image.size * 2, strict=True))
        return self._add(image.crop((left, top, max(right, left + 1), max(bottom, top + 1))), CROP)

    def _open(self, name: str) -> Image.Image:
        if self._last is None or self._last[0] != name:
            self._last = name, self._read(name)
        return self._last[1]

    def _add(self, image: Image.Image, side: int) -> int:
        small = image.copy()
        small.thumbnail((side, side))
        written = io.BytesIO()
        small.save(written, "JPEG", quality=QUALITY)
        self.urls.append(f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}")
        return len(self.urls) - 1
