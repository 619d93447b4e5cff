"""A detector as a Python object: the same boxes as its parts by hand, whatever the batch; labels, features, refusals."""

import dataclasses
import pathlib
import pickle
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import small_detector

from mmre_jax import detection
from mmre_jax.data.decode import PictureError
from mmre_jax.encoders.rcnn.canvas import Canvases, in_picture
from mmre_jax.encoders.rcnn.faster_rcnn import FasterRcnn
from mmre_jax.weights import coco
from mmre_jax.weights.hub import WeightError


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return small_detector.save(tmp_path_factory.mktemp("detector") / "small.safetensors")


@pytest.fixture(scope="module")
def detector(weights):
    return detection.load(weights, labels=("cat", "dog", "hat"), score=0.2, top=7, batch=2, **small_detector.SIDES)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    sizes = [(40, 30), (30, 40), (64, 48), (31, 30), (40, 30)]
    return [small_detector.picture(folder / f"{n}.png", n, size) for n, size in enumerate(sizes)]


def test_regions_are_what_the_parts_say(detector, files):
    found = detector.detect(files, features=True)
    assert all(one.regions for one in found) and len(found) == len(files)
    by_hand = jax.jit(lambda variables, pixels, sizes: _by_hand(detector.net, variables, pixels, sizes))
    for file, one in zip(files[:3], found, strict=False):
        pixels, size = Canvases.of(32, 48, detector.net.config.divisor).place(Image.open(file))
        answer, features = by_hand(detector.variables, pixels[None], size[None])
        valid = np.asarray(answer.valid[0])
        boxes = [in_picture(box, size) for box in np.asarray(answer.boxes[0])[valid]]
        np.testing.assert_allclose([region.box for region in one.regions], boxes, atol=2e-5)
        np.testing.assert_allclose([region.score for region in one.regions], np.asarray(answer.scores[0])[valid], atol=2e-5)
        assert [region.label for region in one.regions] == [detector.labels[n] for n in np.asarray(answer.labels[0])[valid]]
        assert len(one.regions) <= 7 and all(region.score >= 0.2 and region.source == "detected" for region in one.regions)
        np.testing.assert_allclose(one.features, np.asarray(features[0])[valid], atol=1e-3)


def _by_hand(net, variables, pixels, sizes):
    """What the whole module finds, and what its head says of those boxes."""
    answer = net.apply(variables, pixels, sizes)
    maps = net.apply(variables, pixels, sizes, train=False, method=FasterRcnn.maps)
    return answer, net.apply(variables, maps, answer.boxes, train=False, method=FasterRcnn.regions)[0]


def test_what_else_is_in_the_batch_changes_nothing(detector, files):
    together = detector.detect(files)
    for file, one in zip(files, together, strict=True):
        alone = detector.detect([Image.open(file)])[0]
        np.testing.assert_allclose([r.box for r in alone.regions], [r.box for r in one.regions], atol=1e-5)
    assert [one.regions for one in together] == [one.regions for one in detector.detect([np.asarray(Image.open(file)) for file in files])]


def test_a_picture_that_cannot_be_read_is_noted_or_an_error(detector, files, tmp_path):
    (tmp_path / "bad.png").write_bytes(files[0].read_bytes()[:100])
    bad, gone, good = detector.detect([tmp_path / "bad.png", tmp_path / "gone.png", files[0]], strict=False)
    assert "damaged" in bad.note and "no such file" in gone.note and not bad.regions and good.regions and not good.note
    with pytest.raises(PictureError, match="bad.png"):
        detector.detect([tmp_path / "bad.png"])
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\], found float32"):
        detector.detect([np.zeros((4, 4, 3), np.float32)])


def test_labels(weights, tmp_path):
    assert detection.load(weights).labels == ("background", "1", "2", "3")
    with pytest.raises(ValueError, match="2 labels for the 3 classes"):
        detection.load(weights, labels=("a", "b"))
    (tmp_path / "labels.txt").write_text("__background__\ncat\nhot dog\n")
    assert detection.read_labels(tmp_path / "labels.txt") == ("cat", "hot dog")
    (tmp_path / "labels.txt").write_text("cat\ncat\n")
    with pytest.raises(ValueError, match="labels.txt:2: the label 'cat'"):
        detection.read_labels(tmp_path / "labels.txt")
    names = coco.labels("background")
    assert len(names) == len(set(names)) == 91
    assert [names[n] for n in (1, 11, 12, 13, 44)] == ["person", "fire hydrant", "12", "stop sign", "bottle"]
    assert [names[n] for n in (67, 90)] == ["dining table", "toothbrush"]


def test_what_is_no_detector_is_refused_in_one_line(tmp_path, untrained):
    save_file({"weight": np.zeros((2, 2), np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightError, match="other.safetensors lacks .*no Faster R-CNN"):
        detection.load(tmp_path / "other.safetensors")
    with pytest.raises(WeightError, match="no such file: expected a detector's state dict"):
        detection.load(tmp_path / "gone.pth")
    with pytest.raises(WeightError, match="is a run of system 'ifaformer' for task 'entities': expected a detector"):
        detection.load(untrained["entities"])


def test_a_pickle_runs_no_code(tmp_path):
    pytest.importorskip("torch")

    class Evil:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / "ran",)

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"a": Evil()}, 2))
    with pytest.raises(WeightError, match="evil.pth holds more than tensors"):
        detection.load(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_sizes_of_pictures(weights):
    assert detection.load(weights).canvases == Canvases(divisor=8, lengths=(800, 1072, 1336))
    assert Canvases.of(800, 1333) == Canvases()
    with pytest.raises(ValueError, match="found 500 and 400 pixels"):
        detection.load(weights, shorter=500, longer=400)


def test_all_that_boxes_depend_on_is_told_apart(weights, tmp_path):
    about = detection.load(weights).about()
    assert about == detection.load(weights).about()
    other = small_detector.save(tmp_path / "other.safetensors", dataclasses.replace(small_detector.CONFIG, hidden=6))
    assert detection.load(other).about()["weights"] != about["weights"]
    for change in ({"score": 0.3}, {"top": 3}, {"labels": ("a", "b", "c")}, {"shorter": 100}):
        assert detection.load(weights, **change).about() != about
    assert jax.tree.leaves(about)
