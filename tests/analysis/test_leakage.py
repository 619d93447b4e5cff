"""The audit finds planted leaks, passes clean data, and does not judge what it cannot see."""

import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from mmre_jax.analysis import leakage
from mmre_jax.data.annotation import Finding
from mmre_jax.data.readers import mnre, scenes
from mmre_jax.records import Mention, Record, RecordError, Region, Relation

LABELS = ("None", "/a/a/one", "/a/a/two")


def records(count, seed, *, regions=None, image=None, words=None, tell=None):
    """Synthetic records with random labels; each argument makes its part from (label index, random)."""
    random = np.random.default_rng(seed)
    found = []
    for i in range(count):
        label = int(random.integers(3))
        length = words(label, random) if words else int(random.integers(6, 12))
        head, tail = Mention(0, 1), Mention(3, 4)
        number = regions(label, random) if regions else int(random.integers(4))
        path = image(label, random) if image else "picture"
        relation = Relation(head, tail, LABELS[label])
        found.append(Record(f"{seed}-{i}", ("w",) * length, path, relations=(relation,), regions=(Region(),) * number))
    return found


def audit(size=lambda image: (64, 48), threshold=leakage.THRESHOLD, **parts):
    return leakage.audit(records(1500, 0, **parts), records(800, 1, **parts), "None", threshold, size=size)


def row(report, target, group, source="pictures"):
    return next(r for r in report.rows if (r.target, r.group, r.source) == (target, group, source))


def test_clean_data_passes():
    report = audit()
    assert not report.failed and "passed" in report.table()
    assert all(abs(r.gain) < 0.1 for r in report.rows)


def test_number_of_regions_that_tells_none_is_found():
    report = audit(regions=lambda label, random: 1 + 2 * (label > 0))
    found = row(report, "None or some", "number of regions")
    assert report.failed and found.leaks and found.accuracy == 1 and found.gain == 1
    assert row(report, "relation", "number of regions").leaks
    assert row(report, "None or some", "all of these").leaks
    assert not row(report, "None or some", "picture present").leaks


def test_threshold_decides():
    leak = dict(regions=lambda label, random: int(random.random() < (0.2 if label else 0.8)))
    gain = row(audit(**leak), "relation", "number of regions").gain
    assert 0.05 < gain < 0.95
    assert not audit(threshold=0.99, **leak).failed and audit(threshold=0.01, **leak).failed


def test_a_missing_reference_tells():
    """Records without a picture are absent pictures whether or not the folder is complete."""
    report = audit(image=lambda label, random: "picture" if label else None)
    assert row(report, "None or some", "picture present").leaks
    assert row(report, "None or some", "picture size").gain is None


def test_incomplete_folder_is_not_judged():
    def image(label, random):
        return f"{'there' if label else 'gone'}-{random.integers(10**9)}"

    report = audit(image=image, size=lambda name: (64, 48) if name.startswith("there") else None)
    for group in ("picture present", "picture size"):
        found = row(report, "None or some", group)
        assert found.gain is None and found.verdict.startswith("not judged")
    assert not report.failed and "folder incomplete" in report.table()


def test_picture_size_that_tells_is_found():
    report = audit(image=lambda label, random: str(label), size=lambda name: (600, 800) if name == "1" else (800, 600))
    assert row(report, "relation", "picture size").leaks


def test_two_numbers_that_tell_only_together_are_found():
    """Half the leak in the number of regions, half in the size: neither alone, both jointly."""

    def pair(label, random):
        first = int(random.integers(2))
        return first, first ^ (label > 0)

    def make(count, seed):
        random = np.random.default_rng(seed)
        made = []
        for record, base in zip(records(count, seed), range(count), strict=True):
            first, second = pair(LABELS.index(record.relations[0].label), random)
            made.append(Record(f"{base}", record.words, str(second), relations=record.relations, regions=(Region(),) * first))
        return made

    report = leakage.audit(make(1500, 0), make(800, 1), "None", size=lambda name: (10, 20 + int(name)))
    assert not row(report, "None or some", "number of regions").leaks
    assert not row(report, "None or some", "picture size").leaks
    assert row(report, "None or some", "all of these").leaks


def test_text_is_printed_and_not_judged():
    report = audit(words=lambda label, random: 6 + label)
    found = row(report, "relation", "sentence length", "text")
    assert found.gain == 1 and not found.leaks and not report.failed
    assert "sentence length" in report.table() and "not judged" in report.table()


def test_interval_covers_a_known_gain():
    """Regions that tell 'some' right in 3 of 4 cases: the interval holds the gain that arithmetic gives, in nearly every draw."""
    cells = np.array([200, 50, 150, 400])  # (tree wrong, majority wrong), (wrong, right), (right, wrong), (right, right)
    correct, majority = np.repeat([False, False, True, True], cells), np.repeat([False, True, False, True], cells)
    gain, low, high = leakage._gain(correct, majority)
    accuracy, by_majority = correct.mean(), majority.mean()
    assert gain == pytest.approx((accuracy - by_majority) / (1 - by_majority))
    # Delta method for the ratio of the two means, as a second opinion on the width.
    numerator, denominator = correct.astype(float) - majority, 1.0 - majority
    error = (numerator - gain * denominator).std() / denominator.mean() / np.sqrt(cells.sum())
    np.testing.assert_allclose([low, high], [gain - 1.96 * error, gain + 1.96 * error], atol=0.15 * error)


