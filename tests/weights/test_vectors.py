"""Word vectors from files: both formats, whole words and lower case, and files that are none."""

import gzip
import re

import numpy as np
import pytest

from mmre_jax.weights import vectors
from mmre_jax.weights.hub import WeightError

GLOVE = "the 0.5 -1 2e-1\nparis 1 2 3\nParis 4 5 6\n. . . 7 8 9\nöl 1 1 1\nparis 9 9 9\n"


def written(tmp_path, text):
    path = tmp_path / "vectors.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def test_words_get_their_own_vectors_or_those_in_lower_case(tmp_path):
    words = ["Paris", "PARIS", "paris", "Öl", "nowhere", "The", ". . ."]
    found = vectors.read(written(tmp_path, GLOVE), words, 3)
    assert found.places.tolist() == [0, 1, 2, 3, 5, 6]
    expected = [[4, 5, 6], [1, 2, 3], [1, 2, 3], [1, 1, 1], [0.5, -1, 0.2], [7, 8, 9]]
    np.testing.assert_array_equal(found.values, np.array(expected, np.float32))
    assert found.counts() == {"words": 7, "found": 3, "found in lower case": 3, "random": 1}


def test_the_head_of_word2vec_is_no_word(tmp_path):
    path = written(tmp_path, "2 3\r\nada 1 2 3 \r\n2 4 5 6 \r\n")
    assert vectors.width_of(path) == 3
    found = vectors.read(path, ["ada", "2"], 3)
    assert found.places.tolist() == [0, 1] and found.values.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_mark_at_the_head_is_no_part_of_the_first_word(tmp_path):
    found = vectors.read(written(tmp_path, "\ufeff" + GLOVE), ["the"], 3)
    assert found.places.tolist() == [0]


def test_of_nothing_that_is_there_nothing_is_found(tmp_path):
    found = vectors.read(written(tmp_path, GLOVE), ["Oslo"], 3)
    assert found.values.shape == (0, 3) and found.counts()["random"] == 1


@pytest.mark.parametrize(("text", "width"), [("the 1 2 3\n", 3), (". . . 1 2\n", 2), ("1 2 3 4\n", 3), ("1 5\nx 1 2 3 4 5\n", 5)])
def test_the_first_line_says_how_long_vectors_are(tmp_path, text, width):
    assert vectors.width_of(written(tmp_path, text)) == width


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the 1 2 3\nada 1 2\n", ":2: a vector of 2 numbers, expected 3"),
        ("the 1 2 3\nada 1 2 3 4\n", ":2: a vector of 4 numbers, expected 3"),
        ("the 1 2 3\nada\n", ":2: a vector of 0 numbers, expected 3"),
        ("the 1 2 3\n\nada 1 2 3\n", ":2: an empty line, expected a word and its vector"),
        ("the 1 2 3\nada 1 x 3\n", ":2: expected 3 numbers behind the word, found b'x'"),
        ("the 1 2 3\nada 1 nan 3\n", ":2: a number that is not finite in float32, b'nan'"),
        ("the 1 2 3\nada 1 2 1e39\n", ":2: a number that is not finite in float32, b'1e39'"),
        ("1 4\nada 1 2 3 4\n", ":1: a vector of 4 numbers, expected 3"),
        ("4 3\nthe 1 2 3\nada 1 2 3\n", ":1: 4 words are told, and 2 lines stand there: was the file cut off?"),
        (b"the 1 2 3\n" + b"x" * vectors.LONGEST, ":2: longer than 1,048,576 bytes"),
        (gzip.compress(b"the 1 2 3\n", mtime=0), " is packed by gzip: unpack it first"),
        (b"PK\x03\x04rest", " is a zip archive: unpack it first"),
        ("the 1 2 3\n".encode("utf-16"), ": not UTF-8 text but UTF-16"),
        ("version https://git-lfs.github.com/spec/v1\n", " is a Git LFS pointer"),
    ],
)
def test_what_is_wrong_is_told_by_file_and_line(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(WeightError, match=re.escape(path + message)) as error:
        vectors.read(path, ["ada"], 3)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": no vectors: the file is empty"),
        ("3 5\n", ": no vectors: the file is empty"),
        ("words and words\n", ":1: expected a word and its"),
    ],
)
def test_a_file_without_vectors_is_told(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(WeightError, match=re.escape(path + message)):
        vectors.width_of(path)


def test_a_file_that_is_not_on_this_disk_is_told(tmp_path):
    with pytest.raises(WeightError, match="there is no such file of word vectors"):
        vectors.width_of(str(tmp_path / "none.txt"))
    with pytest.raises(WeightError, match="s3://bucket/glove.txt: word vectors are read from a disk"):
        vectors.width_of("s3://bucket/glove.txt")
