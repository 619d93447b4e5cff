"""Decoding: every kind of file becomes the same RGB pixels, metadata decides nothing but the orientation, damaged ones a clear error."""

import os
import pathlib
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import picture_files as files
from picture_files import chunk, encoded, noise, saved, segment, smooth

from mmre_jax.data.decode import MissingPicture, PictureError, read_picture, refuse_url

JPEGS = {"baseline": {}, "progressive": {"progressive": True}, "restarts": {"restart_marker_rows": 1}, "fine": {"quality": 100}}
FORMATS = {
    **{name: ("JPEG", options) for name, options in JPEGS.items()},
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "ppm": ("PPM", {}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "tiff": ("TIFF", {}),
    "lzw tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "jpeg tiff": ("TIFF", {"compression": "jpeg"}),
}


@pytest.fixture
def look(tmp_path):
    """Bytes -> pixels, or the message of the PictureError. Anything else that is raised fails the test."""

    def read(data):
        path = tmp_path / "picture"
        path.write_bytes(data)
        try:
            return np.asarray(read_picture(path))
        except PictureError as error:
            return str(error).removeprefix(f"{path}: ")

    return read


# What is in a picture


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
    for name, array in (("g.png", grey), ("g16.png", grey.astype(np.uint16) << 8), ("g16.tiff", grey.astype(np.uint16) << 8)):
        np.testing.assert_array_equal(np.asarray(read_picture(saved(tmp_path / name, array))), np.stack([grey] * 3, -1))


def test_transparent_parts_are_white(tmp_path):
    array = noise(channels=4)
    array[..., 3] = 255
    array[:5, :, 3] = 0
    pixels = np.asarray(read_picture(saved(tmp_path / "a.png", array)))
    assert (pixels[:5] == 255).all()
    np.testing.assert_array_equal(pixels[5:], array[5:, :, :3])
    grey = Image.fromarray(array).convert("LA")
    grey.save(tmp_path / "la.png")
    pixels = np.asarray(read_picture(tmp_path / "la.png"))
    assert (pixels[:5] == 255).all()
    np.testing.assert_array_equal(pixels[5:, :, 0], np.asarray(grey)[5:, :, 0])


def test_transparent_palette(tmp_path):
    image = Image.fromarray(noise()).quantize(4)
    image.save(tmp_path / "a.png", transparency=bytes([0, 255, 255, 255]))
    pixels, index = np.asarray(read_picture(tmp_path / "a.png")), np.asarray(image)
    assert (pixels[index == 0] == 255).all()
    np.testing.assert_array_equal(pixels[index != 0], np.asarray(image.convert("RGB"))[index != 0])


@pytest.mark.parametrize("colour, depth", [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16)])
def test_one_transparent_colour(look, colour, depth):
    """The colour is written in the bits of the file: PNG specification, 11.3.2.1."""
    rng, samples = np.random.default_rng(depth), 1 if colour == 0 else 3
    values = rng.integers(0, 2**depth, (6, 8, samples), dtype=np.int64)
    clear = values[2, 3].copy()
    values[4, 5] = clear
    bits = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(6, -1, 2), axis=-1)[..., 16 - depth :].reshape(6, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
    parts = [files.header(8, 6, depth, colour), chunk(b"tRNS", struct.pack(f">{samples}H", *clear)), chunk(b"IDAT", zlib.compress(rows))]
    expected = values >> 8 if depth == 16 else values * 255 // (2**depth - 1)
    expected = np.broadcast_to(expected, (6, 8, 3)).copy()
    expected[(values == clear).all(-1)] = 255
    pixels = look(files.SIGNATURE + b"".join(parts) + chunk(b"IEND", b""))
    if (colour, depth) == (2, 16):  # compared by the high bytes, as the pixels are
        expected[(values >> 8 == clear >> 8).all(-1)] = 255
    np.testing.assert_array_equal(pixels, expected)


def test_first_frame_of_an_animation(look):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})):
        pixels = look(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
        assert pixels.reshape(-1, 3).tolist() == [[255, 0, 0]] * 200, kind
    assert np.abs(look(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])).astype(int) - (255, 0, 0)).max() <= 4


