"""A run in two processes: it equals the run in one, stops in order when one is told to, ends when one dies, and sees to it that no process
waits for another that has found a disk full, a file damaged or not there yet."""

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

from launch.local import free_port
from mmre_jax.training.checkpoint import FOLDER, Checkpoints
from mmre_jax.training.log import read_json, read_rows

pytestmark = pytest.mark.processes

ROOT = pathlib.Path(__file__).parents[2]
TOY = pathlib.Path(__file__).parents[1] / "training"
FLAGS = os.environ["XLA_FLAGS"].replace("--xla_force_host_platform_device_count=2", "").strip()

# launch.train, with the toy system of tests/training/toy.py under the name of one that is there. It tells how many records it decoded.
PROGRAM = f"""
import atexit, os, sys
index = int(sys.argv[1].rpartition(",")[2])
sys.path[:0] = [{str(ROOT)!r}, {str(TOY)!r}]
from toy import ToyNet, ToySystem
from absl import flags
from mmre_jax import systems
from mmre_jax.tasks.relation import RelationTask
systems.BUILDERS["hvformer"] = lambda config, *, vocab_size, labels, dtype: ToySystem(ToyNet(len(labels)))
decode, decoded = RelationTask.decode, []
RelationTask.decode = lambda *arguments: decoded.append(arguments) or decode(*arguments)
atexit.register(lambda: os.write(1, b"decoded %d\\n" % len(decoded)))
FAULT
from launch import console, train
flags.mark_flags_as_required(["config", "workdir"])
console.run(train.main, together=True)
"""
SMALL = {
    "text.width": 16, "text.heads": 2, "text.layers": 1, "vision.width": 16, "vision.heads": 2, "vision.layers": 1, "system.heads": 2,
    "data.counts": "(48,12,10)", "data.buckets": "(32,)", "data.threads": 1, "train.batch": 8, "train.eval_batch": 8, "train.epochs": 2,
    "train.log_every": 1, "train.compilation_cache": "",
}  # fmt: skip


def program(tmp_path, workdir, fault="", **changes):
    """What python is to run, and its arguments. fault: code that each process runs first."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.replace("FAULT", fault), encoding="utf-8")
    settings = [f"--config.{name}={value}" for name, value in {**SMALL, **changes}.items()]
    return [str(path), "--config=configs/hvformer.py:quickstart", f"--workdir={workdir}", *settings]


def command(tmp_path, workdir, processes, fault="", **changes):
    launcher = ["-m", "launch.local", f"--processes={processes}", f"--devices={4 // processes}", "--"]
    return [sys.executable, *launcher, *program(tmp_path, workdir, fault, **changes)]


def environment():
    return {**os.environ, "XLA_FLAGS": FLAGS, "JAX_PLATFORMS": "cpu"}


def train(tmp_path, workdir, processes, fault="", **changes):
    typed = command(tmp_path, workdir, processes, fault, **changes)
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
    decoded = dict(re.findall(r"^\[(\d)\] decoded (\d+)$", result.stdout, re.M))
    assert decoded == {"0": str(3 * 12 + 10), "1": "0"}, "val twice and once to calibrate, test once; the last batches are not full"


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
        began = time.monotonic()
        os.kill(children[rank], signal.SIGTERM)
        said = launcher.communicate(timeout=120)[1]
    assert launcher.returncode == 3 and time.monotonic() - began < 30, said  # what clusters give it: Slurm, Kubernetes
    step = int(re.search(r"\[0\] .* stopped after step (\d+) of 12000", said)[1])
    arrays(tmp_path / "run", step)
    assert max(row["step"] for row in read_rows(tmp_path / "run")) == step
    assert not list((tmp_path / "run" / FOLDER).glob("*tmp*"))


# Process 1 is asked to stop while val is scored for the first time.
SCORING = """
import signal
from mmre_jax.training import evaluate
track = evaluate.track
def signalled(stream, name, *given, **more):
    if name == "val" and index == 1 and not os.path.exists("ASKED"):
        open("ASKED", "w").close()
        os.kill(os.getpid(), signal.SIGTERM)
    return track(stream, name, *given, **more)
evaluate.track = signalled
"""


def test_two_processes_that_are_stopped_while_they_score_go_on_to_the_same_end(alone, tmp_path):
    fault, run = SCORING.replace("ASKED", str(tmp_path / "asked")), tmp_path / "run"
    stopped = train(tmp_path, run, 2, fault, **{"train.eval_batch": 4})
    assert stopped.returncode == 3 and "stopped after step 6 of 12" in stopped.stderr, stopped.stderr
    with Checkpoints(run / FOLDER, read_only=True) as checkpoints:
        assert checkpoints.steps() == [6] and checkpoints.best() is None
    result = train(tmp_path, run, 2, fault, **{"train.eval_batch": 4})
    assert result.returncode == 0 and "resumed from step 6" in result.stderr, result.stderr
    assert metrics(run) == metrics(alone)
    same(arrays(run, 12), arrays(alone, 12))


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


# Process 1 sees no step's folder for 3 seconds after it was finished.
LATE = """
import builtins, io, re, time
from mmre_jax.training import checkpoint
ORIGINAL = {name: getattr(os, name) for name in ("stat", "listdir", "scandir")} | {"open": io.open}
hidden = set()
def late(do):
    def call(path, *more, **named):
        step = None if isinstance(path, int) else re.match(r".*/checkpoints/\\d+(?=/|$)", os.fspath(path))
        if step and index == 1 and os.path.lexists(step[0]) and time.time() - os.lstat(step[0]).st_ctime < 3:
            hidden.add(step[0])
            raise FileNotFoundError(2, "not there yet", os.fspath(path))
        return do(path, *more, **named)
    return call
