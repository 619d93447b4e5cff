"""A configuration's data set: each name opens what it says, prepared or not the same, and mistakes are named."""

import dataclasses
import json
import pathlib
import pickle

import numpy as np
import pytest

from configs import common
from mmre_jax.data import builders, datasets, views
from mmre_jax.data.dataset import OBJECTS
from mmre_jax.data.decode import PictureError
from mmre_jax.data.pictures import Slot
from mmre_jax.data.readers import jsonl, mnre, scenes
from mmre_jax.records import Mention, Record, RecordError, Relation, Triple

HALF = (0.5, 0.5, 0.5)
PLAN = (Slot("photo", 1, 32, "photo", "squash", HALF, HALF), Slot("detected", 2, 16, "detected", "squash", HALF, HALF))
ADA = Mention(0, 1, "PER")
POST = "IMGID:1\nAda\tB-PER\nin\tO\nOslo\tB-OTHER\n\nIMGID:2\nAda\tI-PER"
VOC = """<annotation><size><width>10</width><height>10</height></size><object><name>Oslo</name>
<bndbox><xmin>0</xmin><ymin>1</ymin><xmax>5</xmax><ymax>6</ymax></bndbox></object></annotation>"""
FACT = {
    "token": ["Ada", "waves"],
    "h": {"name": "Ada", "pos": [0, 1]},
    "t": {"name": "o", "box": [0.5, 0.5, 0.5, 0.5]},
    "img_id": "1.jpg",
    "relation": "holds",
}


CASES = pathlib.Path(__file__).parents[2].parent / "shared" / "cases"


def section(**changes):
    data = common.section("data")
    data.update(changes)
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("posts")
    for split, count in (("train", 12), ("val", 3), ("test", 3)):
        scenes.export(root, "relations", split, count)
    return root


def test_scenes_has_as_many_records_as_asked_for():
    data = section(counts=(5, 4, 3))
    assert [len(datasets.open_records(data, split)) for split in datasets.SPLITS] == [5, 4, 3]
    labels, none = datasets.labels(data, "relation", [])
    assert (len(labels), none, labels[0]) == (17, "None", "None")
    assert len(datasets.labels(section(scene="grounded"), "relation", [])[0]) == 3


@pytest.mark.parametrize("name", datasets.DATASETS)
def test_each_stands_under_its_own_name(name):
    found = datasets.find(section(name=name))
    assert found.name == name and found.objects and set(found.objects) <= set(OBJECTS)
    assert set(found.published) in (set(), set(datasets.SPLITS))


@pytest.mark.parametrize("objects", OBJECTS)
def test_mnre(mnre_folder, objects):
    data = section(name="mnre", root=str(mnre_folder), objects=objects)
    train = datasets.open_records(data, "train")
    assert train == mnre.read(mnre_folder, "train", objects=objects)
    assert datasets.labels(data, "relation", []) == (mnre.relations(mnre_folder), "None")
    assert datasets.files(data, "val") == mnre.files(mnre_folder, "val", objects=objects)
    assert datasets.read_report(data, "train") == {}


def test_mnre_of_the_first_version(tmp_path):
    side = {"name": "a", "pos": [0, 1]}
    lines = [{"token": ["a", "b"], "h": side, "t": side, "img_id": 7, "relation": label} for label in ("peer", "none")]
    (tmp_path / "mnre_train.txt").write_text("".join(f"{line!r}\n" for line in lines))
    data = section(name="mnre_v1", root=str(tmp_path), objects="none")
    assert [record.image for record in datasets.open_records(data, "train")] == [str(tmp_path / "img_org" / "train" / "7.jpg")] * 2
    assert datasets.labels(data, "relation", []) == (("none", "peer"), "none")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder with small data sets in their published layouts, whose files do not get in each other's way."""
    root = tmp_path_factory.mktemp("published")
    for name in ("twitter2015", "twitter2017", "txt", "xml", "more/txt"):
        (root / name).mkdir(parents=True)
    for year, name in ((2015, "train"), (2017, "train"), (2015, "valid")):
        (root / f"twitter{year}" / f"{name}.txt").write_text(POST)
    (root / "twitter2015" / "twitter2015_train_dict.pth").write_bytes(pickle.dumps({"1.jpg": ["0.png"]}))
    (root / "txt" / "train.txt").write_text(POST)
    (root / "xml" / "1.xml").write_text(VOC)
    (root / "more" / "rel2id.json").write_text('{"none": 0, "holds": 1}')
    facts = [FACT, {**FACT, "relation": "none"}]
    (root / "more" / "txt" / "train.txt").write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    (root / "more" / "txt" / "valid.txt").write_text(repr({**FACT, "img_id": "2.jpg"}))
    return root