@pytest.mark.parametrize(
    "mode, kind", [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF"), ("LAB", "TIFF"), ("1", "PNG"), ("L", "JPEG")]
)
def test_colour_spaces(look, mode, kind):
    colour, image = (200, 30, 60), Image.new("RGB", (16, 16), (200, 30, 60))
    if mode == "LAB":
        spaces = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
        image = ImageCms.profileToProfile(image, *spaces, outputMode="LAB")
    elif mode in ("1", "L"):
        colour, image = (255, 255, 255), Image.new(mode, (16, 16), 255)
    else:
        image = image.convert(mode)
    options = {"quality": 95} if kind == "JPEG" else {"compression": "jpeg"} if mode == "YCbCr" else {}
    assert np.abs(look(encoded(image, kind, **options)).astype(int) - colour).max() <= 4


def test_an_uncompressed_ycbcr_tiff_is_right_or_refused(look):
    """Pillow reads it from version 13 on."""
    found = look(encoded(Image.new("RGB", (16, 16), (200, 30, 60)).convert("YCbCr"), "TIFF"))
    assert "damaged picture" in found if isinstance(found, str) else np.abs(found.astype(int) - (200, 30, 60)).max() <= 4


# Numbers without a range of their own


def test_integers_are_scaled_by_their_own_range(look):
    values = np.array([[70_000, 80_000, 100_000], [70_000, 75_000, 90_000]], np.int32)
    pixels = look(encoded(Image.fromarray(values), "TIFF"))
    assert pixels[..., 0].tolist() == [[0, 85, 255], [0, 42, 170]]
    assert look(encoded(Image.fromarray(values - 200_000), "TIFF")).tolist() == pixels.tolist()
    assert look(encoded(Image.fromarray(np.full((2, 2), -5, np.int32)), "TIFF")).tolist() == [[[128] * 3] * 2] * 2
    extremes = np.array([[-(2**31), 0, 2**31 - 1]], np.int32)
    assert look(encoded(Image.fromarray(extremes), "TIFF"))[..., 0].tolist() == [[0, 128, 255]]


def test_floats_are_scaled(look):
    within = np.array([[0.0, 0.5, 1.0], [0.25, 0.25, 0.2]], np.float32)
    assert look(encoded(Image.fromarray(within), "TIFF"))[..., 0].tolist() == [[0, 128, 255], [64, 64, 51]]
    assert look(encoded(Image.fromarray(within * 0 + 0.2), "TIFF"))[..., 0].tolist() == [[51] * 3] * 2
    for beyond in (within * 2 - 1, within * 1e6, within * 3e38, within + 7):
        assert np.abs(look(encoded(Image.fromarray(beyond), "TIFF"))[..., 0] - within * 255).max() <= 1
    assert look(encoded(Image.fromarray(within * 0 + 300), "TIFF"))[..., 0].tolist() == [[128] * 3] * 2
    for bad in (np.nan, np.inf, -np.inf):
        assert "NaN or infinite" in look(encoded(Image.fromarray(np.where(within == 0.5, np.float32(bad), within)), "TIFF"))


@pytest.mark.parametrize("bits", [12, 16])
def test_greys_of_more_than_8_bits_have_the_range_of_their_bits(look, bits):
    values = np.array([[0, 2 ** (bits - 1), 2**bits - 1, 0]])
    packed = np.packbits(np.unpackbits(values.astype(">u2").view(np.uint8).reshape(-1, 2), axis=-1)[:, 16 - bits :])
    word, short = (lambda value: struct.pack("<I", value)), (lambda value: struct.pack("<HH", value, 0))
    if bits == 16:
        packed = np.frombuffer(values.astype("<u2").tobytes(), np.uint8)
    entries = [(256, 3, 1, short(4)), (257, 3, 1, short(1)), (258, 3, 1, short(bits)), (259, 3, 1, short(1)), (262, 3, 1, short(1))]
    entries += [(273, 4, 1, word(8)), (277, 3, 1, short(1)), (278, 3, 1, short(1)), (279, 4, 1, word(packed.size))]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHI", *row[:3]) + row[3] for row in entries) + bytes(4)
    pixels = look(b"II*\0" + word(8 + packed.size) + packed.tobytes() + directory)
    assert pixels[0, :, 0].tolist() == [0, 128, 255, 0]


def test_greys_of_16_bits_in_a_pgm(look):
    assert look(b"P5\n3 1\n65535\n" + struct.pack(">3H", 0, 32768, 65535))[0, :, 0].tolist() == [0, 128, 255]


# Orientation

TURNED = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.transpose(1, 0, 2)}
TURNED |= {6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: np.rot90}
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("value", range(1, 9))
def test_orientation(look, value, order):
    array, block = noise(), files.exif(value, order)
    turned = TURNED.get(value, lambda a: a)
    raw = b"\nexif\n%8d\n" % (len(block) + 6) + (b"Exif\0\0" + block).hex().encode() + b"\n"
    xmp = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % value)
    for said in (chunk(b"eXIf", block), xmp, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw))):
        for place in ("before", "after"):
            np.testing.assert_array_equal(look(files.png(array, **{place: said})), turned(array))
    short = lambda value: struct.pack(order + "HH", value, 0)  # noqa: E731
    np.testing.assert_array_equal(look(files.tiff(array, [(274, 3, 1, short(value))], order)), turned(array))
    jpeg = encoded(smooth(), "JPEG")
    for body in (b"Exif\0\0" + block, b"http://ns.adobe.com/xap/1.0/\0" + XMP % value):
        np.testing.assert_array_equal(look(files.with_segments(jpeg, segment(0xE1, body))), turned(look(jpeg)))
    webp = encoded(smooth(), "WEBP", lossless=True, exif=b"Exif\0\0" + block)
    np.testing.assert_array_equal(look(webp), turned(np.asarray(smooth())))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_orientation_as_pillow_writes_it(look, kind):
    tags = Image.Exif()
    tags[0x0112], tags[0x010E] = 6, "a description"
    plain, options = look(encoded(smooth(), kind)), {"exif": tags} if kind != "JPEG" else {"exif": tags.tobytes()}
    np.testing.assert_array_equal(look(encoded(smooth(), kind, **options)), np.rot90(plain, -1))


