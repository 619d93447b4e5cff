"""What was found in one post, and how a post names its mentions: plain values, without a checkpoint."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from mmre_jax.data.given import Picture, given
from mmre_jax.records import Box, Mention, Record, RecordError, Region, Relation, Triple, check_box, check_span, plain
from mmre_jax.tasks import WORDLESS
from mmre_jax.tasks.task import Found

KINDS = {"relation": "relations", "entities": "mentions", "triples": "triples", "objects": "regions"}  # what each task finds
Where = str | tuple[int, int]
POST_KEYS = ("id", "text", "image", "head", "tail", "mentions", "boxes", "caption", "meta")  # what `post` takes of a post


@dataclasses.dataclass(frozen=True)
class Extraction:
    """What was found in one post.

    found: what the checkpoint's task finds, scored. relation: one per pair that was asked for, the most likely label each, the empty
      relation included. entities: mentions. triples: triples. objects: regions.
    notes: what the system could not see although it was trained to.
    masked: of the notes, those of pictures that the record names but that are missing or cannot be read.
    """

    record: Record
    found: Found
    notes: tuple[str, ...] = ()
    task: str = "relation"
    masked: tuple[str, ...] = ()

    @property
    def relations(self) -> tuple[Relation, ...]:
        """The relations among what was found."""
        return tuple(x for x in self.found if isinstance(x, Relation))

    @property
    def mentions(self) -> tuple[Mention, ...]:
        """The mentions among what was found."""
        return tuple(x for x in self.found if isinstance(x, Mention))

    @property
    def triples(self) -> tuple[Triple, ...]:
        """The triples among what was found."""
        return tuple(x for x in self.found if isinstance(x, Triple))

    @property
    def regions(self) -> tuple[Region, ...]:
        """The objects among what was found."""
        return tuple(x for x in self.found if isinstance(x, Region))

    def to_json(self) -> dict[str, Any]:
        """Plain values: id, text, image, what was found (relations, mentions, triples or regions) with words and spans, notes, and meta
        where there is one."""
        record = self.record

        def mention(found: Mention) -> dict[str, Any]:
            return {
                "text": record.text(found.span),
                "span": [int(side) for side in found.span],
                **({"type": found.type} if found.type else {}),
            }

        def row(found: Relation | Mention | Triple | Region) -> dict[str, Any]:
            score = {} if found.score is None else {"score": round(float(found.score), 6)}
            if isinstance(found, Relation):
                others = {"alternatives": {label: round(p, 6) for label, p in found.alternatives}} if found.alternatives else {}
                return {"head": mention(found.head), "relation": found.label, "tail": mention(found.tail), **score, **others}
            if isinstance(found, Triple):
                box = {} if found.box is None else {"box": [round(float(x), 4) for x in found.box]}
                return {"entity": mention(found.mention), "relation": found.label, **box, **score}
            if isinstance(found, Region):
                return {"box": [round(float(x), 4) for x in found.box or ()], "label": found.label, **score}
            return {**mention(found), **score}

        kind = KINDS[self.task]
        rows = [row(found) for found in self.found]
        more = {"masked": list(self.masked), "meta": dict(record.meta)}
        more = {name: value for name, value in more.items() if value}
        return {"id": record.id, "text": " ".join(record.words), "image": record.image, kind: rows, "notes": list(self.notes), **more}


def post(
    task: str,
    sources: Sequence[str] = ("detected",),
    *,
    id: str = "text",
    text: str | Sequence[str] = "",
    image: Picture | None = None,
    head: Where | None = None,
    tail: Where | None = None,
    mentions: Sequence[Where] = (),
    boxes: Sequence[Box] = (),
    caption: str | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Record:
    """A post as a record to extract from.

    Args:
      task: what is to be found in it.
      sources: as what the boxes are shown to the system.
      id: what it is called, in messages too.
      text: a string (split at spaces) or words; of no use where the task reads pictures alone.
      image: the picture: a path, bytes, an open file, a Pillow image or an array; see `data.given.given`.
      head, tail: (task relation) each a word span (start, end), end-exclusive, or words as they stand in the text.
      mentions: instead of head and tail: all ordered pairs of these are tried.
      boxes: objects in the picture, normalised (x_min, y_min, x_max, y_max), best first.
      caption: what the picture shows.
      meta: what else is to be kept with it.

    Raises:
      RecordError: for a span or box out of range, a string that is not in the text or is in it more than once (its places are
        listed), if neither a pair nor two mentions are given, or if they are given to a task that finds them by itself.
      PictureError: for a picture that is none of these, or a URL; not for one that is missing or damaged.
    """
    if not isinstance(text, str) and not (isinstance(text, Sequence) and all(isinstance(word, str) and word for word in text)):
        raise RecordError(f"text: expected a string, or words that are not empty, found {text!r:.80}")
    words = tuple(text.split() if isinstance(text, str) else text)
    if not words and task not in WORDLESS:
        raise RecordError(f"give a text: the checkpoint's task is {task!r}, which reads words")
    relations: tuple[Relation, ...] = ()
    if task != "relation":
        if head is not None or tail is not None or mentions:
            raise RecordError(f"the checkpoint's task is {task!r}, which takes no head, tail or mentions")
    elif (head is None) != (tail is None) or (head is None) == (not mentions):
        raise RecordError("give head and tail, or two or more mentions")
    elif head is not None and tail is not None:
        relations = (Relation(Mention(*find(words, head, "head")), Mention(*find(words, tail, "tail"))),)
    else:
        relations = all_pairs([Mention(*find(words, mention, f"mentions[{i}]")) for i, mention in enumerate(mentions)], "mentions")
    checked = [check_box(box, f"boxes[{i}]") for i, box in enumerate(boxes)]
    return Record(
        id=id,
        words=words,
        image=given(image, f"{id}: image"),
        relations=relations,
        regions=tuple(Region(box=box, source=source) for source in sources for box in checked),
        caption=caption,
        meta=dict(meta or {}),
    )


def record_of(task: str, sources: Sequence[str], item: Record | Mapping[str, Any], id: str) -> Record:
    """One of many posts as a record: a record as it is; what `post` takes by name, as a dictionary, is called `id` if it says no id.

    Raises:
      RecordError, PictureError: as `post`, naming the post; for other keys.
    """
    if isinstance(item, Record):
        return item
    if not isinstance(item, Mapping):
        raise RecordError(f"{id}: expected a Record, or a dictionary of {', '.join(POST_KEYS)}, found {item!r:.80}")
    if unknown := sorted(map(str, set(item) - set(POST_KEYS))):
        raise RecordError(f"{id}: unknown key {', '.join(map(repr, unknown))}; valid are {', '.join(POST_KEYS)}")
    said = {"id": id, **item}
    try:
        return post(task, sources, **said)
    except RecordError as error:
        raise RecordError(f"{said['id']}: {error}") from error


def all_pairs(mentions: Sequence[Mention], where: str) -> tuple[Relation, ...]:
    """A relation without label for every ordered pair of mentions.

    Raises:
      RecordError: naming `where`, for fewer than two mentions, or two of one span.
    """
    if len(mentions) < 2:
        raise RecordError(f"{where}: two or more mentions make pairs, found {len(mentions)}")
    if twice := [m.span for i, m in enumerate(mentions) if m.span in [other.span for other in mentions[:i]]]:
        raise RecordError(f"{where}: two mentions have the span [{twice[0][0]}, {twice[0][1]})")
    return tuple(Relation(head, tail) for head, tail in itertools.permutations(mentions, 2))


def find(words: Sequence[str], wanted: Where, name: str) -> tuple[int, int]:
    """The word span of a mention given as a span or as the words themselves (compared as written).

    Raises:
      RecordError: if it is out of range, not there, or there more than once.
    """
    if not isinstance(wanted, str):
        wanted = plain(wanted)
        if not isinstance(wanted, (tuple, list)) or len(wanted) != 2:
            raise RecordError(f"{name}: expected a word span (start, end) or words of the text, found {wanted!r}")
        return check_span(*wanted, len(words), name)
    target = wanted.split()
    places = [(i, i + len(target)) for i in range(len(words) - len(target) + 1) if list(words[i : i + len(target)]) == target]
    if not target or not places:
        raise RecordError(f"{name}: {wanted!r} is not in the text, whose words are {', '.join(map(repr, words))}")
    if len(places) > 1:
        shown = ", ".join(f"{span} in '{' '.join(words[max(span[0] - 2, 0) : span[1] + 2])}'" for span in places)
        raise RecordError(f"{name}: {wanted!r} is in the text {len(places)} times: give a word span, one of {shown}")
    return places[0]
