"""Times this library against PyTorch, and against another checkout of itself, in turns: steps, inference, loader, evaluation, start.

    make benchmark                                                      (what follows; BENCHMARK="--only=released --rounds=3")
    python -m launch.benchmark_rival --torch=.venv/bin/python [--only=released|systems|library|PART,...] [--rounds=5] [--nocompiled]
    python -m launch.benchmark_rival --against=DIR --only=hvformer,library      (another checkout: before and after, in one sitting)
    python -m launch.benchmark_rival --against=DIR --only=evaluation-mnre --mnre=DIR --minilm=DIR      (all of a real test split)
    python -m launch.benchmark_rival --torch=... --only=released,systems --batch=256 --dtype=bfloat16        (where a GPU is at hand)

Each side is a process of its own, of which one works at a time. Parts are written to --out as they are measured: a run that was stopped
goes on, and one that has ended is compared with the one before. PyTorch's side is tests/benchmark/rival.py of a checkout, which needs
what the tests need, and a C++ compiler for torch.compile.
"""

from __future__ import annotations

import ast
import functools
import logging
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from absl import app, flags

from launch import console
from mmre_jax.benchmark import commands, kept, parts, told
from mmre_jax.systems import DTYPES

ROOT = pathlib.Path(__file__).resolve().parents[1]
RIVAL = ROOT / "tests" / "benchmark" / "rival.py"
SMALL = "hvformer:quickstart"  # what library's commands run
REAL = "hvformer:minilm"  # what evaluation-mnre runs
POSTS = 200  # of the extraction
PREPARED = 1024  # records for the loader, about 0.3 MB each

_TORCH = flags.DEFINE_string("torch", "", "The Python of an environment with PyTorch and what else the tests need; '' for none.")
_AGAINST = flags.DEFINE_string("against", "", "Another checkout of this library, measured beside this one.")
_ONLY = flags.DEFINE_list("only", [], "Parts or groups (released, systems, library) to measure; all if empty.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed rounds, in turns.", lower_bound=1)
_COMPILED = flags.DEFINE_bool("compiled", True, "Also measure torch.compile, which compiles for minutes on a CPU.")
_BATCH = flags.DEFINE_integer("batch", 8, "Records a step, of released kinds and of papers' sizes.", lower_bound=1)
_TOKENS = flags.DEFINE_integer("tokens", 80, "Tokens a record, of released kinds.", lower_bound=8)
_DTYPE = flags.DEFINE_enum("dtype", "float32", list(DTYPES), "train.dtype.")
_MNRE = flags.DEFINE_string("mnre", "", "MNRE's folder as it is published, of whose whole test split evaluation-mnre is; '' for none.")
_MINILM = flags.DEFINE_string("minilm", "", "With --mnre: the folder of a MiniLM, its text encoder (text.weights).")
_CHANGE = flags.DEFINE_list("change", [], "Settings SECTION.NAME=VALUE of this checkout alone.")
_OUT = flags.DEFINE_string("out", "build/benchmark", "Folder of the figures, a folder a run.")


def main() -> None:
    """Measures, prints, writes."""
    console.setup()
    trees = parts.Trees(str(ROOT), _AGAINST.value, changes(_CHANGE.value))
    if bool(_MNRE.value) != bool(_MINILM.value):
        raise app.UsageError("--mnre and --minilm are given together, or neither")
    root = pathlib.Path(_OUT.value).absolute()
    choose(_ONLY.value, all_parts(trees, root))  # a mistake is told before a folder is made
    folder = kept.open_run(root, about(trees))
    known = all_parts(trees, folder / "work")
    chosen = choose(_ONLY.value, known)

    def tell(name: str, part: dict[str, Any]) -> None:
        print(told.text(name, part, kept.last(root, folder, name)), flush=True)
        print(flush=True)

    kept.measure(folder, {name: part for group in known.values() for name, part in group.items() if name in chosen}, tell)
    shutil.rmtree(folder / "work", ignore_errors=True)
    logging.getLogger("mmre_jax").info("written: %s", folder)