def unreadable_exif():
    yield "garbage", b"\xde\xad\xbe\xef" * 9
    yield "empty", b""
    yield "header only", b"II*\0"
    yield "place beyond the end", b"II*\0\xff\xff\xff\xff"
    yield "count beyond the end", b"II*\0\x08\0\0\0\xff\xff"
    yield "BigTIFF of 2**63 entries", b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63)
    for value in (0, 9, 65535):
        yield f"orientation {value}", files.exif(value)
    yield "a letter", files.exif(ord("a"), kind=2)
    yield "a huge number", files.exif(2**31, kind=4)
    yield "negative", files.exif(-6, kind=9)
    yield "two numbers", files.exif(6, count=2)
    yield "unknown type", files.exif(6)[:12] + b"\x63\0" + files.exif(6)[14:]


@pytest.mark.parametrize("block", [pytest.param(block, id=name) for name, block in unreadable_exif()])
def test_unreadable_exif_leaves_the_pixels_as_they_are(look, block):
    array, jpeg = noise(), encoded(smooth(), "JPEG")
    for crc in (None, 0):
        for place in ("before", "after"):
            np.testing.assert_array_equal(look(files.png(array, **{place: chunk(b"eXIf", block, crc)})), array)
    np.testing.assert_array_equal(look(files.with_segments(jpeg, segment(0xE1, b"Exif\0\0" + block))), look(jpeg))
    webp = encoded(Image.fromarray(array), "WEBP", lossless=True, exif=b"Exif\0\0" + (block or b"\0"))
    np.testing.assert_array_equal(look(webp), array)
    np.testing.assert_array_equal(look(files.tiff(array, [(34665, 4, 1, b"\xff" * 4), (34853, 13, 9, b"\x01\0\0\0")])), array)


# Other metadata


def bombs():
    packed = zlib.compress(bytes(2**26))  # 64 MiB of nothing in 64 KiB
    yield "zTXt", chunk(b"zTXt", b"Comment\0\0" + packed)
    yield "iTXt", chunk(b"iTXt", b"Comment\0\1\0\0\0" + packed)
    yield "packed XMP", chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed)
    yield "packed Exif", chunk(b"zTXt", b"Raw profile type exif\0\0" + packed)
    yield "iCCP", chunk(b"iCCP", b"profile\0\0" + packed)
    yield "tEXt", chunk(b"tEXt", b"Comment\0" + b"x" * 2**21)
    yield "70 texts", chunk(b"tEXt", b"Comment\0" + b"x" * 2**20) * 70


def broken_chunks():
    for kind in (
        b"tEXt",
        b"zTXt",
        b"iTXt",
        b"iCCP",
        b"eXIf",
        b"gAMA",
        b"cHRM",
        b"sRGB",
        b"pHYs",
        b"acTL",
        b"fcTL",
        b"fdAT",
        b"prVt",
        b"tIME",
    ):
        for body in (b"", b"\xff" * 5, b"k\0\0" + b"\xff" * 40, bytes(60)):
            yield kind.decode(), chunk(kind, body)
        yield f"{kind.decode()}, wrong checksum", chunk(kind, bytes(40), crc=0)


@pytest.mark.parametrize("place", ["before", "after"])
def test_text_and_profiles_do_not_matter_in_a_png(look, place):
    array = noise()
    for name, damage in (*bombs(), *broken_chunks()):
        pixels = look(files.png(array, **{place: damage}))
        assert isinstance(pixels, np.ndarray) and (pixels == array).all(), (name, pixels)


