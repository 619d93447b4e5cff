"""Runs launchers as `python -m launch.X ARGUMENTS` or `mmre X ARGUMENTS` does, many in a few seconds: what they import is imported once,
then each command has a process forked from there."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]

SERVER = """
import json, os, runpy, signal, sys, tempfile, warnings
import mmre_jax, mmre_jax.convert, mmre_jax.pipelines, mmre_jax.training.train, mmre_jax.analysis.plots, mmre_jax.analysis.speed
import mmre_jax.analysis.evaluation, mmre_jax.analysis.query_maps, ml_collections.config_flags

results = []
for module, arguments, environment in json.load(sys.stdin):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with warnings.catch_warnings(action="ignore"):  # JAX warns of forks; it has started no thread yet
            child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.environ.update(environment)
            if "JAX_PLATFORMS" in environment:
                sys.modules["jax"].config.update("jax_platforms", environment["JAX_PLATFORMS"])
            signal.alarm(60)
            sys.argv = [module, *arguments]
            code = 1
            try:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
            except BaseException:
                import traceback
                traceback.print_exc()
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        results.append([os.waitstatus_to_exitcode(status), *texts])
json.dump(results, sys.stdout)
"""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def run_all(
    commands: Sequence[Sequence[object]],
    environments: Sequence[Mapping[str, str]] | None = None,
    python: str | os.PathLike[str] = sys.executable,
    folder: pathlib.Path = ROOT,
    environment: Mapping[str, str] = os.environ,
) -> list[Ended]:
    """The ends of commands, each the launcher's name (train) and its arguments, or `mmre` and its own.

    Args:
      environments: what is added to the environment of each.
      python, folder, environment: which Python runs them, where, and the environment of all.
    """
    added = [{}] * len(commands) if environments is None else environments
    modules = ["mmre_jax" if name == "mmre" else f"launch.{name}" for name, *_ in commands]
    asked = [(module, list(map(str, rest)), dict(more)) for module, (_, *rest), more in zip(modules, commands, added, strict=True)]
    script = [python, "-c", SERVER]
    done = subprocess.run(
        script, input=json.dumps(asked), cwd=folder, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return [Ended(*found) for found in json.loads(done.stdout)]


def message(ended: Ended) -> str:
    """The one line in which a user's mistake ends, with exit code 2."""
    assert ended.code == 2, (ended.code, ended.err or ended.out)
    lines = [line for line in ended.err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("error: ") and not ended.out, ended
    return lines[0].removeprefix("error: ")
