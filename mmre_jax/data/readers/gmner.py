"""GMNER (Twitter10000): posts with named entities and where each is seen in the photo, in its published layout.

    ROOT/txt/{train,dev,test}.txt         sentences with BIO tags (see bio.py)
    ROOT/xml.tar.gz, or ROOT/xml/         a file ID.xml for each photo in which an entity is seen: VOC boxes, named by the entity's words
    ROOT/images/ID.jpg                    photos; those of Twitter-2015 and -2017, also looked for in ROOT/twitter2015_images/ and
                                          ROOT/twitter2017_images/

A box becomes the triple (mention, type of the entity, box): real text with real boxes for the task that extracts triples. As in the
released code a box belongs to every mention whose words, joined by blanks, are its name. Yu et al., Grounded Multimodal Named
Entity Recognition on Social Media, ACL 2023.
"""

from __future__ import annotations

import collections
import gzip
import io
import math
import os
import pathlib
import tarfile
import zlib
from collections.abc import Collection, Sequence
from typing import IO
from xml.etree import ElementTree

from ml_collections import ConfigDict

from mmre_jax.data.dataset import Counted, DataSet, Labels, entity_labels, root_of, triple_labels
from mmre_jax.data.pictures import inside
from mmre_jax.data.readers import bio
from mmre_jax.data.readers.published import check, counts, missing
from mmre_jax.records import SPLITS, Box, Mention, Record, RecordError, Triple, clip_box
from mmre_jax.text_files import decode

COUNTS = {"train": 7000, "val": 1500, "test": 1500}
TYPES = ("PER", "LOC", "ORG", "OTHER")
MAX_ARCHIVE_BYTES = 1 << 28
MAX_XML_BYTES = 1 << 20
_TEXT = {"train": "train.txt", "val": "dev.txt", "test": "test.txt"}
_PHOTOS = ("images", "twitter2015_images", "twitter2017_images")
_LAYOUT = "txt/ and xml.tar.gz (or xml/)"
_SIDES = ("xmin", "ymin", "xmax", "ymax")

NamedBox = tuple[str, Box]


def read(root: str | os.PathLike[str], split: str) -> Counted:
    """Reads one split.

    Args:
      root: the folder described above.
      split: train, val or test.

    Returns:
      A record per sentence, with typed mentions, a triple per mention and box of it, and id 'gmner-{split}-{n}', n counted from 0.
      Boxes are divided by the size that their XML gives and clipped to the picture. Entities that are not seen have no triple, and
      the sentences of which none is seen have none at all. Photos need not exist.

    Raises:
      RecordError: a file is missing or damaged, too large, or not what it should be.
      PictureError: a picture's name leads out of `root`.
    """
    return Counted(*_read(root, split))


def report(root: str | os.PathLike[str], split: str) -> dict[str, int]:
    """What `read` finds, and what it drops and why.

    Returns:
      records, mentions, triples, records_without_triples; boxes: in the files of this split; boxes_shared: triples beyond the
      first of a box, where its name occurs more than once; mentions_without_box; boxes_clipped: cut off at the picture's edge;
      dropped are boxes_outside the picture, boxes_unnamed, whose name is no mention's, and boxes_repeated.
    """
    return _read(root, split)[1]


def entity_types() -> tuple[str, ...]:
    """The entity types, in a fixed order; the relations of the triples."""
    return TYPES


def files(root: str | os.PathLike[str], split: str) -> list[pathlib.Path]:
    """The text file that `read` reads, and the archive where there is no folder xml. Raises RecordError where something is missing."""
    check("split", split, SPLITS)
    text, folder, archive = pathlib.Path(root, "txt", _TEXT[split]), pathlib.Path(root, "xml"), pathlib.Path(root, "xml.tar.gz")
    if not text.is_file():
        raise missing(root, f"txt/{text.name}", _LAYOUT)
    if folder.is_dir():
        return [text]
    if not archive.is_file():
        raise missing(root, "xml.tar.gz", _LAYOUT)
    return [text, archive]


def _read(root: str | os.PathLike[str], split: str) -> tuple[list[Record], dict[str, int]]:
    text, *archive = files(root, split)
    sentences = bio.read(text, {kind: kind for kind in TYPES})
    wanted = {sentence.image for sentence in sentences}
    documents = _from_archive(archive[0], wanted) if archive else _from_folder(root, wanted)
    tally: collections.Counter[str] = collections.Counter(
        dict.fromkeys(("boxes", "boxes_shared", "boxes_clipped", "boxes_outside", "boxes_unnamed", "boxes_repeated"), 0)
    )
    records = []
    for index, sentence in enumerate(sentences):
        found = bio.mentions(sentence.tags)
        boxes = _boxes(*documents[sentence.image], tally) if sentence.image in documents else []
        records.append(
            Record(
                id=f"gmner-{split}-{index}",
                words=sentence.words,
                image=_photo(root, sentence),
                mentions=found,
                triples=_triples(sentence.words, found, boxes, tally),
                origin=sentence.where,
            )
        )
    seen = sum(len({triple.mention for triple in record.triples}) for record in records)
    found_counts = counts(records)
    return records, {**found_counts, "mentions_without_box": found_counts["mentions"] - seen, **tally}


