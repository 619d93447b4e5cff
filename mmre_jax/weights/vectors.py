"""Word vectors from a file of GloVe's or word2vec's text format: a word and its numbers a line, with spaces between them.

word2vec's files begin with a line of two numbers, how many words there are and how long a vector is; GloVe's do not, and a few of their
words have spaces in them. Such files have millions of lines: they are read line by line, and of them only what is asked for is kept.
"""

from __future__ import annotations

import codecs
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mmre_jax import storage
from mmre_jax.data.torch_pickle import is_lfs_pointer, lfs_message
from mmre_jax.text_files import is_utf16
from mmre_jax.weights.hub import WeightError

LONGEST = 1 << 20  # bytes of a line; a vector of 10,000 numbers takes a fifth of it
PACKED = {b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "packed by gzip"}


@dataclasses.dataclass(frozen=True, eq=False)
class Vectors:
    """What a file has of some words.

    places: int [n], which of the words.  values: float32 [n, D], their vectors.
    lower: how many of them the file has in lower case only.
    words: of how many words they are.
    """

    places: np.ndarray
    values: np.ndarray
    lower: int
    words: int

    def counts(self) -> dict[str, int]:
        """In words, for the log and metrics.json."""
        found = len(self.places)
        return {"words": self.words, "found": found - self.lower, "found in lower case": self.lower, "random": self.words - found}


def width_of(path: str) -> int:
    """How long a file's vectors are.

    Raises:
      WeightError: for a file that is not there, or whose first line is no vector.
    """
    _, words, numbers = next(_lines(path, 0), (1, b"", []))
    if not words:
        raise WeightError(f"{path}: no vectors: the file is empty")
    return len(numbers)


def read(path: str, words: Sequence[str], width: int) -> Vectors:
    """The vectors of words: a word's own where the file has it, else that of the word in lower case.

    Of a word that stands there twice it is the first.

    Args:
      words: different ones.
      width: D, of a vector.

    Raises:
      WeightError: naming file and line, for a line that has another number of numbers; of a word that is asked for, for one that is none;
        for more or fewer words than a first line of word2vec's tells.
    """
    own = {word.encode("utf-8", "surrogatepass"): place for place, word in enumerate(words)}
    lower: dict[bytes, list[int]] = {}
    for place, word in enumerate(words):
        lower.setdefault(word.lower().encode("utf-8", "surrogatepass"), []).append(place)
    exact: dict[int, np.ndarray] = {}
    other: dict[int, np.ndarray] = {}
    for number, word, numbers in _lines(path, width):
        places = lower.get(word, ())
        if word not in own and not places:
            continue
        vector = _vector(numbers, f"{path}:{number}")
        if word in own:
            exact.setdefault(own[word], vector)
        for place in places:
            other.setdefault(place, vector)
    found = {**other, **exact}
    places = np.array(sorted(found), np.int64)
    values = np.stack([found[place] for place in places.tolist()]) if found else np.zeros((0, width), np.float32)
    return Vectors(places, values, len(found.keys() - exact.keys()), len(words))


def _lines(path: str, width: int) -> Iterator[tuple[int, bytes, list[bytes]]]:
    """(number of the line, word, its numbers as they are written) of a file. width: of a vector; 0: as the first line has it."""
    if storage.is_remote(path):
        raise WeightError(f"{path}: word vectors are read from a disk: copy them there first")
    if not Path(path).expanduser().is_file():
        raise WeightError(f"{path}: there is no such file of word vectors")
    if is_lfs_pointer(path):
        raise WeightError(lfs_message(path))
    with Path(path).expanduser().open("rb") as file:
        head = file.read(4)
        if packed := [what for magic, what in PACKED.items() if head.startswith(magic)]:
            raise WeightError(f"{path} is {packed[0]}: unpack it first")
        if is_utf16(head):
            raise WeightError(f"{path}: not UTF-8 text but UTF-16: save it as UTF-8")
        file.seek(len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0)
        number, told = 0, None
        while line := file.readline(LONGEST):
            number += 1
            if len(line) == LONGEST:
                raise WeightError(f"{path}:{number}: longer than {LONGEST:,} bytes: not a line of a word and its vector")
            fields = line.rstrip(b" \t\r\n").split(b" ")
            if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
                _check_width(int(fields[1]), width, f"{path}:1")
                told, width = int(fields[0]), int(fields[1])
                continue
            if fields == [b""]:
                raise WeightError(f"{path}:{number}: an empty line, expected a word and its vector")
            width = width or sum(1 for _ in _numbers_at_end(fields))
            words = len(fields) - width
            # A word with spaces in it, unless all that stands behind its first part are numbers.
            if words < 1 or not width or (words > 1 and all(map(_is_number, fields[1:words]))):
                _check_width(len(fields) - 1, width, f"{path}:{number}")
                raise WeightError(f"{path}:{number}: expected a word and its vector, found {line[:80]!r}")
            yield number, b" ".join(fields[:words]), fields[words:]
        if number > 1 and told not in (None, number - 1):
            raise WeightError(f"{path}:1: {told:,} words are told, and {number - 1:,} lines stand there: was the file cut off?")


def _numbers_at_end(fields: Sequence[bytes]) -> Iterator[bytes]:
    for field in reversed(fields[1:]):
        if not _is_number(field):
            return
        yield field


def _check_width(found: int, width: int, where: str) -> None:
    if width and found != width:
        raise WeightError(f"{where}: a vector of {found} numbers, expected {width}")


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _vector(numbers: Sequence[bytes], where: str) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            vector = np.array([float(number) for number in numbers], np.float32)
    except ValueError as error:
        wrong = next(number for number in numbers if not _is_number(number))
        raise WeightError(f"{where}: expected {len(numbers)} numbers behind the word, found {wrong[:40]!r}") from error
    if not np.isfinite(vector).all():
        raise WeightError(f"{where}: a number that is not finite in float32, {numbers[int(np.argmin(np.isfinite(vector)))][:40]!r}")
    return vector
