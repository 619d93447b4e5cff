"""Several processes on one machine: what each is started with, what is passed on, and how the whole ends."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from launch import local

pytestmark = pytest.mark.thorough

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = [sys.executable, "-W", "error", "-m", "launch.local"]


def run(program, tmp_path, *flags, **more):
    """Runs processes of a program, given as text; each has its place as the first argument."""
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    command = [*COMMAND, *flags, "--", str(tmp_path / "program.py"), "--name=x"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, **more)


def test_each_has_its_place_its_devices_and_its_number_in_front(tmp_path):
    program = """
import os, sys
print("out", *sys.argv[1:], os.environ["JAX_PLATFORMS"], os.environ["XLA_FLAGS"].split()[-1])
print("err", file=sys.stderr)
"""
    result = run(program, tmp_path, "--processes=3", "--devices=2", "--port=1234", env={**os.environ, "JAX_PLATFORMS": "cpu"})
    assert result.returncode == 0, result.stderr
    flag = "--xla_force_host_platform_device_count=2"
    assert sorted(result.stdout.splitlines()) == [f"[{i}] out --distributed=127.0.0.1:1234,3,{i} --name=x cpu {flag}" for i in range(3)]
    assert sorted(result.stderr.splitlines()) == [f"[{i}] err" for i in range(3)]


def test_gpus_are_shared_out():
    assert local.environment_of(1, 2, {"JAX_PLATFORMS": "cuda"})["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert local.environment_of(1, 2, {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": "7,5,3,1"})["CUDA_VISIBLE_DEVICES"] == "3,1"
    assert "XLA_FLAGS" not in local.environment_of(0, 1, {"JAX_PLATFORMS": "cuda"})


def test_the_place_stands_behind_the_programs_name():
    assert local.with_place(["-m", "launch.convert", "a", "b"], "P") == ["-m", "launch.convert", "--distributed=P", "a", "b"]
    assert local.with_place(["x.py", "-m"], "P") == ["x.py", "--distributed=P", "-m"]
    assert local.with_place(["-m", "mmre_jax", "train", "a"], "P") == ["-m", "mmre_jax", "train", "--distributed=P", "a"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--processes=2"], "what is to run stands behind --"),
        (["--processes=2", "--"], "what is to run stands behind --"),
        (["--processes=0", "--", "x.py"], "'0' is not a whole number of at least 1"),
        (["--devices=two", "--", "x.py"], "'two' is not a whole number"),
        (["--process=2", "-m", "launch.train"], "unrecognized arguments: -m launch.train"),
        (["--", "-m"], "-m names no module"),
        (["--", "-m", "launch.train", "--distributed=off"], "--distributed is said by launch.local"),
    ],
)
def test_what_is_mistyped_is_told(arguments, said, capsys):
    with pytest.raises(SystemExit) as end:
        local.parse(arguments)
    assert end.value.code == 2 and said in capsys.readouterr().err


def test_the_others_are_brought_down_when_one_fails(tmp_path):
    program = """
import sys, time
if sys.argv[1].endswith(",1"):
    sys.exit(7)
time.sleep(60)
"""
    began = time.monotonic()
    result = run(program, tmp_path)
    assert result.returncode == 7 and time.monotonic() - began < 30
    assert result.stderr.splitlines() == ["launch.local: a process ended with exit status 7; the others are brought down"]


def test_the_others_are_brought_down_when_one_is_killed(tmp_path):
    program = """
import os, signal, sys, time
if sys.argv[1].endswith(",0"):
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(60)
"""
    result = run(program, tmp_path)
    assert result.returncode == 128 + signal.SIGKILL and "was ended by SIGKILL" in result.stderr


WAIT = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3) if ACT else print("noted", flush=True))
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


def signalled(tmp_path, program, *numbers):
    """What a launch prints and its exit status, after signals, each sent when all processes have printed another line."""
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    command = [*COMMAND, "--", str(tmp_path / "program.py")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as launcher:
        said = ""
        for number in numbers:
            said += launcher.stdout.readline() + launcher.stdout.readline()
            launcher.send_signal(number)
        said += launcher.stdout.read()
        return said, launcher.wait(timeout=30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_a_stop_is_told_by_3(tmp_path, number):
    _, status = signalled(tmp_path, WAIT.replace("ACT", "True"), number)
    assert status == 3


def test_a_second_signal_ends_it_at_once(tmp_path):
    said, status = signalled(tmp_path, WAIT.replace("ACT", "False"), signal.SIGTERM, signal.SIGTERM)
    assert sorted(re.findall(r"\[\d\] \w+", said)) == ["[0] noted", "[0] ready", "[1] noted", "[1] ready"]
    assert status == 128 + signal.SIGKILL


def test_the_status_of_the_whole():
    assert local.first_failure([0, 0, None]) is None
    assert local.first_failure([3, 0, None]) == 3
    assert local.first_failure([3, -6, 2, -9]) == 2
    assert local.first_failure([0, 3, -9]) == -9


def test_a_work_that_is_not_shared_is_done_by_the_first_alone():
    result = subprocess.run([*COMMAND, "--", "-m", "launch.settings"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert "train.batch" in result.stdout and all(line.startswith("[0] ") for line in result.stdout.splitlines())
