"""Saves that fail: what was saved before stays good, and one line says where."""

import resource

import jax
import numpy as np
import optax
import pytest
from absl import logging as absl_logging

from mmre_jax.training.checkpoint import CheckpointError, Checkpoints
from mmre_jax.training.state import create

LIMIT = 200_000  # bytes a file may have, as if the disk were full behind them


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