TWITTER_TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-MISC", "I-MISC")


@pytest.mark.parametrize("name", ["twitter2015", "twitter2017"])
def test_twitter(published, name):
    data = section(name=name, root=str(published), objects="none")
    first, second = datasets.open_records(data, "train")
    assert first.id == f"{name}-train-0" and first.mentions == (ADA, Mention(2, 3, "MISC")) and second.mentions == (ADA,)
    assert datasets.labels(data, "entities", []) == (TWITTER_TAGS, "O")
    assert datasets.read_report(data, "train") == {"records": 2, "mentions": 3, "entities_begun_by_i": 1}
    assert datasets.all_labels(data, []) == {"entities": {"labels": list(TWITTER_TAGS), "none": "O"}}
    with pytest.raises(RecordError, match=f"data.objects='detected': {name} has grounded or none"):
        datasets.open_records(section(name=name, root=str(published)), "train")


def test_gmner(published):
    data = section(name="gmner", root=str(published), objects="none")
    first, _ = datasets.open_records(data, "train")
    assert first.triples == (Triple(Mention(2, 3, "OTHER"), "OTHER", (0.0, 0.1, 0.5, 0.6)),)
    assert datasets.labels(data, "triples", []) == (("PER", "LOC", "ORG", "OTHER"), "None")
    assert datasets.labels(data, "entities", [])[0][-2:] == ("B-OTHER", "I-OTHER")
    assert datasets.read_report(data, "train")["mentions_without_box"] == 2


def test_more(published):
    data = section(name="more", root=str(published / "more"), none_label="none", objects="none")
    assert [len(record.triples) for record in datasets.open_records(data, "train")] == [1]
    assert datasets.labels(data, "triples", []) == (("holds",), "none")
    assert datasets.read_report(data, "train")["none_facts"] == 1
    data.update(published=True, merge_val=True)
    assert [len(record.triples) for record in datasets.open_records(data, "train")] == [2, 1]
    assert datasets.labels(data, "triples", []) == (("none", "holds"), "")
    assert datasets.read_report(data, "train")["facts"] == 3


def test_scenes_has_labels_for_its_own_task():
    assert datasets.labels(section(scene="triples"), "triples", []) == (scenes.triple_relations(), "None")
    names, none = datasets.labels(section(scene="entities"), "entities", [])
    assert none == names[0] == "O" and len(names) == 1 + 2 * len(scenes.entity_types())
    assert datasets.read_report(section(counts=(5, 4, 3)), "val") == {}


@pytest.mark.parametrize(
    ("changes", "task", "message"),
    [
        ({"name": "mnre"}, "triples", "data.name='mnre' is not annotated for task.name='triples'; it is annotated for relation"),
        ({"name": "twitter2017"}, "relation", "data.name='twitter2017' .* it is annotated for entities"),
        ({"name": "gmner"}, "relation", "it is annotated for entities, triples"),
        ({"name": "more"}, "entities", "it is annotated for triples"),
        ({"scene": "grounded"}, "triples", "data.name='scenes' .data.scene='grounded'. is not .* it is annotated for relation"),
        ({"name": "jsonl"}, "entities", "data.name='jsonl' is not .* it is annotated for relation, triples"),
        ({}, "captions", "task.name is one of relation, entities, triples, objects, found 'captions'"),
    ],
)
def test_a_task_without_annotation_is_named(changes, task, message):
    train = [Record("a", ("Ada",), relations=(Relation(ADA, ADA, "x"),), triples=(Triple(ADA, "y", (0.0, 0.0, 1.0, 1.0)),))]
    with pytest.raises(ValueError, match=message):
        datasets.labels(section(**changes), task, train)


