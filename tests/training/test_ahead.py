"""What is compiled beforehand is what a run calls, for every batch that comes, and computes the same."""

import dataclasses
import pathlib
import sys

import jax
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from toy import ToyNet, ToySystem

from configs import hvformer
from mmre_jax.data import datasets
from mmre_jax.training.ahead import compile_run
from mmre_jax.training.evaluate import make_predictor
from mmre_jax.training.job import new_job
from mmre_jax.training.mesh import mesh_devices
from mmre_jax.training.parallel import local_devices
from mmre_jax.training.splits import batches_of, make_split, order_of, padded
from mmre_jax.training.starting import initial_state
from mmre_jax.training.step import mapped_step

DEVICES = {"pmap": lambda: local_devices(2), "mesh": lambda: mesh_devices(2, 1, 2, least=1)}


@pytest.fixture(scope="module")
def run():
    """(job of the toy system, splits, order of training over two padded lengths)."""
    config = hvformer.get_config("quickstart").copy_and_resolve_references().unlock()
    config.data.update({"counts": (24, 11, 7), "buckets": (12, 16, 32), "threads": 1})
    config.train.update({"batch": 2, "eval_batch": 4, "epochs": 2})
    records = {name: datasets.open_records(config.data, name) for name in datasets.SPLITS}
    job = new_job(config.lock(), records["train"])
    job = dataclasses.replace(job, system=ToySystem(ToyNet(len(job.task.labels))))
    splits = {name: make_split(job, found) for name, found in records.items()}
    job = padded(job, splits["train"])
    return job, splits, order_of(job, splits["train"])


def shown(splits):
    return splits["train"], lambda batch: batch, (splits["val"], splits["test"])


def unasked(*_):
    raise AssertionError("compiled when it was needed, not beforehand")


@pytest.mark.parametrize("mapping", DEVICES)
def test_all_that_comes_is_there_before_the_first_step(run, mapping):
    job, splits, order = run
    devices, total = DEVICES[mapping](), 2 * order.steps
    host = initial_state(job, splits["train"], total)
    step, key = mapped_step(job, devices, host, total)
    predictor = make_predictor(job, devices)
    state = devices.replicate(host)
    ahead, predict = compile_run(step, (state, key), predictor, order, *shown(splits), (0, total))
    assert len(ahead.programs) > 1
    ahead = dataclasses.replace(ahead, mapped=unasked)
    predict = dataclasses.replace(predict, step=dataclasses.replace(predict.step, mapped=unasked))
    other = devices.replicate(host)
    for shard in devices.prefetch(batches_of(job, order, splits["train"], 0, total)):
        (state, metrics), (other, expected) = ahead(state, shard, key), step(other, shard, key)
        jax.tree.map(np.testing.assert_array_equal, devices.first(metrics), devices.first(expected))
    jax.tree.map(np.testing.assert_array_equal, devices.first(state), devices.first(other))
    for name in ("val", "test"):
        assert predict.score(state.variables(), splits[name]) == predictor.score(state.variables(), splits[name])


def test_what_does_not_come_is_not_compiled(run):
    job, splits, order = run
    devices = local_devices(1)
    host = initial_state(job, splits["train"], 2 * order.steps)
    step, key = mapped_step(job, devices, host, 2 * order.steps)
    state, predictor = devices.replicate(host), make_predictor(job, devices)
    ahead, predict = compile_run(step, (state, key), predictor, order, *shown(splits), (0, 1))
    assert not predict.step.programs, "no epoch ends"
    assert len(ahead.programs) == len(np.unique(order.epoch(0)[1])) < 3, "32 tokens do not come"
    ended, _ = compile_run(step, (state, key), predictor, order, *shown(splits), (2 * order.steps, 2 * order.steps))
    assert not ended.programs
