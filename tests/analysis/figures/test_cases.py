"""A case study: several checkpoints on the same records, right or wrong, in one table."""

import dataclasses

import numpy as np
import pytest

from mmre_jax import analyse
from mmre_jax.analysis.figures import cases
from mmre_jax.records import Mention, Record, Relation

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def view(trained):
    """The best step, and beside it one that is not."""
    steps = sorted((trained / "checkpoints").iterdir(), key=lambda path: path.name)
    steps = [path for path in steps if path.name.isdigit()]
    best = analyse.view(trained)
    others = [path for path in steps if int(path.name) != best.step]
    return analyse.view(trained, beside=others[:1] or [trained])


def test_what_each_run_says_is_what_it_predicts(view):
    drawn = cases.study(view)
    names = [run["run"] for run in drawn.facts["runs"]]
    assert len(names) == 2 and len(drawn.facts["records"]) == cases.CASES == len(drawn.pages)
    rows = [line.split(" | ") for line in drawn.table.splitlines()]
    assert len(rows) == 2 + cases.CASES and rows[0][3:] == [*names[:-1], f"{names[-1]} |"] and all(len(row) == 5 for row in rows)
    for number, told in enumerate(drawn.facts["records"]):
        record = next(record for record in view.split.records if record.id == told["id"])
        assert told["gold"] == [record.relations[0].label]
        for run in told["runs"]:
            (said,) = run["found"]
            assert said["right"] == (said["text"] == told["gold"][0]) and 0 < said["score"] <= 1
            assert f"{'✓' if said['right'] else '✗'} {said['text']} {said['score']:.2f}" in drawn.table
        for run in range(2):
            np.testing.assert_allclose(drawn.arrays[f"attention_{number}_{run}"].sum(), 1, atol=1e-5)


def test_records_that_the_runs_disagree_about_come_first(view, monkeypatch):
    odd = view.split.records[5].id

    def judged(each, prediction, record):
        return ((str(record.relations[0].label), 0.5, not (each is view and record.id == odd)),)

    monkeypatch.setattr(cases, "judged", judged)
    assert cases.instructive((view, *view.beside))[0] == odd


def test_runs_that_cannot_be_compared_are_refused(view, untrained):
    triples = analyse.view(untrained["triples"])
    with pytest.raises(ValueError, match="of one task: these runs have relation, triples"):
        cases.study(dataclasses.replace(view, beside=(triples,)))
    with pytest.raises(ValueError, match="figure 'kurtosis' shows one checkpoint: --beside is for case_study"):
        analyse.check("kurtosis", compares=True)
    analyse.check("case_study", compares=True)


def test_triples_are_judged_and_drawn(untrained):
    drawn = cases.study(analyse.view(untrained["triples"]))
    assert len(drawn.pages) == cases.CASES and drawn.facts["records"][0]["gold"]


def test_entities_stand_out_in_the_table():
    record = Record("a", ("Ada", "Byron", "met", "Bo"), relations=(Relation(Mention(0, 2), Mention(3, 4), "peer"),))
    assert cases.marked(record) == "**Ada Byron** (head) met **Bo** (tail)"
