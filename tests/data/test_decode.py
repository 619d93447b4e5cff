"""Decoding: every kind of file becomes the same RGB pixels, and damaged ones a clear error."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from mmre_jax.data.decode import MissingPicture, PictureError, read_picture


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
    if True:
        with pytest.raises(PictureError, match=rf"a\.{suffix}: (damaged picture|not a picture)"):
            read_picture(path)


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
