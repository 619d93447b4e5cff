"""Box dictionaries of one's own detector: they come back as they were, go before published ones, and are refused in one line."""

import json
import pathlib
import pickle
import sys
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
import small_mnre

from mmre_jax.data.readers import detections, mnre
from mmre_jax.records import Record, RecordError, Region

SIDES = st.tuples(st.floats(0, 0.49), st.floats(0.5, 1.0))
REGION = st.builds(
    lambda x, y, label, score: Region((x[0], y[0], x[1], y[1]), label=label, score=score),
    SIDES,
    SIDES,
    st.none() | st.text(min_size=1),
    st.floats(0, 1),
)


@given(st.lists(st.lists(REGION, max_size=12), max_size=3))
def test_what_is_written_is_read(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("boxes") / "dev_detect_box_dict.json"
    path.write_text(detections.format_json((f"img_org/val/a_crop_1_{n}.b.png", regions) for n, regions in enumerate(found)))
    regions, dropped = detections.read(path)
    records = [Record(str(n), ("a",), image=f"root/a_crop_1_{n}.b.png") for n in range(len(found))]
    assert not dropped and detections.by_photo(path, regions, records) == list(map(tuple, found))


@pytest.fixture
def root(tmp_path):
    small_mnre.write(tmp_path, "val", 3)
    (tmp_path / "boxes").mkdir()
    with zipfile.ZipFile(tmp_path / "boxes" / "dev_detect_box_dict.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"val_0_crop_0.jpg": (0.5, 0.5, 0.5, 0.5, 0.25)}, 2))
    return tmp_path


def test_ones_own_boxes_go_before_published_ones(root, caplog):
    published = mnre.read(root, "val", objects="detected")
    assert published[0].regions == (Region((0.25, 0.25, 0.75, 0.75)),)
    regions = [Region((0.0, 0.0, 0.5, 1.0), label="person", score=0.9), Region((0.1, 0.1, 0.2, 0.2), label="dog", score=0.4)]
    mnre.boxes_path(root, "val").write_text(detections.format_json([("val_1.jpg", regions), ("val_7.jpg", regions)]))
    caplog.set_level("INFO")
    records = mnre.read(root, "val", objects="detected")
    assert [list(record.regions) for record in records] == [[], [], regions, regions, [], []]
    assert "read instead of" in caplog.text and "1 of 2 photos are named by no record, such as 'val_7'" in caplog.text
    (root / "img_detect" / "val").mkdir(parents=True)
    (root / "img_detect" / "val" / "val_img2crop.pth").write_bytes(b"not looked at")
    assert mnre.read(root, "val", objects="detected") == records
    assert mnre.files(root, "val", objects="detected")[1:] == [mnre.boxes_path(root, "val")]
    listed = mnre.boxes_path(root, "val")
    listed.write_text(json.dumps({"val_0_crop_0.jpg": [0.5, 0.5, 0.5, 0.5, 0.25], "val_0_crop_1.jpg": [0.5, 0.5, 1.5, 0.5]}))
    found = mnre.read(root, "val", objects="detected")[0].regions
    assert [region.box for region in found] == [(0.25, 0.25, 0.75, 0.75), (0.0, 0.25, 1.0, 0.75)]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"box": [0, 0, 1]}, "field 'box': a box is four numbers"),
        ({"box": [0, 0, 1, float("nan")]}, "nan is not a finite number"),
        ({"box": [0, 0, 700, 500]}, "field 'box': box .* it looks like pixels"),
        ({"box": [0, 0, 1.2, 1]}, "field 'box': box .* out of the picture"),
        ({"label": "a"}, "field 'box': a box is four numbers"),
        ({"box": [0, 0, 1, 1], "label": 3}, "field 'label': expected a string"),
        ({"box": [0, 0, 1, 1], "score": "high"}, "field 'score': expected a number, found 'high'"),
        ({"box": [0, 0, 1, 1], "sort": 1}, "unknown key 'sort'"),
        ([0.5, 0.5, "a", 1], r"expected a name with \(cx, cy, w, h, area\)"),
        ("box", r"expected a name with \(cx, cy, w, h, area\)"),
    ],
)
def test_an_entry_that_is_none_is_named(root, entry, message):
    path = mnre.boxes_path(root, "val")
    path.write_text(json.dumps({"val_0_crop_0.jpg": entry}))
    with pytest.raises(RecordError, match=f"dev_detect_box_dict.json.*val_0_crop_0.jpg.*{message}") as error:
        mnre.read(root, "val", objects="detected")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "expected {STEM_crop_K.jpg: box}, found a list"),
        ("{", "not a JSON file"),
        ('{"val_0.jpg": {"box": [0, 0, 1, 1]}}', "'val_0.jpg' is not STEM_crop_NUMBER.jpg"),
        ('{"a_crop_0.jpg": {"box": [0, 0, 1, 1]}, "a_crop_0.jpg": {}}', "'a_crop_0.jpg' stands there twice"),
    ],
)
def test_a_file_that_is_none_is_named(root, text, message):
    mnre.boxes_path(root, "val").write_text(text)
    with pytest.raises(RecordError, match=f"dev_detect_box_dict.json.*{message}"):
        mnre.read(root, "val", objects="detected")


def test_photos_that_the_form_cannot_tell_apart_are_refused():
    with pytest.raises(RecordError, match="b/a.png and a.jpg: a box dictionary takes one photo of the name 'a'"):
        detections.format_json([("a.jpg", []), ("b/a.png", [])])
