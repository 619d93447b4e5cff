"""launch.extract killed at random moments: what is there in the end is what a program that was never stopped writes."""

import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
POSTS = 400
# launch.extract with small groups, whose lines take their time.
PROGRAM = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from mmre_jax.bulk import files
from mmre_jax.extraction import Extraction
from mmre_jax.training import stream
stream.AHEAD, files.SYNCED, to_json = 1, 7, Extraction.to_json
Extraction.to_json = lambda *given: time.sleep(0.01) or to_json(*given)
from absl import flags
from launch import console, extract
flags.mark_flags_as_required(["out"])
console.run(extract.main, cached=True)
"""


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_what_is_killed_at_random_moments_ends_as_if_it_had_not_been(trained, tmp_path):
    """KILLS (20) times, at moments drawn from SEED (0): a quarter before the first line can be there, the others while lines are written. A
    program that comes to its end is compared, and another one begun."""
    rng = np.random.default_rng(int(os.environ.get("SEED", "0")))
    words = ("Ada", "meets", "Grace", "near", "the", "old", "bridge", "today")
    lines = []
    for _ in range(POSTS):
        some = [str(word) for word in rng.choice(words, rng.integers(3, 9))]
        post = {"words": some, "mentions": [[0, 1], [1, 2], [2, 3]][: rng.integers(1, 4)]}
        lines.append(json.dumps(post)[: None if rng.random() < 0.9 else 20])
    (tmp_path / "posts.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}

    def start(out):
        typed = [tmp_path / "program.py", f"--checkpoint={trained}", f"--input={tmp_path / 'posts.jsonl'}", f"--out={tmp_path / out}"]
        return subprocess.Popen([sys.executable, *typed], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def lines_of(out):
        """How many lines are there, whole ones, of an extraction that has not come to its end."""
        partial = tmp_path / out / "extract" / "extracted.jsonl"
        return partial.read_bytes().count(b"\n") if partial.exists() else 0

    began = time.monotonic()
    with start("whole") as process:
        while process.poll() is None and not lines_of("whole"):
            time.sleep(0.05)
        first = time.monotonic() - began
        assert process.wait() == 0, process.stderr.read()
    writing = time.monotonic() - began - first
    whole = tree(tmp_path / "whole")
    assert len(whole["extracted.jsonl"].splitlines()) > POSTS / 2 and len(whole["rejects.jsonl"].splitlines()) > POSTS / 20
    kills = ended = 0
    while kills < int(os.environ.get("KILLS", "20")):
        there = lines_of("out")
        with start("out") as process:
            if rng.random() < 0.25:
                time.sleep(rng.uniform(0, first))
            else:
                while process.poll() is None and lines_of("out") <= there:
                    time.sleep(0.01)
                time.sleep(rng.uniform(0, writing / 5))
            process.kill()
            said = process.communicate()[1].decode()
        assert process.returncode in (0, -9), said
        if process.returncode == 0:
            assert tree(tmp_path / "out") == whole
            (tmp_path / "out").rename(tmp_path / f"ended{ended}")
            ended += 1
            print("an extraction came to its end")
            continue
        kills += 1
        print(f"kill {kills}: {lines_of('out')} lines are there", flush=True)
    with start("out") as process:
        assert process.wait() == 0, process.stderr.read()
    assert tree(tmp_path / "out") == whole


def test_what_draws_is_not_imported_by_what_does_not_draw():
    """It takes a second, of a command that takes five."""
    script = "import sys, launch.extract; print([name for name in ('matplotlib', 'ray', 'sklearn') if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
