"""An array of pictures gives back the rows that were written, and a file that is not such an array is refused."""

import numpy as np
import pytest

from mmre_jax.data.arrays import ABSENT, PictureFile, open_pictures

SIDE = 4


def pixels(count):
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def write(path, rows):
    with PictureFile(path, SIDE) as file:
        assert [file.append(row) for row in rows] == list(range(1, len(rows) + 1))
    return file.checksum


@pytest.mark.parametrize("count", [0, 1, 123])
def test_rows_come_back_behind_a_black_one(tmp_path, count):
    write(tmp_path / "a.npy", pixels(count))
    found = open_pictures(tmp_path / "a.npy", SIDE)
    np.testing.assert_array_equal(found, np.load(tmp_path / "a.npy", allow_pickle=False))
    np.testing.assert_array_equal(found[1:], pixels(count))
    assert not found[ABSENT].any() and not found.flags.writeable


def test_the_checksum_is_that_of_the_pictures(tmp_path):
    sums = [write(tmp_path / f"{n}.npy", rows) for n, rows in enumerate((pixels(3), pixels(3), pixels(3)[::-1], pixels(2)))]
    assert sums[0] == sums[1] and len(set(sums)) == 3


@pytest.mark.parametrize("wrong", [np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE, 3), np.int32)])
def test_other_pictures_do_not_go_in(tmp_path, wrong):
    with pytest.raises(ValueError, match="a picture of this file is uint8 .4, 4, 3., found"), PictureFile(tmp_path / "a.npy", SIDE) as file:
        file.append(wrong)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def longer(path):
    path.write_bytes(path.read_bytes() + b"\0")


def beheaded(path):
    path.write_bytes(path.read_bytes()[:70])


def objects(path):
    np.save(path, np.array([{}], object), allow_pickle=True)


def columns(path):
    np.save(path, np.asfortranarray(pixels(2)))


CHANGES = {
    cut: "271 bytes, where 3 pictures of 4 pixels have 272",
    longer: "where 3 pictures of 4 pixels have .*: prepare the data set again",
    beheaded: "no array of pictures",
    objects: "expected uint8 .N, 4, 4, 3., row by row, found object",
    columns: "expected uint8 .N, 4, 4, 3., row by row",
    lambda path: np.save(path, pixels(2)[0]): "found uint8 .4, 4, 3.",
    lambda path: np.save(path, pixels(2)[:0]): "expected uint8",
    lambda path: np.save(path, pixels(2).astype(np.int8)): "found int8",
    lambda path: path.write_bytes(b"not numpy"): "no array of pictures",
    lambda path: path.unlink(): "no array of pictures .No such file",
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_no_array_of_pictures_is_refused(tmp_path, change):
    path = tmp_path / "a.npy"
    write(path, pixels(2))
    change(path)
    with pytest.raises(ValueError, match=f"a.npy: .*({CHANGES[change]})"):
        open_pictures(path, SIDE)
