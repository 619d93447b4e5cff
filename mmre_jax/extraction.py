"""What was found in one post, and how a post names its mentions: plain values, without a checkpoint."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from mmre_jax.data import words as words_lib
from mmre_jax.data.given import Picture, given
from mmre_jax.data.readers import jsonl
from mmre_jax.data.readers.spans import Text, check_chars, find_string, find_words
from mmre_jax.records import Box, Mention, Record, RecordError, Region, Relation, Triple, check_box, check_span, plain
from mmre_jax.tasks import WORDLESS
from mmre_jax.tasks.task import Found

KINDS = {"relation": "relations", "entities": "mentions", "triples": "triples", "objects": "regions"}  # what each task finds
POST_KEYS = ("id", "text", "image", "head", "tail", "mentions", "boxes", "caption", "meta")  # what `post` takes of a post


@dataclasses.dataclass(frozen=True)
class Chars:
    """A span of characters of a text, [start, end), counted as Python counts them (code points)."""

    start: int
    end: int


T = TypeVar("T")
Where = str | tuple[int, int] | Chars


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
        """The mentions among what was found; where relations were to be found, those of the record."""
        return self.record.mentions if self.task == "relation" else tuple(x for x in self.found if isinstance(x, Mention))

    @property
    def triples(self) -> tuple[Triple, ...]:
        """The triples among what was found."""
        return tuple(x for x in self.found if isinstance(x, Triple))

    @property
    def regions(self) -> tuple[Region, ...]:
        """The objects among what was found."""
        return tuple(x for x in self.found if isinstance(x, Region))

    def as_record(self) -> Record:
        """The record with what was found in the place of its annotation: to be fed to the next checkpoint, drawn, or made a graph of."""
        if self.task == "objects":
            return dataclasses.replace(self.record, regions=(*(x for x in self.record.regions if x.source != "detected"), *self.regions))
        return dataclasses.replace(self.record, **{KINDS[self.task]: self.found})

    def to_json(self, folder: str | os.PathLike[str] | None = None) -> dict[str, Any]:
        """A line of extracted.jsonl as plain values: the record with what was found, in the format of records, which `jsonl.read` with
        `posts` gives back; and notes and masked. Numbers are as they were found, not rounded. What was looked for, notes and masked stand
        in every line, be they empty; what was not looked for does not, or it would be scored as not found.

        Args:
          folder: where the line will stand; a picture in it is named relative to it, any other by its whole path. A picture that was given
            as itself has no name, and is left out.
        """
        value = jsonl.to_json(self.as_record(), folder, posts=True)
        kind, meta = KINDS[self.task], {key: value.pop(key) for key in ("meta",) if key in value}
        kinds = ("mentions", kind) if self.task == "relation" and not self.record.relations else (kind,)  # a post without a pair was tagged
        return {**value, **{each: value.get(each, []) for each in kinds}, "notes": list(self.notes), "masked": list(self.masked), **meta}


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
      text: words, which stay as they are, or a string, which is split; see `placed`. Of no use where the task reads pictures alone.
      image: the picture: a path, bytes, an open file, a Pillow image or an array; see `data.given.given`.
      head, tail: (task relation) each what stands in the text, a string; a span of its characters, Chars(start, end); or a span of words
        (start, end). All are end-exclusive.
      mentions: instead of head and tail: all ordered pairs of these are tried.
      boxes: objects in the picture, normalised (x_min, y_min, x_max, y_max), best first.
      caption: what the picture shows.
      meta: what else is to be kept with it.

    Raises:
      RecordError: for a span or box out of range, a string that is not in the text or is in it more than once (its places are
        listed), if neither a pair nor two mentions are given, or if they are given to a task that finds them by itself; for an id, caption
        or meta that could not be read back.
      PictureError: for a picture that is none of these, or a URL; not for one that is missing or damaged.
    """
    if not isinstance(id, str) or not id:
        raise RecordError(f"id: expected a string that is not empty, found {id!r:.80}")
    if caption is not None and not isinstance(caption, str):
        raise RecordError(f"caption: expected a string, found {caption!r:.80}")
    if meta is not None and not isinstance(meta, Mapping):
        raise RecordError(f"meta: expected a dictionary, found {meta!r:.80}")
    if not isinstance(text, str) and not (isinstance(text, Sequence) and all(isinstance(word, str) and word for word in text)):
        raise RecordError(f"text: expected a string, or words that are not empty, found {text!r:.80}")
    named: dict[str, Where] = {name: where for name, where in (("head", head), ("tail", tail)) if where is not None}
    named |= {f"mentions[{i}]": where for i, where in enumerate(mentions)}
    if not (text.strip() if isinstance(text, str) else text) and task not in WORDLESS:
        raise RecordError(f"give a text: the checkpoint's task is {task!r}, which reads words")
    if isinstance(mentions, str):
        raise RecordError(f"mentions: a list of mentions, found the string {mentions!r:.80}")
    relations: tuple[Relation, ...] = ()
    if task != "relation":
        if head is not None or tail is not None or mentions:
            raise RecordError(f"the checkpoint's task is {task!r}, which takes no head, tail or mentions")
    elif (head is None) != (tail is None) or (head is None) == (not mentions):
        raise RecordError("give either head and tail, or two or more mentions")
    found, spans = placed(text, named)
    if named:
        told = [Mention(*spans[name]) for name in named]
        relations = (Relation(*told),) if head is not None else all_pairs(told, "mentions")
    checked = [check_box(box, f"boxes[{i}]") for i, box in enumerate(boxes)]
    return Record(
        id=id,
        words=found.words,
        string=found.string,
        places=found.places,
        image=given(image, f"{id}: image"),
        relations=relations,
        regions=tuple(Region(box=box, source=source) for source in sources for box in checked),
        caption=caption or None,
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
        told = ", ".join(f"{key!r:.80}" for key in unknown[:5])
        raise RecordError(f"{id}: unknown key {told}; valid are {', '.join(POST_KEYS)}")
    said = {"id": id} | {name: value for name, value in item.items() if value is not None}
    try:
        return post(task, sources, **said)
    except RecordError as error:
        raise RecordError(f"{said['id'] or id!s:.80}: {error}") from error


def in_words(found: Relation | Mention | Triple | Region, record: Record) -> tuple[str, ...]:
    """What was found in a record, as cells: head, relation, tail; entity, type; entity, relation, box; or object, box ('' for none)."""
    if isinstance(found, Mention):
        return record.text(found.span), found.type or ""
    if isinstance(found, Relation):
        return record.text(found.head.span), found.label or "", record.text(found.tail.span)
    box = "" if found.box is None else ", ".join(f"{side:.2f}" for side in found.box)
    return (found.label or "", box) if isinstance(found, Region) else (record.text(found.mention.span), found.label, box)


class UntilError(Iterator[T]):
    """What comes of an iterable before it raises something: groups of these come to their end, and then `end` raises it."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self._error: Exception | None = None

    def __next__(self) -> T:
        if self._error is not None:
            raise StopIteration
        try:
            return next(self._items)
        except StopIteration:
            raise
        except Exception as error:
            self._error = error
            raise StopIteration from error

    def end(self) -> None:
        """Raises what the iterable raised, if it did."""
        if self._error is not None:
            raise self._error


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


def placed(text: str | Sequence[str], named: Mapping[str, Where]) -> tuple[Text, dict[str, tuple[int, int]]]:
    """A text as words, and where in them the mentions stand that are named.

    Words stay as they are. A string is split by the tokenizer (data/words.py), with borders of words where a mention begins or ends, so
    that any can be a span. Only if one of them is a span of words, it is split at white space, as these count.

    Returns:
      the text, and {name: span of words}.

    Raises:
      RecordError: as `find` and `find_chars`, naming the mention.
    """
    if not isinstance(text, str):
        return Text(tuple(text)), {name: find(text, where, name) for name, where in named.items()}
    if not text.strip() and not named:
        return Text(()), {}
    chars = {name: find_chars(text, where, name) for name, where in named.items() if isinstance(where, str | Chars)}
    if len(chars) == len(named):
        places = words_lib.split(text, itertools.chain.from_iterable(chars.values()))
    else:
        places = words_lib.at_spaces(text)
    found = Text(words_lib.words_at(text, places), text, places)
    spans = {}
    for name, where in named.items():
        span = words_lib.span_of(places, chars[name]) if name in chars else find(found.words, where, name)
        if span is None:
            words = found.words[slice(*(words_lib.covering(places, chars[name]) or (0, 0)))]
            said = "beside spans of words, which are those between white space, give all mentions as strings or Chars"
            raise RecordError(f"{name}: {text[slice(*chars[name])]!r:.80} begins or ends inside of a word of {list(words)!r:.160}: {said}")
        spans[name] = span
    return found, spans


def find_chars(text: str, wanted: str | Chars, name: str) -> tuple[int, int]:
    """Where a mention stands in a text, [start, end) in characters: as `words.occurrences` finds a string.

    Raises:
      RecordError: if it is out of range, not there, or there more than once.
    """
    if isinstance(wanted, Chars):
        return check_chars(wanted.start, wanted.end, text, name)
    return find_string(text, wanted, name, "Chars({}, {})")


def find(words: Sequence[str], wanted: Where, name: str) -> tuple[int, int]:
    """The word span of a mention given as a span or as the words themselves: as written, where they are there so, else without regard to
    case.

    Raises:
      RecordError: if it is out of range, not there, or there more than once.
    """
    if isinstance(wanted, Chars):
        raise RecordError(f"{name}: {wanted} are characters of a string, and the text was given as words: give a word span (start, end)")
    if not isinstance(wanted, str):
        wanted = plain(wanted)
        if not isinstance(wanted, (tuple, list)) or len(wanted) != 2:
            raise RecordError(f"{name}: expected a word span (start, end), Chars(start, end) or words of the text, found {wanted!r:.80}")
        return check_span(*wanted, len(words), name)
    return find_words(words, wanted, name)
