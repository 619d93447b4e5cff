"""What is done is done once; what was stopped goes on; what fails is named and loses nothing else."""

import dataclasses
import json
import pathlib
import sys

import pytest

from mmre_jax.reproduce import execute
from mmre_jax.reproduce.table import row
from mmre_jax.training.lock import WorkdirInUse

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from stand_in import F1, ONE, OTHER, TABLE, Hands, parts, planned  # noqa: E402


def run(found, workdir, hands, **more):
    return execute.execute(found, workdir, parts, hands=hands.hands, **more)


def names(hands, what):
    return [each[1] for each in hands.done if each[0] == what]


def test_a_run_that_several_rows_and_tables_need_is_trained_once(tmp_path):
    hands, found = Hands(), planned(TABLE, OTHER)
    assert len(execute.todo(found, tmp_path, parts)[0]) == 3
    outcome = run(found, tmp_path, hands)
    assert len(names(hands, "train")) == len(set(names(hands, "train"))) == 3
    assert len(names(hands, "score")) == 4, "own pictures and other records' of one run"
    assert not outcome.failed and outcome.left == 0


def test_what_is_done_is_skipped(tmp_path):
    run(planned(TABLE), tmp_path, Hands())
    again = Hands()
    run(planned(TABLE, OTHER), tmp_path, again)
    assert again.done == []
    more = Hands()
    run(planned(TABLE, seeds=(0, 1)), tmp_path, more)
    assert len(names(more, "train")) == 3, "those of the new seed alone"


def test_the_first_seed_of_all_rows_comes_first(tmp_path):
    hands = Hands()
    found = planned(TABLE, seeds=(5, 2))
    run(found, tmp_path, hands)
    seeds = {each.name: each.seed for each in found}
    assert [seeds[name] for name in names(hands, "train")] == [5] * 3 + [2] * 3


def test_a_call_that_was_stopped_goes_on(tmp_path):
    found = planned(TABLE)
    with pytest.raises(execute.Interrupted):
        run(found, tmp_path, Hands(stops=["two_"]))
    rest = Hands()
    outcome = run(found, tmp_path, rest)
    assert names(rest, "train") == [each.name for each in found if "two_" in each.name] and outcome.left == 0


def test_a_score_that_was_stopped_is_made_without_training_again(tmp_path):
    run(planned(OTHER), tmp_path, Hands())
    (tmp_path / "runs" / planned(OTHER)[0].name / "scores/test/result.json").unlink()
    hands = Hands()
    run(planned(OTHER), tmp_path, hands)
    assert [each[0] for each in hands.done] == ["score"]


def test_a_time_limit_stops_between_runs(tmp_path):
    hands, now = Hands(), iter(range(0, 10_000, 50))
    outcome = run(planned(TABLE), tmp_path, hands, max_minutes=2, clock=lambda: next(now))
    assert 0 < len(hands.done) < 7 and outcome.left > 0 and not outcome.failed
    rest = Hands()
    assert run(planned(TABLE), tmp_path, rest).left == 0
    assert len(hands.done) + len(rest.done) == 7


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path):
    found = planned(TABLE)
    hands = Hands(fails=["two_"])
    outcome = run(found, tmp_path, hands)
    (name,) = outcome.failed
    assert name.startswith("two_") and outcome.failed[name] == "RuntimeError: out of memory"
    assert names(hands, "train").count(name) == 1 and len(names(hands, "score")) == 3
    assert "Traceback" in (tmp_path / "runs" / name / "failed.txt").read_text()
    assert execute.failures(found, tmp_path, parts)[name] == outcome.failed[name]
    run(found, tmp_path, Hands())
    assert not execute.failures(found, tmp_path, parts), "made since"


def test_a_file_in_the_place_of_a_runs_folder_loses_no_other_row(tmp_path):
    found = planned(TABLE)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / found[0].name).write_text("x")
    hands = Hands()
    outcome = run(found, tmp_path, hands)
    assert list(outcome.failed) == [found[0].name] and len(names(hands, "score")) == 2, "w/o part, and Two"


def test_a_run_that_another_call_is_at_work_on_is_left_to_it(tmp_path):
    found, hands = planned(TABLE), Hands()

    def in_use(config, folder):
        if "two_" in folder.name:
            raise WorkdirInUse(f"{folder}: another run is at work in it")
        hands.train(config, folder)

    outcome = execute.execute(found, tmp_path, parts, hands=execute.Hands(in_use, hands.score))
    assert not outcome.failed and outcome.left == 2, "to be trained and to be scored"
    assert not execute.failures(found, tmp_path, parts) and len(names(hands, "score")) == 3


def test_a_pipeline_is_as_many_runs_as_it_has_parts(tmp_path):
    entry = dataclasses.replace(OTHER, rows=(row(F1, "Pipeline", (), ONE, how="pipeline"), row(F1, "One", (), ONE)))
    hands = Hands()
    run(planned(entry), tmp_path, hands)
    kinds = [name.rsplit("_", 1)[0] for name in names(hands, "train")]
    assert kinds == ["pipeline_tagger", "pipeline_detector", "one_quickstart"]


def test_a_pipeline_whose_part_fails_trains_no_further_part(tmp_path):
    entry = dataclasses.replace(OTHER, rows=(row(F1, "Pipeline", (), ONE, how="pipeline"), row(F1, "One", (), ONE)))
    hands = Hands(fails=["tagger"])
    outcome = run(planned(entry), tmp_path, hands)
    assert [name.rsplit("_", 1)[0] for name in names(hands, "train")] == ["pipeline_tagger", "one_quickstart"]
    assert len(outcome.failed) == 1 and outcome.left > 0


def test_rows_that_lack_a_place_are_left_out(tmp_path):
    hands = Hands()
    assert run(planned(TABLE, scale="paper"), tmp_path, hands).left == 0 and hands.done == []


def test_a_real_run_is_scored_in_every_way(trained, tmp_path, monkeypatch):
    """Own and other records' pictures, predictions by other rules, the number of crops, the data set and the settings."""
    from mmre_jax.extract import load

    config = load(trained).job.config
    (tmp_path / "runs").mkdir()
    results = {}
    for how, scored_with in (
        *((how, {}) for how in ("trained", "shuffled", "metadata", "counts", "settings")),
        ("trained", {"data.none_label": "None"}),
    ):
        (each,) = planned(dataclasses.replace(OTHER, rows=(row(F1, "One", (), ONE, how=how, scored_with=scored_with),)))
        each = dataclasses.replace(each, config=config, name="hvformer")
        (tmp_path / "runs" / "hvformer").exists() or (tmp_path / "runs" / "hvformer").symlink_to(trained)
        monkeypatch.setattr(execute, "place", lambda planned, workdir: workdir / planned.score)
        execute.score(each, tmp_path, parts)
        results[each.score] = execute.scores.read(tmp_path / each.score)
    wanted = json.loads((trained / "metrics.json").read_text())["test"]["micro"]["f1"]
    assert results["test"].at("micro.f1") == results["test_none_label=None"].at("micro.f1") == pytest.approx(wanted)
    assert results["test"].counts.shape == (16, 2, 3) and results["test"].at("training.minutes") > 0
    assert results["shuffled"].protocol["pictures"] == "shuffled" and 0 <= results["metadata"].at("accuracy") <= 1
    assert [results["counts"].at(name) for name in ("train", "val", "test", "entities", "relations")] == [64, 16, 16, 192, 17]
    assert results["settings"].at("train.epochs") == 4 and results["settings"].at("data.name") is None
