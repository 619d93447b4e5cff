"""The prepared format gives back exactly the record that went in, or refuses it."""

import dataclasses
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmre_jax.data.pictures import Slot, Source, plan_to_json
from mmre_jax.data.prepared import (
    FORMAT,
    Contents,
    PreparedError,
    decode_record,
    encode_record,
    picture_features,
    picture_key,
    record_features,
)
from mmre_jax.records import Mention, Record, Region, Relation, Triple

HALF = ((0.5,) * 3, (0.5,) * 3)
PHOTO = Slot("photo", 1, 32, "photo", "crop", *HALF)
CROPS = Slot("detected", 3, 16, "detected", "squash", *HALF)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
SCORE = st.none() | st.floats(allow_nan=False)
NAME = st.text("abc.", min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))
FILE = st.none() | NAME.map(lambda name: f"/data/set/x/{name}")
BOX = st.tuples(*[st.floats(0, 1)] * 4)
MENTION = st.builds(Mention, st.integers(0, 9), st.integers(0, 9), st.none() | TEXT, SCORE)
RECORD = st.builds(
    Record,
    id=TEXT,
    words=st.lists(TEXT | st.just(""), min_size=1, max_size=4).map(tuple),
    image=FILE,
    mentions=st.lists(MENTION, max_size=2).map(tuple),
    relations=st.lists(st.builds(Relation, MENTION, MENTION, st.none() | TEXT, SCORE), max_size=2).map(tuple),
    triples=st.lists(st.builds(Triple, MENTION, TEXT, BOX, SCORE), max_size=2).map(tuple),
    regions=st.lists(st.builds(Region, st.none() | BOX, FILE, st.just("gold"), st.none() | TEXT, SCORE), max_size=2).map(tuple),
    caption=st.none() | TEXT,
    origin=TEXT | st.just(""),
    meta=st.dictionaries(TEXT, st.none() | st.integers() | TEXT | st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=2)),
)


@given(RECORD)
def test_round_trip_through_bytes(record):
    features = record_features()
    data = features.serialize_example(encode_record(record, "/data/set"))
    assert decode_record(features.deserialize_example_np(data), "/data/set") == record
    moved = decode_record(features.deserialize_example_np(data), "/elsewhere")
    assert (moved.image is None) == (record.image is None) and (moved.image or "/elsewhere/x").startswith("/elsewhere/x")


def test_a_row_of_before_there_was_a_meta_has_none():
    row = encode_record(Record("r", ("a",)), None)
    del row["meta"]
    assert decode_record(row, None) == Record("r", ("a",))


def test_pixels_go_through_bytes():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    features = picture_features()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    data = features.serialize_example({"key": "k", "pixels": buffer.getvalue()})
    np.testing.assert_array_equal(features.deserialize_example_np(data)["pixels"], pixels)


@pytest.mark.parametrize(
    "change",
    [
        {"caption": ""},
        {"image": ""},
        {"image": "/data/other/a.jpg"},
        {"meta": {"a": (1, 2)}},
        {"meta": {1: "a"}},
        {"meta": {"a": float("nan")}},
        {"meta": {"a": {1, 2}}},
        {"mentions": (Mention(0, 1, ""),)},
        {"mentions": (Mention(0, 1, None, float("nan")),)},
        {"relations": (Relation(Mention(0, 1), Mention(0, 1), ""),)},
        {"triples": (Triple(Mention(0, 1), "", (0.0, 0.0, 1.0, 1.0)),)},
    ],
)
def test_what_would_not_come_back_is_refused(change):
    with pytest.raises(PreparedError, match="record r: "):
        encode_record(dataclasses.replace(Record("r", ("a",)), **change), "/data/set")


ESCAPES = ["/etc/passwd", "../a.jpg", "x/../../a.jpg", "..\\a.jpg", "C:\\a.jpg"]


@pytest.mark.parametrize("root", ["/data/set", None])
@pytest.mark.parametrize("name", ESCAPES)
def test_a_row_cannot_point_outside(name, root):
    row = encode_record(Record("r7", ("a",), image="x.jpg" if root is None else f"{root}/x.jpg"), root)
    crops = {**row["regions"], "boxes": np.full((1, 4), np.nan), "files": [name], "sources": ["gold"], "labels": [""]}
    crops["scores"] = np.array([np.nan])
    for change in ({"image": name}, {"regions": crops}):
        with pytest.raises(PreparedError, match="^sets/mine: record r7: .* is (not a path inside /data/set|a path, but .* without a root)"):
            decode_record({**row, **change}, root, "sets/mine")


