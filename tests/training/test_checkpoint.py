"""Saves that fail, take long, or are made while the clock jumps: what was saved before stays good, and one line says where."""

import asyncio
import errno
import gc
import os
import random
import resource
import time

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from absl import logging as absl_logging

from mmre_jax.training.checkpoint import CheckpointError, Checkpoints
from mmre_jax.training.state import create

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
LIMIT = 200_000  # bytes a file may have, as if the disk were full behind them


@pytest.fixture(autouse=True)
def given_up():
    """What Orbax has begun and given up complains when it goes: here, and not in another file's tests."""
    yield
    gc.collect()


@pytest.fixture
def full_disk():
    """Limits the size of files, for a while, and silences what Orbax logs with a traceback of what it then raises."""
    before, level = resource.getrlimit(resource.RLIMIT_FSIZE), absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.FATAL)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    absl_logging.set_verbosity(level)


def state_of(size):
    weights = np.random.default_rng(0).random((size,)).astype(np.float32)
    return jax.tree.map(np.asarray, create({"params": {"head": {"kernel": weights}}}, (), optax.adam(1e-3)))


@pytest.mark.parametrize("surfaces", ["wait", "next save", "end"])
def test_a_save_that_fails_is_told_and_the_last_checkpoint_stays_good(tmp_path, full_disk, surfaces):
    small = state_of(10)
    with pytest.raises(
        CheckpointError, match=r"could not be saved: File too large; the last complete one is of step 1, from which the run"
    ) as error:
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(1, small, {"name": "x"}, 0.5)
            checkpoints.wait()
            full_disk()
            checkpoints.save(2, state_of(200_000), {"name": "x"}, 0.6)
            if surfaces == "wait":
                checkpoints.wait()
            elif surfaces == "next save":
                checkpoints.save(3, small, {"name": "x"}, 0.7)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["1"], "nothing half-written is left"
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.preferred() == 1 and checkpoints.meta(1)["name"] == "x"
        np.testing.assert_array_equal(checkpoints.read_variables(1)["params"]["head"]["kernel"], small.params["head"]["kernel"])


def test_a_full_disk_at_the_first_save(tmp_path, full_disk):
    full_disk()
    with (
        pytest.raises(CheckpointError, match="could not be saved: File too large; there is none before it"),
        Checkpoints(tmp_path) as checkpoints,
    ):
        checkpoints.save(1, state_of(200_000), {})
    assert not list(tmp_path.iterdir())


def test_where_there_is_no_room_that_is_told_and_when_there_is_the_run_goes_on(tmp_path, full_disk, monkeypatch):
    """The error that a full disk gives; what it leaves unfinished, while other files are still written, is in nobody's way."""

    async def no_room(self, tree, directory):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))

    with pytest.raises(CheckpointError, match="could not be saved: .*No space left on device.*; the last complete one is of step 1"):
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(1, state_of(10), {}, 0.5)
            checkpoints.wait()
            monkeypatch.setattr(ocp.JsonCheckpointHandler, "_save_fn", no_room)
            checkpoints.save(2, state_of(10), {}, 0.6)
    monkeypatch.undo()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1] and checkpoints.meta(1)["step"] == 1
        checkpoints.save(2, state_of(10), {}, 0.6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_a_clock_that_jumps_back_and_forth_changes_nothing(tmp_path, monkeypatch):
    """By minutes at every look, and by a year between two saves: the last two steps and the best are kept."""
    jumps, clock, years = random.Random(0), time.time, 0
    monkeypatch.setattr(time, "time", lambda: clock() + jumps.uniform(-100, 100) + years * 365 * 86400)
    with Checkpoints(tmp_path) as checkpoints:
        for step, score in enumerate((0.1, 0.9, 0.3, 0.2, 0.4), start=1):
            checkpoints.save(step, state_of(step), {}, score)
            checkpoints.wait()
            years = 1 - years
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.steps() == [5, 4, 2] and checkpoints.best() == 2
        assert all(len(checkpoints.read_variables(step)["params"]["head"]["kernel"]) == step for step in (2, 4, 5))


def test_a_save_that_took_too_long_is_no_mistake_of_the_users(tmp_path, full_disk, monkeypatch):
    """As Orbax believes where the clock jumps by a day while it waits: the same command may go on, exit status 1 and not 2."""

    async def jump(self, tree, directory):
        raise TimeoutError("Timeout waiting for key")

    with pytest.raises(RuntimeError, match="could not be saved: .*timed out.*; the last complete one is of step 1") as error:
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(1, state_of(10), {}, 0.5)
            checkpoints.wait()
            monkeypatch.setattr(ocp.JsonCheckpointHandler, "_save_fn", jump)
            checkpoints.save(2, state_of(10), {}, 0.6)
    assert not isinstance(error.value, CheckpointError)


def test_a_disk_that_answers_late_is_waited_for(tmp_path, monkeypatch):
    """A save that is on its way is none to go on from; the next one, and the end, wait for it."""
    write = ocp.JsonCheckpointHandler._save_fn

    async def late(self, tree, directory):
        await asyncio.sleep(0.5)
        await write(self, tree, directory)

    monkeypatch.setattr(ocp.JsonCheckpointHandler, "_save_fn", late)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state_of(10), {}, 0.5)
        with Checkpoints(tmp_path, read_only=True) as others:
            assert others.latest() is None
        checkpoints.save(2, state_of(10), {}, 0.6)
        with Checkpoints(tmp_path, read_only=True) as others:
            assert others.latest() == 1 and others.meta(1)["step"] == 1
    with Checkpoints(tmp_path, read_only=True) as others:
        assert others.steps() == [2, 1]
