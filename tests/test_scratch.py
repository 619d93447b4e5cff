"""Temporary folders are gone when their process is, however it ended."""

import os
import signal
import subprocess
import sys

from mmre_jax.scratch import Scratch

HOLD = """
import time
from mmre_jax.scratch import Scratch
scratch = Scratch()
print(scratch.folder, flush=True)
time.sleep(60)
"""


def test_a_folder_outlives_its_process_until_the_next_needs_one(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    ) as other:
        folder = tmp_path / other.stdout.readline().strip()
        own = Scratch()
        assert folder.is_dir() and own.folder.is_dir(), "who is at work is left alone"
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert folder.is_dir()
    (tmp_path / "mmre_jax_another").mkdir()  # which is not held, and no such folder
    Scratch().close()
    assert not folder.exists() and own.folder.is_dir() and (tmp_path / "mmre_jax_another").is_dir()
    own.close()
    assert [path.name for path in tmp_path.iterdir()] == ["mmre_jax_another"]
