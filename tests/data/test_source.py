"""Sources can be sent to worker processes, before and after they were used."""

import pickle

import numpy as np
import pytest

from mmre_jax.data import builders
from mmre_jax.data.dataset import FilePictures
from mmre_jax.data.pictures import Slot, gather
from mmre_jax.data.prepared import PreparedError
from mmre_jax.data.readers import mnre
from mmre_jax.data.source import PreparedPictures, PreparedSource

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
