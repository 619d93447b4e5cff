"""Evaluation on several devices: every record counts once, and parameters are sent to the devices once."""

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
from mmre_jax.training import evaluate
from mmre_jax.training.evaluate import Predictor, make_predictor, told
from mmre_jax.training.job import new_job
from mmre_jax.training.mesh import mesh_devices
from mmre_jax.training.parallel import local_devices
from mmre_jax.training.splits import make_split

RECORDS = 11
DEVICES = {
    "pmap": lambda: local_devices(2),
    "mesh 2x1": lambda: mesh_devices(2, 2, 1, least=1),
    "mesh 1x2": lambda: mesh_devices(2, 1, 2, least=1),
}


@pytest.fixture(scope="module")
def parts():
    """(job of the toy system, a split of RECORDS records, variables)."""
    config = hvformer.get_config("quickstart").copy_and_resolve_references().unlock()
    config.data.update({"counts": (4, RECORDS, 4), "buckets": (32,), "threads": 1})
    config.train.eval_batch = 4
    records = datasets.open_records(config.data, "val")
    job = new_job(config.lock(), records)
    job = dataclasses.replace(job, system=ToySystem(ToyNet(len(job.task.labels))))
    split = make_split(job, records)
    batch = {"text": {"ids": np.zeros((1, 32), np.int32), "mask": np.ones((1, 32), bool)}}
    return job, split, jax.tree.map(np.asarray, job.system.init(jax.random.key(0), batch))


@pytest.fixture(scope="module")
def alone(parts):
    """What is found in each record on one device, one record a batch."""
    job, split, variables = parts
    config = job.config.copy_and_resolve_references().unlock()
    config.train.eval_batch = 1
    devices = local_devices(1)
    return make_predictor(dataclasses.replace(job, config=config.lock()), devices).predict(devices.replicate(variables), split, keep=True)


@pytest.mark.parametrize("mapping", DEVICES)
def test_every_record_counts_once_and_is_decoded_once(parts, alone, mapping, monkeypatch):
    """The last batch has 3 records for 4 places, and so the last device one less than the first."""
    job, split, variables = parts
    decode, decoded = type(job.task).decode, []

    def counted(task, outputs, record, encoded):
        decoded.append(record.id)
        return decode(task, outputs, record, encoded)

    monkeypatch.setattr(type(job.task), "decode", counted)
    devices = DEVICES[mapping]()
    predictor, placed = make_predictor(job, devices), devices.replicate(variables)
    found = predictor.predict(placed, split, keep=True)
    assert sorted(decoded) == sorted(record.id for record in split.records) and len(set(decoded)) == RECORDS
    for ours, theirs in zip(found, alone, strict=True):
        assert int(ours.outputs["index"]) == int(theirs.outputs["index"]) and ours.found == theirs.found
        np.testing.assert_allclose(ours.outputs["probabilities"], theirs.outputs["probabilities"], rtol=1e-5)
    scores = predictor.score(placed, split)
    assert scores["count"] == RECORDS
    assert scores == job.task.metrics(split.records, [p.found for p in alone], [p.outputs for p in alone])


@pytest.mark.parametrize("mapping", DEVICES)
def test_no_batch_sends_the_parameters_again(parts, mapping):
    job, split, variables = parts
    devices = DEVICES[mapping]()
    predictor = make_predictor(job, devices)

    def guarded(variables, shard):
        with jax.transfer_guard("disallow"):
            return predictor.step(variables, shard)

    watched = dataclasses.replace(predictor, step=guarded)
    assert len(watched.predict(devices.replicate(variables), split)) == RECORDS
    whole = variables if "mesh" in mapping else jax.tree.map(lambda x: np.stack([x, x]), variables)
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        watched.predict(whole, split)


def test_what_a_system_tells_of_records_is_averaged():
    one, zero = np.float32(1), np.float32(0)
    outputs = [{"told/a": one, "told/b": zero, "logits": np.zeros(2)}, {"told/a": one + one, "told/b": zero, "logits": np.ones(2)}]
    assert told(outputs) == {"told": {"a": 1.5, "b": 0.0}}
    assert told([{"logits": np.zeros(2)}]) == told([]) == {}


def test_devices_work_on_the_next_batch_while_one_is_decoded(parts, monkeypatch):
    job, split, variables = parts
    decode, happened = type(job.task).decode, []

    def noted(task, outputs, record, encoded):
        happened.append("decoded")
        return decode(task, outputs, record, encoded)

    monkeypatch.setattr(type(job.task), "decode", noted)
    monkeypatch.setattr(evaluate, "AHEAD", 1)
    devices = local_devices(1)
    predictor = make_predictor(job, devices)
    step = predictor.step

    def sent(variables, shard):
        happened.append("sent")
        return step(variables, shard)

    predicted = dataclasses.replace(predictor, step=sent).predict(devices.replicate(variables), split)
    assert [p.found for p in predicted] == [p.found for p in predictor.predict(devices.replicate(variables), split)]
    sizes = [4, 4, RECORDS - 8]
    order = ["sent"] + [what for size, more in zip(sizes, (1, 1, 0), strict=True) for what in ["sent"] * more + ["decoded"] * size]
    assert happened[: len(order)] == order


@pytest.mark.parametrize(("count", "ahead"), [(0, 4), (1, 4), (3, 4), (9, 4), (9, 1), (9, 0)])
def test_so_many_batches_run_ahead_of_what_is_decoded_and_none_is_lost(count, ahead):
    events = []

    class Host:
        def prefetch(self, stream):
            return stream

        def collect(self, outputs):
            events.append("collect")
            return outputs

    def step(variables, batch):
        events.append("step")
        return {"batch": batch}

    found = list(Predictor(None, Host(), step).outputs({}, iter(range(count)), ahead=ahead))
    assert [each["batch"] for each in found] == list(range(count))
    assert events[: min(count, ahead + 1)] == ["step"] * min(count, ahead + 1)
    running = np.cumsum([1 if event == "step" else -1 for event in events])
    assert max(running, default=0) == min(count, ahead + 1) and len(events) == 2 * count
