"""launch.submit on a real Slurm, whose controller and node run on this machine and in one folder: two tasks on CPUs."""

import getpass
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

import jax
import pytest

from launch import local
from mmre_jax.training.log import read_rows

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
# What holds for one machine; and a job that goes back into the queue is to start at once, for which credentials must be short-lived.
CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PlugStackConfig=/dev/null
MinJobAge=3600
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
"""
EPOCHS, STEPS = 20, 120
SMALL = {
    "text.width": 16, "text.heads": 2, "text.layers": 1, "vision.width": 16, "vision.heads": 2, "vision.layers": 1, "system.heads": 2,
    "system.levels": "(0,1)", "data.counts": "(48,12,10)", "data.buckets": "(32,)", "data.threads": 1, "train.batch": 8,
    "train.eval_batch": 8, "train.epochs": EPOCHS, "train.log_every": 1, "train.compilation_cache": jax.config.jax_compilation_cache_dir,
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The environment in which Slurm's programs find the cluster."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if lacking:
        pytest.skip(f"Slurm is not installed: no {', '.join(lacking)} (Debian: slurmctld slurmd slurm-client munge)")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(64))
    (folder / "munge.key").chmod(0o600)
    settings = {"host": socket.gethostname(), "ports": (local.free_port(), local.free_port()), "folder": folder, "user": getpass.getuser()}
    (folder / "slurm.conf").write_text(CONF.format(**settings))
    flags = os.environ["XLA_FLAGS"].replace("--xla_force_host_platform_device_count=2", "").strip()
    environment = {
        **os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin", "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags,
        "SLURM_CONF": str(folder / "slurm.conf"),
    }  # fmt: skip
    names = {name: str(folder / f"munge.{name}") for name in ("socket", "pid", "log", "seed")}
    munge = [f"--{name}-file={path}" if name != "socket" else f"--socket={path}" for name, path in names.items()]
    daemons = [
        ["munged", "--foreground", "--force", f"--key-file={folder}/munge.key", *munge],
        ["slurmctld", "-D", "-f", folder / "slurm.conf"],
        ["slurmd", "-D", "-f", folder / "slurm.conf"],
    ]
    started = []
    try:
        for daemon in daemons:
            with (folder / f"{daemon[0]}.out").open("w") as out:
                started.append(subprocess.Popen(daemon, env=environment, stdout=out, stderr=out))
        wait_for_node(environment, folder)
        yield environment
    finally:
        subprocess.run(["scancel", f"--user={settings['user']}"], env=environment, timeout=60, check=False)  # what a failed test has left
        for daemon in reversed(started):
            daemon.terminate()
            daemon.wait(timeout=60)


def wait_for_node(environment, folder, seconds=60):
    command, deadline = ["sinfo", "--noheader", "--format=%T"], time.monotonic() + seconds
    while (done := subprocess.run(command, env=environment, capture_output=True, text=True, check=False)).stdout.strip() != "idle":
        assert time.monotonic() < deadline, done.stdout + done.stderr + "".join(path.read_text() for path in folder.glob("*.out"))
        time.sleep(0.5)


def run(environment, *command, **more):
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def submit(environment, folder, options="", **changes):
    """The number of a job, submitted from `folder` as a person would."""
    settings = " ".join(f"--config.{name}={value}" for name, value in {**SMALL, **changes}.items())
    (folder / "run.env").write_text(
        f"NAME=quick\nCONFIG=hvformer:quickstart\nWORKDIR={folder}/run\nPYTHON={sys.executable}\nBACKEND=cpu\nDEVICES=2\n"
        f"FLAGS='{settings}'\nOPTIONS='{options}'\n"
    )
    said = run(environment, sys.executable, "-m", "launch.submit", "slurm", f"--env={folder}/run.env", cwd=folder)
    return re.fullmatch(r"Submitted batch job (\d+)\n", said)[1]


def job(environment, number):
    """What Slurm says of a job: JobState, Restarts, ExitCode and others."""
    return dict(re.findall(r"(\w+)=(\S*)", run(environment, "scontrol", "show", "job", number)))


def wait(environment, number, *states, seconds=1500):
    """Waits until a job is in one of some states; returns what Slurm says of it."""
    deadline = time.monotonic() + seconds
    while (found := job(environment, number))["JobState"] not in states and time.monotonic() < deadline:
        time.sleep(0.5)
    assert found["JobState"] in states, found
    return found


def log(folder, number):
    return (folder / f"quick-{number}.log").read_text()


def metrics(folder):
    found = json.loads((folder / "run" / "metrics.json").read_text())
    return {name: found[name] for name in ("test", "val", "best_step", "steps", "counts")}


def wait_for_steps(folder, steps, seconds=900):
    deadline = time.monotonic() + seconds
    while len(read_rows(folder / "run")) < steps and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.fixture(scope="module")
def whole(cluster, tmp_path_factory):
    """The folder of a job that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    number = submit(cluster, folder)
    found = wait(cluster, number, "COMPLETED", "FAILED", "CANCELLED")
    assert (found["JobState"], found["NumTasks"], found["Restarts"]) == ("COMPLETED", "2", "0"), log(folder, number)
    assert ", 2 device(s), cpu" in log(folder, number)
    return folder


