"""From an input to files that the readers take: JSON lines, MNRE's layout, folders of pictures; stopped and gone on with; refusals."""

import dataclasses
import json
import os
import pathlib
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import small_detector
import small_mnre

from mmre_jax import detection, detection_files
from mmre_jax.data.decode import PictureError
from mmre_jax.data.readers import jsonl, mnre
from mmre_jax.detection_files import detect_all
from mmre_jax.detection_inputs import look_at
from mmre_jax.records import RecordError

LINES = (
    '{"id": "a", "text": "Ada meets Grace", "image": "photos/0.png", "meta": {"n": 1.50}}\r\n'
    "\n"
    '{"id":"b","text":"no picture"}\n'
    '{"text":"gone", "image" :"photos/gone.png"}\n'
    '{"text":"two \\u00e9", "regions": [{"box":[0, 0, 1, 1.0],"source":"gold","label":"x"},{"box":[0,0,0.5,1]}], "image": "photos/1.png"}\n'
    '{"text":"again", "image": "photos/0.png"}'
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return small_detector.save(tmp_path_factory.mktemp("detector") / "small.safetensors")


@pytest.fixture(scope="module")
def detector(weights):
    return detection.load(weights, top=3, **small_detector.SIDES)


@pytest.fixture
def posts(tmp_path, monkeypatch):
    """Posts with a damaged picture among them and one that is not there; shards of one picture."""
    monkeypatch.setattr(detection_files, "SHARD", 1)
    for n in range(2):
        small_detector.picture(tmp_path / "in" / "photos" / f"{n}.png", n)
    path = tmp_path / "in" / "posts.jsonl"
    path.write_bytes(LINES.encode())
    return path


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_json_lines_are_the_same_but_for_regions(detector, posts, tmp_path):
    summary = detect_all(detector, look_at(posts), tmp_path / "out", features=True)
    assert (summary["pictures"], summary["rejected"], summary["boxes"]) == (3, 1, 6)
    before, after = (folder.read_bytes().decode() for folder in (posts, tmp_path / "out" / "posts.jsonl"))
    for old, new in zip(before.split("\n"), after.split("\n"), strict=True):
        if "regions" not in old:
            assert new.startswith(old.rstrip("}\r")) and (new == old or new.endswith(old[old.rindex("}") :]))
    assert after.split("\n")[1:4] == before.split("\n")[1:4]
    records = jsonl.read(tmp_path / "out" / "posts.jsonl")
    found = {n: detector.detect([posts.parent / "photos" / f"{n}.png"], features=True)[0] for n in range(2)}
    assert records[0].regions == records[4].regions == found[0].regions
    assert records[3].regions[0].source == "gold" and records[3].regions[1:] == found[1].regions
    assert pathlib.Path(records[0].image).samefile(posts.parent / "photos" / "0.png")
    features = [load_file(path) for path in sorted((tmp_path / "out" / "detect" / "features").iterdir())]
    np.testing.assert_array_equal(features[0]["photos/0.png"], found[0].features)
    assert [list(x) for x in features] == [["photos/0.png"], [], ["photos/1.png"]]
    (reject,) = (tmp_path / "out" / "detect" / "rejects.jsonl").read_text().splitlines()
    assert json.loads(reject)["image"] == "photos/gone.png" and "no such file" in json.loads(reject)["reason"]


def test_posts_may_name_pictures_anywhere(detector, posts, tmp_path):
    far = [tmp_path / "far" / "0.png", tmp_path / "far" / "gone.png", posts.parent / "photos" / "0.png"]
    small_detector.picture(far[0], 5)
    lines = [json.dumps({"text": "a", "image": str(path)}) for path in far] + ['{"text": "b", "image": "photos/1.png"}']
    posts.write_text("\n".join(lines))
    summary = detect_all(detector, look_at(posts), tmp_path / "out")
    assert (summary["pictures"], summary["rejected"]) == (4, 1) and "gone.png" in summary["examples"][0]
    records = jsonl.read(tmp_path / "out" / "posts.jsonl", posts=True)
    assert [record.image for record in records] == [*map(str, far), str(tmp_path / "out" / "photos" / "1.png")]
    assert records[0].regions == detector.detect([far[0]])[0].regions and records[0].regions
    assert {path.name for path in (tmp_path / "out").rglob("*.png")} >= {"1.png"} and not list((tmp_path / "out").rglob("far"))
    (posts.parent / "train.jsonl").write_text(lines[0])
    with pytest.raises(RecordError, match="a data set's files lie in its folder"):
        look_at(posts.parent)


@pytest.mark.parametrize("killed_in", ["look", "features", "part", "finish"])
def test_what_was_stopped_ends_as_if_it_had_not_been(detector, posts, tmp_path, monkeypatch, killed_in):
    given = look_at(posts)
    detect_all(detector, given, tmp_path / "whole", features=True)

    class Killed(BaseException):
        pass

    looked = []

    def look(self, placed, *, features):
        looked.extend(placed)
        if killed_in == "look" and len(looked) == 2:
            raise Killed
        return original(self, placed, features=features)

    def fail(*_, **__):
        raise Killed

    original = detection.Detector.look
    with monkeypatch.context() as patch:
        patch.setattr(detection.Detector, "look", look)
        if killed_in == "features":
            patch.setattr(detection_files.safetensors.numpy, "save", fail)
        elif killed_in == "part":
            patch.setattr(detection_files, "write_text", fail)
        elif killed_in == "finish":
            patch.setattr(detection_files, "_finish", fail)
        with pytest.raises(Killed):
            detect_all(detector, given, tmp_path / "out", features=True)
    before = len(list((tmp_path / "out" / "detect" / "parts").iterdir()))
    monkeypatch.setattr(detection.Detector, "look", lambda self, x, *, features: looked.append(x) or original(self, x, features=features))
    looked.clear()
    detect_all(detector, given, tmp_path / "out", features=True)
    assert len(looked) == 3 - before and tree(tmp_path / "out") == tree(tmp_path / "whole")
    looked.clear()
    detect_all(detector, given, tmp_path / "out", features=True)
    assert not looked and tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_folder_of_pictures(detector, tmp_path):
    for n, name in enumerate(("b.png", "deep/a.PNG")):
        small_detector.picture(tmp_path / "in" / name, n)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"\xff\xd8no")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (tmp_path / "secret.png").write_bytes((tmp_path / "in" / "b.png").read_bytes())
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "secret.png")
    summary = detect_all(detector, look_at(tmp_path / "in"), tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "regions.jsonl").read_text().splitlines()]
    assert [row["image"] for row in rows] == ["b.png", "deep/a.PNG"] and all(row["regions"] for row in rows)
    rejects = [json.loads(line) for line in (tmp_path / "out" / "detect" / "rejects.jsonl").read_text().splitlines()]
    assert [row["image"] for row in rejects] == ["broken.jpg", "link.png"] and "symbolic link" in rejects[1]["reason"]
    assert (summary["pictures"], summary["rejected"]) == (4, 2)
    with pytest.raises(PictureError, match="broken.jpg"):
        detect_all(detector, look_at(tmp_path / "in"), tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict" / "regions.jsonl").exists()


@pytest.mark.parametrize("folder", ["txt", "mnre_txt", ""])
def test_mnres_layout_comes_back_through_its_reader(detector, tmp_path, folder):
    """Wherever its texts are."""
    small_mnre.write(tmp_path, "val", 4)
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / "txt" / "ours_val.txt").rename(tmp_path / folder / "ours_val.txt")
    if folder != "txt":
        (tmp_path / "txt").rmdir()
    for n in range(3):
        small_detector.picture(tmp_path / "img_org" / "val" / f"val_{n}.jpg", n)
    detect_all(detector, look_at(tmp_path), tmp_path)
    records = mnre.read(tmp_path, "val", objects="detected")
    there = [record for record in records if pathlib.Path(record.image).is_file()]
    assert 0 < len(there) < len(records)
    for record in records:
        assert record.regions == (detector.detect([record.image])[0].regions if record in there else ())


