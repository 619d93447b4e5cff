"""Captions from a file: names, what does not fit, counts, and every way they go through a data set."""

import dataclasses
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from configs import common
from mmre_jax.data import builders, captions, datasets
from mmre_jax.data.readers import jsonl
from mmre_jax.records import Mention, Record, RecordError, Relation

PAIR = (Relation(Mention(0, 1), Mention(1, 2), "knows"),)


def section(**changes):
    data = common.section("data")
    data.update(changes)
    return data


@pytest.fixture
def posts(tmp_path):
    """JSON lines of three splits: photos with a caption of the record's own, one for the file, and without; a record without photo."""
    (tmp_path / "photos").mkdir()
    for split in datasets.SPLITS:
        names = [f"photos/{split}_{i}.png" for i in range(3)]
        for name in names:
            Image.new("RGB", (8, 8)).save(tmp_path / name)
        records = [Record(f"{split}{i}", ("ada", "grace"), str(tmp_path / name), relations=PAIR) for i, name in enumerate(names)]
        records[0] = dataclasses.replace(records[0], caption="its own")
        jsonl.write([*records, Record(f"{split}3", ("ada", "grace"), relations=PAIR)], tmp_path / f"{split}.jsonl")
    return tmp_path


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
    return str(path)


def test_a_file_gives_captions_and_the_records_keep_theirs(posts):
    file = write(posts / "captions.json", {"photos/train_1.png": "two  women\n", "train_2.png": None, "test_0.png": "another"})
    data = section(name="jsonl", root=str(posts), captions=file)
    found = {split: [record.caption for record in datasets.open_records(data, split)] for split in datasets.SPLITS}
    assert found == {
        "train": ["its own", "two women", None, None],
        "val": ["its own", None, None, None],
        "test": ["another", None, None, None],
    }
    records = {split: datasets.open_records(data, split) for split in datasets.SPLITS}
    assert datasets.caption_counts(data, records) == {
        "train": {"without_caption": 2},
        "val": {"without_caption": 3},
        "test": {"without_caption": 3},
        "captions": {"in_the_file": 3, "of_unknown_pictures": 0},
    }
    data.captions = write(posts / "more.json", {"photos/train_1.png": "a", "photos/lost.png": "b", "other/train_1.png": "c"})
    assert datasets.caption_counts(data, records)["captions"] == {"in_the_file": 3, "of_unknown_pictures": 2}


def test_nothing_is_told_of_data_without_captions(posts):
    data = section(name="jsonl", root=str(posts))
    records = {"train": datasets.open_records(data, "train")}
    assert datasets.caption_counts(data, records) == {"train": {"without_caption": 3}}
    assert datasets.caption_counts(data, {"train": records["train"][1:]}) == {}


FOLDERS = st.lists(st.sampled_from(["a", "b", "img org", "é"]), max_size=3)


@given(folders=FOLDERS, names=st.lists(FOLDERS, max_size=6), slash=st.sampled_from(["/", "\\"]))
def test_the_longest_name_that_ends_a_path_counts(folders, names, slash):
    image = "/".join(["", "data", *folders, "1.jpg"])
    known = {"/".join([*name, "1.jpg"]): str(i) for i, name in enumerate(names)}
    fitting = [name for name in known if f"/{image}".endswith(f"/{name}")]
    expected = max(fitting, key=len, default=None)
    assert captions.name_of(image.replace("/", slash), known) == expected
    assert captions.name_of("/data/11.jpg", known) is None, "whole parts alone"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], r"captions.json: expected a JSON object \{picture: caption\}, found a list"),
        ({"a.jpg": ["x"]}, r"captions.json, picture 'a.jpg': a caption is a text, found \['x'\]"),
        ({"a.jpg": 3}, "picture 'a.jpg': a caption is a text, found 3"),
        ({" ": "x", "./": "y"}, r"'./' is no picture's name"),
        ({"a/b.jpg": "x", "./a//b.jpg": "y"}, r"the picture 'a/b.jpg' stands there twice, once as './a//b.jpg'"),
        ('{"a.jpg": "x", "a.jpg": "y"}', r"captions.json: not a JSON file \(the key 'a.jpg' stands there twice\)"),
        ('{"a.jpg": "\\ud83d"}', "half of a surrogate pair"),
        ("{", "captions.json: not a JSON file"),
    ],
)
def test_a_file_that_is_none_is_named(value, message, tmp_path):
    with pytest.raises(RecordError, match=message):
        captions.read(write(tmp_path / "captions.json", value))


def test_a_missing_file_is_told_before_any_data_are_read(tmp_path):
    with pytest.raises(RecordError, match=r"data.captions=.*nowhere.json: cannot be read \(No such file or directory\)"):
        datasets.open_records(section(name="jsonl", root=str(tmp_path / "lost"), captions=str(tmp_path / "nowhere.json")), "train")


def test_a_file_of_other_pictures_and_names_of_two_are_refused(posts):
    data = section(name="jsonl", root=str(posts))
    records = {"train": datasets.open_records(data, "train")}
    data.captions = write(posts / "captions.json", {"17.jpg": "a", "18.jpg": "b"})
    said = r"none of its 2 names is that of a record's picture: its first name is '17.jpg', the records' first picture .*photos/train_0.png"
    with pytest.raises(RecordError, match=said):
        datasets.caption_counts(data, records)
    twice = [Record("a", ("x",), "/data/a/1.png"), Record("b", ("x",), "/data/b/1.png"), Record("c", ("x",), "/data/b/1.png")]
    with pytest.raises(
        RecordError, match=r"'1.png' is the name of two pictures of split train, /data/a/1.png and /data/b/1.png: give more"
    ):
        captions.counts({"train": twice}, {"1.png": "x"}, "FILE")
    assert captions.counts({"train": twice}, {"a/1.png": "x", "1.png": "y"}, "FILE")["captions"]["of_unknown_pictures"] == 0


def test_prepared_sets_keep_captions_and_take_others(posts, tmp_path):
    file = write(posts / "captions.json", {"photos/train_1.png": "stored"})
    direct = section(name="jsonl", root=str(posts), captions=file)
    records = {"train": datasets.open_records(direct, "train")}
    builders.prepare(records, (), tmp_path / "out", root=posts)
    prepared = section(name="prepared", root=str(tmp_path / "out"))
    assert list(datasets.open_records(prepared, "train")) == records["train"]
    prepared.captions = write(posts / "other.json", {"train_1.png": "newer", "photos/train_2.png": "more"})
    found = pickle.loads(pickle.dumps(datasets.open_records(prepared, "train")))
    assert [found[i].caption for i in range(len(found))] == [record.caption for record in found] == ["its own", "newer", "more", None]


def test_views_keep_captions(posts):
    box = '"triples": [{"mention": [0, 1], "label": "held_by", "box": [0, 0, 1, 1]}]'
    write(posts / "train.jsonl", '{"text": "ada grace", "image": "photos/train_1.png", ' + box + "}\n")
    file = write(posts / "captions.json", {"train_1.png": "two women"})
    for view in ("mentions", "regions", "pairs"):
        records = datasets.open_records(section(name="jsonl", root=str(posts), view=view, captions=file), "train")
        assert {records[i].caption for i in range(len(records))} == {"two women"}