def test_two_tasks_are_one_run(whole):
    assert [path.parent.name for path in whole.rglob("metrics.json")] == ["run"]
    assert metrics(whole)["steps"] == STEPS
    steps = [row["step"] for row in read_rows(whole / "run") if "train" in row]
    assert steps == list(range(1, STEPS + 1)), "one process writes, and each step once"


def test_a_run_that_is_told_to_stop_goes_on_from_the_queue(cluster, whole, tmp_path):
    number = submit(cluster, tmp_path)
    wait_for_steps(tmp_path, 3)
    run(cluster, "scancel", "--signal=TERM", number)
    found = wait(cluster, number, "COMPLETED", "FAILED", "CANCELLED")
    said = log(tmp_path, number)
    assert (found["JobState"], found["Restarts"], found["ExitCode"]) == ("COMPLETED", "1", "0:0"), said
    [step] = re.findall(rf"stopped after step (\d+) of {STEPS}; the same command goes on from there", said)
    assert 3 <= int(step) < STEPS and "ended with status 3: back into the queue" in said and f"resumed from step {step}" in said
    assert metrics(tmp_path) == metrics(whole), "as if it had never been stopped"


def test_a_mistake_is_not_tried_again(cluster, tmp_path):
    number = submit(cluster, tmp_path, **{"train.epochs": 0})
    found = wait(cluster, number, "COMPLETED", "FAILED", "CANCELLED")
    assert (found["JobState"], found["Restarts"], found["ExitCode"]) == ("FAILED", "0", "2:0"), log(tmp_path, number)
    assert log(tmp_path, number).count("error: train.epochs=0 is not") == 2


def test_a_job_that_is_cancelled_stays_so(cluster, tmp_path):
    number = submit(cluster, tmp_path)
    wait_for_steps(tmp_path, 1)
    run(cluster, "scancel", number)
    found = wait(cluster, number, "COMPLETED", "FAILED", "CANCELLED")
    time.sleep(10)
    assert (found["JobState"], found["Restarts"]) == ("CANCELLED", "0") == (job(cluster, number)["JobState"], found["Restarts"])


def test_a_job_whose_time_is_over_goes_on_from_the_queue(cluster, tmp_path):
    """Four minutes, and the signal one before their end; Slurm may send it up to one minute earlier."""
    number = submit(cluster, tmp_path, "--time=4 --signal=TERM@60", **{"train.epochs": 100_000})
    deadline = time.monotonic() + 900
    while job(cluster, number)["Restarts"] == "0" and time.monotonic() < deadline:
        time.sleep(1)
    said = log(tmp_path, number)
    assert job(cluster, number)["Restarts"] == "1" and "ended with status 3: back into the queue" in said, said
    run(cluster, "scancel", number)
    wait(cluster, number, "CANCELLED")
