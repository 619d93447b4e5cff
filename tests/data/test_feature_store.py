"""Features on a disk: rows come back as they were added, and nothing half-written is ever read."""

import json
import pickle
import threading

import ml_dtypes
import numpy as np
import pytest

from mmre_jax.data import feature_store
from mmre_jax.data.feature_store import FeatureError, FeatureStore, StoredFeatures, told

FIELDS = {"a": ("float32", (2, 3)), "b": ("bfloat16", (4,))}


def store(tmp_path):
    kept = FeatureStore(tmp_path / "kept", FIELDS, {"system": "toy"})
    kept.make()
    return kept


def rows(*numbers):
    """A row a number, whose values tell it."""
    return {
        "a": np.stack([np.full((2, 3), n, np.float32) for n in numbers]),
        "b": np.stack([np.arange(4).astype(ml_dtypes.bfloat16) + n for n in numbers]),
    }


def add(kept, *numbers):
    with kept.adding() as adder:
        adder.add([f"key {n}" for n in numbers], np.array([[True, n % 2 == 0] for n in numbers]), rows(*numbers))


def read(kept, *numbers):
    index = kept.index()
    found = StoredFeatures(kept, np.array([index[f"key {n}"].row for n in numbers]), {"photo": np.ones((len(numbers), 1), bool)})
    return found[np.arange(len(numbers))]


def test_rows_come_back_in_any_order_and_in_another_process(tmp_path):
    kept = store(tmp_path)
    add(kept, 5, 2)
    add(store(tmp_path), 9)
    features, present = read(kept, 9, 5, 2, 9)
    for name, expected in rows(9, 5, 2, 9).items():
        assert features[name].dtype == expected.dtype
        np.testing.assert_array_equal(features[name], expected)
    assert present["photo"].shape == (4, 1) and kept.index()["key 5"].present == (True, False)
    found = StoredFeatures(kept, np.array([[2, 0], [1, 1]]), {"photo": np.ones((2, 1), bool)})
    assert found[0][0]["a"].shape == (2, 2, 3) and len(pickle.dumps(found)) < 2000, "the rows stay on the disk"
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found))[1][0]["a"], rows(2, 2)["a"])


def test_what_was_being_added_when_the_process_was_killed_is_added_anew(tmp_path):
    kept = store(tmp_path)
    add(kept, 1, 2)
    with (kept.folder / feature_store.ROWS).open("ab") as file:
        file.write(b"\xff" * (kept.row.itemsize + 7))  # a row that no key names, and a part of one
    with (kept.folder / feature_store.INDEX).open("a") as file:
        file.write('{"key": "key 3", "row": 2, "pres')
    assert set(kept.index()) == {"key 1", "key 2"}
    add(kept, 4, 3)
    np.testing.assert_array_equal(read(kept, 1, 3, 4, 2)[0]["a"], rows(1, 3, 4, 2)["a"])
    assert len((kept.folder / feature_store.INDEX).read_text().splitlines()) == 4


def test_damage_is_told(tmp_path):
    kept = store(tmp_path)
    add(kept, 1, 2)
    with pytest.raises(FeatureError, match="about.json: the rows of this folder have other fields"):
        FeatureStore(kept.folder, {"a": FIELDS["a"]}, {}).make()
    with pytest.raises(OSError, match="features cannot be kept there .* see data.features_folder"):
        FeatureStore(kept.folder / feature_store.ROWS, FIELDS, {}).make()
    names = (kept.folder / feature_store.INDEX).read_text()
    (kept.folder / feature_store.INDEX).write_text(names + '{"key": "x"}\n')
    with pytest.raises(FeatureError, match=r"index.jsonl, line 3: expected key, row and present"):
        kept.index()
    (kept.folder / feature_store.INDEX).write_text(names + json.dumps({"key": "x", "row": 2, "present": "1"}) + "\n")
    with pytest.raises(FeatureError, match=r"rows.bin: has 2 whole rows, index.jsonl names 3: remove the folder"):
        kept.index()


def test_a_full_disk_is_told_beforehand(tmp_path, monkeypatch):
    kept = store(tmp_path)
    kept.check_room(10)
    monkeypatch.setattr(feature_store.shutil, "disk_usage", lambda folder: type("", (), {"free": 10 * kept.row.itemsize}))
    with pytest.raises(FeatureError, match=r"the features need 0.4 kB more, and 0.3 kB are free: see data.features_folder"):
        kept.check_room(11)
    assert told(8_600_000_000) == "8.6 GB" and told(61_440) == "61.4 kB"


def test_one_process_adds_at_a_time(tmp_path):
    kept, done = store(tmp_path), []

    def other():
        add(store(tmp_path), 2)
        done.append(True)

    with kept.adding() as adder:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.2)
        assert not done, "it waits"
        adder.add(["key 1"], np.ones((1, 2), bool), rows(1))
    thread.join(10)
    np.testing.assert_array_equal(read(kept, 1, 2)[0]["a"], rows(1, 2)["a"])