def test_segments_do_not_matter_in_a_jpeg(look):
    jpeg = encoded(smooth(), "JPEG")
    for marker in (*range(0xE1, 0xF0), 0xFE, 0xE0):
        for body in (
            b"",
            b"\xff" * 40,
            b"Photoshop 3.0\x008BIM",
            b"ICC_PROFILE\0",
            b"ICC_PROFILE\0\x07\x09" + bytes(60_000),
            b"MPF\0II*\0\xff",
        ):
            np.testing.assert_array_equal(look(files.with_segments(jpeg, segment(marker, body) * 3)), look(jpeg))
    np.testing.assert_array_equal(look(jpeg[:20] + b"junk" + jpeg[20:]), look(jpeg))


def test_a_jpeg_keeps_the_segment_that_says_its_colours(look):
    image = Image.new("CMYK", (16, 16), (0, 200, 150, 20))
    jpeg = encoded(image, "JPEG", quality=95)
    assert np.abs(look(files.with_segments(jpeg, segment(0xE1, b"Exif\0\0?"))).astype(int) - np.asarray(image.convert("RGB"))).max() <= 4
    rgb = encoded(smooth(), "JPEG", keep_rgb=True, quality=95)
    assert np.abs(look(rgb).astype(int) - np.asarray(smooth())).max() < 30


def test_chunks_do_not_matter_in_a_webp(look):
    image = smooth()
    plain = encoded(image, "WEBP", lossless=True)
    pixels = plain[12:][8 : 8 + struct.unpack("<I", plain[16:20])[0]]
    canvas = struct.pack("<I", image.width - 1)[:3] + struct.pack("<I", image.height - 1)[:3]
    for flags in (0, 0b00101100, 0xFF ^ 0b10):
        wanted = bytes([flags]) + bytes(3) + canvas
        for extra in ([(b"ICCP", b"\xff")], [(b"EXIF", b"\xff" * 9), (b"XMP ", b"?")], [(b"what", bytes(99))], []):
            for parts in ([*extra, (b"VP8L", pixels)], [(b"VP8L", pixels), *extra]):
                np.testing.assert_array_equal(look(files.riff((b"VP8X", wanted), *parts)), np.asarray(image))
    whole = encoded(image, "WEBP", lossless=True, exif=b"Exif\0\0" + files.exif(1) + bytes(40))
    np.testing.assert_array_equal(look(whole[:-30]), np.asarray(image))  # cut in its Exif


def test_entries_do_not_matter_in_a_tiff(look):
    array = noise()
    for tag in (270, 282, 305, 700, 33723, 34377, 34665, 34675, 34853, 42112, 50341, 65000):
        for kind in (1, 2, 5, 13, 99):
            np.testing.assert_array_equal(look(files.tiff(array, [(tag, kind, 2**31, b"\xff" * 4)])), array)


# What is missing


