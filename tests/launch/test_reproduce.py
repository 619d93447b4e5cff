"""launch.reproduce: which entries names mean, what flags ask for, and the list as a person types it."""

import json
import pathlib
import sys

import pytest

from mmre_jax.reproduce import execute
from mmre_jax.reproduce.tables import ENTRIES

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import typed  # noqa: E402


def test_the_list_names_every_entry_with_its_state(tmp_path):
    result = typed.run("reproduce", "--list", f"--workdir={tmp_path}")
    assert result.returncode == 0, result.stderr
    lines = {line.split()[0]: line for line in result.stdout.splitlines()[2:] if line.strip()}
    assert set(ENTRIES) <= set(lines)
    for entry in ENTRIES.values():
        assert ("drawing, nothing to compute" if entry.is_drawing else "never") in lines[entry.name]
    assert "runs in all, each shared by the entries that need it" in result.stdout
    assert not any(tmp_path.iterdir()), "nothing is begun"


def test_runs_and_reports_are_in_one_folder_of_the_users_home(tmp_path):
    result = typed.run("reproduce", "hvformer.table2", "--list", "--workdir=~/work", environment={"HOME": str(tmp_path)})
    assert f"are still to be trained in {tmp_path / 'work'}." in result.stdout, result.stderr


def test_places_that_are_lacking_are_described(tmp_path):
    result = typed.run("reproduce", "ifaformer.table2", "--list", "--scale=paper", f"--workdir={tmp_path}")
    assert "--place=clip=FOLDER: CLIP ViT-B/32" in result.stdout and "--place=mnre=FOLDER: data set 'mnre'" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hvformer.table3"], "there is no entry 'hvformer.table3'; did you mean hvformer.table"),
        ([], "name entries, or all; --list names all"),
        (["hvformer.table1", "--seeds=one"], "--seeds are whole numbers, found 'one'"),
        (["hvformer.table1", "--place=mnre"], "--place is NAME=VALUE, found 'mnre'"),
        (["hvformer.table1", "--config.system.levels=(0,)"], "--config.system.levels: what all runs are to have is of data"),
        (["hvformer.table2", "--row=HVPNet"], "--row=HVPNet: there is no such row; did you mean HVPNeT?"),
        (["hvformer.table2", "--row=MEGA"], "--row=MEGA is not run: no system here"),
        (["hvformer.table1", "--place=bret=/"], "--place=bret: nothing of that name has a place; did you mean bert?"),
        (["hvformer.table1", "--place=bert=/nowhere"], "--place=bert=/nowhere: there is no such folder or file"),
        (["hvformer.table1", "--place=bert=/", "--place=bert=/"], "--place=bert is given twice"),
        (["hvformer.table1", "--config.train.epochs=2", "--setting=train.epochs=3"], "--config.train.epochs is given twice"),
        (["hvformer.table1", "--config.train.epoch=2"], "--config.train.epoch: there is no such setting"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, said, tmp_path):
    result = typed.run("reproduce", *arguments, f"--workdir={tmp_path / 'work'}")
    assert result.returncode == 2 and said in result.stderr and "Traceback" not in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("error")]) == 1


def test_an_entry_that_trains_nothing_is_made(tmp_path):
    """The size of a data set: counted, and told beside the paper's."""
    small = "--config.data.counts=(64,16,16)"
    result = typed.run("reproduce", "hvformer.table1", small, f"--workdir={tmp_path}")
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "reports/small/hvformer.table1"
    (row,) = json.loads((folder / "report.json").read_text())["rows"]
    assert row["state"] == "done" and row["columns"]["#Train"]["mean"] == 64 and row["columns"]["#Train"]["paper"] == 12247
    assert "'--config.data.counts=(64,16,16)'" in (folder / "report.md").read_text()
    assert not any((path / "metrics.json").is_file() for path in (tmp_path / execute.RUNS).iterdir())
    again = typed.run("reproduce", "hvformer.table1", small, f"--workdir={tmp_path}")
    assert again.returncode == 0 and "0 runs to train, 0 scores to make" in again.stderr


@pytest.mark.thorough
def test_a_figure_is_trained_scored_drawn_and_shared(tmp_path):
    """Two figures of one run, of seconds: the second trains nothing."""
    sizes = ("data.counts=(64,16,16)", "train.epochs=1", "vision.layers=2", "train.batch=16")
    small = [f"--config.{setting}" for setting in sizes]
    for number, trained in (("9", 1), ("10", 0)):
        result = typed.run("reproduce", f"hvformer.figure{number}", *small, f"--workdir={tmp_path}", seconds=600)
        assert result.returncode == 0, result.stderr
        assert f"{trained} runs to train" in result.stderr
        folder = tmp_path / f"reports/small/hvformer.figure{number}"
        assert {"report.html", "report.md", "report.csv", "report.json"} <= {path.name for path in folder.iterdir()}
        assert len(list(folder.glob("experts*.png"))) >= 1
    assert len(list((tmp_path / "runs").iterdir())) == 1
