"""Runs launchers as `python -m launch.X ARGUMENTS` or `mmre X ARGUMENTS` does: what they import is imported once, by a server, and each
command has a process forked from there."""

from __future__ import annotations

import atexit
import functools
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence

import jax

ROOT = pathlib.Path(__file__).parents[2]

# Warnings are errors, but for how ml_collections reads a configuration's file.
STRICT = ("-W", "error", "-W", "ignore:the load_module() method:DeprecationWarning")

SERVER = """
import json, os, runpy, signal, sys, tempfile, warnings
import mmre_jax, mmre_jax.convert, mmre_jax.pipelines, mmre_jax.training.train, mmre_jax.analysis.plots, mmre_jax.analysis.speed
import mmre_jax.analysis.evaluation, mmre_jax.analysis.query_maps, ml_collections.config_flags

for line in sys.stdin:
    module, arguments, environment, seconds = json.loads(line)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with warnings.catch_warnings(action="ignore"):  # JAX warns of forks; it has started no thread yet
            child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.environ.update(environment)
            if "JAX_PLATFORMS" in environment:
                sys.modules["jax"].config.update("jax_platforms", environment["JAX_PLATFORMS"])
            signal.alarm(seconds)
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
        print(json.dumps([os.waitstatus_to_exitcode(status), *texts]), flush=True)
"""

Ended = subprocess.CompletedProcess[str]


class Server:
    """A Python that has imported the library and waits for commands."""

    def __init__(
        self,
        python: str | os.PathLike[str] = sys.executable,
        folder: pathlib.Path = ROOT,
        environment: Mapping[str, str] = os.environ,
        flags: Sequence[str] = STRICT,
    ) -> None:
        """Starts it: which Python, where, with what environment and flags."""
        self._process = subprocess.Popen(
            [python, *flags, "-c", SERVER], cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, name: object, *arguments: object, environment: Mapping[str, str] | None = None, seconds: int = 300) -> Ended:
        """How a command ended: the launcher's name (train) and its arguments, or `mmre` and its own.

        Args:
          environment: what is added to the server's.
          seconds: after which the command is killed.
        """
        module, typed = "mmre_jax" if name == "mmre" else f"launch.{name}", list(map(str, arguments))
        self._process.stdin.write(json.dumps([module, typed, dict(environment or {}), seconds]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the server ended: see what it wrote to stderr"
        return subprocess.CompletedProcess([module, *typed], *json.loads(answer))

    def close(self) -> None:
        """Lets it end."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@functools.cache
def server() -> Server:
    """The one that all tests of a worker share."""
    cache = {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3"}
    started = Server(environment={**os.environ, **cache})
    atexit.register(started.close)
    return started


def run(name: object, *arguments: object, environment: Mapping[str, str] | None = None, seconds: int = 300) -> Ended:
    """See `Server.run`."""
    return server().run(name, *arguments, environment=environment, seconds=seconds)


def message(ended: Ended) -> str:
    """The one line in which a user's mistake ends, with exit code 2."""
    assert ended.returncode == 2, (ended.returncode, ended.stderr or ended.stdout)
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("error: ") and not ended.stdout, ended
    return lines[0].removeprefix("error: ")
