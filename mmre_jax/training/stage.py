"""Checkpoints in a bucket: Orbax writes and reads them in a folder on a disk, and whole steps are copied from there and to there.

Orbax itself writes to disks and to gs:// alone. So every process has a folder of its own in TMPDIR, with what is small of each complete
step (metadata and metrics, by which Orbax chooses what to keep), and the arrays of a step while it is read or on its way. A step is
complete in the bucket once it has the file MARK, which is sent last and removed first.
"""

from __future__ import annotations

import concurrent.futures
import pathlib
import shutil
from collections.abc import Callable, Collection

from mmre_jax import storage
from mmre_jax.scratch import Scratch

MARK = "_CHECKPOINT_METADATA"  # which Orbax writes into each step
ARRAYS = ("variables", "optimiser")


class Stage:
    """A folder that stands for a bucket's folder of checkpoints.

    folder: on a disk, with a folder of each step that was complete in the bucket when the stage was made, less its arrays.

    Args:
      remote: the bucket's folder; there need not be anything in it.
      clear: whether to remove what unfinished copies have left there.
    """

    def __init__(self, remote: pathlib.Path, *, clear: bool = False) -> None:
        self.remote = remote
        self._sender = concurrent.futures.ThreadPoolExecutor(1)
        self._sending: concurrent.futures.Future[None] | None = None
        self._there = self._listed()
        self._scratch = Scratch()
        self.folder = self._scratch.folder
        try:
            small = [name for step in self._complete() for name in self._there[step] if not _of_arrays(name)]
            storage.download(remote, small, self.folder)
            if clear:
                for step in self._there.keys() - self._complete():
                    self._drop(step)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Removes the folder."""
        self._sender.shutdown()
        self._scratch.close()

    def fetch(self, step: int, parts: Collection[str]) -> bool:
        """Brings the arrays of some parts of a step, if they are not here; of a step that is new in the bucket also what is small.

        Returns:
          Whether the step is new here.
        """
        new = not (self.folder / str(step)).is_dir()
        if new:
            self._there = self._listed()
        wanted = [name for name in self._there.get(step, []) if not _of_arrays(name) or name.split("/")[1] in parts]
        storage.download(self.remote, [name for name in wanted if not (self.folder / name).is_file()], self.folder)
        return new

    def steps(self) -> list[int]:
        """The steps that are complete in the bucket, the last one first."""
        return sorted(self._complete(), reverse=True)

    def release(self, step: int) -> None:
        """Removes a step's arrays from here."""
        for part in ARRAYS:
            shutil.rmtree(self.folder / str(step) / part, ignore_errors=True)

    def send_after(self, written: Callable[[], None]) -> None:
        """`send` in the background, once `written` has returned; `join` waits for it."""

        def run() -> None:
            written()
            self.send()

        self._sending = self._sender.submit(run)

    def join(self) -> None:
        """Until all is sent. Raises what failed."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.result()

    def send(self) -> None:
        """Copies the steps that the bucket lacks to it, and then removes from it those that are no longer here. Arrays do not stay here."""
        here = {int(path.name) for path in self.folder.iterdir() if path.name.isdigit()}
        for step in sorted(here - self._complete()):
            names = [path.relative_to(self.folder).as_posix() for path in (self.folder / str(step)).rglob("*") if path.is_file()]
            mark = f"{step}/{MARK}"
            storage.upload(self.folder, [name for name in names if name != mark], self.remote)
            storage.upload(self.folder, [mark], self.remote)
            self._there[step] = names
            self.release(step)
        for step in sorted(self._there.keys() - here):
            self._drop(step)

    def add(self, step: int, name: str) -> None:
        """Copies one more file of a step that is complete in the bucket to it."""
        storage.upload(self.folder, [f"{step}/{name}"], self.remote)
        self._there[step].append(f"{step}/{name}")

    def _drop(self, step: int) -> None:
        names = self._there.pop(step)
        storage.remove(self.remote / name for name in names if name == f"{step}/{MARK}")
        storage.remove(self.remote / name for name in names if name != f"{step}/{MARK}")

    def _listed(self) -> dict[int, list[str]]:
        """{step: names of its files} of the bucket."""
        found: dict[int, list[str]] = {}
        for name in storage.listing(self.remote):
            if (step := name.split("/")[0]).isdigit():
                found.setdefault(int(step), []).append(name)
        return found

    def _complete(self) -> set[int]:
        return {step for step, names in self._there.items() if f"{step}/{MARK}" in names}


def _of_arrays(name: str) -> bool:
    """Whether a file, STEP/PART/..., belongs to a part that is arrays."""
    return name.split("/")[1] in ARRAYS
