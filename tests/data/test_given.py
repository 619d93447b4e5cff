"""Pictures that are given as themselves: the same pixels as of their file, and clear words for what is none."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from mmre_jax.data import datasets
from mmre_jax.data import given as module
from mmre_jax.data.decode import PictureError
from mmre_jax.data.given import Given, given

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
RGBA = RNG.integers(0, 256, (20, 30, 4), dtype=np.uint8)
GREY = RGB[..., 0]
READERS = (datasets.read_picture, datasets.read_released)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("pixels", [RGB, RGBA, GREY], ids=["RGB", "RGBA", "grey"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_every_way_gives_the_pixels_of_the_file(tmp_path, ending, pixels, orientation):
    path = tmp_path / f"photo.{ending}"
    if ending == "jpg" and pixels is RGBA:
        pixels = RGB
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    data = path.read_bytes()
    with path.open("rb") as file, Image.open(path) as image:
        ways = [given(way, "x") for way in (path, data, bytearray(data), io.BytesIO(data), file)]
        if ending != "tif" or orientation == 1:  # which Pillow turns itself while it loads it, and not in every mode
            ways.append(given(image, "x"))
    for reader in READERS:
        wanted = np.asarray(reader(str(path)))
        for way in (*ways, *(pickle.loads(pickle.dumps(way)) for way in ways)):
            np.testing.assert_array_equal(np.asarray(reader(way)), wanted)


@pytest.mark.parametrize("pixels", [RGB, RGBA, GREY], ids=["RGB", "RGBA", "grey"])
def test_an_array_is_its_pixels(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for reader in READERS:
        np.testing.assert_array_equal(np.asarray(reader(given(pixels, "x"))), np.asarray(reader(str(tmp_path / "a.png"))))


def test_sixteen_bits_as_of_the_file(tmp_path):
    for ending in ("png", "tif"):
        Image.fromarray(RNG.integers(0, 2**16, (8, 9), dtype=np.uint16)).save(path := tmp_path / f"deep.{ending}")
        with Image.open(path) as image:
            way = given(image, "x")
        for reader in READERS:
            np.testing.assert_array_equal(np.asarray(reader(way)), np.asarray(reader(str(path))))


def test_equal_pictures_have_equal_names_and_others_do_not():
    assert given(RGB, "x") == given(RGB.copy(), "y") == given(Image.fromarray(RGB), "x")
    assert len({given(pixels, "x") for pixels in (RGB, RGB[::-1], RGB.reshape(30, 20, 3), RGBA, GREY)}) == 5
    assert given(None, "x") is None
    one = given(RGB, "x")
    assert isinstance(one, Given) and given(one, "x") is one


def test_what_is_given_may_be_changed_afterwards():
    pixels, image = RGB.copy(), Image.fromarray(RGB)
    kept = [given(pixels, "x"), given(image, "x")]
    pixels[:] = 0
    image.paste("black", (0, 0, *image.size))
    image.close()
    for way in kept:
        np.testing.assert_array_equal(np.asarray(datasets.read_picture(way)), RGB)


def test_damage_is_told_when_it_is_read(tmp_path):
    Image.fromarray(RGB).save(path := tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:500])
    with path.open("rb") as file, Image.open(path) as image:
        held_all = [given(way, "x") for way in (path.read_bytes(), file, image)]
    for held in held_all:
        with pytest.raises(PictureError, match=r"^<(picture \w+|a Pillow image of 30 x 20 pixels)>: damaged picture"):
            datasets.read_picture(held)
        assert not datasets.readable(held)
    with pytest.raises(PictureError, match=r"^<picture \w+>: not a picture"):
        datasets.read_picture(given(b"<html></html>", "x"))


def test_limits_are_those_of_files(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    for way in (b"x" * 11, io.BytesIO(b"x" * 11)):
        with pytest.raises(PictureError, match="x: more than 10 bytes are not read"):
            given(way, "x")
    with pytest.raises(PictureError, match="8000 x 8000 pixels, more than 50,000,000 are not decoded"):
        datasets.read_picture(given(Image.new("1", (8000, 8000)), "x"))
    with pytest.raises(PictureError, match="damaged picture \\(0 x 4 pixels\\)"):
        datasets.read_picture(given(Image.new("RGB", (0, 4)), "x"))


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("https://a.org/b.jpg", "'https://a.org/b.jpg' is a URL, and pictures are read from files: fetch it first"),
        ("data:image/png;base64,AAAA", "is a URL"),
        (np.zeros((2, 3, 3)), r"is uint8 \[H, W\], \[H, W, 3\] or \[H, W, 4\], found float64 \[2, 3, 3\]"),
        (np.zeros((3, 4, 2), np.uint8), r"found uint8 \[3, 4, 2\]"),
        (np.zeros((0, 4, 3), np.uint8), r"found uint8 \[0, 4, 3\]"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"found uint8 \[1, 4, 4, 3\]"),
        (b"", "no bytes in it; an open file that was read before is at its end"),
        (io.StringIO("text"), "gives str, not bytes: open it with 'rb'"),
        (17, "a picture is a path, bytes, an open file, a Pillow image or an array, found int"),
    ],
)
def test_what_is_no_picture_is_told_at_once(picture, message):
    with pytest.raises(PictureError, match=f"^post 3: image: .*{message}"):
        given(picture, "post 3: image")


def test_a_closed_file_and_one_for_writing(tmp_path):
    with (tmp_path / "a").open("wb") as file, pytest.raises(PictureError, match="x: the open file cannot be read"):
        given(file, "x")
    with pytest.raises(PictureError, match="x: the open file cannot be read"):
        given(file, "x")
