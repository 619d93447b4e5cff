"""The picture of objects: every box in the colour of its class, what is right by COCO's rule, legible and inside the page."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from mmre_jax.analysis.object_plots import matched, objects_figure
from mmre_jax.records import Record, RecordError, Region
from tests.analysis.test_triple_plots import clashes, frames, texts

PHOTO = np.full((60, 80, 3), 90, np.uint8)
RECORD = Record(id="post $1", words=())
LEFT, RIGHT, LOW = (0.05, 0.2, 0.4, 0.7), (0.5, 0.2, 0.9, 0.6), (0.1, 0.8, 0.9, 0.95)
GOLD = (Region(LEFT, source="gold", label="ball"), Region(RIGHT, source="gold", label="car"))
FOUND = (Region(LEFT, label="ball", score=0.75), Region(LEFT, label="ball", score=0.5), Region(LOW, label="car", score=0.25))


def listed(figure: Figure) -> list[str]:
    return [text for text in texts(figure) if "  " in text]


def test_boxes_of_a_class_have_its_colour_and_are_marked_right_or_wrong() -> None:
    figure = objects_figure(RECORD, FOUND, PHOTO, GOLD)
    assert listed(figure) == [
        "ball  0.75  \N{CHECK MARK}",
        "ball  0.50  \N{BALLOT X}",
        "car  0.25  \N{BALLOT X}",
        "car  missed",
    ]
    colours = {(tuple(np.round(box, 6)), dashed): to_hex(colour) for box, colour, dashed in frames(figure)}
    assert set(colours) == {(LEFT, True), (RIGHT, True), (LEFT, False), (LOW, False)}
    assert colours[LEFT, True] == colours[LEFT, False] != colours[RIGHT, True] == colours[LOW, False]
    assert not clashes(figure) and "post $1" in texts(figure)


@pytest.mark.parametrize("photo", [PHOTO, None])
@pytest.mark.parametrize("gold", [GOLD, None])
def test_without_annotation_nothing_is_right_and_without_a_picture_nothing_is_framed(photo, gold) -> None:
    figure = objects_figure(RECORD, FOUND, photo, gold, note="no picture: masked")
    assert any("\N{CHECK MARK}" in text for text in texts(figure)) == (gold is not None)
    assert bool(frames(figure)) == (photo is not None) and "no picture: masked" in texts(figure)
    assert not clashes(figure)
    nothing = objects_figure(RECORD, (), photo, None)
    assert "no objects" in [text.get_text() for text in nothing.findobj(Text)]


def test_each_object_is_found_once_by_the_best_of_its_class() -> None:
    assert matched(FOUND, GOLD, 0.5) == {0: 0}
    assert matched(FOUND[::-1], GOLD, 0.5) == {2: 0}, "by score, not by place"
    assert matched([Region(RIGHT, label="ball", score=1.0)], GOLD, 0.5) == {}, "another class"
    assert matched(FOUND, (), 0.5) == {} and matched((), GOLD, 0.5) == {}


def test_many_boxes_of_crowded_pictures_stay_on_the_page() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.7, (30, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.05, 0.3, (30, 2))], axis=1)
    found = [Region(tuple(map(float, box)), label=f"a class of things {i % 7}", score=0.5) for i, box in enumerate(boxes)]
    inside = objects_figure(RECORD, found, PHOTO, None)
    listed_texts = {text for text in listed(inside)}
    assert not [pair for pair in clashes(inside) if set(pair) & listed_texts]


def test_a_box_that_does_not_fit_is_named() -> None:
    with pytest.raises(RecordError, match=r"record post \$1: predicted object 1: box"):
        objects_figure(RECORD, [Region((0.5, 0.5, 0.2, 0.9), label="ball")], PHOTO)
