"""Sources can be sent to worker processes, before and after they were used."""

import json
import pickle
import shutil

import numpy as np
import pytest

from mmre_jax.data import builders
from mmre_jax.data.dataset import FilePictures
from mmre_jax.data.pictures import Slot, gather
from mmre_jax.data.prepared import PreparedError
from mmre_jax.data.readers import mnre
from mmre_jax.data.source import PreparedPictures, PreparedSource
from mmre_jax.records import Record

PLAN = (Slot("photo", 1, 16, "photo", "squash", (0.5,) * 3, (0.5,) * 3),)


@pytest.fixture(scope="module")
def records(mnre_folder):
    return mnre.read(mnre_folder, "val")


@pytest.fixture(scope="module")
def folder(mnre_folder, records, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "out"
    builders.prepare({"val": records}, PLAN, out, root=mnre_folder)
    return out


def copies(value, use):
    """`value` as it arrives in another process, sent before and after its first use."""
    before = pickle.loads(pickle.dumps(value))
    use(value)
    return before, pickle.loads(pickle.dumps(value))


def test_records_after_pickling(folder, records):
    for source in copies(PreparedSource(folder, "val"), lambda source: source[0]):
        assert [source[i] for i in range(len(source))] == records


def test_pictures_after_pickling(folder, records):
    for kind in (PreparedPictures(folder, PLAN), FilePictures(PLAN)):
        for pictures in copies(kind, lambda pictures: pictures(records[2])):
            for record in records:
                np.testing.assert_array_equal(pictures(record)[0]["photo"], gather(record, PLAN)[0]["photo"])


def test_open_files_stay_behind(folder):
    source = PreparedSource(folder, "val")
    size = len(pickle.dumps(source))
    source[0]
    assert len(pickle.dumps(source)) == size


def test_indices(folder, records):
    source = PreparedSource(folder, "val")
    assert source[np.int64(1)] == records[1]
    for index in (-1, len(records)):
        with pytest.raises(IndexError, match=f"record {index} of {len(records)}"):
            source[index]


def test_what_was_not_prepared(folder, tmp_path):
    with pytest.raises(PreparedError, match="no split 'train'; prepared are val"):
        PreparedSource(folder, "train")
    with pytest.raises(PreparedError, match="prepared without the pictures of slot 'big'"):
        PreparedPictures(folder, (Slot("big", 1, 32, "photo", "squash", (0.5,) * 3, (0.5,) * 3),))
    with pytest.raises(PreparedError, match="no prepare.json"):
        PreparedSource(tmp_path, "val")


def tampered(folder, out, file, change):
    """A copy of a prepared folder, of which a JSON file is changed."""
    shutil.copytree(folder, out)
    path = out / file
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    return out


def test_record_files_of_another_place_are_not_read(folder, tmp_path):
    def elsewhere(info):
        for split in info["splits"]:
            split["filepathTemplate"] = f"../../../stolen/{split['filepathTemplate'] or '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'}"
        return info

    out = tampered(folder, tmp_path / "out", "records/1.0.0/dataset_info.json", elsewhere)
    shutil.copytree(folder / "records" / "1.0.0", tmp_path / "stolen")
    with pytest.raises(PreparedError, match="records/1.0.0: .*stolen.* does not lie in"):
        PreparedSource(out, "val")[0]


def test_record_files_behind_a_link_are_not_read(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "out")
    (file,) = (tmp_path / "out" / "records" / "1.0.0").glob("*val*")
    (tmp_path / "stolen").mkdir()
    file.rename(tmp_path / "stolen" / file.name)
    file.symlink_to(tmp_path / "stolen" / file.name)
    with pytest.raises(PreparedError, match="records/1.0.0: .* a symbolic link leads to .*stolen"):
        PreparedSource(tmp_path / "out", "val")[0]


def test_a_split_that_prepare_json_made_up(folder, tmp_path):
    out = tampered(folder, tmp_path / "out", "prepare.json", lambda value: {**value, "splits": {**value["splits"], "test": {}}})
    with pytest.raises(PreparedError, match="no split 'test', which prepare.json says there is"):
        len(PreparedSource(out, "test"))


@pytest.mark.parametrize("rows", [[], {"k": -1}, {"k": "0"}, {"k": True}, {"k": None}])
def test_an_index_of_pictures_holds_rows(folder, tmp_path, rows):
    out = tampered(folder, tmp_path / "out", "pictures.json", lambda index: rows)
    with pytest.raises(PreparedError, match="pictures.json: expected {key of a picture: its row}"):
        PreparedPictures(out, PLAN)


CROPS = Slot("detected", 3, 8, "detected", "crop", (0.5,) * 3, (0.5,) * 3)


@pytest.fixture(scope="module")
def cropped(mnre_folder, tmp_path_factory):
    """(records, plan, folder) with crops, some records without a photo and some with fewer crops than there is room for."""
    found = mnre.read(mnre_folder, "train", objects="detected")
    plan, out = (*PLAN, CROPS), tmp_path_factory.mktemp("cropped") / "out"
    builders.prepare({"val": found}, plan, out, root=mnre_folder)
    return found, plan, out


def test_a_batch_is_gathered_as_record_after_record(cropped):
    found, plan, out = cropped
    table = PreparedPictures(out, plan).table(found)
    which = np.array([3, 0, 8, -1, 3, 7])
    pixels, present = table(which)
    own = [gather(found[i] if i >= 0 else Record("none", ("a",)), plan) for i in which]
    assert present["detected"].any() and not present["photo"].all()
    for slot in plan:
        np.testing.assert_array_equal(pixels[slot.name], np.stack([of[0][slot.name] for of in own]))
        np.testing.assert_array_equal(present[slot.name], np.stack([of[1][slot.name] for of in own]))
        assert (pixels[slot.name].dtype, present[slot.name].dtype) == (np.uint8, np.bool_)


def test_pictures_of_before_there_were_arrays(cropped, mnre_folder, tmp_path):
    found, plan, _ = cropped
    builders.prepare({"val": found}, plan, tmp_path / "png", root=mnre_folder, encoding="png")
    out = tampered(tmp_path / "png", tmp_path / "out", "prepare.json", lambda value: {**value, "format": 1})
    pictures = PreparedPictures(out, plan)
    assert pictures.table(found) is None
    np.testing.assert_array_equal(pictures(found[0])[0]["detected"], gather(found[0], plan)[0]["detected"])


@pytest.mark.parametrize("row", [0, 2**31])
def test_an_index_beyond_its_array_is_refused(folder, tmp_path, row):
    out = tampered(folder, tmp_path / "out", "pictures.json", lambda index: dict.fromkeys(index, row))
    with pytest.raises(PreparedError, match=rf"pictures.json: 'squash16:.* has row {row}, and squash16.npy rows 1 to "):
        PreparedPictures(out, PLAN)


def test_a_damaged_array_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "out")
    path = tmp_path / "out" / "pictures" / "squash16.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PreparedError, match="squash16.npy: .* bytes, where .* prepare the data set again"):
        PreparedPictures(tmp_path / "out", PLAN)


def test_an_array_behind_a_link_is_not_read(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "out")
    path = tmp_path / "out" / "pictures" / "squash16.npy"
    path.rename(tmp_path / "stolen.npy")
    path.symlink_to(tmp_path / "stolen.npy")
    with pytest.raises(PreparedError, match="a symbolic link leads to .*stolen"):
        PreparedPictures(tmp_path / "out", PLAN)
