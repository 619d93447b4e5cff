"""Objects as targets and back, and COCO's average precision against a hand-worked example and a second implementation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.boxes import pairwise_iou
from mmre_jax.data.dataset import BACKGROUND
from mmre_jax.data.text import SPECIALS, TextEncoder, train_tokenizer
from mmre_jax.declare import SettingError
from mmre_jax.records import Record, RecordError, Region
from mmre_jax.tasks import objects
from mmre_jax.tasks.objects import ObjectsTask, average_precision
from mmre_jax.tasks.task import headline

LABELS = (BACKGROUND, "ball", "car")
TASK = ObjectsTask(TextEncoder(train_tokenizer((), len(SPECIALS), "word")), LABELS, BACKGROUND, max_targets=3)
BALL = Region((0.1, 0.2, 0.4, 0.6), source="gold", label="ball")
CAR = Region((0.5, 0.5, 0.9, 0.75), source="gold", label="car")
SEEN = Region((0.0, 0.0, 0.5, 0.5), label="ball")  # detected: no annotation
WITHOUT_BOX = Region(file="x.png", source="gold", label="car")
RECORD = Record(id="r", words=("a",), image="r.png", regions=(SEEN, BALL, CAR, WITHOUT_BOX), origin="file:3")


def test_objects_are_gold_regions_with_a_box_and_a_label() -> None:
    features = TASK.features(RECORD, len(TASK.encode([RECORD])[0]))["targets"]
    assert {name: (x.shape, x.dtype) for name, x in features.items()} == {
        "box": ((3, 4), np.dtype(np.float32)),
        "label": ((3,), np.dtype(np.int32)),
        "valid": ((3,), np.dtype(bool)),
    }
    assert features["label"].tolist() == [1, 2, 0] and features["valid"].tolist() == [True, True, False]
    np.testing.assert_allclose(features["box"], [BALL.box, CAR.box, (0, 0, 1, 1)], rtol=1e-6)
    assert TASK.stratum(RECORD) == "ball + car" and TASK.stratum(Record("e", ("a",))) == BACKGROUND


def test_objects_beyond_the_most_are_counted() -> None:
    crowded = dataclasses.replace(RECORD, regions=(BALL, CAR) * 3)
    assert TASK.left_out([RECORD, crowded]) == {"beyond_max_targets": 3}
    assert TASK.features(crowded, 1)["targets"]["valid"].all()


@pytest.mark.parametrize("label", ["kite", BACKGROUND])
def test_a_class_that_is_not_among_the_labels_is_named(label: str) -> None:
    strange = dataclasses.replace(RECORD, regions=(dataclasses.replace(BALL, label=label),))
    with pytest.raises(RecordError, match=f"file:3: regions: {label!r} is not one of ball, car"):
        TASK.examples([strange])


def test_the_background_comes_first() -> None:
    with pytest.raises(ValueError, match="the background 'background' is the first"):
        ObjectsTask(TASK.encoder, ("ball", BACKGROUND), BACKGROUND, 3)


def test_decoding_keeps_what_is_valid_inside_the_picture_best_first() -> None:
    outputs = {
        "box": np.array([[0.1, 0.1, 0.5, 0.5], [-0.2, 0.3, 1.4, 0.6], [0.4, 0.4, 0.4, 0.9], [0.0, 0.0, 1.0, 1.0]], np.float32),
        "label": np.array([1, 2, 1, 1]),
        "score": np.array([0.3, 0.9, 0.8, 0.7], np.float32),
        "found": np.array([True, True, True, False]),
    }
    found = TASK.decode(outputs, RECORD)
    assert [(region.label, region.source) for region in found] == [("car", "detected"), ("ball", "detected")]
    np.testing.assert_allclose(found[0].box, (0.0, 0.3, 1.0, 0.6), atol=1e-6)
    assert found[1].score == pytest.approx(0.3)


def test_average_precision_worked_by_hand() -> None:
    """Two balls in two pictures, three detections of which the first and the third find one: precision 1 up to recall 1/2, then 2/3.

    Of COCO's 101 recalls 0, 0.01, ... 1 the first 51 have precision 1, the other 50 have 2/3.
    """
    other = Region((0.6, 0.1, 0.9, 0.3), source="gold", label="ball")
    second = [Region((0.0, 0.5, 0.2, 0.9), label="ball", score=0.8), Region(other.box, label="ball", score=0.7)]
    found = [[Region(BALL.box, label="ball", score=0.9)], second]
    scores = average_precision([[BALL], [other]], found, LABELS[1:])
    assert scores["AP50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert scores["AP"] == pytest.approx(scores["AP50"]) and scores["AP75"] == pytest.approx(scores["AP50"])
    assert scores["per_label"]["car"] == {"AP": 0.0, "AP50": 0.0, "support": 0}
    assert (scores["count"], scores["objects"], scores["detections"]) == (2, 2, 3)


def test_an_overlap_of_six_tenths_counts_at_three_of_ten_thresholds() -> None:
    x0, y0, x1, y1 = BALL.box
    moved = Region((x0, y0, x1, y0 + 0.62 * (y1 - y0)), label="ball", score=1.0)
    scores = average_precision([[BALL]], [[moved]], LABELS[1:])
    assert scores["AP50"] == pytest.approx(1.0) and scores["AP75"] == 0.0 and scores["AP"] == pytest.approx(0.3)


@pytest.mark.parametrize("gold", [[], [BALL]])
def test_nothing_found_scores_nothing(gold: list[Region]) -> None:
    assert headline(TASK, TASK.metrics([dataclasses.replace(RECORD, regions=tuple(gold))], [()])) == {"AP50": 0.0, "AP": 0.0, "AP75": 0.0}


def brute_force(gold: list[list[Region]], found: list[list[Region]], labels: tuple[str, ...], iou: float) -> float:
    """Average precision at one IoU, written out: detections of all pictures in falling order of score, each takes the free object of its
    class that it overlaps most; precision at each of 101 recalls is the best one reached from there on."""
    values = []
    for label in labels:
        objects_of_class = [[region for region in regions if region.label == label] for regions in gold]
        if not any(objects_of_class):
            continue
        taken = [set() for _ in gold]
        ranked = [(region, i) for i, regions in enumerate(found) for region in regions if region.label == label]
        ranked.sort(key=lambda pair: -pair[0].score)
        hits = []
        for region, picture in ranked:
            best, at = iou, None
            for g, other in enumerate(objects_of_class[picture]):
                overlap = pairwise_iou(np.array([region.box]), np.array([other.box]))[0, 0]
                if g not in taken[picture] and overlap >= best:
                    best, at = overlap, g
            hits.append(at is not None)
            if at is not None:
                taken[picture].add(at)
        recall = np.cumsum(hits) / sum(map(len, objects_of_class))
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        values.append(np.mean([max(precision[recall >= r - 1e-12], default=0.0) for r in np.linspace(0, 1, 101)]))
    return float(np.mean(values)) if values else 0.0


@st.composite
def pictures(draw):
    def region(source: str, score: float | None) -> Region:
        x, y = (draw(st.integers(0, 6)) / 10 for _ in range(2))
        w, h = (draw(st.integers(1, 3)) / 10 + 0.013 for _ in range(2))
        return Region((x, y, x + w, y + h), source=source, label=draw(st.sampled_from(LABELS[1:])), score=score)

    count = draw(st.integers(1, 3))
    gold = [[region("gold", None) for _ in range(draw(st.integers(0, 3)))] for _ in range(count)]
    scores = draw(st.permutations([s / 40 for s in range(1, 16)]))  # no ties: their order is nobody's rule
    found = [[region("detected", scores.pop()) for _ in range(draw(st.integers(0, 4)))] for _ in range(count)]
    return gold, found


@given(pictures())
def test_average_precision_is_that_of_a_second_implementation(both) -> None:
    gold, found = both
    scores = average_precision(gold, found, LABELS[1:])
    for name, iou in (("AP50", 0.5), ("AP75", 0.75)):
        assert scores[name] == pytest.approx(brute_force(gold, found, LABELS[1:], iou), abs=1e-9)


def test_a_run_that_could_not_be_scored_does_not_begin(monkeypatch) -> None:
    monkeypatch.setattr(objects.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"pip install 'mmre_jax\[detector\]'"):
        objects.check_scorer()
