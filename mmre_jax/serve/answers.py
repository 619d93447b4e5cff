"""What a server says to a post: what was found, as a table and as JSON, and drawn; or, in one sentence, why nothing was.

Posts come from strangers: their size is bounded before anything is decoded, and nothing that is said names a file of the server.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure
from PIL import Image

from mmre_jax.chain import Chain
from mmre_jax.data.decode import PictureError, decode_picture
from mmre_jax.extract import Extractor
from mmre_jax.extraction import Extraction, Where, in_words
from mmre_jax.records import Record, RecordError
from mmre_jax.tasks import WORDLESS

SPAN = re.compile(r"\[\s*(\d{1,6})\s*,\s*(\d{1,6})\s*\]")
COLUMNS = {
    "relation": ("head", "relation", "tail", "score"),
    "entities": ("entity", "type", "score"),
    "triples": ("entity", "relation", "box", "score"),
    "objects": ("object", "box", "score"),
}
Draw = Callable[[Extractor, Record, Extraction], Figure]
Served = Extractor | Chain

logger = logging.getLogger(__name__)


class Refused(ValueError):
    """A post that is not answered. The message is for whoever sent it."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Of what is taken: size of a picture's file in bytes, and of the picture in pixels; characters of a text; mentions of a post. kept:
    bytes of all pictures, sent and drawn, that are there at a time."""

    bytes: int = 10 * 2**20
    pixels: int = 25_000_000
    characters: int = 5_000
    mentions: int = 12
    kept: int = 2 * 2**30


@dataclasses.dataclass(frozen=True)
class Answers:
    """Checkpoints by their names, and what is asked of them. Threads may share it: each checkpoint extracts from one post at a time.

    draw: makes the figure of what was found (extractor, record, extraction).
    """

    extractors: Mapping[str, Served]
    draw: Draw
    limits: Limits = Limits()
    locks: Mapping[str, threading.Lock] = dataclasses.field(init=False, repr=False)
    drawing: threading.Lock = dataclasses.field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "locks", {name: threading.Lock() for name in self.extractors})

    def extract(self, model: str, text: str, picture: bytes | None, mentions: str = "") -> Extraction:
        """What a checkpoint finds in a post.

        Args:
          model: a name of `extractors`.
          text: as it was written; of no use where the task reads pictures alone.
          picture: the bytes of a picture's file; None for none.
          mentions: where a checkpoint `asks` for them: one a line, as it stands in the text or as [start, end) in words. Relations are
            looked for between all of them, both ways.

        Raises:
          Refused: a post that is too large, damaged, or that the checkpoint does not take; or one on which the library fails, which is then
            logged.
        """
        if model not in self.extractors:
            raise Refused(f"There is no checkpoint {model[:80]!r}: choose one of {', '.join(self.extractors)}.")
        extractor = self.extractors[model]
        if len(text) > self.limits.characters:
            raise Refused(f"The text has {len(text):,} characters, more than {self.limits.characters:,} are not read.")
        self._check_picture(picture)
        wanted = self._mentions(mentions) if self.asks(model) else ()
        if extractor.task in WORDLESS and picture is None:
            raise Refused("Give a picture: this checkpoint finds objects in pictures.")
        post = {} if extractor.task in WORDLESS else {"text": text, **({"mentions": wanted} if wanted else {})}
        try:
            with self.locks[model]:
                return extractor.extract(**post, image=picture, id="post")
        except (RecordError, PictureError) as error:
            raise Refused(_sentence(str(error))) from error
        except Exception as error:
            logger.exception("a post could not be extracted from")
            raise Refused("The post could not be extracted from. The server's log says why.") from error

    def asks(self, model: str) -> bool:
        """Whether a checkpoint wants mentions, since it looks for relations between them and finds none by itself."""
        extractor = self.extractors.get(model)
        return isinstance(extractor, Extractor) and extractor.task == "relation"

    def task(self, model: str) -> str:
        """What a checkpoint finds."""
        return self.extractors[model].task

    def rows(self, model: str, extraction: Extraction) -> list[list[str]]:
        """What was found, as a table; of pairs that nobody asked for, those between which there is a relation."""
        none = None if self.asks(model) or extraction.task != "relation" else self.extractors[model].none
        return rows(dataclasses.replace(extraction, found=tuple(x for x in extraction.found if none is None or x.label != none)))

    def _check_picture(self, picture: bytes | None) -> None:
        if picture is None:
            return
        if len(picture) > self.limits.bytes:
            raise Refused(f"The picture has {len(picture):,} bytes, more than {self.limits.bytes:,} are not read.")
        try:
            decode_picture(picture, "the picture", max_pixels=self.limits.pixels)
        except PictureError as error:
            raise Refused(_sentence(str(error))) from error

    def _mentions(self, lines: str) -> tuple[Where, ...]:
        """Strings, or spans of words."""
        if len(lines) > self.limits.characters:
            raise Refused(f"The mentions have {len(lines):,} characters, more than {self.limits.characters:,} are not read.")
        found = [line.strip() for line in lines.splitlines() if line.strip()]
        if len(found) < 2:
            raise Refused("Give two or more mentions, one a line, as they stand in the text: relations are looked for between them.")
        if len(found) > self.limits.mentions:
            raise Refused(f"There are {len(found)} mentions, more than {self.limits.mentions} are not tried.")
        return tuple((int(span[1]), int(span[2])) if (span := SPAN.fullmatch(line)) else line for line in found)

    def drawn(self, model: str, extraction: Extraction) -> Image.Image:
        """A picture of what was found, RGB."""
        with self.drawing:
            extractor = self.extractors[model]
            figure = self.draw(extractor.relations if isinstance(extractor, Chain) else extractor, extraction.record, extraction)
            data = io.BytesIO()
            figure.savefig(data, format="png")
        return Image.open(data).convert("RGB")


def columns(task: str) -> tuple[str, ...]:
    """The heads of the columns of `rows`."""
    return COLUMNS[task]


def rows(extraction: Extraction) -> list[list[str]]:
    """What was found, best score first, as a table of `columns`."""
    ordered = sorted(extraction.found, key=lambda each: -(each.score or 0.0))
    return [[*in_words(each, extraction.record), "" if each.score is None else f"{each.score:.3f}"] for each in ordered]


def notes(extraction: Extraction) -> str:
    """What the system could not see, a line each."""
    return "\n".join(extraction.notes)


def names_of(paths: Sequence[str], names: Sequence[str]) -> list[str]:
    """What checkpoints are called: as they are to be, or else by their folders; two behind each other are given as ONE+OTHER.

    Raises:
      ValueError: for another number of names, or two that are the same.
    """
    if names and len(names) != len(paths):
        raise ValueError(f"{len(paths)} runs need as many names, found {len(names)}: {', '.join(names)}")
    found = list(names) or ["+".join(re.split(r"[\\/]", each.rstrip("\\/"))[-1] for each in path.split("+")) for path in paths]
    if twice := [name for i, name in enumerate(found) if name in found[:i]]:
        raise ValueError(f"two runs are called {twice[0]}: give each a name of its own by --names")
    return found


def _sentence(message: str) -> str:
    """A message of the library as a sentence."""
    message = " ".join(message.split())
    return f"{message[:1].upper()}{message[1:]}{'' if message.endswith('.') else '.'}"