for name, do in ORIGINAL.items():
    setattr(os if name != "open" else io, name, late(do))
builtins.open = io.open
atexit.register(lambda: os.write(1, b"hidden %d\\n" % len(hidden)))
"""


def test_a_checkpoint_that_one_process_sees_late_is_waited_for(alone, tmp_path):
    result = train(tmp_path, tmp_path / "run", 2, LATE)
    assert result.returncode == 0, result.stderr
    assert re.search(r"^\[1\] hidden [1-9]", result.stdout, re.M), result.stdout
    assert metrics(tmp_path / "run") == metrics(alone)


# What process 1 reads of the last checkpoint's variables is damaged.
DAMAGED = """
from mmre_jax.training import checkpoint, processes
processes.SEEN = 2.0
restore = checkpoint.Checkpoints.restore
def damaged(self, step, state):
    return self._read(step, lambda: int("damage") if index == 1 and step == 6 else restore(self, step, state))
checkpoint.Checkpoints.restore = damaged
"""


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, MESH], ids=["pmap", "mesh"])
def test_a_checkpoint_that_one_process_finds_damaged_is_left_by_both(tmp_path, changes):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train(tmp_path, whole, 2, **changes).returncode == 0
    stopped = train(tmp_path, run, 2, **changes, **{"train.save_every": 3, "train.max_steps": 6})
    assert stopped.returncode == 3, stopped.stderr
    result = train(tmp_path, run, 2, DAMAGED, **changes)
    assert result.returncode == 0, result.stderr
    assert "6: the checkpoint is damaged or incomplete" in result.stderr and "resumed from step 3" in result.stderr, result.stderr
    assert_equal_runs(run, whole)


# The disk of one process is full from the second checkpoint on, which is larger than what a file may have then.
FULL = """
import resource
from mmre_jax.training import checkpoint
save = checkpoint.Checkpoints.save
def full(self, step, *more):
    if index == RANK and step > 6:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
    save(self, step, *more)
checkpoint.Checkpoints.save = full
"""


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_disk_that_is_full_ends_both_and_the_run_goes_on_when_there_is_room(tmp_path, rank):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train(tmp_path, whole, 2, **MESH).returncode == 0
    result = train(tmp_path, run, 2, FULL.replace("RANK", str(rank)), **MESH)
    assert result.returncode == 2, result.stderr
    assert "a checkpoint could not be saved" in result.stderr and "the last complete one is of step 6" in result.stderr, result.stderr
    result = train(tmp_path, run, 2, **MESH)
    assert result.returncode == 0 and "resumed from step 6" in result.stderr, result.stderr
    assert_equal_runs(run, whole)


@pytest.mark.parametrize(
    ("rank", "number"),
    [
        (1, signal.SIGKILL),
        pytest.param(0, signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param(1, signal.SIGSTOP, marks=pytest.mark.slow),
        pytest.param(0, signal.SIGSTOP, marks=pytest.mark.slow),
    ],
)
def test_a_process_that_is_silent_ends_the_other_within_a_minute_with_a_message(tmp_path, rank, number):
    """Without launch.local, as on two machines."""
    place, flags = f"127.0.0.1:{free_port()}", f"{FLAGS} --xla_force_host_platform_device_count=2"
    path, *settings = program(tmp_path, tmp_path / "run", **{"train.epochs": 2000, "train.save_every": 5})
    members = [
        subprocess.Popen(
            [sys.executable, path, f"--distributed={place},2,{index}", *settings],
            cwd=ROOT, env={**environment(), "XLA_FLAGS": flags}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for index in range(2)
    ]  # fmt: skip
    try:
        deadline = time.monotonic() + 200
        while not read_rows(tmp_path / "run") and time.monotonic() < deadline:
            time.sleep(0.2)
        began = time.monotonic()
        members[rank].send_signal(number)
        said = members[1 - rank].communicate(timeout=120)[1]
        took = time.monotonic() - began
    finally:
        for member in members:
            member.kill()
            member.communicate()
    assert took < 60, said
    assert members[1 - rank].returncode not in (0, 2, 3), said
    print(f"{took:.1f} s, exit status {members[1 - rank].returncode}: {said[-2000:]}")
    assert re.search(r"another process of this run is gone|heartbeat|coordination service|terminat", said, re.I), said


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
    """KILLS (20) times, at moments drawn from SEED (0), with MAPPING (pmap): one process, or both at once. What is left is loadable each
    time; a run that comes to its end is compared, and another one begun."""
    rng = np.random.default_rng(int(os.environ.get("SEED", "0")))
    changes, run, whole = {"train.epochs": 60, "train.save_every": 2, "train.log_every": 10}, tmp_path / "run", tmp_path / "whole"
    changes |= MESH if os.environ.get("MAPPING") == "mesh" else {}
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
            print("a run came to its end")
            continue
        reached.append(None)
        if (run / FOLDER).is_dir():
            with Checkpoints(run / FOLDER, read_only=True) as checkpoints:
                reached[-1] = checkpoints.latest()
                assert all(checkpoints.read_variables(step) and checkpoints.meta(step) for step in checkpoints.steps())
        print(f"kill {len(reached)}: the last checkpoint is of step {reached[-1]}", flush=True)
    result = train(tmp_path, run, 2, **changes)
    assert result.returncode == 0, result.stderr
    assert_equal_runs(run, whole)
