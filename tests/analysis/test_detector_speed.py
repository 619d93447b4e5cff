"""The benchmark's parts on a small detector: spread outputs give boxes, rows hold figures, a missing environment is told."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import small_detector

from mmre_jax.analysis import detector_speed

pytestmark = pytest.mark.thorough


@pytest.mark.slow
def test_ours_alone_is_timed_and_finds_something():
    result = detector_speed.measure("", cases=((2, 32, 48),), smaller=(), rounds=1, config=small_detector.CONFIG)
    (row,) = result["rows"]
    assert row["ours_ms"] > 0 and 0 < row["boxes"] <= 2 * small_detector.CONFIG.detections and "ratio" not in row
    assert "2 x 32 x 48: ours" in detector_speed.text(result) and "torchvision" not in detector_speed.text(result)


def test_a_missing_environment_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="python: no such interpreter"):
        detector_speed.measure(str(tmp_path / "python"), cases=(), smaller=(), config=small_detector.CONFIG)


def test_pictures_are_the_same_each_time():
    first, second = (detector_speed.pictures((2, 16, 24)) for _ in range(2))
    assert first.shape == (2, 16, 24, 3) and (first == second).all() and (first[0] != first[1]).any()
