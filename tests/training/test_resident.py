"""A step that takes its pictures from the device's memory computes what it does of batches that bring them."""

import jax
import numpy as np
import pytest

from configs import hvformer
from mmre_jax.data import builders, datasets
from mmre_jax.data.loader import Order
from mmre_jax.declare import SettingError
from mmre_jax.training.job import new_job
from mmre_jax.training.parallel import local_devices, open_devices
from mmre_jax.training.resident import resident
from mmre_jax.training.splits import batches_of, make_split
from mmre_jax.training.starting import initial_state
from mmre_jax.training.step import mapped_step

STEPS = 3


@pytest.fixture(scope="module")
def job_of(tmp_path_factory):
    """encoding -> a small job whose training split is prepared; pictures are hidden of a quarter of the records."""
    config = hvformer.get_config("quickstart").copy_and_resolve_references().unlock()
    config.text.update({"width": 16, "layers": 1, "heads": 2, "mlp": 16})
    config.vision.update({"width": 16, "layers": 1, "heads": 2, "mlp": 16, "side": 32, "crop_side": 32, "crops": 2})
    config.system.update({"heads": 2, "levels": (0, 1)})
    config.data.update({"objects": "detected", "counts": (16, 1, 1), "buckets": (32,), "image_share": 0.75})
    config.train.update({"batch": 8, "compilation_cache": ""})
    read = datasets.open_records(config.data, "train")
    records = list(map(read.__getitem__, range(len(read))))
    plan = new_job(config.copy_and_resolve_references().lock(), records).system.plan
    folder = tmp_path_factory.mktemp("prepared")

    def make(encoding):
        if not (folder / encoding).exists():
            builders.prepare({"train": records}, plan, folder / encoding, encoding=encoding, read=datasets.read_picture)
        config.data.update({"name": "prepared", "root": str(folder / encoding), "resident": "device"})
        return new_job(config.copy_and_resolve_references().lock(), records), records

    return make


@pytest.mark.parametrize("mapping", ["pmap", "mesh"])
def test_a_batch_is_given_the_pictures_it_would_bring(job_of, mapping, caplog):
    job, records = job_of("raw")
    config = job.config.copy_and_resolve_references().unlock()
    config.parallel.update({"mapping": mapping, "devices": 2})
    devices, split = open_devices(config.parallel), make_split(job, records, train=True)
    with caplog.at_level("INFO"):
        shown, fill = resident(job, split, devices)
    assert "pictures on every device: 0.00 GB of squash32" in caplog.text
    order = Order(split.lengths, job.config.train.batch, job.config.data.buckets, True)
    brought, given = (list(devices.prefetch(batches_of(job, order, each, 0, STEPS))) for each in (split, shown))
    for whole, rows in zip(brought, given, strict=True):
        assert "pictures" not in rows and rows["rows"]["photo"].dtype == np.int32
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), whole, fill(rows))
        alike = jax.tree.map(lambda a, b: a.sharding.is_equivalent_to(b.sharding, a.ndim), whole, fill(rows))
        assert all(jax.tree.leaves(alike))
    present = np.stack([whole["present"]["photo"] for whole in brought])
    assert present.any() and not present.all()


def test_training_comes_to_the_same_parameters_bit_by_bit(job_of):
    job, records = job_of("raw")
    devices, split = local_devices(2), make_split(job, records, train=True)
    order = Order(split.lengths, job.config.train.batch, job.config.data.buckets, True)
    start = initial_state(job, split, STEPS)
    step, key = mapped_step(job, devices, devices.replicate(start), STEPS)
    found = []
    for shown, fill in ((split, lambda batch: batch), resident(job, split, devices)):
        state = devices.replicate(start)
        for batch in devices.prefetch(batches_of(job, order, shown, 0, STEPS)):
            state, metrics = step(state, fill(batch), key)
        found.append(jax.tree.map(np.asarray, (devices.first(state).variables(), devices.first(metrics))))
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_what_is_no_array_cannot_be_resident(job_of):
    job, records = job_of("png")
    with pytest.raises(SettingError, match="data.resident=device takes pictures that launch.prepare stored as they are .*'prepared'"):
        resident(job, make_split(job, records, train=True), local_devices(1))