def test_a_row_cannot_point_outside_by_a_link(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "other")
    with pytest.raises(PreparedError, match="record r: 'link/a.jpg' is not a path inside .*: a symbolic link leads to .*other/a.jpg"):
        encode_record(Record("r", ("a",), image=str(tmp_path / "set" / "link" / "a.jpg")), str(tmp_path / "set"))


def test_without_a_root_there_are_keys_and_no_paths():
    record = Record("r", ("a",), image="scenes:triples:0:val:3:64")
    assert decode_record(encode_record(record, None), None) == record
    with pytest.raises(PreparedError, match="record r: '/data/a.jpg' is a path, but the data set was prepared without a root, from keys"):
        encode_record(Record("r", ("a",), image="/data/a.jpg"), None)


def test_keys():
    places = (Source("/data/set/c.png"), Source("/data/set/a.jpg", (0.1, 0.2, 0.30000000000000004, 1.0)))
    assert picture_key(places[:1], PHOTO, "/data/set") == "crop32:c.png"
    assert picture_key(places, CROPS, "/data/set") == "squash16:c.png|a.jpg#0.1,0.2,0.30000000000000004,1.0"
    assert picture_key((Source("scenes:7"),), PHOTO, None) == "crop32:scenes:7"


def contents(folder, **changes):
    value = {"format": FORMAT, "root": "/data", "plan": plan_to_json((PHOTO, CROPS)), "splits": {"val": {}}, "about": {"dataset": "x"}}
    value |= {"encoding": "raw", "pictures": {"checksum": "12"}}
    (folder / "prepare.json").write_text(json.dumps({**value, **changes}))
    return Contents.of(folder)


def test_contents(tmp_path):
    found = contents(tmp_path)
    assert (found.root, found.plan, found.splits, found.about) == ("/data", (PHOTO, CROPS), ("val",), {"dataset": "x"})
    assert (found.arrays, found.checksum) == (True, "12")
    found.check_plan((PHOTO,))
    found.check_plan((dataclasses.replace(CROPS, name="other", count=2, mean=(0.1,) * 3),))
    with pytest.raises(PreparedError, match="slot 'detected' .4 detected squash 16.; it has 1 photo crop 32; 3 detected squash 16"):
        found.check_plan((dataclasses.replace(CROPS, count=4),))
    for change in ({"side": 8}, {"resize": "squash"}):
        with pytest.raises(PreparedError, match="slot 'photo'"):
            found.check_plan((dataclasses.replace(PHOTO, **change),))
    with pytest.raises(PreparedError, match="no split 'train'; prepared are val"):
        found.check_split("train")


def test_before_there_were_arrays_pictures_were_in_a_data_set_whatever_the_encoding(tmp_path):
    assert not contents(tmp_path, format=1, pictures=None).arrays


def test_a_mark_at_the_head_is_no_text(tmp_path):
    found = contents(tmp_path)
    (tmp_path / "prepare.json").write_text((tmp_path / "prepare.json").read_text(), "utf-8-sig")
    assert Contents.of(tmp_path) == found


def test_unfinished_or_strange_folders(tmp_path):
    with pytest.raises(PreparedError, match="no prepare.json"):
        Contents.of(tmp_path)
    with pytest.raises(PreparedError, match="not in a format up to 2: prepare"):
        contents(tmp_path, format=0)
    (tmp_path / "prepare.json").write_text("{")
    with pytest.raises(PreparedError, match="not a JSON file"):
        Contents.of(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"root": "/data/.."}, "root is null or a path without '..', found '/data/..'"),
        ({"root": "../data"}, "root is null or a path without '..'"),
        ({"root": 3}, "root is null or a path without '..', found 3"),
        ({"root": ""}, "root is null or a path"),
        ({"splits": {"val": {}, "../x": {}}}, "a split's name is letters, digits, '_' and '-', found '../x'"),
        ({"splits": {"/etc": {}}}, "a split's name is .* found '/etc'"),
        ({"splits": ["val"]}, "splits are a dictionary, found"),
        ({"about": []}, "about is a dictionary"),
        ({"plan": [{}]}, "plan: a slot has the keys"),
        ({"plan": 3}, "plan: "),
        ({"encoding": "jpeg"}, "expected encoding, one of raw, png, and pictures with their checksum"),
        ({"pictures": {}}, "expected encoding, one of raw, png, and pictures with their checksum"),
    ],
)
def test_what_prepare_json_may_say(tmp_path, change, message):
    with pytest.raises(PreparedError, match=f"prepare.json: {message}"):
        contents(tmp_path, **change)
