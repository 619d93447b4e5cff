"""Pictures on canvases: by hand, and what holds for any size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmre_jax.encoders.rcnn.canvas import Canvases, in_picture

COCO = Canvases()
SMALL = Canvases(short=20, long=40, lengths=(32, 48), divisor=16)


def test_by_hand() -> None:
    assert COCO.size(640, 480) == (800, 1066) and COCO.canvas((800, 1066)) == (800, 1088)
    assert COCO.size(480, 640) == (1066, 800) and COCO.canvas((1066, 800)) == (1088, 800)
    assert COCO.size(1000, 1000) == (800, 800) and COCO.canvas((800, 800)) == (800, 800)
    assert COCO.size(4000, 1000) == (333, 1333) and COCO.canvas((333, 1333)) == (800, 1344)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_every_picture_fits_a_canvas_of_which_there_are_few(width: int, height: int) -> None:
    size = COCO.size(width, height)
    canvas = COCO.canvas(size)
    assert size[0] <= canvas[0] and size[1] <= canvas[1] and all(side % 32 == 0 for side in canvas)
    assert canvas in {(800, 800), (800, 1088), (1088, 800), (800, 1344), (1344, 800)}
    assert max(size) <= 1333 and min(size) <= 800 and (min(size) >= 799 or max(size) >= 1332)  # rounded down


def test_the_picture_lies_at_the_top_left_and_its_boxes_come_back() -> None:
    image = Image.fromarray(np.full((30, 60, 3), 200, np.uint8))
    pixels, size = SMALL.place(image)
    assert pixels.shape == (32, 48, 3) and size.tolist() == [20, 40]
    assert (pixels[:20, :40] == 200).all() and not pixels[20:].any() and not pixels[:, 40:].any()
    assert in_picture(np.array([10.0, 5.0, 40.0001, 20.0]), size) == (0.25, 0.25, 1.0, 1.0)


def test_grey_and_tiny_pictures() -> None:
    assert SMALL.place(Image.new("L", (1, 1), 7))[0][0, 0].tolist() == [7, 7, 7]
    pixels, size = SMALL.place(Image.new("RGB", (4000, 1)))
    assert size.tolist() == [1, 40] and pixels.shape == (32, 48, 3)


@pytest.mark.parametrize(
    "change", [{"lengths": (800,)}, {"lengths": ()}, {"lengths": (1344, 1088)}, {"lengths": (800, 1350)}, {"short": 0}]
)
def test_canvases_that_do_not_hold_every_picture_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="lengths of canvases are ascending multiples of 32 up to at least 1333"):
        Canvases(**change)
