"""Checkpoints in a bucket: kept and read as on a disk, whole or not at all."""

import jax
import numpy as np
import optax
import pytest

from mmre_jax import storage
from mmre_jax.training.checkpoint import CheckpointError, Checkpoints
from mmre_jax.training.locate import is_run, locate
from mmre_jax.training.stage import MARK
from mmre_jax.training.state import create


def state_of(value):
    return jax.tree.map(np.asarray, create({"params": {"head": {"kernel": np.full((3,), value, np.float32)}}}, (), optax.adam(1e-3)))


def kernel(checkpoints, step):
    return checkpoints.read_variables(step)["params"]["head"]["kernel"].tolist()


def steps_in(bucket):
    return sorted({int(name.split("/")[3]) for name in bucket.objects if name.startswith("bucket/run/checkpoints/")})


def test_checkpoints_of_a_bucket_are_kept_and_read_as_on_a_disk(bucket, tmp_path):
    remote = storage.path("s3://bucket/run/checkpoints")
    for folder in (tmp_path / "checkpoints", remote):
        with Checkpoints(folder) as checkpoints:
            for step, score in ((1, 0.1), (2, 0.9), (3, 0.2), (4, 0.3)):
                checkpoints.save(step, state_of(step), {"name": "x"}, score)
            checkpoints.save(5, state_of(5), {"name": "x"})
            checkpoints.wait()
            assert checkpoints.steps() == [5, 4, 2] and checkpoints.best() == 2 and checkpoints.latest() == 5
            assert kernel(checkpoints, 2) == [2, 2, 2]
        with Checkpoints(folder, read_only=True) as checkpoints:
            assert checkpoints.steps() == [5, 4, 2] and checkpoints.preferred() == 2 and checkpoints.meta(5)["name"] == "x"
            assert kernel(checkpoints, 4) == [4, 4, 4]
            assert checkpoints.restore(5, state_of(0)).params["head"]["kernel"].tolist() == [5, 5, 5]
            with pytest.raises(CheckpointError, match=rf"{folder}/5/variables is a checkpoint of another configuration"):
                checkpoints.restore_variables(5, {"params": {"other": np.zeros(3)}})
        with Checkpoints(folder) as checkpoints:
            checkpoints.forget(5)
            checkpoints.save(6, state_of(6), {"name": "x"}, 1.0)
    assert steps_in(bucket) == [4, 6]  # 2 is neither of the last two nor the best
    assert locate("s3://bucket/run") == (remote, 6) == locate("s3://bucket/run/checkpoints/6/") and is_run("s3://bucket/run")
    with pytest.raises(CheckpointError, match="^s3://bucket/other: neither a run's workdir nor"):
        locate("s3://bucket/other")


def test_a_step_gets_its_score_later_and_its_arrays_stay(bucket, tmp_path):
    for folder in (tmp_path / "checkpoints", storage.path("s3://bucket/run/checkpoints")):
        with Checkpoints(folder) as checkpoints:
            checkpoints.save(1, state_of(1), {"name": "x"})
        bucket.asked.clear()
        before = {path: path.stat().st_ino for path in tmp_path.rglob("*") if path.is_file()}
        with Checkpoints(folder) as checkpoints:
            assert checkpoints.best() is None
            checkpoints.save(1, state_of(7), {"name": "other"}, 0.5)
            assert checkpoints.best() == 1
            checkpoints.save(1, state_of(7), {"name": "other"}, 0.9)  # it has one
            for step in (2, 3):
                checkpoints.save(step, state_of(step), {"name": "x"}, 0.1)
        with Checkpoints(folder, read_only=True) as checkpoints:
            assert checkpoints.steps() == [3, 2, 1] and checkpoints.best() == 1, "the best is kept"
            assert kernel(checkpoints, 1) == [1, 1, 1] and checkpoints.meta(1)["name"] == "x"
        assert {path: path.stat().st_ino for path in before} == before
        assert not [name for what, name in bucket.asked if what == "put" and "/1/" in name and not name.endswith("/1/metrics/metrics")]


def test_of_an_evaluation_the_optimiser_is_not_fetched(bucket):
    with Checkpoints("s3://bucket/run/checkpoints") as checkpoints:
        checkpoints.save(1, state_of(1), {}, 0.5)
    bucket.asked.clear()
    with Checkpoints("s3://bucket/run/checkpoints", read_only=True) as checkpoints:
        assert kernel(checkpoints, 1) == [1, 1, 1]
    got = [name for what, name in bucket.asked if what == "get"]
    assert got and len(set(got)) == len(got) and not [name for name in got if "/optimiser/" in name]


def test_a_checkpoint_that_was_cut_short_on_its_way_is_none(bucket):
    with Checkpoints("s3://bucket/run/checkpoints") as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state_of(step), {})
            checkpoints.wait()
    del bucket.objects[f"bucket/run/checkpoints/2/{MARK}"]  # it is sent last
    with Checkpoints("s3://bucket/run/checkpoints", read_only=True) as checkpoints:
        assert checkpoints.steps() == [1]
    assert steps_in(bucket) == [1, 2], "who only reads removes nothing"
    with Checkpoints("s3://bucket/run/checkpoints") as checkpoints:
        assert steps_in(bucket) == [1]
        checkpoints.save(2, state_of(7), {})
    with Checkpoints("s3://bucket/run/checkpoints", read_only=True) as checkpoints:
        assert kernel(checkpoints, 2) == [7, 7, 7]


def test_a_copy_that_fails_is_told_and_the_last_checkpoint_stays_good(bucket, monkeypatch):
    put = bucket.pipe_file
    with pytest.raises(CheckpointError, match=r"^s3://bucket/run/checkpoints: a checkpoint could not be saved: .*full.*; the last .* 1,"):
        with Checkpoints("s3://bucket/run/checkpoints") as checkpoints:
            checkpoints.save(1, state_of(1), {})
            checkpoints.wait()

            def full(self, path, value, **_):
                if "/2/optimiser/" in path:
                    raise OSError(28, "the bucket is full")
                put(self, path, value)

            monkeypatch.setattr(bucket, "pipe_file", full)
            checkpoints.save(2, state_of(2), {})
    with Checkpoints("s3://bucket/run/checkpoints", read_only=True) as checkpoints:
        assert checkpoints.steps() == [1] and kernel(checkpoints, 1) == [1, 1, 1]