def test_nothing_annotated():
    with pytest.raises(ValueError, match="data.name='jsonl' is not annotated for task.name='relation'; nor for any other"):
        datasets.labels(section(name="jsonl"), "relation", [Record("a", ("Ada",), mentions=(Mention(0, 1),))])


@pytest.mark.parametrize(
    ("name", "files", "told"),
    [
        ("jsonl", {"val.jsonl": "\n"}, "val.jsonl"),
        ("mnre", {"txt/ours_val.txt": "", "ours_rel2id.json": '{"None": 0}'}, "ours_val.txt"),
        ("twitter2015", {"twitter2015/valid.txt": "\n\n"}, "valid.txt"),
        ("gmner", {"txt/dev.txt": "", "xml/1.xml": ""}, "dev.txt"),
        ("more", {"txt/valid.txt": "", "rel2id.json": '{"none": 0, "holds": 1}'}, "valid.txt"),
    ],
)
def test_a_split_without_a_record_is_named_with_its_file(tmp_path, name, files, told):
    for place, text in files.items():
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(text)
    with pytest.raises(RecordError, match=rf"{tmp_path}/.*{told}: split 'val' has no records"):
        datasets.open_records(section(name=name, root=str(tmp_path), objects="none"), "val")


@pytest.mark.skipif(not CASES.is_dir(), reason=f"there are no cases at {CASES.name}")
def test_case_of_an_empty_split():
    with pytest.raises(RecordError, match=r"empty_val/val\.jsonl: split 'val' has no records"):
        datasets.open_records(section(name="jsonl", root=str(CASES / "empty_val")), "val")


def test_a_split_of_scenes_without_a_record_is_named():
    with pytest.raises(RecordError, match=r"data.counts=\(5, 0, 3\): split 'val' has no records"):
        datasets.open_records(section(counts=(5, 0, 3)), "val")


def test_labels_of_json_lines_are_those_of_training(folder):
    data = section(name="jsonl", root=str(folder))
    train = datasets.open_records(data, "train")
    labels, none = datasets.labels(data, "relation", train)
    assert none == labels[0] == "None"
    assert list(labels[1:]) == sorted({r.relations[0].label for r in train} - {"None"})
    assert datasets.labels(data, "entities", train) == (("O", "B-PER", "I-PER"), "O")
    box = (0.0, 0.0, 1.0, 1.0)
    marked = [dataclasses.replace(train[0], triples=tuple(Triple(ADA, label, box) for label in ("b", "None", "a")))]
    assert datasets.labels(data, "triples", marked) == (("a", "b"), "None")


def test_prepared_is_the_same_as_direct(folder, tmp_path):
    direct = section(name="jsonl", root=str(folder))
    records = {split: datasets.open_records(direct, split) for split in datasets.SPLITS}
    labels = sorted({r.relations[0].label for r in records["train"]})
    builders.prepare(records, PLAN, tmp_path / "out", root=folder, about={"labels": datasets.all_labels(direct, records["train"])})
    prepared = section(name="prepared", root=str(tmp_path / "out"))
    assert datasets.labels(prepared, "relation", [])[0] == ("None", *(label for label in labels if label != "None"))
    assert datasets.labels(prepared, "entities", records["train"]) == datasets.labels(direct, "entities", records["train"])
    ours, theirs = datasets.open_pictures(PLAN, prepared), datasets.open_pictures(PLAN, direct)
    for split, expected in records.items():
        found = datasets.open_records(prepared, split)
        assert [found[i] for i in range(len(found))] == expected
        for record in expected:
            for a, b in zip(ours(record), theirs(record), strict=True):
                for name in a:
                    np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("name", ["twitter2015", "gmner", "more", "jsonl"])
