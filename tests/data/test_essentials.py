"""A picture file without its metadata has the same pixels, says nothing else, and is made of anything without an error."""

import io
import pathlib
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from picture_files import chunk, encoded, header, noise, smooth

from mmre_jax.data.essentials import all_scans, essentials, restarts, rows_end_early

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MAGIC = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF????WEBPVP8X", b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0", b""]


def metadata(kind):
    tags = Image.Exif()
    tags[0x0112], tags[0x010E] = 8, "a description"
    options = {"exif": tags, "icc_profile": PROFILE}
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", "a comment", zip=True)
        return {**options, "pnginfo": text, "dpi": (72, 72)}
    return {**options, **({"comment": "a comment", "dpi": (72, 72)} if kind == "JPEG" else {})}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_same_pixels_and_nothing_else(kind):
    whole = encoded(smooth(), kind, **metadata(kind))
    parts = essentials(whole)
    assert (parts.format, parts.orientation) == (kind, 8)
    for secret in (b"a description", b"a comment", PROFILE[:40], b"Exif\0\0") if kind != "TIFF" else ():
        assert secret not in parts.data
    with Image.open(io.BytesIO(whole)) as theirs, Image.open(io.BytesIO(parts.data)) as ours:
        theirs.load()
        upright = theirs.transpose(Image.Transpose.ROTATE_270) if theirs.size != ours.size else theirs  # Pillow turns TIFFs itself
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(upright))
        assert not set(ours.info) & {"exif", "icc_profile", "xmp", "comment", "Comment"}
    assert essentials(parts.data).data == parts.data


def test_other_formats_are_left_as_they_are():
    for kind in ("GIF", "BMP", "PPM"):
        data = encoded(smooth(), kind)
        assert essentials(data).data is data and essentials(data).format is None


@given(st.sampled_from(MAGIC), st.binary(max_size=80))
def test_raises_nothing(magic, rest):
    assert 1 <= essentials(magic + rest).orientation <= 8


@given(st.sampled_from(b"IHDR tRNS PLTE eXIf zTXt iTXt tEXt".split()), st.binary(max_size=40), st.integers(0, 17), st.integers(0, 7))
def test_raises_nothing_of_any_chunk(kind, body, depth, colour):
    for key in (b"", b"XML:com.adobe.xmp\0", b"Raw profile type exif\0"):
        essentials(MAGIC[0] + header(3, 4, depth, colour) + chunk(kind, key + body))


def test_scans_of_a_jpeg():
    jpeg = encoded(smooth(), "JPEG", progressive=True)
    begins = [i for i in range(len(jpeg)) if jpeg[i : i + 2] == b"\xff\xda"]
    assert len(begins) > 2 and all_scans(jpeg)
    assert not any(all_scans(jpeg[:begin]) for begin in begins)
    assert all_scans(jpeg[: begins[-1] + 30]) and all_scans(encoded(smooth(), "JPEG")) and not all_scans(b"\xff\xd8\xff")


def test_restarts_of_a_jpeg():
    assert restarts(encoded(smooth(), "JPEG")) == 0
    for rows in (1, 2, 4, 9):  # of blocks of 16 lines: a marker between each two
        jpeg = encoded(Image.fromarray(noise(16, 16 * rows)), "JPEG", restart_marker_rows=1)
        assert restarts(jpeg) == (rows - 1) % 8


def test_rows_of_a_png():
    whole = encoded(smooth(), "PNG")
    assert not rows_end_early(whole)