def test_places_that_are_taken_are_told(detector, weights, posts, tmp_path):
    given, out = look_at(posts), tmp_path / "out"
    detect_all(detector, given, out)
    with pytest.raises(RecordError, match=r"objects found with other settings \(min_score 0.05, now 0.3\): give another --out"):
        detect_all(detection.load(weights, top=3, score=0.3, **small_detector.SIDES), given, out)
    with pytest.raises(RecordError, match=f"features False, now True\\): .* or remove {out / 'detect'}, {out / 'posts.jsonl'}$"):
        detect_all(detector, given, out, features=True)
    posts.write_bytes(LINES.replace("Ada", "Eve").encode())
    with pytest.raises(RecordError, match=r"other settings \(another input\)"):
        detect_all(detector, look_at(posts), out)
    with pytest.raises(RecordError, match="posts.jsonl is what is read"):
        detect_all(detector, given, posts.parent)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "posts.jsonl").write_text("mine")
    with pytest.raises(RecordError, match="posts.jsonl is there already, and not from here"):
        detect_all(detector, given, tmp_path / "other")
    assert (tmp_path / "other" / "posts.jsonl").read_text() == "mine"


def test_a_picture_that_can_be_read_by_now_is_looked_at(detector, posts, tmp_path):
    """As one that came late, or from a disk that was away; nothing is looked at again while it cannot be read."""
    given, out = look_at(posts), tmp_path / "out"
    detect_all(detector, given, out, features=True)
    before = tree(out)
    small_detector.picture(posts.parent / "photos" / "gone.png", 7)
    detect_all(detector, given, out, features=True)
    detect_all(detector, given, tmp_path / "whole", features=True)
    assert tree(out) == tree(tmp_path / "whole") != before