def test_a_split_is_read_once_with_its_report(published, folder, name):
    root = {"more": published / "more", "jsonl": folder}.get(name, published)
    data = section(name=name, root=str(root), objects="grounded" if name == "twitter2015" else "none")

    def never(data, split):
        raise AssertionError("read a second time")

    known = dataclasses.replace(datasets.DATASETS[name], report=None if name == "jsonl" else never)
    records, counts = datasets.open_split(data, "train", known)
    assert records == datasets.open_records(data, "train") and counts == datasets.read_report(data, "train")


@pytest.mark.parametrize("name", ["twitter2015", "gmner", "more"])
def test_prepared_sets_keep_records_and_labels_of_every_task(published, tmp_path, name):
    root = published / "more" if name == "more" else published
    direct = section(name=name, root=str(root), objects="grounded" if name == "twitter2015" else "none")
    records = {"train": datasets.open_records(direct, "train")}
    about = {"labels": datasets.all_labels(direct, records["train"])}
    summary = builders.prepare(records, (), tmp_path / "out", root=root, about=about)
    prepared = section(name="prepared", root=str(tmp_path / "out"))
    found = datasets.open_records(prepared, "train")
    assert [found[i] for i in range(len(found))] == records["train"]
    for task in about["labels"]:
        assert datasets.labels(prepared, task, []) == datasets.labels(direct, task, [])
    counts = summary["splits"]["train"]
    assert (sum(counts["mentions"].values()), sum(counts["triples"].values())) == {
        "twitter2015": (3, 0),
        "gmner": (3, 1),
        "more": (0, 1),
    }[name]
    with pytest.raises(ValueError, match="'prepared' is not annotated for task.name='relation'; it is annotated for "):
        datasets.labels(prepared, "relation", records["train"])


def test_pictures_of_scenes_are_drawn_from_their_keys():
    (record,) = scenes.read("relations", "test", 1)
    pixels, present = datasets.open_pictures(PLAN[:1], section())(record)
    assert present["photo"].all()
    assert np.asarray(datasets.read_picture(record.image)).shape == (64, 64, 3) and pixels["photo"].shape == (1, 32, 32, 3)
    assert datasets.open_pictures(()) is None
    assert datasets.readable(record.image) and not datasets.readable("scenes:poems:0:test:1:64")
    for read in (datasets.read_picture, datasets.read_released):  # a key may stand in anyone's post
        with pytest.raises(PictureError, match="'scenes:poems:0:test:1:64' is not the key of a picture"):
            read("scenes:poems:0:test:1:64")


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match="data.name is one of scenes, mnre, mnre_v1, twitter2015, .*, jsonl, prepared, found 'mnist'"):
        datasets.open_records(section(name="mnist"), "train")
    with pytest.raises(RecordError, match=r"data.root='' is not a folder: give the folder of 'gmner'"):
        datasets.read_report(section(name="gmner"), "train")
    with pytest.raises(ValueError, match="a split is one of train, val, test, found 'dev'"):
        datasets.open_records(section(), "dev")
    with pytest.raises(RecordError, match=r"data.root='' is not a folder"):
        datasets.open_records(section(name="mnre"), "train")
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(RecordError, match=r"val.jsonl: no such file; JSON lines there are: train.jsonl"):
        datasets.open_records(section(name="jsonl", root=str(tmp_path)), "val")
    with pytest.raises(RecordError, match="prepare.json"):
        datasets.open_records(section(name="prepared", root=str(tmp_path)), "train")
    assert jsonl.read(tmp_path / "train.jsonl") == []


@pytest.mark.parametrize(
    ("view", "task", "names", "none"),
    [
        ("mentions", "entities", ("O", "B-ENTITY", "I-ENTITY"), "O"),
        ("regions", "objects", ("background", "object"), "background"),
        ("pairs", "relation", ("None", "holds", "wears"), "None"),
    ],
)
def test_a_view_of_triples_is_a_data_set_of_one_task(tmp_path, view, task, names, none):
    box, other = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)
    triples = (Triple(Mention(0, 1), "wears", box), Triple(Mention(1, 2), "holds", other))
    jsonl.write([Record("a", ("Ada", "Bob"), image=str(tmp_path / "a.png"), triples=triples)], tmp_path / "train.jsonl")
    data = section(name="jsonl", root=str(tmp_path), view=view)
    records = datasets.open_records(data, "train")
    assert records == views.view(view, datasets.open_records(section(name="jsonl", root=str(tmp_path)), "train"), "None")
    assert datasets.labels(data, task, records) == (names, none)
    assert datasets.all_labels(data, records) == {task: {"labels": list(names), "none": none}}
    for wrong in {"entities", "triples", "relation"} - {task}:
        with pytest.raises(ValueError, match=f"data.view='{view}' goes with task.name='{task}', found '{wrong}'"):
            datasets.labels(data, wrong, records)


