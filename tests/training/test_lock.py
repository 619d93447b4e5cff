"""One run at a time in a workdir."""

import errno
import logging
import os
import signal
import subprocess
import sys

import pytest

from configs import hvformer
from mmre_jax.training import lock, processes
from mmre_jax.training.lock import WorkdirInUse, locked
from mmre_jax.training.train import train

HOLD = """
import pathlib, sys, time
from mmre_jax.training.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_workdir_has_one_run_and_a_crash_gives_it_free(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(WorkdirInUse, match=rf"--workdir=.*: another run is at work in it \(process {other.pid} on "):
            train(hvformer.get_config("quickstart"), tmp_path)
        other.send_signal(signal.SIGKILL)
        other.wait()
    with locked(tmp_path), pytest.raises(WorkdirInUse, match="use another --workdir"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


FORK = """
import os, pathlib, sys, time
from mmre_jax.training.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    if not os.fork():
        print(os.getpid(), flush=True)
        time.sleep(60)
        os._exit(0)
    sys.stdin.readline()
    os._exit(1)
"""


def test_a_child_of_a_run_does_not_outlive_it_with_the_lock(tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, "-c", FORK, str(tmp_path)], **pipes) as other:
        child = int(other.stdout.readline())
        try:
            with pytest.raises(WorkdirInUse), locked(tmp_path):
                pass
            other.stdin.write("die\n")
            other.stdin.flush()
            assert other.wait() == 1
            os.kill(child, 0)  # it is there
            with locked(tmp_path):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, caplog):
    def without(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", without)
    with caplog.at_level(logging.WARNING), locked(tmp_path):
        assert "its file system has no locks (No locks available)" in caplog.text


def test_a_workdir_that_is_not_the_first_processes_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "SEEN", 0.0)
    with locked(tmp_path):
        holder = (tmp_path / lock.NAME).read_text()
        lock._see(tmp_path, holder)
        with pytest.raises(OSError, match=rf"--workdir={tmp_path} on .* is not the folder that process 1 on elsewhere has: it must"):
            lock._see(tmp_path, "process 1 on elsewhere\n")
    with pytest.raises(OSError, match="must be shared"):
        lock._see(tmp_path / "other", holder)
