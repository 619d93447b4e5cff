"""Means, deviations and tests of a table, against numbers worked out here."""

import json
import pathlib
import sys

import numpy as np
import pytest

from mmre_jax.records import RecordError
from mmre_jax.reproduce import execute, report, results, scores

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from stand_in import TABLE, Hands, parts, planned  # noqa: E402


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reproduce")
    execute.execute(planned(TABLE, seeds=(0, 1, 2)), folder, parts, hands=Hands().hands)
    return folder


def lines(workdir, seeds=(0, 1, 2), scale="small"):
    return {line.row.label: line for line in results.gather(TABLE, planned(TABLE, seeds=seeds, scale=scale), workdir, scale, parts)}


def test_every_row_is_there_run_or_not(workdir):
    found = lines(workdir)
    assert list(found) == [row.label for row in TABLE.rows]
    assert found["Three"].why_not.endswith("released") and not found["Three"].runs
    assert all(len(line.done) == 3 for label, line in found.items() if label != "Three")


def test_mean_and_sample_deviation_are_over_seeds(workdir):
    line = lines(workdir)["both: One"]
    values = [100 * scores.read(execute.place(each, workdir)).metrics["micro"]["f1"] for each in line.runs]
    cell = line.cells[1]
    assert cell.values == pytest.approx(values) and cell.mean == pytest.approx(np.mean(values))
    assert cell.std == pytest.approx(np.sqrt(sum((v - np.mean(values)) ** 2 for v in values) / 2))
    assert cell.difference == pytest.approx(np.mean(values) - 70.5) and (cell.published, cell.deviation) == (70.5, 0.25)
    alone = lines(workdir, (0,))["both: One"].cells[1]
    assert alone.std is None and len(alone.values) == 1


def test_rows_are_tested_against_the_reference(workdir):
    found = lines(workdir)
    assert found["both: One"].test is None and found["Three"].test is None
    test = found["Two"].test
    means = [found[label].cells[1].mean for label in ("Two", "both: One")]
    assert test.difference == pytest.approx(means[0] - means[1]) and test.low < test.difference < test.high < 0
    assert test.p < 0.001 and test.p_holm == pytest.approx(3 * test.p), "the smallest of three"
    near = found["both: w/o part"].test
    assert near.low < 0 < near.high or abs(near.difference) > 3


def result(right, ids=("a", "b", "c", "d"), measures=("micro.f1",)):
    counts = np.stack([np.array(right), np.ones(4), np.ones(4)], axis=-1).astype(np.int64)[:, None]
    return scores.Result({}, {}, measures, ids, counts)


def test_seeds_of_a_record_are_drawn_together():
    """Each seed has half of the records right, but together the first two, or none: over seeds there is no chance left in the former."""
    own = {0: result([1, 1, 0, 0]), 1: result([0, 0, 1, 1])}
    reference = {0: result([1, 0, 1, 0]), 1: result([0, 1, 0, 1])}
    found = results.compare(own, reference, "micro.f1")
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_what_cannot_be_tested_says_why():
    own = {0: result([1, 1, 0, 0])}
    assert results.compare(own, {1: own[0]}, "micro.f1") == "no seed in common with the reference"
    assert results.compare(own, own, "entity.accuracy") == "entity.accuracy is no function of sums over records"
    assert results.compare(own, {0: result([1, 1, 0, 0], ("a", "b", "c", "e"))}, "micro.f1") == "scored on other records than the reference"


def test_a_row_that_failed_or_waits_says_so(tmp_path):
    execute.execute(planned(TABLE), tmp_path, parts, hands=Hands(fails=["two_"]).hands)
    found = lines(tmp_path, (0,))
    assert found["Two"].failed == "RuntimeError: out of memory" and not found["both: One"].failed
    assert lines(tmp_path, (0,), "paper")["both: One"].why_not.startswith("needs --place=bert=FOLDER")


def test_a_test_over_fewer_seeds_than_the_means_says_over_which():
    own, reference = {seed: result([1, 1, 0, 0]) for seed in (0, 1, 2)}, {1: result([1, 0, 0, 0])}
    found = results.compare(own, reference, "micro.f1")
    assert found.seeds == (1,) and found.partial
    assert report.against(found).endswith("] (seed 1 alone)")
    both = results.compare(own, own, "micro.f1")
    assert both.seeds == (0, 1, 2) and not both.partial and report.against(both).endswith("]")


@pytest.mark.parametrize("how", ["cut", "another version", "no counts", "counts of others", "empty"])
def test_a_damaged_result_is_told_and_made_anew(how, tmp_path):
    found = planned(TABLE)
    execute.execute(found, tmp_path, parts, hands=Hands().hands)
    folder = execute.place(found[0], tmp_path)
    file = folder / scores.RESULT
    if how == "no counts":
        (folder / scores.COUNTS).unlink()
    elif how == "counts of others":
        with np.load(folder / scores.COUNTS) as packed:
            np.savez(folder / scores.COUNTS, **{**packed, "ids": packed["ids"][:5]})
    else:
        file.write_text({"cut": file.read_text()[:40], "another version": '{"scores": {}}', "empty": ""}[how])
    with pytest.raises(RecordError, match=f"{folder}: not a result"):
        scores.read(folder)
    execute.forget_damaged(found, tmp_path)
    again = Hands()
    execute.execute(found, tmp_path, parts, hands=again.hands)
    assert again.done == [("score", found[0].name, "test")] and scores.read(folder) is not None


@pytest.mark.parametrize(("speed", "minutes"), [({"from_step": 0}, 3.0), ({"from_step": 7}, None), ({}, 3.0)])
def test_minutes_are_of_the_whole_run_or_not_told(speed, minutes, tmp_path, monkeypatch):
    (tmp_path / "metrics.json").write_text(json.dumps({"minutes": 3.0, "steps": 9, "speed": speed}))
    kept = []
    monkeypatch.setattr(scores.evaluate, "checkpoint", lambda *_, **__: None)
    monkeypatch.setattr(scores, "_keep", lambda _, __, more: kept.append(more["training"]))
    scores.of_checkpoint(tmp_path, tmp_path)
    assert kept == [{"minutes": minutes, "steps": 9, **speed}]
