"""Whole commands of checkouts, timed in turns as a user waits for them: start to the first step, evaluation, extraction; and the data that
the loader is timed on."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from mmre_jax.benchmark.lines import SideError
from mmre_jax.benchmark.parts import Trees
from mmre_jax.benchmark.turns import take_turns
from mmre_jax.text_files import read_text

POLL = 0.02  # seconds between two looks for the first step
PATIENCE = 1800  # seconds for a command
WORDS = ("a", "dog", "in", "the", "park", "with", "two", "friends", "and", "one", "old", "house", "near", "water")
NAMES = ("Ada", "Grace", "Alan", "Paris", "London", "Edith")


def start(config: str, trees: Trees, folder: pathlib.Path, *, rounds: int) -> dict[str, Any]:
    """Seconds from a training command to the log's line of its first step, and what all cores had worked by then, where the system tells:
    with an empty cache of compiled programs (cold, once), then with a warm one. The runs' checkpoints, of few steps, are left in
    folder/SIDE/run for `evaluation` and `extraction`."""
    cold = {side: first_step(trees, side, config, folder)[0] for side in trees.folders()}
    worked: dict[str, list[float | None]] = {side: [] for side in trees.folders()}

    def seconds(side: str) -> float:
        passed, busy = first_step(trees, side, config, folder)
        worked[side].append(busy)
        return passed

    timed = {"first step": take_turns({side: functools.partial(seconds, side) for side in trees.folders()}, rounds, warm=0)}
    if not any(None in each for each in worked.values()):
        timed["first step, all cores"] = worked
    return {"cold": cold, "timed": timed}


def first_step(
    trees: Trees, side: str, config: str, folder: pathlib.Path, settings: Mapping[str, Any] | None = None
) -> tuple[float, float | None]:
    """Trains two steps in a new folder/SIDE/run and says when the first was logged, and what all cores had worked by then (`_worked`), in
    seconds. settings: by dotted names."""
    here = folder / side
    run = here / "run"
    for path in sorted(run.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    flags = trees.changed(side, settings or {})
    flags |= {"train.log_every": 1, "train.max_steps": 2, "train.compilation_cache": str(here / "cache")}
    command = ["-m", "launch.train", f"--config={config}", f"--workdir={run}", *(f"--config.{k}={v}" for k, v in flags.items())]
    began = time.perf_counter()
    process = _begin(trees.folders()[side], command, here / "train.log")
    log = run / "metrics.jsonl"
    while not (log.is_file() and log.stat().st_size):
        if process.poll() is not None or time.perf_counter() - began > PATIENCE:
            process.kill()
            raise SideError(f"{side}: training ended before its first step, see {here / 'train.log'}")
        time.sleep(POLL)
    seconds, worked = time.perf_counter() - began, _worked(process.pid)
    process.wait(timeout=PATIENCE)  # it saves a checkpoint, and ends as if interrupted
    return seconds, worked


def _worked(process: int) -> float | None:
    """The seconds that all cores have worked for a process, its own and the system's; None where there is no /proc that tells them."""
    try:
        told = read_text(f"/proc/{process}/stat")
    except OSError:
        return None
    own, systems = told.rpartition(")")[2].split()[11:13]  # utime and stime, counted behind the command's name
    return (int(own) + int(systems)) / os.sysconf("SC_CLK_TCK")


def evaluation(trees: Trees, folder: pathlib.Path, *, rounds: int) -> dict[str, Any]:
    """Seconds of launch.evaluate on the test split, of the runs that `start` left."""
    return _timed(trees, folder, rounds, lambda here: ["-m", "launch.evaluate", "--split=test", f"--out={here / 'evaluated'}"])


def extraction(trees: Trees, folder: pathlib.Path, *, posts: int, rounds: int) -> dict[str, Any]:
    """Seconds of launch.extract on short posts with two mentions and a picture each, drawing none, of the runs that `start` left."""
    file = write_posts(folder / "posts", "posts", posts, side=128)
    told = ["-m", "launch.extract", f"--input={file}", "--pictures=0"]
    return {"posts": posts, **_timed(trees, folder, rounds, lambda here: [*told, f"--out={here / 'extracted'}"])}


def prepared(trees: Trees, folder: pathlib.Path, *, records: int) -> dict[str, dict[str, Any]]:
    """{side: changes of settings} to read records with a photo and three crops each, prepared as that checkout prepares them."""
    source = folder / "source"
    for split, count in (("train", records), ("val", 8), ("test", 8)):
        write_posts(source, split, count, side=320)
    changes = {}
    for side, checkout in trees.folders().items():
        out = folder / side / "prepared"
        if not out.is_dir():
            told = ["-m", "launch.prepare", "--dataset=jsonl", f"--source={source}", f"--out={out}", "--objects=detected"]
            _run(checkout, [*told, "--none_label=none"], folder / side / "prepare.log", side)
        changes[side] = {"data.name": "prepared", "data.root": str(out), "data.objects": "detected", "data.none_label": "none"}
    return changes


def write_posts(folder: pathlib.Path, name: str, count: int, *, side: int, seed: int = 0) -> pathlib.Path:
    """JSON lines of made-up posts of MNRE's mean length with a pair of mentions, its relation, a JPEG of that height, and three regions."""
    random = np.random.default_rng(seed)
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.jsonl"
    if file.is_file():
        return file
    lines = []
    for number in range(count):
        words = [str(word) for word in random.choice(WORDS, 16)]
        words[0], words[5] = (str(word) for word in random.choice(NAMES, 2, replace=False))
        photo = f"photos/{name}-{number}.jpg"
        pixels = random.integers(0, 256, (side // 8, side // 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((side * 4 // 3, side), Image.Resampling.BICUBIC).save(folder / photo, quality=90)
        corners = np.sort(random.random((3, 2, 2)) * 0.6, axis=1) + np.array([[[0.0, 0.0], [0.3, 0.3]]])
        regions = [{"box": [round(float(v), 4) for v in box.reshape(4)], "score": 0.9} for box in corners]
        label = ("none", "peer", "in")[number % 3]
        pair = {"head": [0, 1], "tail": [5, 6], "label": label}
        lines.append({"id": f"{name}-{number}", "words": words, "image": photo, "relations": [pair], "regions": regions})
    partial = file.with_suffix(".partial")
    partial.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    partial.rename(file)
    return file


def _timed(trees: Trees, folder: pathlib.Path, rounds: int, arguments: Callable[[pathlib.Path], list[str]]) -> dict[str, Any]:
    def seconds(side: str, checkout: str) -> float:
        here = folder / side
        command = [*arguments(here), f"--checkpoint={here / 'run'}"]
        began = time.perf_counter()
        _run(checkout, command, here / "command.log", side)
        return time.perf_counter() - began

    timed = {side: functools.partial(seconds, side, checkout) for side, checkout in trees.folders().items()}
    return {"timed": {"command": take_turns(timed, rounds)}}


def _begin(checkout: str, arguments: list[str], log: pathlib.Path) -> subprocess.Popen[bytes]:
    """Starts Python in a checkout; what it prints goes to the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(pathlib.Path(checkout).resolve())}
    with log.open("wb") as out:
        return subprocess.Popen([sys.executable, *arguments], cwd=checkout, env=environment, stdout=out, stderr=subprocess.STDOUT)


def _run(checkout: str, arguments: list[str], log: pathlib.Path, side: str) -> None:
    status = _begin(checkout, arguments, log).wait(timeout=PATIENCE)
    if status:
        raise SideError(f"{side}: {' '.join(arguments[:2])} ended with status {status}, see {log}")
