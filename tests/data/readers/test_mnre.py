"""MNRE: a synthetic folder in the published layout, each kind of damage, and the counts of the real data where it is at hand."""

import json
import os
import pathlib
import pickle
import re
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.data.decode import PictureError
from mmre_jax.data.readers import mnre
from mmre_jax.records import RecordError

REAL = pathlib.Path(os.environ.get("MMRE_DATA", pathlib.Path(__file__).parents[4] / "shared" / "data")) / "RE_data"
CASES = pathlib.Path(__file__).parents[4] / "shared" / "cases"
REL2ID = {"None": 0, "/per/per/peer": 2, "/per/loc/place_of_birth": 1}


def line(i=0, relation="None", **changes):
    value = {
        "token": ["Ada", "meets", "Grace", "in", "Paris", str(i)],
        "h": {"name": "Ada", "pos": [0, 1]},
        "t": {"name": "Paris", "pos": [4, 5]},
        "img_id": f"photo_{i % 2}.jpg",
        "relation": relation,
    }
    return {**value, **changes}


def torch_dict(path, value):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value, 2))


def write_text(root, lines, split="val", name="txt/ours_{}.txt"):
    path = root / name.format(split)
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{value}\n" if isinstance(value, str) else f"{value!r}\n" for value in lines))
    return path


@pytest.fixture
def root(tmp_path):
    (tmp_path / "ours_rel2id.json").write_text(json.dumps(REL2ID))
    write_text(tmp_path, [line(0), line(1, "/per/per/peer"), line(2)])
    boxes = {
        "photo_0_crop_10.jpg": (0.5, 0.5, 0.5, 0.5, 0.25),
        "photo_0_crop_2.jpg": (0.0, 0.5, 0.5, 1.5, 0.75),
        "photo_1_crop_0.jpg": (1.5, 0.5, 0.5, 0.5, 0.25),
        "photo_9_crop_0.jpg": (0.5, 0.5, 1.0, 1.0, 1.0),
    }
    torch_dict(tmp_path / "boxes" / "dev_detect_box_dict.pth", boxes)
    torch_dict(tmp_path / "txt" / "mre_dev_dict.pth", {0: ["b.png", "a.png"], 1: [], 2: ["c.png"]})
    torch_dict(tmp_path / "boxes" / "dev_vg_box_dict.pth", {"a.png": (0.5, 0.5, 0.5, 0.5, 0.25)})
    return tmp_path


def test_text(root):
    records = mnre.read(root, "val")
    assert [record.id for record in records] == ["mnre-val-0", "mnre-val-1", "mnre-val-2"]
    record = records[1]
    assert record.words == ("Ada", "meets", "Grace", "in", "Paris", "1")
    assert record.image == str(root / "img_org" / "val" / "photo_1.jpg")
    assert record.origin == f"{root / 'txt' / 'ours_val.txt'}:2"
    (relation,) = record.relations
    assert (relation.head.span, relation.tail.span, relation.label) == ((0, 1), (4, 5), "/per/per/peer")
    assert not any(record.regions for record in records)


def test_relations_are_ordered_by_id(root):
    assert mnre.relations(root) == ("None", "/per/loc/place_of_birth", "/per/per/peer")
    assert mnre.none_label() == "None"


def test_detected_boxes_go_by_photo_and_number(root, caplog):
    records = mnre.read(root, "val", objects="detected")
    boxes = [[region.box for region in record.regions] for record in records]
    assert boxes == [[(0.0, 0.0, 0.25, 1.0), (0.25, 0.25, 0.75, 0.75)], [], [(0.0, 0.0, 0.25, 1.0), (0.25, 0.25, 0.75, 0.75)]]
    assert all(region.source == "detected" and region.file is None for record in records for region in record.regions)
    assert "1 of 4 boxes are empty" in caplog.text


def found_by(record, source):
    return [region for region in record.regions if region.source == source]


def test_grounded_crops_go_by_line(root):
    records = mnre.read(root, "val", objects="grounded")
    crops = root / "img_vg" / "val" / "crops"
    assert [[(region.file, region.box) for region in found_by(record, "grounded")] for record in records] == [
        [(str(crops / "b.png"), None), (str(crops / "a.png"), (0.25, 0.25, 0.75, 0.75))],
        [],
        [(str(crops / "c.png"), None)],
    ]
    (root / "boxes" / "dev_vg_box_dict.pth").unlink()
    assert not any(region.box for record in mnre.read(root, "val", objects="grounded") for region in found_by(record, "grounded"))


def test_grounded_records_hold_the_detected_boxes_too_where_there_are_such(root):
    grounded, detected = (mnre.read(root, "val", objects=objects) for objects in ("grounded", "detected"))
    assert [found_by(record, "detected") for record in grounded] == [list(record.regions) for record in detected]
    assert all(list(record.regions) == found_by(record, "grounded") + found_by(record, "detected") for record in grounded)
    (root / "boxes" / "dev_detect_box_dict.pth").unlink()
    assert not any(found_by(record, "detected") for record in mnre.read(root, "val", objects="grounded"))


