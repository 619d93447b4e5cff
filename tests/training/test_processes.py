"""Places among processes; and two processes that decide together, each a program of its own."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

from launch import local
from mmre_jax.training import processes
from mmre_jax.training.processes import ProcessError, read_place

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("written", "address", "count", "index"),
    [("10.0.0.1:1234,2,0", "10.0.0.1:1234", 2, 0), ("node-7.x:1,16,15", "node-7.x:1", 16, 15), ("[::1]:80,1,0", "[::1]:80", 1, 0)],
)
def test_a_place_is_read(written, address, count, index):
    assert read_place(written) == processes.Place(address, count, index)


def test_no_place_is_named():
    assert read_place("auto") is None and read_place("off") is None


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("on", "is not auto, off or HOST:PORT,PROCESSES,ID, such as"),
        ("", "is not auto, off or"),
        ("host,2,0", "is not auto, off or"),
        ("host:1,2", "is not auto, off or"),
        ("host:1,2,-1", "is not auto, off or"),
        ("host:0,2,0", r"a port is a number in \[1, 65535\], found 0"),
        ("host:99999,2,0", "a port is a number"),
        ("host:1,2,2", "of 2 processes the ids are 0 to 1"),
    ],
)
def test_what_is_no_place_is_told(written, said):
    with pytest.raises(ProcessError, match=said):
        read_place(written)


def test_one_process_decides_alone():
    def fails():
        raise KeyError("x")

    assert processes.decided(lambda: {"a": 1}) == {"a": 1} and processes.together(lambda: 2) == 2
    assert processes.AnyFlag().ask(True) and not processes.AnyFlag().ask(False)
    for way in (processes.decided, processes.together):
        with pytest.raises(KeyError):
            way(fails)


# Every process runs this. It ends well only if all decided alike.
DECIDE = """
import sys
from mmre_jax.training import processes

class Odd(Exception):  # which cannot be sent: it is made of two arguments, and tells of one
    def __init__(self, first, second):
        super().__init__(first)

def fails(error):
    raise error

def message(way, do):
    try:
        way(do)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

processes.start(sys.argv[1])
import jax
me = jax.process_index()
assert jax.process_count() == 2 and processes.is_first() == (me == 0) and not processes.is_alone()
calls = []
found = processes.decided(lambda: calls.append(me) or {"who": me, "long": "x" * 5000})
assert found == {"who": 0, "long": "x" * 5000}
assert calls == [0][: 1 - me], "the others are not asked"
assert message(processes.decided, lambda: fails(KeyError("gone"))) == "KeyError: 'gone'"
assert message(processes.decided, lambda: fails(Odd("a", "b"))) in (("Odd: a", "ProcessError: Odd: a")[me], "ProcessError: Odd: a")
assert processes.together(lambda: me) == me
told = message(processes.together, lambda: fails(OSError("no disk")) if me else 0)
assert told == ("ProcessError: process 1 failed: OSError: no disk", "OSError: no disk")[me], told
flag = processes.AnyFlag()
assert [flag.ask(me == 1 and step == 2) for step in range(6)] == [False, False, False, True, False, False]
print("decided", me, flush=True)
"""


def run_two(program):
    place = f"127.0.0.1:{local.free_port()}"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, f"{place},2,{index}"],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for index in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=120)[0] for process in started]
    return [process.returncode for process in started], said


def test_two_processes_decide_together():
    statuses, said = run_two(DECIDE)
    assert statuses == [0, 0], "\n".join(said)
    assert all(f"decided {index}" in said[index] for index in range(2))


def test_a_process_that_stays_alone_gives_up_with_one_line():
    program = f"from mmre_jax.training import processes; processes.start('127.0.0.1:{local.free_port()},2,1', find=2)"
    began = time.monotonic()
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1 and time.monotonic() - began < 40
    assert result.stderr.splitlines()[-1].endswith("the processes have not found each other within 2 s")
    assert "Traceback" not in result.stderr