def test_majority_that_is_always_right_leaves_nothing_to_tell():
    train = [r for r in records(400, 0) if r.relations[0].label == "None"]
    report = leakage.audit(train, train, "None", size=lambda image: (1, 1))
    assert not report.failed and all(r.gain is None for r in report.rows)
    assert {r.verdict for r in report.rows if r.target == "None or some"} == {"not judged: every record is None"}
    assert row(report, "relation", "number of regions").verdict == "not judged: every record is None"


def test_what_is_not_there_is_not_judged():
    """An empty label that never occurs, regions and pictures of which there are none."""
    some = [dataclasses.replace(r, image=None, regions=()) for r in records(400, 0)]
    report = leakage.audit(some, some, "no_such_label")
    assert not report.failed
    assert {r.verdict for r in report.rows if r.target == "None or some"} == {"not judged: no record is no_such_label"}
    verdicts = {r.group: r.verdict for r in report.rows if (r.target, r.source) == ("relation", "pictures")}
    assert verdicts["number of regions"] == "not judged: no record has regions"
    assert verdicts["picture present"] == "not judged: no record has a picture"
    assert verdicts["picture size"].startswith("not judged") and verdicts["all of these"].startswith("not judged")
    assert all(r.gain is not None for r in report.rows if (r.target, r.source) == ("relation", "text"))
    assert "no record is no_such_label" in report.table()


def test_what_stands_in_the_annotation_is_in_the_report():
    train, test = records(300, 0), records(300, 1)
    clean = Finding("test", "in_training", 1, 100, "stand in training", limit=0.01)
    for finding, failed in ((clean, False), (dataclasses.replace(clean, count=2), True), (dataclasses.replace(clean, count=0), False)):
        found = leakage.audit(train, test, "None", size=lambda image: (1, 1), findings=[finding], left_out={"overlapping": 7})
        assert found.failed == failed
        assert (
            f"{'FAILS' if failed else 'warning' if finding.count else 'ok'}: test: {finding.count} of 100 stand in training"
            in found.table()
        )
        assert found.table().splitlines()[-1].startswith("FAILED: in_training of test past 1.00%" if failed else "passed")
        assert "train: not learnt from: 7 overlapping" in found.table()
        value = json.loads(found.to_json())
        assert value["annotation"][0]["count"] == finding.count and value["annotation"][0]["fails"] == failed
        assert value["not_learnt_from"] == {"overlapping": 7} and value["failed"] == failed


def test_json_holds_the_table():
    report = audit(regions=lambda label, random: label)
    value = json.loads(report.to_json())
    assert value["failed"] and (value["train"], value["held_out"]) == (1500, 800)
    assert len(value["rows"]) == len(report.rows) and value["rows"][0]["gain"] == report.rows[0].gain


def test_picture_size_reads_files_and_keys(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert leakage.picture_size(str(tmp_path / "a.png")) == (30, 20)
    assert leakage.picture_size("scenes:relations:0:train:3:64") == (64, 64)
    assert leakage.picture_size(str(tmp_path / "broken.png")) is None
    assert leakage.picture_size(str(tmp_path / "missing.png")) is None


def test_records_must_have_one_labelled_relation():
    good = records(5, 0)
    with pytest.raises(RecordError, match="one labelled relation"):
        leakage.audit(good, [Record("bad", ("a",), origin="file:3")], "None")
    with pytest.raises(ValueError, match="found 5 and 0"):
        leakage.audit(good, [], "None")


@pytest.mark.parametrize("task", ["relations", "grounded"])
def test_scenes_pass(task):
    report = leakage.audit(scenes.read(task, "train", 4000), scenes.read(task, "val", 500) + scenes.read(task, "test", 1000), "None")
    assert not report.failed
    # Its words' lengths and positions tell nothing either.
    assert all(r.gain is not None and r.gain < 0.05 for r in report.rows)


@pytest.mark.thorough
@pytest.mark.real
@pytest.mark.parametrize(
    ("objects", "leaks"),
    [("grounded", True), *(pytest.param(objects, False, marks=pytest.mark.slow) for objects in ("detected", "none"))],
)
def test_mnre(objects, leaks):
    root = pathlib.Path(os.environ.get("MMRE_DATA", pathlib.Path(__file__).parents[2].parent / "shared" / "data")) / "RE_data"
    if not root.is_dir():
        pytest.skip(f"MNRE is not at {root} (set MMRE_DATA)")
    train, val, test = (mnre.read(root, split, objects=objects) for split in ("train", "val", "test"))
    report = leakage.audit(train, val + test, mnre.none_label())
    assert report.failed == leaks
    assert row(report, "None or some", "number of regions").leaks == leaks
    if leaks:
        assert row(report, "None or some", "number of regions").gain > 0.9