def test_published_detected_crops_go_before_boxes(root, caplog):
    """In the list's order, each with its box where that is known; a photo that is not listed has none, whatever boxes there are."""
    lists = {"photo_0": [f"img_detect/val/crops/photo_0_crop_{k}.jpg" for k in (10, 7, 2)]}
    (root / "img_detect" / "val" / "crops").mkdir(parents=True)
    torch_dict(root / "img_detect" / "val" / "val_img2crop.pth", lists)
    records = mnre.read(root, "val", objects="detected")
    crops, boxes = root / "img_detect" / "val" / "crops", [(0.25, 0.25, 0.75, 0.75), None, (0.0, 0.0, 0.25, 1.0)]
    expected = [(str(crops / f"photo_0_crop_{k}.jpg"), box) for k, box in zip((10, 7, 2), boxes, strict=True)]
    assert [[(region.file, region.box) for region in record.regions] for record in records] == [expected, [], expected]
    assert {region.source for record in records for region in record.regions} == {"detected"}
    assert "no folder" not in caplog.text
    assert [found_by(record, "detected") for record in mnre.read(root, "val", objects="grounded")] == [list(r.regions) for r in records]
    assert root / "img_detect" / "val" / "val_img2crop.pth" in mnre.files(root, "val", objects="detected")
    (root / "boxes" / "dev_detect_box_dict.pth").unlink()
    assert [region.file for region in mnre.read(root, "val", objects="detected")[0].regions] == [file for file, _ in expected]
    torch_dict(root / "img_detect" / "val" / "val_img2crop.pth", {"photo_0": ["../x.jpg"]})
    with pytest.raises(PictureError, match="val_img2crop.pth, 'photo_0'"):
        mnre.read(root, "val", objects="detected")
    torch_dict(root / "img_detect" / "val" / "val_img2crop.pth", {"photo_0": "x.jpg"})
    with pytest.raises(RecordError, match="val_img2crop.pth: expected a list of crop files for 'photo_0'"):
        mnre.read(root, "val", objects="detected")


def test_lists_and_folders_of_crops_that_are_not_there_are_said(root, caplog):
    mnre.read(root, "val", objects="grounded")
    folder = root / "img_vg" / "val" / "crops"
    assert f"names 3 crops, but there is no folder {folder}: 1 can be cut from their photos, 2 are missing" in caplog.text
    assert "no list of detected crops" not in caplog.text
    caplog.clear()
    (root / "boxes" / "dev_detect_box_dict.pth").unlink()
    (root / "img_vg" / "val" / "crops").mkdir(parents=True)
    mnre.read(root, "val", objects="grounded")
    assert "no list of detected crops of split 'val', neither" in caplog.text and "no folder" not in caplog.text


def test_files_are_what_is_read(root):
    names = {objects: [path.name for path in mnre.files(root, "val", objects=objects)] for objects in mnre.OBJECTS}
    assert names == {
        "none": ["ours_val.txt"],
        "detected": ["ours_val.txt", "dev_detect_box_dict.pth"],
        "grounded": ["ours_val.txt", "mre_dev_dict.pth", "dev_vg_box_dict.pth", "dev_detect_box_dict.pth"],
    }


@given(st.tuples(*[st.floats(-2, 3)] * 4))
def test_boxes_stay_inside_the_picture(tmp_path_factory, box):
    path = tmp_path_factory.mktemp("boxes") / "b.pth"
    torch_dict(path, {"a": box})
    boxes, dropped = mnre.read_boxes(path)
    assert len(boxes) + dropped == 1
    for x0, y0, x1, y1 in boxes.values():
        assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
        assert x1 - x0 <= box[2] + 1e-9 and y1 - y0 <= box[3] + 1e-9


# damage


