"""Pictures: every kind of file becomes the same RGB pixels, damaged ones a clear error, absent ones zeros and False."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmre_jax.data import pictures
from mmre_jax.data.pictures import MissingPicture, PictureError, Slot, cut, fit, gather, inside, probe, read_picture
from mmre_jax.records import Record, Region

HALF = ((0.5,) * 3, (0.5,) * 3)
PHOTO = Slot("photo", 1, 32, "photo", "crop", *HALF)
DETECTED = Slot("detected", 2, 16, "detected", "squash", *HALF)
GROUNDED = Slot("grounded", 3, 16, "grounded", "squash", *HALF)


def noise(width=40, height=30, seed=0, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def saved(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return str(path)


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0"))


# read_picture


def test_lossless_formats_keep_their_pixels(tmp_path):
    array = noise()
    for suffix in ("png", "bmp", "tiff", "ppm"):
        picture = read_picture(saved(tmp_path / f"a.{suffix}", array))
        assert picture.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(picture), array)


def test_palette_and_grey(tmp_path):
    Image.fromarray(noise()).quantize(16).save(tmp_path / "p.png")
    np.testing.assert_array_equal(np.asarray(read_picture(tmp_path / "p.png")), np.asarray(Image.open(tmp_path / "p.png").convert("RGB")))
    grey = noise()[..., 0]
    for name, array in (("g.png", grey), ("g16.png", grey.astype(np.uint16) << 8)):
        np.testing.assert_array_equal(np.asarray(read_picture(saved(tmp_path / name, array))), np.stack([grey] * 3, -1))


def test_transparent_parts_are_white(tmp_path):
    array = noise(channels=4)
    array[..., 3] = 255
    array[:5, :, 3] = 0
    pixels = np.asarray(read_picture(saved(tmp_path / "a.png", array)))
    assert (pixels[:5] == 255).all()
    np.testing.assert_array_equal(pixels[5:], array[5:, :, :3])


def test_transparent_palette(tmp_path):
    image = Image.fromarray(noise()).quantize(4)
    image.save(tmp_path / "a.png", transparency=bytes([0, 255, 255, 255]))
    pixels, index = np.asarray(read_picture(tmp_path / "a.png")), np.asarray(image)
    assert (pixels[index == 0] == 255).all()
    np.testing.assert_array_equal(pixels[index != 0], np.asarray(image.convert("RGB"))[index != 0])


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert np.asarray(read_picture(tmp_path / "a.gif")).reshape(-1, 3).tolist() == [[255, 0, 0]] * 200


def test_cmyk(tmp_path):
    Image.new("RGB", (16, 16), (200, 30, 60)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    pixels = np.asarray(read_picture(tmp_path / "a.jpg")).astype(int)
    assert np.abs(pixels - [200, 30, 60]).max() <= 4


def test_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to look at it
    array = noise()
    picture = read_picture(saved(tmp_path / "a.png", array, exif=exif))
    np.testing.assert_array_equal(np.asarray(picture), np.rot90(array, -1))


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "bmp"])
def test_truncated(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    saved(path, noise(200, 200))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    for look in (read_picture, probe):  # what is checked before training is what would be masked in it
        with pytest.raises(PictureError, match=rf"a\.{suffix}: (damaged picture|not a picture)"):
            look(path)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("size", [(60_000, 60_000), (10_000, 10_000), (7_100, 7_100)])
def test_zip_bomb_is_not_decoded(tmp_path, size, strict, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    (tmp_path / "a.png").write_bytes(png_header(*size))
    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "ignore")
        with pytest.raises(PictureError, match="a.png.*[pP]ixels|a.png.*decompression bomb"):
            read_picture(tmp_path / "a.png")


def test_not_pictures(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"<html>404</html>")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    for name in ("a.jpg", "empty.jpg", "a.eps"):
        with pytest.raises(PictureError, match="not a picture"):
            read_picture(tmp_path / name)
    with pytest.raises(PictureError, match="damaged picture"):
        read_picture(tmp_path)
    with pytest.raises(MissingPicture, match="none.jpg: no such file"):
        read_picture(tmp_path / "none.jpg")


# inside


def test_inside_accepts_relative_names(tmp_path):
    assert inside(tmp_path, "a/b.jpg", "r") == str(tmp_path / "a" / "b.jpg")
    assert inside(tmp_path, "a\\..b.jpg", "r") == str(tmp_path / "a" / "..b.jpg")


ESCAPES = ["", " ", "/etc/passwd", "../a.jpg", "a/../../b.jpg", "..\\a.jpg", "C:\\a.jpg", "\\\\host\\a", "a\0.jpg", ".."]


@pytest.mark.parametrize("name", ESCAPES)
def test_inside_refuses_escapes(tmp_path, name):
    with pytest.raises(PictureError, match="posts.jsonl:3 image"):
        inside(tmp_path, name, "posts.jsonl:3 image")


# cut and fit


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.data())
def test_boxes_of_whole_pixels_are_cut_exactly(width, height, data):
    x = sorted(data.draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    y = sorted(data.draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True)))
    array = noise(width, height)
    part = cut(Image.fromarray(array), (x[0] / width, y[0] / height, x[1] / width, y[1] / height))
    np.testing.assert_array_equal(np.asarray(part), array[y[0] : y[1], x[0] : x[1]])


def test_boxes_are_rounded_outward_to_at_least_a_pixel():
    image = Image.fromarray(noise(10, 10))
    assert cut(image, (0.11, 0.11, 0.19, 0.25)).size == (1, 2)
    assert cut(image, (0.999999, 0.0, 1.0, 0.000001)).size == (1, 1)
    assert cut(image, (0.3, 0.3, 0.300001, 0.300001)).size == (1, 1)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64))
def test_squash_is_a_plain_resize(width, height, side):
    image = Image.fromarray(noise(width, height))
    np.testing.assert_array_equal(fit(image, side, "squash"), np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)))


@settings(max_examples=50, deadline=None)
@given(st.integers(8, 300), st.integers(8, 300), st.sampled_from([28, 32, 56]), st.sampled_from(["crop", "cover"]))
def test_crop_and_cover_are_resize_then_centre_crop(width, height, side, resize):
    image = Image.fromarray(noise(width, height) // 2 + 64)  # without overshoots, which Pillow clips between its two passes
    target = round(side * 256 / 224) if resize == "crop" else side
    w, h = (target, target * height // width) if width <= height else (target * width // height, target)
    left, top = round((w - side) / 2), round((h - side) / 2)
    expected = np.asarray(image.resize((w, h), Image.Resampling.BICUBIC).crop((left, top, left + side, top + side)))
    assert np.abs(fit(image, side, resize).astype(int) - expected).max() <= 2


def test_a_needle_costs_no_memory():
    assert fit(Image.new("RGB", (1, 50_000), "red"), 224, "crop").tolist() == [[[255, 0, 0]] * 224] * 224


# gather


@pytest.fixture
def record(tmp_path):
    photo, crop = saved(tmp_path / "photo.png", noise(80, 60)), saved(tmp_path / "crop.png", noise(20, 20, 1))
    boxes = [(0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 1.0, 1.0), (0.5, 0.5, 1.0, 1.0)]
    return Record(
        id="r",
        words=("a",),
        image=photo,
        regions=(
            Region(box=boxes[0]),
            Region(box=boxes[1], file=crop, source="grounded"),
            Region(box=boxes[1]),
            Region(box=boxes[2], file=str(tmp_path / "none.png"), source="grounded"),
            Region(box=boxes[2]),
            Region(file=str(tmp_path / "none.png"), source="grounded"),
        ),
    )


def test_gather(record):
    pixels, present = gather(record, (PHOTO, DETECTED, GROUNDED))
    photo, crop = read_picture(record.image), read_picture(record.regions[1].file)
    found = {name: value.tolist() for name, value in present.items()}
    assert found == {"photo": [True], "detected": [True, True], "grounded": [True, True, False]}
    assert all(value.dtype == np.uint8 for value in pixels.values())
    np.testing.assert_array_equal(pixels["photo"], fit(photo, 32, "crop")[None])
    expected = [fit(cut(photo, (0.0, 0.0, 0.5, 0.5)), 16, "squash"), fit(cut(photo, (0.25, 0.25, 1.0, 1.0)), 16, "squash")]
    np.testing.assert_array_equal(pixels["detected"], np.stack(expected))
    expected = [fit(crop, 16, "squash"), fit(cut(photo, (0.5, 0.5, 1.0, 1.0)), 16, "squash"), np.zeros((16, 16, 3), np.uint8)]
    np.testing.assert_array_equal(pixels["grounded"], np.stack(expected))


def test_gather_decodes_a_photo_once(record):
    read = []
    gather(record, (PHOTO, DETECTED), lambda path: read.append(path) or read_picture(path))
    assert read == [record.image]


def test_gather_of_damaged_and_absent_pictures(record, tmp_path):
    (tmp_path / "photo.png").write_bytes(b"no")
    (tmp_path / "crop.png").write_bytes(b"no")  # damaged: not replaced by the box, since the photo is another file
    for case in (record, Record(id="r", words=("a",))):
        pixels, present = gather(case, (PHOTO, DETECTED, GROUNDED))
        assert not any(value.any() for value in (*pixels.values(), *present.values()))
        assert pixels["grounded"].shape == (3, 16, 16, 3) and present["grounded"].shape == (3,)


# plans


def test_plan_round_trip():
    plan = (PHOTO, DETECTED, GROUNDED)
    assert pictures.plan_from_json(pictures.plan_to_json(plan)) == plan


def test_bad_plans():
    with pytest.raises(ValueError, match="source is one of"):
        Slot("a", 1, 8, "web", "crop", *HALF)
    with pytest.raises(ValueError, match="resize is one of"):
        Slot("a", 1, 8, "photo", "pad", *HALF)
    with pytest.raises(ValueError, match="one photo"):
        Slot("a", 2, 8, "photo", "crop", *HALF)
    with pytest.raises(ValueError, match="at least 1"):
        Slot("a", 1, 0, "photo", "crop", *HALF)
    with pytest.raises(ValueError, match="std above 0"):
        Slot("a", 1, 8, "photo", "crop", (0.0, 0.0, 0.0), (1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="different names"):
        pictures.check_plan((PHOTO, PHOTO))
    with pytest.raises(ValueError, match="a slot has the keys"):
        pictures.plan_from_json([{"name": "a"}])
