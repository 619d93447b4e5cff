"""What is drawn of a record is what the loader shows the system: its crops, each with its own box."""

import numpy as np
import pytest
from PIL import Image

from mmre_jax.analysis.seen import what_was_seen
from mmre_jax.data.given import given
from mmre_jax.data.pictures import Slot
from mmre_jax.data.readers import scenes
from mmre_jax.records import Record, Region

COLOUR = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
PHOTO = Slot("photo", 1, 16, "photo", "squash", **COLOUR)
DETECTED = Slot("detected", 2, 8, "detected", "squash", **COLOUR)
GROUNDED = Slot("grounded", 2, 8, "grounded", "squash", **COLOUR)
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


@pytest.fixture
def photo(tmp_path):
    """Left half black, right half white; beside it a grey crop as a file of its own."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 20:] = 255
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    Image.fromarray(np.full((6, 6, 3), 128, np.uint8)).save(tmp_path / "crop.png")
    return tmp_path / "photo.png"


def record(photo, *regions):
    return Record("a", ("b",), image=photo and str(photo), regions=regions)


def shades(seen):
    return [(int(crop.mean()), caption) for crop, caption in seen.crops]


def test_a_photo_that_was_given_as_itself(photo):
    bytes_of, by_path = (what_was_seen(Record("a", ("b",), image=each), (PHOTO,)) for each in (given(photo.read_bytes(), "x"), str(photo)))
    np.testing.assert_array_equal(bytes_of.photo, by_path.photo)


def test_photo_at_its_own_size_and_crops_as_the_system_got_them(photo):
    seen = what_was_seen(record(photo, Region(RIGHT), Region(LEFT), Region(LEFT), Region(RIGHT, source="grounded")), (PHOTO, DETECTED))
    np.testing.assert_array_equal(seen.photo, np.asarray(Image.open(photo)))
    assert shades(seen) == [(255, "1 detected"), (0, "2 detected")] and seen.boxes == (RIGHT, LEFT)
    assert all(crop.shape == (8, 8, 3) for crop, _ in seen.crops)


def test_a_crop_without_box_does_not_shift_the_others(photo):
    seen = what_was_seen(record(photo, Region(file=str(photo.parent / "crop.png")), Region(RIGHT)), (PHOTO, DETECTED))
    assert shades(seen) == [(255, "1 detected"), (128, "2 detected")] and seen.boxes == (RIGHT,)


def test_the_photo_is_drawn_where_only_parts_of_it_were_seen(photo):
    given = record(photo, Region(LEFT, source="grounded"), Region(RIGHT))
    seen = what_was_seen(given, (GROUNDED, DETECTED))
    assert seen.photo is not None and shades(seen) == [(0, "1 grounded"), (255, "2 detected")]
    assert what_was_seen(record(photo), (DETECTED,)).photo is None


def test_what_is_missing_is_left_out(photo):
    gone = record(photo.parent / "gone.png", Region(LEFT), Region(RIGHT, file=str(photo.parent / "crop.png")))
    seen = what_was_seen(gone, (PHOTO, DETECTED))
    assert seen.photo is None and shades(seen) == [(128, "1 detected")]
    nothing = what_was_seen(record(None, Region(LEFT)), (PHOTO, DETECTED))
    assert nothing.photo is None and nothing.crops == () and nothing.boxes == ()
    assert what_was_seen(record(photo, Region(LEFT)), ()).photo is None


def test_drawn_scenes():
    [given] = scenes.read("relations", "test", 1)
    seen = what_was_seen(given, (PHOTO, DETECTED))
    np.testing.assert_array_equal(seen.photo, scenes.draw(given.image))
    assert seen.boxes == tuple(region.box for region in given.regions[:2])
