"""Pictures: cut, resized and gathered as the plan says; absent and damaged ones are zeros and False."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmre_jax.data import pictures
from mmre_jax.data.dataset import FilePictures
from mmre_jax.data.decode import PictureError, read_draft, read_picture
from mmre_jax.data.pictures import Slot, cut, fit, gather, inside
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


# inside


def test_inside_accepts_relative_names(tmp_path):
    assert inside(tmp_path, "a/b.jpg", "r") == str(tmp_path / "a" / "b.jpg")
    assert inside(tmp_path, "a\\..b.jpg", "r") == str(tmp_path / "a" / "..b.jpg")


ESCAPES = [
    "",
    "https://a.org/b.jpg",
    " ",
    "/etc/passwd",
    "../a.jpg",
    "a/../../b.jpg",
    "..\\a.jpg",
    "C:\\a.jpg",
    "\\\\host\\a",
    "a\0.jpg",
    "..",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_inside_refuses_escapes(tmp_path, name):
    with pytest.raises(PictureError, match="posts.jsonl:3 image"):
        inside(tmp_path, name, "posts.jsonl:3 image")


def test_inside_calls_a_url_by_its_name(tmp_path):
    with pytest.raises(PictureError, match="posts.jsonl:3 image: 'https://a.org/b.jpg' is a URL"):
        inside(tmp_path, "https://a.org/b.jpg", "posts.jsonl:3 image")


@pytest.mark.parametrize(
    "name", ["https://a.org/b.jpg", "HTTP://a.org/b", "s3://bucket/b.png", "data:image/png;base64,AAAA", "file:///b.jpg"]
)
def test_inside_calls_a_url_by_its_name_behind_a_folder(tmp_path, name):
    """A data set whose photos are FOLDER/ID, and whose ids are addresses."""
    with pytest.raises(PictureError, match=f"^r: '{name}' is a URL"):
        inside(tmp_path, f"img_org/train/{name}", "r")
    assert inside(tmp_path, "img_org/https.jpg", "r") == str(tmp_path / "img_org" / "https.jpg")


# cut and fit


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


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64))
def test_squash_is_a_plain_resize(width, height, side):
    image = Image.fromarray(noise(width, height))
    np.testing.assert_array_equal(fit(image, side, "squash"), np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)))


@given(st.integers(8, 300), st.integers(8, 300), st.sampled_from([28, 32, 56]), st.sampled_from(["crop", "cover"]))
def test_crop_and_cover_are_resize_then_centre_crop(width, height, side, resize):
    image = Image.fromarray(noise(width, height) // 2 + 64)  # without overshoots, which Pillow clips between its two passes
    target = round(side * 256 / 224) if resize == "crop" else side
    w, h = (target, target * height // width) if width <= height else (target * width // height, target)
    left, top = round((w - side) / 2), round((h - side) / 2)
    expected = np.asarray(image.resize((w, h), Image.Resampling.BICUBIC).crop((left, top, left + side, top + side)))
    assert np.abs(fit(image, side, resize).astype(int) - expected).max() <= 2


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([28, 32, 56]), st.sampled_from(pictures.RELEASED_RESIZES))
def test_released_rules_are_resize_then_centre_crop_to_the_last_grey_level(width, height, side, resize):
    image = Image.fromarray(noise(width, height))
    target = round(side * 256 / 224) if resize == "crop_bilinear" else side
    w, h = (target, int(target * height / width)) if width <= height else (int(target * width / height), target)
    offset = {"crop_bilinear": lambda x: round(x / 2), "cover_floor": lambda x: x // 2, "cover_ceil": lambda x: int((x + 1) * 0.5)}[resize]
    kind = Image.Resampling.BILINEAR if resize == "crop_bilinear" else Image.Resampling.BICUBIC
    left, top = offset(w - side), offset(h - side)
    expected = np.asarray(image.resize((w, h), kind).crop((left, top, left + side, top + side)))
    np.testing.assert_array_equal(fit(image, side, resize), expected)


@pytest.mark.parametrize("resize", ["crop", *pictures.RELEASED_RESIZES])
def test_a_needle_costs_no_memory(resize):
    assert fit(Image.new("RGB", (1, 50_000), "red"), 224, resize).tolist() == [[[255, 0, 0]] * 224] * 224


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


@pytest.mark.parametrize("draft", [None, read_draft])
def test_listed_crops_without_a_file_can_be_blank(record, draft):
    """Of three listed ones a file, a box on the photo that is there, and neither; then without the photo."""
    for case, masked, blank in (
        (record, [True, True, False], [True, True, True]),
        (dataclasses.replace(record, image=f"{record.image}.lost"), [True, False, False], [True, True, True]),
    ):
        (pixels, present), (plain, there) = (FilePictures((PHOTO, DETECTED, GROUNDED), draft=draft, blank=x)(case) for x in (True, False))
        assert (there["grounded"].tolist(), present["grounded"].tolist()) == (masked, blank)
        assert present["photo"].tolist() == there["photo"].tolist(), "a photo is never blank"
        for name in pixels:
            np.testing.assert_array_equal(pixels[name], plain[name])
        assert not pixels["grounded"][np.array(blank) & ~np.array(masked)].any()
        assert there["detected"].all() == (case is record) and present["detected"].all()


def test_what_is_damaged_or_nowhere_is_not_blank(record, tmp_path):
    (tmp_path / "crop.png").write_bytes(b"no")
    (tmp_path / "photo.png").write_bytes(b"no")
    failed = []
    present = gather(record, (PHOTO, DETECTED, GROUNDED), failed=failed, blank=True)[1]
    found = {name: value.tolist() for name, value in present.items()}
    assert found == {"photo": [False], "detected": [False, False], "grounded": [False, False, True]}
    assert len(failed) == 6, "it is still told that the blank one is missing"
    nowhere = Record("r", ("a",), image=None, regions=(Region(box=(0.0, 0.0, 0.5, 0.5), source="grounded"),))
    assert not gather(nowhere, (PHOTO, GROUNDED), blank=True)[1]["grounded"].any(), "no file is named"


# plans


def test_how_large_a_file_must_be_for_nothing_to_be_enlarged():
    crops = Slot("crops", 2, 16, "detected", "squash", *HALF)
    boxes = [Region(box=(0.0, 0.0, 0.5, 1.0), file=None), Region(box=(0.0, 0.0, 0.3, 0.1), file="c.jpg")]
    record = Record("r", ("a",), image="a.jpg", regions=tuple(boxes))
    assert pictures.least_sides(record, (Slot("photo", 1, 56, "photo", "crop", *HALF),)) == {"a.jpg": 64}
    assert pictures.least_sides(record, (Slot("photo", 1, 56, "photo", "cover", *HALF), crops)) == {"a.jpg": 160, "c.jpg": 16}


def test_a_draft_is_as_large_as_needed_and_nearly_the_same(tmp_path):
    gradient = np.indices((400, 640)).sum(0)[..., None] * np.array([0.2, 0.1, 0.05]) % 256
    Image.fromarray(gradient.astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(gradient.astype(np.uint8)).save(tmp_path / "a.png")
    plan = (Slot("photo", 1, 64, "photo", "squash", *HALF),)
    asked = []

    def draft(name, least):
        asked.append((read_draft(name, least).size, least))
        return read_draft(name, least)

    for name, size in (("a.jpg", (160, 100)), ("a.png", (640, 400))):
        record = Record("r", ("a",), image=str(tmp_path / name))
        found, whole = (FilePictures(plan, draft=how)(record)[0]["photo"].astype(int) for how in (draft, None))
        assert asked.pop() == (size, 64)
        assert np.abs(found - whole).mean() < 2 and np.array_equal(found, whole) == (name == "a.png")


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