def test_what_was_changed_in_the_output_is_not_overwritten(detector, posts, tmp_path):
    """As where labels were added to the lines with objects."""
    given, written = look_at(posts), tmp_path / "out" / "posts.jsonl"
    detect_all(detector, given, tmp_path / "out")
    mine = written.read_text() + '\n{"text": "mine"}\n'
    written.write_text(mine)
    small_detector.picture(posts.parent / "photos" / "gone.png", 7)
    with pytest.raises(RecordError, match="posts.jsonl was changed since it was written here: .* or move posts.jsonl away"):
        detect_all(detector, given, tmp_path / "out")
    assert written.read_text() == mine
    written.unlink()
    detect_all(detector, given, tmp_path / "out")
    detect_all(detector, given, tmp_path / "whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_strict_minds_what_was_passed_over_before(detector, posts, tmp_path):
    detect_all(detector, look_at(posts), tmp_path / "out")
    with pytest.raises(PictureError, match="gone.png: no such file"):
        detect_all(detector, look_at(posts), tmp_path / "out", strict=True)


def test_one_goes_on_with_another_number_of_pictures_at_a_time(detector, posts, tmp_path):
    """As who ran out of memory does."""
    detect_all(detector, look_at(posts), tmp_path / "out")
    before = tree(tmp_path / "out")
    detect_all(dataclasses.replace(detector, batch=3), look_at(posts), tmp_path / "out")
    assert tree(tmp_path / "out") == before


CHANGED = ['{"text": "new", "image": "photos/1.png"}\n' + LINES, LINES[:20], "", LINES.replace("photos/1", "photos/2")]


@pytest.mark.parametrize("text", CHANGED, ids=["a line more", "cut short", "empty", "another picture"])
def test_posts_that_are_changed_meanwhile_get_no_others_objects(detector, posts, tmp_path, monkeypatch, text):
    def changed(self, placed, *, features):
        posts.write_bytes(text.encode())
        return original(self, placed, features=features)

    original = detection.Detector.look
    monkeypatch.setattr(detection.Detector, "look", changed)
    with pytest.raises(RecordError, match="posts.jsonl:[0-9]+"):
        detect_all(detector, look_at(posts), tmp_path / "out")
    assert not (tmp_path / "out" / "posts.jsonl").exists()


def test_what_cannot_be_written_is_told_before_anything_is_looked_at(detector, tmp_path, monkeypatch):
    small_mnre.write(tmp_path, "val", 2)
    path = tmp_path / "txt" / "ours_val.txt"
    path.write_text(path.read_text().replace("val_1.jpg", "val_0.png"))
    monkeypatch.setattr(detection.Detector, "look", None)
    with pytest.raises(RecordError, match="takes one photo of the name 'val_0'"):
        detect_all(detector, look_at(tmp_path), tmp_path)
    assert not (tmp_path / "boxes").exists()


def test_a_name_that_is_no_text_is_told(tmp_path):
    try:
        pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).write_bytes(b"")
    except OSError:
        pytest.skip("the file system takes no such name")
    with pytest.raises(RecordError, match=r"caf\\xe9.png': the name of a picture is not UTF-8: rename it \(1 of that kind\)"):
        look_at(tmp_path)


def test_posts_in_a_folder_of_pictures_are_not_passed_over_in_silence(posts, caplog):
    assert look_at(posts.parent).kind == "pictures"
    assert "in is taken as a folder of pictures: posts.jsonl is not read; of posts give the file itself" in caplog.text
    caplog.clear()
    posts.rename(posts.with_name("regions.jsonl"))
    assert look_at(posts.parent).kind == "pictures" and not caplog.text, "what launch.detect itself has written there"


def test_inputs_that_are_none_are_told(tmp_path):
    with pytest.raises(RecordError, match="gone: no such file or folder"):
        look_at(tmp_path / "gone")
    with pytest.raises(RecordError, match="no pictures .*, no train.jsonl, val.jsonl or test.jsonl, and not MNRE's layout"):
        look_at(tmp_path)
    with pytest.raises(RecordError, match="a.PNG is a picture: give the folder that it lies in, or JSON lines"):
        look_at(small_detector.picture(tmp_path / "a.PNG"))
    (tmp_path / "train.jsonl").write_text('{"text": "a", "image": "../b.png"}\n')
    with pytest.raises(RecordError, match="train.jsonl:1, field 'image'"):
        look_at(tmp_path)
