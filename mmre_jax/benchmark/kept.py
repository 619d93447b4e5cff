"""What benchmarks leave: a folder a run, 0001 and on, in it about.json and a JSON file a part; and how a run compares with the last one."""

from __future__ import annotations

import pathlib
import re
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from mmre_jax.benchmark.turns import medians
from mmre_jax.training.log import read_json, write_json

ABOUT, ENDED = "about.json", "ended.json"
SAME = ("machine", "cores", "sizes")  # of what runs are about, where they are compared
Part = Callable[[], dict[str, Any]]


def commit_of(folder: str) -> str | None:
    """The commit of a git checkout, with '+' behind it where files have changed since; None where there is none."""

    def git(*arguments: str) -> str | None:
        try:
            found = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        return found.stdout.strip() if found.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return None if commit is None else commit + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def open_run(root: pathlib.Path, about: Mapping[str, Any]) -> pathlib.Path:
    """The folder of a run: that of the last one, where it was stopped and was about the same, committed code, else a new one."""
    before, dirty = runs(root), any((commit or "+").endswith("+") for commit in about["commits"].values())
    if before and not dirty and not (before[-1] / ENDED).exists() and read_json(before[-1] / ABOUT) == about:
        return before[-1]
    folder = root / f"{int(before[-1].name) + 1 if before else 1:04d}"
    folder.mkdir(parents=True)
    write_json(folder / ABOUT, about)
    return folder


def runs(root: pathlib.Path) -> list[pathlib.Path]:
    """The folders of runs, in their order."""
    return sorted(path for path in root.glob("[0-9]*") if re.fullmatch(r"\d{4,}", path.name)) if root.is_dir() else []


def measure(folder: pathlib.Path, parts: Mapping[str, Part], tell: Callable[[str, dict[str, Any]], None]) -> dict[str, dict[str, Any]]:
    """Measures the parts that are not there yet, and tells each. Each is written as soon as it is measured."""
    found = {}
    for name, part in parts.items():
        file = folder / f"{name}.json"
        if not file.exists():
            write_json(file, part())
        found[name] = read_json(file)
        tell(name, found[name])
    write_json(folder / ENDED, {"parts": list(found)})
    return found


def last(root: pathlib.Path, folder: pathlib.Path, part: str) -> tuple[str, dict[str, Any]] | None:
    """(folder's name, the part) as the last run of the same sizes on the same machine before this one left it; None where none did."""
    about = read_json(folder / ABOUT)
    for path in reversed(runs(root)):
        if path.name < folder.name and (path / f"{part}.json").exists():
            before = read_json(path / ABOUT)
            if all(before.get(name) == about[name] for name in SAME):
                return path.name, read_json(path / f"{part}.json")
    return None


def against(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """{what: {side: how many times as long it takes now}}, of the medians of what was timed in both runs."""
    found = {}
    for what, sides in now["timed"].items():
        new, old = medians(sides), medians(before["timed"].get(what, {}))
        if shared := {side: new[side] / old[side] for side in new if side in old}:
            found[what] = shared
    return found
