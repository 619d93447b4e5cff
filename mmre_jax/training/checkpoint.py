"""Self-contained checkpoints through Orbax: WORKDIR/checkpoints/STEP/{variables, optimiser, meta}.

`meta` holds the resolved configuration, the labels, the tokenizer and the picture plan, so that a step's directory alone is enough to
extract with; of a run also what its data were (training/identity.py). The position of the loader is the step (see data/loader.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

import flax.serialization
import jax
import numpy as np
import orbax.checkpoint as ocp

from mmre_jax import storage
from mmre_jax.training import processes
from mmre_jax.training.formats import FORMAT
from mmre_jax.training.orbax_manager import REMOVED, SCORES, manager, score_of
from mmre_jax.training.stage import Stage
from mmre_jax.training.state import TrainState

T = TypeVar("T")

FOLDER = "checkpoints"


class CheckpointError(ValueError):
    """A checkpoint that is missing, incomplete, or of another configuration."""


class DamagedCheckpoint(CheckpointError):
    """Files of a checkpoint that are cut short or missing."""


class Checkpoints:
    """The checkpoints of one run: the last two and the best by dev score are kept. A context manager; saves in the background.

    Args:
      directory: holds a folder per step; a run's is WORKDIR/checkpoints. In a bucket process 0 writes all of it, by way of a folder on its
        disk (stage.py), and each process reads all of it.

    Reading damaged files raises DamagedCheckpoint, whatever the method; each process reads by itself, and where there are several each
    looks again and again for processes.SEEN seconds, since a network's disk may tell late. A save that fails, on a full disk for one,
    raises CheckpointError: by the next `save`, by `wait`, or at the end of the context; what was saved before stays as it is. Where
    another process is gone, that is raised as it came (see processes.is_loss); where it took too long, a RuntimeError.
    """

    def __init__(self, directory: str | pathlib.Path, *, read_only: bool = False) -> None:
        self.directory = storage.absolute(directory)
        remote = storage.is_remote(self.directory)
        self._read_only = read_only or (remote and not processes.is_first())
        self._stage = Stage(self.directory, clear=not self._read_only) if remote else None
        self._folder = self._stage.folder if self._stage else self.directory
        self._manager = manager(self._folder, read_only=self._read_only, alone=remote or self._read_only)
        # Where a save waits for the other processes, reading does not: any of them may find damaged what this one does not.
        waits = not (remote or self._read_only or processes.is_alone())
        self._reader = manager(self._folder, read_only=True, alone=True) if waits else self._manager
        self._sweep()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with self._saving():
                try:
                    self._join()
                finally:
                    self._manager.close()
        finally:
            if self._reader is not self._manager:
                self._reader.close()
            self._sweep()
            if self._stage is not None:
                self._stage.close()

    def steps(self) -> list[int]:
        """The complete steps, the last one first."""
        return sorted(self._manager.all_steps(), reverse=True)

    def latest(self) -> int | None:
        """The last complete step, or None."""
        return next(iter(self.steps()), None)

    def forget(self, step: int) -> None:
        """Removes a step."""
        with self._saving():
            self._manager.delete(step)
            if self._stage is not None and not self._read_only:
                self._stage.send()

    def best(self) -> int | None:
        """The step with the highest dev score (the latest of equals), or None where no step was scored."""
        scored = [(score, step) for step in self._manager.all_steps() if (score := self._metrics(step)) is not None]
        return max(scored)[1] if scored else None

    def preferred(self) -> int | None:
        """The step to use a run by: its best, else its last; None where there is no complete checkpoint."""
        best = self.best()
        return self.latest() if best is None else best

    def _metrics(self, step: int) -> float | None:
        found = self._read(step, lambda: self._reader.metrics(step))
        return None if found is None else score_of(found)

    def where(self, step: int) -> pathlib.Path:
        """The directory of a step, as messages name it."""
        return self.directory / str(step)

    def _read(self, step: int, read: Callable[[], T], arrays: Collection[str] = ()) -> T:
        """What `read` returns of a step's files. arrays: the parts whose arrays it reads."""
        deadline = time.monotonic() + (0.0 if processes.is_alone() else processes.SEEN)
        while True:
            # Brings what is in a bucket to where Orbax reads it. Not being able to is no damage of the checkpoint.
            if self._stage is not None and self._stage.fetch(step, arrays):
                self._manager.reload()
            try:
                with _damage(self.where(step)):
                    return read()
            except DamagedCheckpoint:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(1.0)

    def save(self, step: int, state: TrainState, meta: Mapping[str, Any], score: float | None = None) -> None:
        """Saves the state under `step`, with its dev score if it was evaluated. A step already saved is kept as it is; where it has no
        score, since the run was stopped in its evaluation, it gets one.

        Args:
          state: on the host, or as arrays that lie in parts on the devices of all processes, each of which writes its own.
        """
        if processes.decided(lambda: step in self._manager.all_steps()):
            if score is not None:
                with self._saving():
                    self._join()
                    processes.decided(lambda: self._add_score(step, score))
                    self._manager.reload()
            return
        if self._stage is not None:
            state = jax.tree.map(_gathered, state)
        with self._saving():
            self._join()
            self._manager.wait_until_finished()
            self._sweep()
            self._manager.save(
                step, args=_items(state, {**meta, "format": FORMAT, "step": step}), metrics=None if score is None else {"score": score}
            )
            if self._stage is not None and not self._read_only:
                self._stage.send_after(self._manager.wait_until_finished)

    def _add_score(self, step: int, score: float) -> None:
        """Gives a step that has none a score, whole or not at all, where Orbax looks for it."""
        if self._metrics(step) is not None:
            return
        folder = self._folder / str(step) / SCORES
        part = folder.with_name(f"{SCORES}.part")
        part.mkdir(exist_ok=True)
        storage.write_bytes(part / SCORES, json.dumps({"score": score}).encode())
        part.replace(folder)
        if self._stage is not None:
            self._stage.add(step, f"{SCORES}/{SCORES}")

    def wait(self) -> None:
        """Until all saves are on disk, or in their bucket."""
        with self._saving():
            self._join()
            self._manager.wait_until_finished()
            self._sweep()

    def _join(self) -> None:
        if self._stage is not None:
            self._stage.join()

    def _sweep(self) -> None:
        """Removes what is not wanted any more, and what a save that was killed or failed has left; while none is under way."""
        if processes.is_first() and not self._read_only:
            for left in (self._folder / REMOVED, *self._folder.glob("*.orbax-checkpoint-tmp*")):
                shutil.rmtree(left, ignore_errors=True)

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        """What a save raises, now or later, as one kind of error; what it left unfinished is removed."""
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            lost = [cause for cause in (error, error.__cause__) if isinstance(cause, Exception) and processes.is_loss(cause)]
            if lost and not processes.is_alone():
                raise lost[-1] from None
            self._sweep()
            steps = self._stage.steps() if self._stage else (int(path.name) for path in self._folder.glob("*") if path.name.isdigit())
            left = max(steps, default=None)
            good = "there is none before it" if left is None else f"the last complete one is of step {left}, from which the run can go on"
            told = f"{self.directory}: a checkpoint could not be saved: {_reason(error)}; {good}"
            # A user can mend a full disk. That a disk was late, or a clock has jumped, is for the same command to try again.
            raise (RuntimeError if isinstance(error, TimeoutError) else CheckpointError)(told) from error

    def meta(self, step: int) -> dict[str, Any]:
        """The metadata saved with a step."""
        return dict(self._read(step, lambda: self._reader.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta))

    def restore(self, step: int, state: TrainState) -> TrainState:
        """The state of a step, on the host, or where the shapes say.

        Args:
          state: a state of the same structure and shapes, as arrays or shapes; what has a sharding is read into it.

        Raises:
          CheckpointError: if the checkpoint's arrays do not fit.
        """
        target = flax.serialization.to_state_dict(state)
        restored = self._restore(
            step, {"variables": state.variables(), "optimiser": {k: target[k] for k in ("step", "failed", "opt_state")}}
        )
        params = restored["variables"].pop("params")
        found = {
            **restored["optimiser"],
            "params": {k: params[k] for k in state.params},
            "frozen": {k: params[k] for k in state.frozen},
            "stats": restored["variables"],
        }
        return flax.serialization.from_state_dict(state, found)

    def restore_variables(self, step: int, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The variables of a step alone, on the host; `variables` gives their structure and shapes.

        Raises:
          CheckpointError: if the checkpoint's arrays do not fit.
        """
        return self._restore(step, {"variables": variables})["variables"]

    def read_variables(self, step: int) -> dict[str, Any]:
        """The variables of a step, on the host, as they were saved, whatever their structure."""
        saved = self._read(step, lambda: self._reader.item_metadata(step)["variables"], ("variables",))
        return self.restore_variables(step, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), dict(saved.tree)))

    def _restore(self, step: int, wanted: Mapping[str, Any]) -> dict[str, Any]:
        target = _target if self._stage is None else _on_host
        targets = {name: ocp.args.StandardRestore(jax.tree.map(target, tree)) for name, tree in wanted.items()}

        def read() -> dict[str, Any]:
            saved = self._reader.item_metadata(step)
            for name, tree in wanted.items():
                _compare(f"{self.where(step)}/{name}", tree, saved[name])
            restored = self._reader.restore(step, args=ocp.args.Composite(**targets))
            return {name: restored[name] for name in wanted}

        found = self._read(step, read, wanted.keys())
        if self._stage is None:
            return found
        self._stage.release(step)
        return {name: jax.tree.map(_placed, found[name], tree) for name, tree in wanted.items()}


@contextlib.contextmanager
def _damage(where: pathlib.Path) -> Iterator[None]:
    """What Orbax raises on files that are cut short or missing, as one kind of error."""
    try:
        yield
    except CheckpointError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise DamagedCheckpoint(f"{where}: the checkpoint is damaged or incomplete ({type(error).__name__}: {str(error)[:300]})") from error


def _reason(error: Exception) -> str:
    """Why a save failed, on one line: what the system says, where a library below passes its error's number on."""
    number = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(number[1])) if number else " ".join(str(error).split())[:300]


