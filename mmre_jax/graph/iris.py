"""IRIs of what is in a graph, out of texts that nobody checked: whatever is not a letter, a digit or one of `-._~` is percent-encoded."""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
from collections.abc import Mapping
from urllib.parse import quote

from mmre_jax import storage
from mmre_jax.data.given import Given
from mmre_jax.records import Box

BASE = "https://example.org/"
_BETWEEN = re.compile(r"(?<=[^/])/(?=[^/])")  # a slash that has something on both sides
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_FORBIDDEN = re.compile(r"[\x00-\x20<>\"{}|\\^`\x7f-\xa0\ud800-\udfff\ufff0-\uffff]")  # RFC 3987, section 2.2, and what Turtle forbids


def check(iri: str, where: str, *, begins: bool = False) -> str:
    """Returns an absolute IRI that a user gave. begins: others begin with it, to which a fragment is added (#char=, #xywh=).

    Raises:
      ValueError: naming `where`, for what is none, or has a fragment already where it `begins` others.
    """
    if not _SCHEME.match(iri) or len(iri) == iri.index(":") + 1:
        raise ValueError(f"{where}: {iri!r:.120} is no absolute IRI, such as http://www.wikidata.org/entity/Q42")
    if wrong := _FORBIDDEN.search(iri):
        raise ValueError(f"{where}: {iri!r:.120} is no IRI: {wrong[0]!r} cannot be in one")
    if begins and "#" in iri:
        raise ValueError(f"{where}: {iri!r:.120} has a '#': IRIs that begin with it have one behind it, and an IRI has one at most")
    return iri


def entity(base: str, type_: str | None, name: str) -> str:
    """An entity's, from its type and its normalised name: BASE/entity/TYPE:NAME."""
    return f"{base}entity/{_part(type_ or '')}:{_part(name)}"


def post(base: str, name: str) -> str:
    """A post's, from its id."""
    return f"{base}post/{_path(name)}"


def relation(base: str, label: str) -> str:
    """The property that stands for a relation without one of the user's own: BASE/relation/LABEL.

    A label that is a path of two parts or more, as /per/org/member_of is, stays one: BASE/relation/per/org/member_of. Slashes of others
    are encoded, so that no two labels have one IRI.
    """
    path = label.startswith("/") and all(parts := label[1:].split("/")) and len(parts) > 1
    return f"{base}relation/{_path(label[1:]) if path else _segment(label)}"


def type_class(base: str, type_: str) -> str:
    """The class that stands for an entity type without one of the user's own."""
    return f"{base}type/{_path(type_)}"


def statement(base: str, subject: str, property_: str, object_: str) -> str:
    """A statement's, the same wherever the same is said: the first 80 bits of the SHA-256 of its three IRIs."""
    return f"{base}statement/{hashlib.sha256(' '.join((subject, property_, object_)).encode()).hexdigest()[:20]}"


def image(base: str, file: str, folders: Mapping[str, str]) -> str:
    """A picture's: below the IRI that a folder of pictures stands for, or else the address of the file itself.

    Args:
      file: a path; an address in a bucket; or a key of the embedded data set, or a picture that is no file, which become BASE/image/NAME.
      folders: {folder: the IRI that its pictures' names are put behind}. The longest that fits is taken.
    """
    if storage.is_remote(file):
        return quote(file, safe=":/")
    if isinstance(file, Given) or re.fullmatch(r"scenes:\w+:\d+:\w+:\d+:\d+", file):
        return f"{base}image/{_part(file)}"
    path = pathlib.Path(os.path.abspath(file))
    for folder in sorted(folders, key=len, reverse=True):
        if path.is_relative_to(above := os.path.abspath(folder)):
            return folders[folder] + quote(path.relative_to(above).as_posix())
    return path.as_uri()


def area(image_iri: str, box: Box) -> str:
    """A part of a picture, as a media fragment (W3C Media Fragments URI 1.0, section 4.2.2): #xywh=percent:x,y,w,h.

    Shares of a percent are written with a point, up to four digits of them, although that grammar has whole percents alone: otherwise
    boxes that lie close would become one. Viewers of annotations read them.
    """
    x0, y0, x1, y1 = box
    percents = (f"{100 * side:.4f}".rstrip("0").rstrip(".") for side in (x0, y0, x1 - x0, y1 - y0))
    return f"{image_iri}#xywh=percent:{','.join(percents)}"


def _part(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


def _path(text: str) -> str:
    """Slashes stay between parts, none of which is empty, or `.` or `..`, which would lead elsewhere."""
    return "/".join(map(_segment, _BETWEEN.split(text)))


def _segment(text: str) -> str:
    return text.replace(".", "%2E") if text in (".", "..") else _part(text)
