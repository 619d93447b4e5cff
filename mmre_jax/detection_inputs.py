"""What a detector is to look at, and where what it finds is written: a folder of pictures, JSON lines, or MNRE's layout.

A folder of pictures gives OUT/regions.jsonl, a line for each picture: {"image": name in the folder, "regions": [...]}, regions as in
data/readers/jsonl.py. JSON lines give the same lines in OUT, their detected regions replaced, with their pictures beside them. MNRE's
layout gives OUT/boxes/{train,dev,test}_detect_box_dict.json (data/readers/detections.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence

from mmre_jax import paths
from mmre_jax.data.decode import PictureError, in_bucket
from mmre_jax.data.readers import detections, jsonl, line_edit, mnre
from mmre_jax.records import SPLITS, Record, RecordError, Region
from mmre_jax.text_files import MARK

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
PICTURES, JSONL, MNRE = "pictures", "jsonl", "mnre"
REGIONS = "regions.jsonl"  # what is written of a folder of pictures
Texts = Mapping[str, Sequence[str]]  # {name of a picture: the JSON of each of its regions}

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Input:
    """What is to be looked at.

    kind: one of PICTURES, JSONL and MNRE.
    root: the folder that names of pictures start from.
    pictures: their names, each once, in the order of the input.
    files: the text files that name them, with their records.
    posts: whether it is a user's own file of JSON lines, whose pictures may be anywhere: one elsewhere is named by its whole path.
    """

    kind: str
    root: pathlib.Path
    pictures: tuple[str, ...]
    files: tuple[tuple[pathlib.Path, tuple[Record, ...]], ...] = ()
    posts: bool = False

    def place(self, name: str) -> str:
        """Where the picture of this name is. Raises PictureError for a name that leads out of the folder."""
        if self.posts and (os.path.isabs(name) or in_bucket(name)):
            return name
        return paths.inside(self.root, name, f"{self.root}", PictureError)

    def digest(self) -> str:
        """Names the input: its kind, its texts, and its pictures' names."""
        total = hashlib.blake2b(json.dumps([self.kind, self.pictures]).encode("ascii"), digest_size=16)
        for path, records in self.files:
            total.update(path.read_bytes() if self.kind == JSONL else repr([record.image for record in records]).encode())
        return total.hexdigest()

    def outputs(self, out: pathlib.Path) -> tuple[pathlib.Path, ...]:
        """The files that `write` writes."""
        if self.kind == PICTURES:
            return (out / REGIONS,)
        return tuple(out / path.name if self.kind == JSONL else path for path, _ in self._moved(out))

    def texts(self, out: pathlib.Path, found: Texts) -> Iterator[tuple[pathlib.Path, str]]:
        """(file, its text) of each of `outputs`, of what was found; a picture that was not looked at is not in `found`."""
        if self.kind == PICTURES:
            lines = [f'{{"image": {json.dumps(name, ensure_ascii=False)}, "regions": [{", ".join(found[name])}]}}\n' for name in found]
            yield out / REGIONS, "".join(lines)
        for path, records in self._moved(out):
            if self.kind == JSONL:
                yield out / path.name, _edited(path, self, records, found)
            else:
                names = dict.fromkeys(_name(self.root, record) for record in records if record.image is not None)
                yield path, detections.format_json((name, [_region(text) for text in found[name]]) for name in names if name in found)

    def bring_pictures(self, out: pathlib.Path) -> int:
        """Puts what JSON lines name beside their copies in `out`, as hard links, or as copies where the file system has no such; how many.

        Raises:
          RecordError: where another file is in the place of one.
        """
        if self.kind != JSONL:
            return 0
        records = [record for _, those in self.files for record in those]
        wanted = [record.image for record in records] + [region.file for record in records for region in record.regions]
        files = dict.fromkeys(file for file in wanted if file is not None and os.path.isfile(file))
        named = {file: name for file in files if not os.path.isabs(name := _named(self.root, file))}
        return sum(_bring(pathlib.Path(file), out / name) for file, name in named.items())

    def _moved(self, out: pathlib.Path) -> list[tuple[pathlib.Path, tuple[Record, ...]]]:
        """Of JSON lines the input's files, of MNRE's the output's, with their records."""
        if self.kind != MNRE:
            return list(self.files)
        return [(mnre.boxes_path(out, path.name), records) for path, records in self.files]