def _target(x: Any) -> Any:
    """What Orbax reads an array into: the devices that shapes name, else one on the host."""
    return x if isinstance(x, jax.ShapeDtypeStruct) and x.sharding is not None else _on_host(x)


def _on_host(x: Any) -> np.ndarray:
    return np.empty(x.shape, x.dtype)


def _placed(value: Any, target: Any) -> Any:
    """An array of the host's, on the devices that the target names, if it does."""
    if not isinstance(target, jax.ShapeDtypeStruct) or target.sharding is None:
        return value
    return jax.make_array_from_callback(target.shape, target.sharding, lambda index: value[index])


def _gathered(x: Any) -> Any:
    """The whole of an array that lies in parts in several processes."""
    return processes.whole(x) if isinstance(x, jax.Array) and not x.is_fully_addressable else x


def _items(state: TrainState, meta: Mapping[str, Any]) -> ocp.args.Composite:
    tree = flax.serialization.to_state_dict(state)
    return ocp.args.Composite(
        variables=ocp.args.StandardSave(flax.serialization.to_state_dict(state.variables())),
        optimiser=ocp.args.StandardSave({k: tree[k] for k in ("step", "failed", "opt_state")}),
        meta=ocp.args.JsonSave(dict(meta)),
    )


def _compare(where: str, wanted: Any, saved: Any) -> None:
    """Refuses a checkpoint whose arrays differ from the wanted ones, naming the first few."""

    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        return {jax.tree_util.keystr(path): tuple(leaf.shape) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}

    want, have = shapes(wanted), shapes(getattr(saved, "tree", saved))
    if not have:
        raise DamagedCheckpoint(f"{where}: the checkpoint is damaged or incomplete (it names no array)")
    problems = [f"{k}: not in the checkpoint" for k in want.keys() - have.keys()]
    problems += [f"{k}: not in this configuration" for k in have.keys() - want.keys()]
    problems += [f"{k}: {have[k]} in the checkpoint, {want[k]} here" for k in want.keys() & have.keys() if want[k] != have[k]]
    if problems:
        shown = "\n  ".join(sorted(problems)[:8])
        raise CheckpointError(f"{where} is a checkpoint of another configuration ({len(problems)} differences):\n  {shown}")
