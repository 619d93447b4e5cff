"""A run in two processes, started by launch.local: it equals the run in one, stops in order when one is told to, and ends when one dies."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from mmre_jax.training.checkpoint import FOLDER, Checkpoints
from mmre_jax.training.log import read_json, read_rows

ROOT = pathlib.Path(__file__).parents[2]
TOY = pathlib.Path(__file__).parents[1] / "training"
FLAGS = os.environ["XLA_FLAGS"].replace("--xla_force_host_platform_device_count=2", "").strip()

# launch.train, with the toy system of tests/training/toy.py under the name of one that is there.
PROGRAM = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(TOY)!r}]
from toy import ToyNet, ToySystem
from absl import flags
from mmre_jax import systems
systems.BUILDERS["hvformer"] = lambda config, *, vocab_size, labels, dtype: ToySystem(ToyNet(len(labels)))
from launch import console, train
flags.mark_flags_as_required(["config", "workdir"])
console.run(train.main, together=True)
"""
SMALL = {
    "text.width": 16, "text.heads": 2, "text.layers": 1, "vision.width": 16, "vision.heads": 2, "vision.layers": 1, "system.heads": 2,
    "data.counts": "(48,12,10)", "data.buckets": "(32,)", "data.threads": 1, "train.batch": 8, "train.eval_batch": 8, "train.epochs": 2,
    "train.log_every": 1, "train.compilation_cache": "",
}  # fmt: skip


def command(tmp_path, workdir, processes, **changes):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    settings = [f"--config.{name}={value}" for name, value in {**SMALL, **changes}.items()]
    run = [str(program), "--config=configs/hvformer.py:quickstart", f"--workdir={workdir}", *settings]
    launcher = ["-m", "launch.local", f"--processes={processes}", f"--devices={4 // processes}", "--"]
    return [sys.executable, *launcher, *run]


def environment():
    return {**os.environ, "XLA_FLAGS": FLAGS, "JAX_PLATFORMS": "cpu"}


def train(tmp_path, workdir, processes, **changes):
    typed = command(tmp_path, workdir, processes, **changes)
    return subprocess.run(typed, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300, check=False)


def arrays(workdir, step):
    with Checkpoints(workdir / FOLDER, read_only=True) as checkpoints:
        assert checkpoints.latest() == step
        return jax.tree.map(np.asarray, checkpoints.read_variables(step))


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run in one process, with four devices."""
    folder = tmp_path_factory.mktemp("alone")
    result = train(folder, folder / "run", 1)
    assert result.returncode == 0, result.stderr
    return folder / "run"


def metrics(workdir):
    found = json.loads((workdir / "metrics.json").read_text(encoding="utf-8"))
    return {name: found[name] for name in ("test", "val", "best_step", "steps", "counts")}


MESH = {"parallel.mapping": "mesh", "parallel.mesh.fsdp": 4}


@pytest.mark.parametrize("changes", [{}, pytest.param(MESH, marks=pytest.mark.slow)], ids=["pmap", "mesh"])
def test_two_processes_train_what_one_does(alone, tmp_path, changes):
    result = train(tmp_path, tmp_path / "run", 2, **changes)
    assert result.returncode == 0, result.stderr
    assert "[0] " in result.stderr and not re.search(r"^\[1\] \d\d:\d\d:\d\d", result.stderr, re.M), "the first speaks for all"
    assert metrics(tmp_path / "run") == metrics(alone)
    ours, theirs = ([row["train"]["loss"] for row in read_rows(run) if "train" in row] for run in (tmp_path / "run", alone))
    assert len(ours) == 12
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    same(arrays(tmp_path / "run", 12), arrays(alone, 12))


@pytest.mark.slow
def test_two_processes_share_a_bucket(alone, tmp_path, server):
    result = train(tmp_path, server / "run", 2, **MESH)
    assert result.returncode == 0, result.stderr
    found = read_json(server / "run" / "metrics.json")
    assert {name: found[name] for name in metrics(alone)} == metrics(alone)
    same(arrays(server / "run", 12), arrays(alone, 12))


def processes_of(launcher):
    """The launcher's children, in the order of their numbers."""
    return [int(pid) for pid in pathlib.Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()]