def look_at(path: str | os.PathLike[str]) -> Input:
    """What there is to look at: a file of JSON lines, or a folder with {train,val,test}.jsonl, MNRE's texts, or pictures (at any depth).

    The log tells which of JSON lines in a folder of pictures are not read: they may be the posts that were meant.

    Raises:
      RecordError: there is none of these, or a text is not in its format.
      PictureError: a picture's name leads out of the folder.
    """
    path = pathlib.Path(path)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        raise RecordError(f"{path} is a picture: give the folder that it lies in, or JSON lines that name it")
    if path.is_file():
        return _of_lines(path.parent, [path], posts=True)
    if not path.is_dir():
        raise RecordError(f"{path}: no such file or folder: expected pictures, JSON lines, or MNRE's layout")
    if found := [path / f"{split}.jsonl" for split in SPLITS if (path / f"{split}.jsonl").is_file()]:
        return _of_lines(path, found)
    if (path / "img_org").is_dir() and _has_texts(path):
        return _of_mnre(path)
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if broken := [name for name in names if not _is_text(name)]:  # the name of a file may be any bytes, which no JSON holds
        raise RecordError(f"{path}: {os.fsencode(broken[0])!r}: the name of a picture is not UTF-8: rename it ({len(broken)} of that kind)")
    if not names:
        raise RecordError(
            f"{path}: no pictures ({', '.join(SUFFIXES)}), no train.jsonl, val.jsonl or test.jsonl, and not MNRE's layout (txt/, img_org/)"
        )
    if lines := sorted(file.name for file in path.glob("*.jsonl") if file.name != REGIONS):
        logger.warning("%s is taken as a folder of pictures: %s is not read; of posts give the file itself", path, ", ".join(lines))
    return Input(PICTURES, path, tuple(names))


def _of_lines(root: pathlib.Path, files: Sequence[pathlib.Path], *, posts: bool = False) -> Input:
    found = tuple((file, tuple(jsonl.read(file, posts=posts))) for file in files)
    return Input(JSONL, root, _names(root, [record for _, records in found for record in records]), found, posts)


def _of_mnre(root: pathlib.Path) -> Input:
    """The splits that there are; version 2, or version 1 where it is that."""
    problem: RecordError | None = None
    for version in reversed(mnre.VERSIONS):
        try:
            splits = [split for split in SPLITS if _has(root, split, version)]
            if not splits:
                mnre.files(root, "train", version=version)  # says what is missing
            found = tuple((pathlib.Path(split), tuple(mnre.read(root, split, version=version))) for split in splits)
            return Input(MNRE, root, _names(root, [record for _, records in found for record in records]), found)
        except RecordError as error:
            problem = problem or error
    raise problem or RecordError(f"{root}: not MNRE's layout")


def _has_texts(root: pathlib.Path) -> bool:
    """Whether there is a folder for MNRE's texts, or such a text in the root itself."""
    folders = any((root / folder).is_dir() for folder in ("txt", "mnre_txt"))
    return folders or any(_has(root, split, version) for split in SPLITS for version in mnre.VERSIONS)


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _has(root: pathlib.Path, split: str, version: int) -> bool:
    with contextlib.suppress(RecordError):
        return bool(mnre.files(root, split, version=version))
    return False


def _names(root: pathlib.Path, records: Sequence[Record]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_name(root, record) for record in records if record.image is not None))


def _name(root: pathlib.Path, record: Record) -> str:
    return _named(root, record.image or "")


def _named(root: pathlib.Path, file: str) -> str:
    """A picture's name in the folder; of one elsewhere, which none but a user's own lines name, what they call it."""
    try:
        return paths.relative(root, file, file)
    except RecordError:
        return file


def _region(text: str) -> Region:
    value = json.loads(text)
    return Region(tuple(value["box"]), label=value.get("label"), score=value.get("score"))


def _edited(path: pathlib.Path, given: Input, records: Sequence[Record], found: Texts) -> str:
    """The text of a file of JSON lines, the lines of records whose picture was looked at with what was found there.

    Raises:
      RecordError: a line names another picture than when the records were read: hours lie between.
    """
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", path.read_bytes().decode("utf-8"))
    for record in records:
        number = int(record.origin.rpartition(":")[2]) - 1
        if record.image is not None and (name := _name(given.root, record)) in found:
            line = lines[number] if number < len(lines) else ""
            bare = line.lstrip(MARK)
            mark = line[: len(line) - len(bare)]
            now = jsonl.parse(bare, given.root, where=record.origin, default_id=record.id, posts=given.posts) if bare.strip() else None
            if now is None or now.image != record.image:
                raise RecordError(f"{record.origin}: another line than when it was read, of {name}: the file was changed; start again")
            lines[number] = mark + line_edit.with_detected(bare, found[name], record.origin)
    return "".join(lines)


def _bring(source: pathlib.Path, target: pathlib.Path) -> bool:
    """Whether a file had to be put there."""
    if target.exists():
        if not target.samefile(source) and target.read_bytes() != source.read_bytes():
            raise RecordError(f"{target} is another file than {source}, which is to be there: give an empty --out")
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another file system, or one without links
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(source, partial)
        partial.replace(target)
    return True