def _triples(
    words: Sequence[str], mentions: Sequence[Mention], boxes: Sequence[NamedBox], tally: collections.Counter[str]
) -> tuple[Triple, ...]:
    """The triples of a sentence, by mention, then by box."""
    names = [" ".join(words[mention.start : mention.end]) for mention in mentions]
    owners = collections.Counter(names)
    tally["boxes_unnamed"] += sum(name not in owners for name, _ in boxes)
    tally["boxes_shared"] += sum(max(owners[name] - 1, 0) for name, _ in boxes)
    pairs = zip(mentions, names, strict=True)
    return tuple(Triple(mention, mention.type or "", box) for mention, name in pairs for owner, box in boxes if owner == name)


def _boxes(document: bytes, where: str, tally: collections.Counter[str]) -> list[NamedBox]:
    """The boxes of a picture that lie in it, each once."""
    boxes: list[NamedBox] = []
    for name, corners in parse_xml(document, where):
        box, cut = clip_box(corners)
        tally["boxes"] += 1
        if box is None:
            tally["boxes_outside"] += 1
        elif (name, box) in boxes:
            tally["boxes_repeated"] += 1
        else:
            tally["boxes_clipped"] += cut
            boxes.append((name, box))
    return boxes


def parse_xml(document: bytes, where: str) -> list[NamedBox]:
    """The (name, normalised xyxy box, not clipped) of each object of a VOC file.

    Raises:
      RecordError: it is not such a file, or declares a document type: entities are how a small XML file grows to fill the memory, or
        reads other files.
    """
    if b"<!DOCTYPE" in document or b"<!ENTITY" in document:
        raise RecordError(f"{where}: declares a document type or entities, which is not read")
    try:
        tree = ElementTree.fromstring(decode(document, where))  # decoded here: in UTF-16 a declaration would pass unseen
    except ElementTree.ParseError as error:
        raise RecordError(f"{where}: not an XML file in UTF-8 ({error})") from error
    width, height = (_number(tree, f"size/{side}", where) for side in ("width", "height"))
    if width <= 0 or height <= 0:
        raise RecordError(f"{where}: the picture's size is {width:g} x {height:g}, so its boxes cannot be normalised")
    found = []
    for item in tree.findall("object"):
        x0, y0, x1, y1 = (_number(item, f"bndbox/{side}", where) for side in _SIDES)
        found.append(((item.findtext("name") or "").strip(), (x0 / width, y0 / height, x1 / width, y1 / height)))
    return found


def _number(tree: ElementTree.Element, path: str, where: str) -> float:
    text = tree.findtext(path)
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RecordError(f"{where}: expected a number in {path}, found {text!r}")
    return value


def _from_archive(path: pathlib.Path, wanted: Collection[str]) -> dict[str, tuple[bytes, str]]:
    """{id: (XML file, its place for messages)} of the wanted ids. Nothing is written to disk, whatever names the archive holds."""
    found: dict[str, tuple[bytes, str]] = {}
    try:
        with gzip.open(path) as file:
            data = file.read(MAX_ARCHIVE_BYTES + 1)
        if len(data) > MAX_ARCHIVE_BYTES:
            raise RecordError(f"{path}: larger than {MAX_ARCHIVE_BYTES:,} bytes when unpacked")
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                name = pathlib.PurePosixPath(member.name)
                content = archive.extractfile(member) if member.isreg() and name.suffix == ".xml" and name.stem in wanted else None
                if content is not None:
                    found[name.stem] = _bounded(content, f"{path}: {member.name}")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise RecordError(f"{path}: damaged archive ({error})") from error
    return found


def _from_folder(root: str | os.PathLike[str], wanted: Collection[str]) -> dict[str, tuple[bytes, str]]:
    found = {}
    for image in wanted:
        path = pathlib.Path(inside(root, f"xml/{image}.xml", f"{root}, picture {image!r}"))
        if path.is_file():
            with open(path, "rb") as content:
                found[image] = _bounded(content, str(path))
    return found


def _bounded(content: IO[bytes], where: str) -> tuple[bytes, str]:
    data = content.read(MAX_XML_BYTES + 1)
    if len(data) > MAX_XML_BYTES:
        raise RecordError(f"{where}: larger than {MAX_XML_BYTES:,} bytes")
    return data, where


def _photo(root: str | os.PathLike[str], sentence: bio.Sentence) -> str:
    """The photo in the first folder that has it; its place in the first folder where none does."""
    paths = [inside(root, f"{folder}/{sentence.image}.jpg", sentence.where) for folder in _PHOTOS]
    return next((path for path in paths if os.path.exists(path)), paths[0])


def _labels(data: ConfigDict, task: str, train: Sequence[Record]) -> Labels:
    return triple_labels(data, entity_types()) if task == "triples" else entity_labels(entity_types())


GMNER = DataSet(
    name="gmner",
    read=lambda data, split: read(root_of(data), split),
    objects=("none",),
    tasks=lambda data, train: ("entities", "triples"),
    labels=_labels,
    files=lambda data, split: files(root_of(data), split),
    report=lambda data, split: report(root_of(data), split),
    published=COUNTS,
)