@pytest.mark.parametrize("name", FORMATS)
def test_cut_short(look, name):
    """Wherever a file is cut, its pixels are all there or it is no picture."""
    kind, options = FORMATS[name]
    for image in (smooth(), smooth(33, 17).convert("L")):
        data = encoded(image, kind, **options)
        whole, step = look(data), max(1, len(data) // 60)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for length in [*range(0, len(data), step), *range(len(data) - 12, len(data))]:
                found = look(data[:length])
                assert isinstance(found, str) or np.array_equal(found, whole), length
        assert isinstance(look(data[: len(data) * 2 // 3]), str)


@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_without_end_marker(look, name):
    data = encoded(smooth(), "JPEG", **JPEGS[name])
    assert data.endswith(b"\xff\xd9")
    for cut in (data[:-2], data[:-1], data[:-2] + b"junk behind it"):
        np.testing.assert_array_equal(look(cut), look(data))
    assert look(data[:-12]) == "damaged picture (image data is truncated)" or "truncated" in look(data[:-12])


def test_png_without_end_marker(look):
    array = noise()
    for end in (b"", b"\0\0\0\0", chunk(b"IEND", b"")[:-1], chunk(b"IEND", b"", crc=0), chunk(b"nope", b"", length=99), b"\xff" * 20):
        np.testing.assert_array_equal(look(files.png(array, end=end)), array)
    np.testing.assert_array_equal(look(files.png(array, end=b"")[:-4]), array)  # nor a checksum


@pytest.mark.parametrize("interlaced", [0, 1])
def test_png_whose_stream_ends_early(look, interlaced):
    for array in (noise(), noise()[:1], noise()[:, :1]):
        height, width, _ = array.shape
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
        parts = [array[y::dy, x::dx] for x, y, dx, dy in passes] if interlaced else [array]
        rows = b"".join(b"\0" + row.tobytes() for part in parts for row in part if row.size)
        build = lambda rows: (  # noqa: E731
            files.SIGNATURE
            + files.header(width, height, interlaced=interlaced)  # noqa: B023
            + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b"")
        )
        np.testing.assert_array_equal(look(build(rows)), array)
        for cut in (rows[:-1], rows[: len(rows) // 2], b""):
            assert "damaged picture" in look(build(cut))


def test_black_png(look):
    for mode in ("RGB", "L", "P", "1", "RGBA"):
        data = encoded(Image.new(mode, (30, 20)), "PNG")
        assert look(data).shape == (20, 30, 3)


def test_damaged_pixels_of_a_png(look):
    whole = files.png(noise())
    for at in range(60, len(whole) - 20, 97):
        assert "damaged picture" in look(whole[:at] + bytes([whole[at] ^ 8]) + whole[at + 1 :])
    assert "damaged picture" in look(files.SIGNATURE + chunk(b"IHDR", b"\0" * 13, crc=1) + whole[33:])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(FORMATS)), st.data())
def test_random_damage_is_a_picture_error_or_a_picture(look, name, data):
    kind, options = FORMATS[name]
    if kind in ("JPEG", "WEBP", "PNG", "TIFF"):
        options = {**options, "exif": b"Exif\0\0" + files.exif(6)}
    whole = bytearray(encoded(smooth(24, 20), kind, **options))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter(data.draw(st.sampled_from(["ignore", "error"])))
        found = look(bytes(whole[: data.draw(st.integers(0, len(whole)))]) if data.draw(st.booleans()) else bytes(whole))
    assert isinstance(found, str) or (found.dtype == np.uint8 and found.ndim == 3)


# What is no picture


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("size", [(60_000, 60_000), (10_000, 10_000), (7_100, 7_100)])
def test_zip_bomb_is_not_decoded(tmp_path, size, strict, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    (tmp_path / "a.png").write_bytes(files.SIGNATURE + files.header(*size) + chunk(b"IDAT", zlib.compress(b"\0")))
    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "ignore")
        with pytest.raises(PictureError, match="a.png.*[pP]ixels|a.png.*decompression bomb"):
            read_picture(tmp_path / "a.png")


def test_a_huge_file_is_not_read(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.write(files.SIGNATURE)
        file.truncate(2**30)
    with pytest.raises(PictureError, match=r"a.png: 1,073,741,824 bytes, more than .* are not read"):
        read_picture(tmp_path / "a.png")


def test_not_pictures(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"<html>404</html>")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    for name in ("a.jpg", "empty.jpg", "a.eps"):
        with pytest.raises(PictureError, match="not a picture"):
            read_picture(tmp_path / name)
    os.mkfifo(tmp_path / "pipe")
    for name in ("", "pipe"):
        with pytest.raises(PictureError, match="not a file"):
            read_picture(tmp_path / name)
    for name in ("\udcff.jpg", "\ud800.jpg"):  # a file's name of bytes that are no characters, and one that no file can have
        with pytest.raises(PictureError, match=r"\\ud(cff|800)\.jpg: ") as caught:
            read_picture(tmp_path / name)
        str(caught.value).encode()
    with pytest.raises(MissingPicture, match="none.jpg: no such file"):
        read_picture(tmp_path / "none.jpg")
    for name in ("a\0b.jpg", "\ud800.jpg", "x" * 5000, tmp_path / "a.jpg" / "b.jpg"):
        with pytest.raises(PictureError, match="cannot be read"):
            read_picture(name)


URLS = [
    "http://a.org/b.jpg",
    "HTTPS://a.org/b.jpg",
    "s3:/bucket/b.jpg",
    "data:image/png;base64,AAAA",
    " ftp://a/b",
    "file:///a",
]


@pytest.mark.parametrize("name", URLS)
def test_urls_are_refused_by_that_name(name):
    with pytest.raises(PictureError, match="is a URL, and pictures are read from files: fetch it first"):
        read_picture(name)
    with pytest.raises(PictureError, match=r"posts.jsonl:3: .* is a URL"):
        refuse_url(name, "posts.jsonl:3")


def test_paths_are_not_urls(tmp_path):
    for name in ("C:\\a\\b.jpg", "C:/a/b.jpg", "data/b.jpg", "a:b.jpg", str(tmp_path), "https.jpg", "http_/b.jpg"):
        refuse_url(name)


def test_a_path_made_of_a_url_is_refused():
    with pytest.raises(PictureError, match="is a URL"):
        read_picture(pathlib.Path("https://a.org/b.jpg"))