def about(trees: parts.Trees) -> dict[str, Any]:
    """What a run is about: one that was stopped goes on only with the same, and is compared with those of the same machine and sizes."""
    settings = (_ONLY, _TORCH, _AGAINST, _ROUNDS, _COMPILED, _CHANGE, _MNRE, _MINILM)
    return {
        "commits": {side: kept.commit_of(path) for side, path in trees.folders().items()},
        "cores": len(os.sched_getaffinity(0)),
        "machine": " ".join(os.uname()[i] for i in (0, 2, 4)),
        "sizes": {flag.name: flag.value for flag in (_BATCH, _TOKENS, _DTYPE)},
        "settings": {flag.name: flag.value for flag in settings},
    }


def all_parts(trees: parts.Trees, work: pathlib.Path) -> dict[str, dict[str, kept.Part]]:
    """{group: {part: what measures it}}."""
    rival, rounds = [_TORCH.value, str(RIVAL)] if _TORCH.value else [], _ROUNDS.value
    if rival and not RIVAL.is_file():
        raise app.UsageError(f"--torch: PyTorch's side stands in the tests of a checkout, and there is no {RIVAL}")
    same = {"batch": _BATCH.value, "dtype": _DTYPE.value, "rounds": rounds}
    released: dict[str, kept.Part] = {
        kind: functools.partial(parts.released, kind, trees, rival, tokens=_TOKENS.value, compiled=_COMPILED.value, **same)
        for kind in parts.KINDS
    }
    systems: dict[str, kept.Part] = {}
    for name, (quickstart, paper, labels) in parts.SYSTEMS.items():
        if quickstart:
            systems[f"{name}-quickstart"] = functools.partial(
                parts.system, quickstart, trees.that_have(quickstart), **{**same, "batch": 0}, loop=100
            )
        systems[f"{name}-paper"] = functools.partial(parts.system, paper, trees.that_have(paper), **same, labels=labels)
    library: dict[str, kept.Part] = {
        "loader": lambda: parts.loader(SMALL, trees, steps=100, rounds=rounds, changes={}),
        "loader-prepared": lambda: parts.loader(
            "hvformer:mnre", trees, steps=60, rounds=rounds, changes=commands.prepared(trees, work, records=PREPARED)
        ),
        "start": lambda: commands.start(SMALL, trees, work, rounds=rounds),
        "evaluation": lambda: commands.evaluation(trees, ready(trees, work), rounds=rounds),
        "extraction": lambda: commands.extraction(trees, ready(trees, work), posts=POSTS, rounds=rounds),
    }
    if _MNRE.value:
        real = {"data.root": _MNRE.value, "text.weights": _MINILM.value}
        library["evaluation-mnre"] = lambda: commands.evaluation(trees, ready(trees, work / "mnre", REAL, real), rounds=rounds)
    return {"released": released, "systems": systems, "library": library}


def ready(trees: parts.Trees, work: pathlib.Path, config: str = SMALL, settings: Mapping[str, Any] | None = None) -> pathlib.Path:
    """The folder in which each checkout has a run of its own to be evaluated, trained for two steps if there is none."""
    for side in trees.folders():
        if not (work / side / "run" / "checkpoints").is_dir():
            commands.first_step(trees, side, config, work, settings)
    return work


def choose(only: Sequence[str], known: Mapping[str, Mapping[str, kept.Part]]) -> set[str]:
    """The names of the parts that are asked for; all where none is.

    Raises:
      UsageError: for one that there is not.
    """
    every = {name for group in known.values() for name in group}
    if unknown := set(only) - every - set(known):
        raise app.UsageError(f"--only: no {', '.join(sorted(unknown))}; there are {', '.join(known)}: {', '.join(sorted(every))}")
    return {name for one in only for name in known.get(one, {one: None})} if only else every


def changes(given: Sequence[str]) -> dict[str, Any]:
    """SECTION.NAME=VALUE as {name: value}; what is no number, truth value or tuple is a text.

    Raises:
      UsageError: for one without a name or a value.
    """
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or "." not in name:
            raise app.UsageError(f"--change: SECTION.NAME=VALUE is wanted, found {one!r}")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


if __name__ == "__main__":
    console.run(main)
