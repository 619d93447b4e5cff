"""Orientation is read as Pillow reads it, from whatever else stands in the block, and garbage gives none."""

import warnings

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmre_jax.data.exif import orientation, upright

TEXTS = {0x010E: st.text("abc", max_size=9), 0x0131: st.text("abc", min_size=1), 0x0100: st.integers(0, 2**16 - 1)}


@given(st.sampled_from("<>"), st.integers(0, 9), st.fixed_dictionaries({}, optional=TEXTS))
def test_as_pillow_reads_it(order, value, others):
    tags = Image.Exif()
    tags.endian = order
    for tag, content in {**others, 0x0112: value}.items():
        tags[tag] = content
    block = tags.tobytes()
    again = Image.Exif()
    again.load(block)
    assert again[0x0112] == value
    assert orientation(block) == orientation(block.removeprefix(b"Exif\0\0")) == (value if 1 <= value <= 8 else None)


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda rest: b"II*\0\x08\0\0\0" + rest)))
def test_garbage_is_none_or_an_orientation(block):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert orientation(block) in (None, 1, 2, 3, 4, 5, 6, 7, 8)


def test_exif_comes_before_xmp():
    tags = Image.Exif()
    tags[0x0112] = 3
    xmp = b"<tiff:Orientation>6</tiff:Orientation>"
    assert upright([xmp, tags.tobytes()]) == 3 and upright([b"II*\0garbage", xmp]) == 6 and upright([b"garbage"]) == upright([]) == 1
    for text in (b"tiff:Orientation='8'", b'tiff:Orientation = "8"', b"<tiff:Orientation> 8 </tiff:Orientation>"):
        assert orientation(text) == 8
    for text in (b'tiff:Orientation="10"', b'tiff:Orientation="0"', b'tiff:Orientation="a"', b"tiff:Orientation"):
        assert orientation(text) is None
