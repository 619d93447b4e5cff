"""Twitter-2015/-2017: a synthetic folder in the published layout, damage, and the counts of the real data where it is at hand."""

import os
import pathlib
import pickle

import pytest

from mmre_jax.data.decode import PictureError
from mmre_jax.data.readers import twitter
from mmre_jax.records import Mention, RecordError, Region

REAL = pathlib.Path(os.environ.get("MMRE_DATA", pathlib.Path(__file__).parents[4] / "shared" / "data")) / "NER_data"
TEXT = "IMGID:7\nAda\tB-PER\nL\tI-PER\nsees\tO\nBen\tI-OTHER\n\nIMGID:8\nnothing\tO\n\nIMGID:7\nOslo\tB-LOC"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "twitter2015"
    folder.mkdir()
    (folder / "valid.txt").write_text(TEXT)
    (folder / "twitter2015_val_dict.pth").write_bytes(pickle.dumps({"7.jpg": ["0_b.png", "0_a.png"]}))
    return tmp_path


def test_text(root):
    first, second, third = twitter.read(root, "val")
    assert [record.id for record in (first, second, third)] == [f"twitter2015-val-{n}" for n in range(3)]
    assert first.words == ("Ada", "L", "sees", "Ben")
    assert first.mentions == (Mention(0, 2, "PER"), Mention(3, 4, "MISC"))
    assert first.image == third.image == str(root / "twitter2015_images" / "7.jpg")
    assert third.origin == f"{root / 'twitter2015' / 'valid.txt'}:10"
    assert third.mentions == (Mention(0, 1, "LOC"),) and not second.mentions
    assert not any(record.regions for record in (first, second, third))


def test_crops_go_by_photo(root):
    crops = root / "twitter2015_aux_images" / "val" / "crops"
    regions = tuple(Region(None, str(crops / name), "grounded") for name in ("0_b.png", "0_a.png"))
    assert [record.regions for record in twitter.read(root, "val", objects="grounded")] == [regions, (), regions]


def test_an_entity_that_begins_with_i_is_remembered(root):
    assert [record.dangling for record in twitter.read(root, "val")] == [(3,), (), ()]


def test_detected_crops_stand_behind_the_grounded_ones(root, caplog):
    assert not any(region.source == "detected" for record in twitter.read(root, "val", objects="grounded") for region in record.regions)
    assert "no list of detected crops of split 'val', neither" in caplog.text
    lists = root / "twitter15_detect" / "twitter15_img2crop.pth"
    (lists.parent / "crops").mkdir(parents=True)
    lists.write_bytes(pickle.dumps({"7": ["twitter15_detect/crops/7_0.jpg"], "8": ["twitter15_detect/crops/8_0.jpg"]}))
    found = [[r for r in record.regions if r.source == "detected"] for record in twitter.read(root, "val", objects="grounded")]
    assert found == [[Region(None, str(lists.parent / "crops" / f"{n}_0.jpg"), "detected")] for n in (7, 8, 7)]
    assert lists in twitter.files(root, "val", objects="grounded") and lists not in twitter.files(root, "val")
    assert twitter.report(root, "val", objects="grounded")["crops"] == 4


def test_report(root):
    found = {"records": 3, "mentions": 3, "entities_begun_by_i": 1}
    assert twitter.report(root, "val") == found
    assert twitter.report(root, "val", objects="grounded") == {**found, "crops": 4, "photos_without_crop_list": 1}


def test_files_are_what_is_read(root):
    assert [path.name for path in twitter.files(root, "val", objects="grounded")] == ["valid.txt", "twitter2015_val_dict.pth"]
    assert [path.name for path in twitter.files(root, "val")] == ["valid.txt"]


def test_missing_files_and_bad_arguments(root):
    with pytest.raises(RecordError, match="no twitter2015/train.txt; expected a folder that holds twitter2015/ and .*there is"):
        twitter.read(root, "train")
    with pytest.raises(RecordError, match="no twitter2017/valid.txt"):
        twitter.read(root, "val", year=2017)
    with pytest.raises(RecordError, match="objects is one of grounded, none, found 'detected'"):
        twitter.read(root, "val", objects="detected")
    with pytest.raises(RecordError, match="year is one of 2015, 2017"):
        twitter.read(root, "val", year=2016)
    with pytest.raises(RecordError, match="split is one of train, val, test, found 'valid'"):
        twitter.read(root, "valid")


def test_damaged_crop_lists(root):
    file = root / "twitter2015" / "twitter2015_val_dict.pth"
    for value, error, message in (
        ({"7.jpg": "a.png"}, RecordError, r"expected a list of crop files for '7.jpg' \(.*valid.txt:1\), found 'a.png'"),
        ({"7.jpg": [3]}, RecordError, "expected a list of crop files"),
        ({"7.jpg": ["../../../x.png"]}, PictureError, "is not a path inside"),
        ([], RecordError, "expected a dictionary"),
    ):
        file.write_bytes(pickle.dumps(value))
        with pytest.raises(error, match=message):
            twitter.read(root, "val", objects="grounded")


def test_pictures_outside_the_folder(root):
    (root / "twitter2015" / "valid.txt").write_text("IMGID:../../7\na\tO\n")
    with pytest.raises(PictureError, match="valid.txt:1: .* is not a path inside"):
        twitter.read(root, "val")


@pytest.mark.real
@pytest.mark.parametrize("year", twitter.YEARS)
@pytest.mark.parametrize("split", twitter.SPLITS)
def test_counts_of_the_real_data(year, split):
    if not REAL.is_dir():
        pytest.skip(f"no real data at {REAL}")
    records = twitter.read(REAL, split, year=year, objects="grounded")
    assert len(records) == twitter.COUNTS[year][split]
    assert len({record.image for record in records}) == len(records)
    assert {mention.type for record in records for mention in record.mentions} == set(twitter.entity_types())
    lines = (REAL / f"twitter{year}" / {"val": "valid.txt"}.get(split, f"{split}.txt")).read_text("utf-8").split("\n")
    assert sum(len(record.words) for record in records) == sum("\t" in line for line in lines)
    report = twitter.report(REAL, split, year=year, objects="grounded")
    assert report["photos_without_crop_list"] == ((year, split) == (2015, "val"))
    assert (year, split) != (2015, "test") or sum(bool(record.dangling) for record in records) == 131
    begun = sum("\tB-" in line for line in lines)
    assert report["mentions"] == begun + report["entities_begun_by_i"]


def test_a_mark_at_the_head_of_a_file_is_no_text(root, mark_all):
    before = twitter.read(root, "val")
    assert mark_all(root) == 1
    assert twitter.read(root, "val") == before