def damaged(value):
    return [line(0), value, line(2)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{'token': ['a', 'b'", "neither a JSON object nor a Python dictionary"),
        ("__import__('os').mkdir('x')", "neither a JSON object nor a Python dictionary"),
        ("[1, 2]", "no field 'token'"),
        (line(token=[]), "field 'token': expected a list of words"),
        (line(token="Ada meets"), "field 'token': found 'Ada meets', of type str"),
        (line(token=["a", 1]), "field 'token': expected a list of words"),
        (line(h={"name": "Ada", "pos": [0, 9]}), r"field 'h.pos': span \[0, 9\) does not lie inside the record's 6 words"),
        (line(t={"name": "Ada", "pos": [2, 2]}), r"field 't.pos': span \[2, 2\)"),
        (line(t={"name": "Ada", "pos": [-1, 2]}), r"field 't.pos': span \[-1, 2\)"),
        (line(t={"name": "Ada", "pos": [1]}), r"field 't.pos': expected \[start, end\]"),
        (line(t={"name": "Ada", "pos": ["1", "2"]}), "field 't.pos': a span is two integers"),
        (line(t=[4, 5]), "field 't': found"),
        (line(relation="/per/per/enemy"), "field 'relation': unknown relation '/per/per/enemy'; known are .*/per/per/peer"),
        (line(img_id=7), "field 'img_id': found 7, of type int"),
        (repr(line())[:-1] + ", 'relation': '/per/per/peer'}", "the key 'relation' stands there twice"),
        (json.dumps(line())[:-1] + ', "relation": "/per/per/peer"}', "the key 'relation' stands there twice"),
    ],
)
def test_damaged_line(root, value, message):
    path = write_text(root, damaged(value))
    with pytest.raises(RecordError, match=rf"{path}:2.*{message}"):
        mnre.read(root, "val")


def test_picture_outside_the_folder(root):
    write_text(root, damaged(line(img_id="../../../etc/passwd")))
    with pytest.raises(PictureError, match="ours_val.txt:2, field 'img_id'"):
        mnre.read(root, "val")


def test_a_url_is_refused_by_that_name(root):
    path = write_text(root, damaged(line(img_id="https://a.org/b.jpg")))
    with pytest.raises(PictureError, match=f"{path}:2, field 'img_id': 'https://a.org/b.jpg' is a URL"):
        mnre.read(root, "val")


def test_missing_files(root):
    with pytest.raises(RecordError, match="no text of split 'test', expected ours_test.txt .*there are: .*ours_val.txt"):
        mnre.read(root, "test")
    (root / "boxes" / "dev_detect_box_dict.pth").unlink()
    with pytest.raises(RecordError, match="expected img_detect/val/val_img2crop.pth or boxes/dev_detect_box_dict.pth; there are: .*dev_vg"):
        mnre.read(root, "val", objects="detected")
    (root / "ours_rel2id.json").unlink()
    with pytest.raises(RecordError, match="no table of relation ids, expected ours_rel2id.json"):
        mnre.read(root, "val")
    with pytest.raises(RecordError, match="none: no such folder"):
        mnre.read(root / "none", "val")


def test_bad_arguments(root):
    with pytest.raises(RecordError, match="split is one of train, val, test, found 'dev'"):
        mnre.read(root, "dev")
    with pytest.raises(RecordError, match="objects is one of detected, none, grounded"):
        mnre.read(root, "val", objects="all")
    with pytest.raises(RecordError, match="version is one of 1, 2"):
        mnre.read(root, "val", version=3)


@pytest.mark.parametrize("text", ["[]", "{", '{"None": 0, "a": 2}', '{"None": 0, "a": 0}', '{"None": "0"}', '{"a": 0}'])
def test_damaged_relation_ids(root, text):
    (root / "ours_rel2id.json").write_text(text)
    with pytest.raises(RecordError, match="ours_rel2id.json"):
        mnre.relations(root)


def test_damaged_dicts(root):
    (root / "boxes" / "dev_detect_box_dict.pth").write_bytes(b"PK no")
    with pytest.raises(RecordError, match="dev_detect_box_dict.pth: damaged zip"):
        mnre.read(root, "val", objects="detected")
    torch_dict(root / "boxes" / "dev_detect_box_dict.pth", {"photo_0_crop_0.jpg": (0.5, 0.5)})
    with pytest.raises(RecordError, match="dev_detect_box_dict.pth: 'photo_0_crop_0.jpg'"):
        mnre.read(root, "val", objects="detected")
    torch_dict(root / "boxes" / "dev_detect_box_dict.pth", {"photo_0.jpg": (0.5, 0.5, 1.0, 1.0, 1.0)})
    with pytest.raises(RecordError, match="'photo_0.jpg' is not STEM_crop_NUMBER.jpg"):
        mnre.read(root, "val", objects="detected")
    (root / "boxes" / "dev_detect_box_dict.pth").unlink()
    torch_dict(root / "txt" / "mre_dev_dict.pth", {0: ["a.png"], 1: ["b.png"]})
    with pytest.raises(RecordError, match="list of crop files for line 2 .*ours_val.txt:3"):
        mnre.read(root, "val", objects="grounded")
    torch_dict(root / "txt" / "mre_dev_dict.pth", {0: ["a.png"], 1: ["../../b.png"], 2: []})
    with pytest.raises(PictureError, match="mre_dev_dict.pth, line 1"):
        mnre.read(root, "val", objects="grounded")


# version 1

NAMES = ["none"] + [f"/per/per/kind_{i:02d}" for i in range(30)]


@pytest.fixture
def root1(tmp_path):
    ids = [12345, "2019_01_23_1.jpg", "O_9", "17_06.JPG"]
    lines = [line(i, name, img_id=ids[i % 4]) for i, name in enumerate(reversed(NAMES))]
    write_text(tmp_path, lines, "train", "mnre_txt/mnre_org_{}.txt")
    write_text(tmp_path, lines[:3], "test", "mnre_org_{}.txt")
    return tmp_path


def test_version_1(root1):
    assert mnre.none_label(1) == "none"
    assert mnre.relations(root1, 1) == tuple(NAMES)
    assert len(NAMES) == 31
    records = mnre.read(root1, "train", version=1)
    names = [pathlib.Path(record.image).name for record in records[:4]]
    assert names == ["12345.jpg", "2019_01_23_1.jpg", "O_9.jpg", "17_06.JPG"]
    assert [record.relations[0].label for record in records] == NAMES[::-1]
    assert len(mnre.read(root1, "test", version=1)) == 3


def test_version_1_with_a_table_of_ids(root1):
    (root1 / "mnre_rel2id.json").write_text(json.dumps({name: i for i, name in enumerate(reversed(NAMES))}))
    assert mnre.relations(root1, 1) == tuple(reversed(NAMES))


def test_version_1_checks_relations_of_other_splits(root1):
    write_text(root1, [line(0, "None")], "test", "mnre_org_{}.txt")
    with pytest.raises(RecordError, match="unknown relation 'None'"):
        mnre.read(root1, "test", version=1)


# real data


@pytest.mark.real
@pytest.mark.parametrize(
    ("split", "grounded", "detected"),
    [pytest.param("train", 32550, 20885, marks=pytest.mark.slow), ("val", 4344, 2614), ("test", 4373, 2597)],
)
def test_real_counts(split, grounded, detected):
    if not REAL.is_dir():
        pytest.skip(f"no real data at {REAL}")
    assert len(mnre.relations(REAL)) == 23
    records = mnre.read(REAL, split, objects="grounded")
    assert len(records) == mnre.COUNTS[2][split]
    assert sum(len(found_by(record, "grounded")) for record in records) == grounded
    assert all(region.box for record in records for region in record.regions)
    records = mnre.read(REAL, split, objects="detected")
    assert sum(len(regions) for regions in {record.image: record.regions for record in records}.values()) == detected
    assert max(len(record.regions) for record in records) == 3


def test_a_mark_at_the_head_of_a_file_is_no_text(root, mark_all):
    before = mnre.read(root, "val", objects="detected")
    assert mark_all(root) == 2
    assert mnre.read(root, "val", objects="detected") == before


@pytest.mark.parametrize("form", [repr, json.dumps])
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"token": ["Ada", "\ud83d", "x", "y", "Paris"]}, "token[1]"),
        ({"h": {"name": "Ada\ude00", "pos": [0, 1]}}, "h.name"),
        ({"img_id": "photo\ud83d.jpg"}, "img_id"),
        ({"relation": "\ud83d"}, "relation"),
    ],
)
def test_half_a_character_is_told_by_line_and_field(root, changes, field, form):
    path = write_text(root, [line(0), form(line(1, **changes))])
    with pytest.raises(RecordError, match=rf"{path}:2, field '{re.escape(field)}': half of a surrogate pair"):
        mnre.read(root, "val")


