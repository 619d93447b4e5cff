"""A sweep's values have the type of the setting; the command trains one run a value and prints them side by side."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.thorough

PARSE = """
import sys
from absl import app
from configs import hvformer
from launch import sweep
for text in sys.argv[1:]:
    try:
        print(repr(sweep.parse(text, hvformer.get_config("quickstart"))))
    except app.UsageError as error:
        print("refused:", error)
"""

PARSED = {
    "train.epochs=1,2": "('train.epochs', [1, 2])",
    "data.train_share=0.5,1": "('data.train_share', [0.5, 1])",
    "system.levels=(0,);(1,2)": "('system.levels', [(0,), (1, 2)])",
    "system.mixture=experts,concat": "('system.mixture', ['experts', 'concat'])",
    "optim.multipliers.head=1,10.0": "('optim.multipliers.head', [1, 10.0])",
    "parallel.mesh.fsdp=1,2": "('parallel.mesh.fsdp', [1, 2])",
    "system.width=1": "refused: --vary: the configuration has no setting 'system.width'",
    "parallel.mesh.x=1": "refused: --vary: the configuration has no setting 'parallel.mesh.x'",
    "data.counts.x=1": "refused: --vary: the configuration has no setting 'data.counts.x'",
    "parallel.mesh=1": "refused: --vary: parallel.mesh has parts: name one, parallel.mesh.NAME",
    "optim.multipliers.head=high": "refused: --vary: optim.multipliers.head: 'high' is not a value",
    "train=1": "refused: --vary is SECTION.NAME=VALUE,VALUE,..., found 'train=1'",
    "train.epochs=1.5": "refused: --vary: train.epochs is a int such as 5, found 1.5",
    "train.epochs=": "refused: --vary is SECTION.NAME=VALUE,VALUE,..., found 'train.epochs='",
    "data.image_share=half": "refused: --vary: data.image_share: 'half' is not a value",
}


def test_values_have_the_type_of_the_setting():
    done = subprocess.run([sys.executable, "-c", PARSE, *PARSED], capture_output=True, text=True, check=True)
    assert dict(zip(PARSED, done.stdout.splitlines(), strict=True)) == PARSED


SWEEP = """
from absl import flags
from launch import console, sweep

def trained(config, workdir):
    workdir.mkdir(parents=True, exist_ok=True)
    print("trained", workdir.name)
    return {"headline": {"micro.f1": config.data.train_share + config.train.seed / 100}}

sweep.train = trained
flags.mark_flags_as_required(["config", "workdir", "vary"])
console.run(sweep.main, together=True)
"""


def swept(workdir, *typed):
    """The command with a stand-in for training."""
    flags = ["--config=configs/rsrnet.py:quickstart", f"--workdir={workdir}", *typed]
    return subprocess.run([sys.executable, "-c", SWEEP, *flags], capture_output=True, text=True, check=False)


def test_it_writes_draws_and_keeps_what_is_of_the_present_grid(tmp_path):
    grid = ["--vary=data.train_share=0.1,0.5"]
    result = swept(tmp_path / "shares", *grid, "--seeds=0,1")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("trained seed_") == 4 and "0.105 +- 0.007" in result.stdout
    assert {path.name for path in (tmp_path / "shares").glob("*.*") if path.is_file()} == {"sweep.json", "curve.png", "scores.png"}
    beside = swept(tmp_path / "other", "--vary=optim.lr=0.1,0.2", f"--beside={tmp_path / 'shares'}")
    assert beside.returncode == 2 and "trained" not in beside.stdout
    assert f"{'shares'} varies data.train_share, not optim.lr" in beside.stderr
    result = swept(tmp_path / "shares", *grid, "--seeds=1,2")
    assert "2 runs of an earlier call are not of this one: data.train_share=0.1/seed_0, data.train_share=0.5/seed_0" in result.stderr
    assert [run["seed"] for run in json.loads((tmp_path / "shares" / "sweep.json").read_text())["runs"]] == [1, 2, 1, 2]


@pytest.mark.slow
def test_a_grid_with_seeds_is_trained_once(tmp_path):
    """A column a value; with one more seed only its runs are new, and what was trained stays as it was."""
    tiny = ["--config.data.counts=(64,8,8)", "--config.train.epochs=1", "--config.train.compilation_cache="]
    command = [sys.executable, "-m", "launch.sweep", "--config=configs/qeot.py:quickstart", "--vary=system.queries=1,2", *tiny]

    def run(*more):
        done = subprocess.run([*command, f"--workdir={tmp_path}", *more], capture_output=True, text=True, check=True)
        return done.stdout, json.loads((tmp_path / "sweep.json").read_text())

    out, found = run("--seeds=0")
    assert out.split()[:3] == ["system.queries", "1", "2"]
    assert [run["folder"] for run in found["runs"]] == ["system.queries=1/seed_0", "system.queries=2/seed_0"]
    metrics = [tmp_path / run["folder"] / "metrics.json" for run in found["runs"]]
    assert [json.loads(path.read_text())["headline"] for path in metrics] == [run["headline"] for run in found["runs"]]
    before = [path.stat().st_mtime_ns for path in metrics]
    out, again = run("--seeds=0,1")
    assert "+-" in out and len(again["runs"]) == 4 and [run for run in again["runs"] if run["seed"] == 0] == found["runs"]
    assert [path.stat().st_mtime_ns for path in metrics] == before
    assert (tmp_path / "curve.png").stat().st_size and (tmp_path / "scores.png").stat().st_size