def test_pairs_have_the_relations_of_the_data_set_and_an_empty_one_beside_them(published):
    pairs = section(scene="triples", counts=(6, 4, 3), view="pairs")
    assert datasets.labels(pairs, "relation", []) == (("None", *scenes.triple_relations()), "None")
    assert {relation.label for record in datasets.open_records(pairs, "train") for relation in record.relations} > {"None"}
    as_published = section(name="more", root=str(published / "more"), none_label="none", published=True, view="pairs")
    assert datasets.labels(as_published, "relation", []) == (("", "none", "holds"), "")
    [record] = datasets.open_records(as_published, "train")
    assert [relation.label for relation in record.relations] == ["holds", "none"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scene": "triples", "view": "words"}, "data.view is '' or one of mentions, regions, pairs, found 'words'"),
        ({"view": "pairs"}, "'pairs' shows triples, for which data.name='scenes' .* is not annotated; it is annotated for relation"),
        ({"name": "prepared", "view": "pairs"}, "cuts crops that a prepared data set does not hold"),
    ],
)
def test_a_view_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        datasets.open_records(section(counts=(2, 2, 2), **changes), "train")


def test_a_configuration_of_before_there_were_views_has_none():
    data = section(counts=(2, 2, 2))
    del data["view"]
    assert datasets.open_records(data, "val") == datasets.open_records(section(counts=(2, 2, 2)), "val")


def test_a_picture_is_readable_or_not(folder):
    image = datasets.open_records(section(name="jsonl", root=str(folder)), "train")[0].image
    assert datasets.readable(image) and datasets.readable(scenes.read("triples", "val", 1)[0].image)
    assert not datasets.readable(f"{image}.lost") and not datasets.readable(__file__)


def test_drafts_are_of_files_alone():
    files, scenes = section(name="jsonl", draft=True), section(draft=True)
    datasets.check_draft(files)
    assert datasets.open_pictures(PLAN, files).draft is not None
    for data, released, why in ((files, True, "the reference flavour"), (scenes, False, "'scenes' are not decoded from files")):
        with pytest.raises(ValueError, match=f"data.draft=True makes other pixels of JPEGs, and .*{why}"):
            datasets.check_draft(data, released=released)


def test_blank_crops_are_of_data_sets_in_files():
    for released in (False, True):
        assert datasets.open_pictures(PLAN, section(name="jsonl", root="x", missing="blank"), released=released).blank
        assert not datasets.open_pictures(PLAN, section(name="jsonl", root="x"), released=released).blank
    older = section(name="jsonl", root="x").copy_and_resolve_references().unlock()
    del older.missing
    assert not datasets.open_pictures(PLAN, older).blank, "a configuration that is older than the setting"
    assert not datasets.open_pictures(PLAN).blank, "posts of one's own"
    with pytest.raises(ValueError, match="^data.missing='blank' is of crops in files, and the pictures of data.name='scenes' are no"):
        datasets.open_pictures(PLAN, section(missing="blank"))
    datasets.open_pictures(PLAN[:1], section(missing="blank"))  # no crops are looked at


def test_which_pictures_are_decoded_from_files():
    assert datasets.decodes_files(datasets.open_pictures(PLAN, section(name="jsonl", root="x")))
    assert datasets.decodes_files(datasets.open_pictures(PLAN, section(name="jsonl", root="x"), released=True))
    assert not any(map(datasets.decodes_files, (None, datasets.open_pictures(PLAN, section()))))