def test_two_halves_are_one_character(root):
    for form in (r"{'token': ['\ud83d\ude00', 'b'], 'h': {'pos': [0, 1]}, 't': {'pos': [1, 2]}, 'img_id': 'a.jpg', 'relation': 'None'}",):
        for text in (form, form.replace("'", '"')):
            write_text(root, [text])
            assert mnre.read(root, "val")[0].words == ("\U0001f600", "b")


def test_half_a_character_in_a_table(root):
    (root / "ours_rel2id.json").write_text(json.dumps({**REL2ID, "\ud83d": 3}))
    with pytest.raises(RecordError, match=r"ours_rel2id.json: half of a surrogate pair"):
        mnre.read(root, "val")
    (root / "ours_rel2id.json").write_text(json.dumps(REL2ID))
    torch_dict(root / "txt" / "mre_dev_dict.pth", {0: ["b\ud83d.png"], 1: [], 2: []})
    with pytest.raises(RecordError, match=r"mre_dev_dict.pth, field '0\[0\]': half of a surrogate pair"):
        mnre.read(root, "val", objects="grounded")


@pytest.mark.skipif(not CASES.is_dir(), reason=f"there are no cases at {CASES.name}")
def test_case_of_half_a_character_and_a_table_with_a_mark():
    assert mnre.relations(CASES / "mnre_sur") == ("None", "/per/per/peer")
    with pytest.raises(RecordError, match=r"ours_train.txt:1, field 'token\[3\]': half of a surrogate pair, '\\ud83d'"):
        mnre.read(CASES / "mnre_sur", "train")