def started(tmp_path, **changes):
    """A launcher in two processes whose run has done a step, and its children."""
    launcher = subprocess.Popen(
        command(tmp_path, tmp_path / "run", 2, **{"train.epochs": 2000, **changes}),
        cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while not read_rows(tmp_path / "run") and launcher.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    return launcher, processes_of(launcher)


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_signal_to_one_process_stops_both_with_a_checkpoint(tmp_path, rank):
    launcher, children = started(tmp_path)
    with launcher:
        os.kill(children[rank], signal.SIGTERM)
        said = launcher.communicate(timeout=120)[1]
    assert launcher.returncode == 3, said
    step = int(re.search(r"\[0\] .* stopped after step (\d+) of 12000", said)[1])
    arrays(tmp_path / "run", step)
    assert max(row["step"] for row in read_rows(tmp_path / "run")) == step
    assert not list((tmp_path / "run" / FOLDER).glob("*tmp*"))


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_run_with_a_message_and_it_can_be_resumed(tmp_path):
    launcher, children = started(tmp_path, **{"train.save_every": 5, "train.max_steps": 6000})
    with launcher:
        while len([path for path in (tmp_path / "run" / FOLDER).glob("*") if path.name.isdigit()]) == 0:
            time.sleep(0.1)
        began = time.monotonic()
        os.kill(children[1], signal.SIGKILL)
        said = launcher.communicate(timeout=120)[1]
    assert time.monotonic() - began < 60 and launcher.returncode not in (0, 3), said
    assert "the others are brought down" in said
    with Checkpoints(tmp_path / "run" / FOLDER, read_only=True) as checkpoints:
        step = checkpoints.latest()
    assert step
    result = train(tmp_path, tmp_path / "run", 2, **{"train.epochs": 2000, "train.max_steps": step + 1})
    assert result.returncode == 3 and f"resumed from step {step}" in result.stderr, result.stderr


@pytest.mark.slow
def test_a_mistake_ends_both_processes_with_the_same_line(tmp_path):
    result = train(tmp_path, tmp_path / "run", 2, **{"train.batch": 7})
    assert result.returncode == 2 and "error: train.batch=7 does not divide over 4 device(s)" in result.stderr, result.stderr
    assert "Traceback" not in result.stderr


def assert_equal_runs(run, whole):
    """Two finished runs of the same numbers, bit by bit."""
    assert metrics(run) == metrics(whole)
    step = metrics(whole)["steps"]
    for x, y in zip(*(jax.tree.leaves(arrays(workdir, step)) for workdir in (run, whole)), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.slow
def test_runs_that_are_killed_at_random_moments_end_as_if_they_had_never_been(tmp_path):
    """KILLS (20) times, at moments drawn from SEED (0): one process, or both at once. What is left is loadable each time; a run that comes
    to its end is compared, and another one begun."""
    rng = np.random.default_rng(int(os.environ.get("SEED", "0")))
    changes, run, whole = {"train.epochs": 60, "train.save_every": 2, "train.log_every": 10}, tmp_path / "run", tmp_path / "whole"
    began = time.monotonic()
    assert train(tmp_path, whole, 2, **changes).returncode == 0
    longest = time.monotonic() - began
    reached: list[int | None] = []
    typed = command(tmp_path, run, 2, **changes)
    while len(reached) < int(os.environ.get("KILLS", "20")):
        with subprocess.Popen(typed, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as launcher:
            time.sleep(rng.uniform(0.3, 0.9) * longest)
            children = processes_of(launcher) if launcher.poll() is None else []
            for child in children if rng.random() < 0.3 or not children else [children[rng.integers(len(children))]]:
                os.kill(child, signal.SIGKILL)
            said = launcher.communicate(timeout=120)[1]
        assert launcher.returncode not in (2, 3), said
        if launcher.returncode == 0:
            assert_equal_runs(run, whole)
            shutil.rmtree(run)
            continue
        reached.append(None)
        if (run / FOLDER).is_dir():
            with Checkpoints(run / FOLDER, read_only=True) as checkpoints:
                reached[-1] = checkpoints.latest()
                assert all(checkpoints.read_variables(step) for step in checkpoints.steps())
    print(f"steps of the last checkpoints after each kill: {reached}")
    result = train(tmp_path, run, 2, **changes)
    assert result.returncode == 0, result.stderr
    assert_equal_runs(run, whole)
