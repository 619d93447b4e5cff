"""The detector as a system: settings, shares over devices, masked pictures, and boxes as parts of the picture. Its parts are compared with
torchvision in tests/encoders/rcnn."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import detector
from mmre_jax import declare, systems
from mmre_jax.data import datasets
from mmre_jax.data.dataset import BACKGROUND
from mmre_jax.data.loader import Order
from mmre_jax.encoders.rcnn.targets import Sampling
from mmre_jax.systems.faster_rcnn import SETTINGS
from mmre_jax.training.evaluate import make_predictor
from mmre_jax.training.job import new_job
from mmre_jax.training.parallel import local_devices
from mmre_jax.training.splits import batches_of, make_split
from mmre_jax.training.starting import initial_state
from mmre_jax.training.step import mapped_step
from mmre_jax.weights.pretrained import resolve
from tests.systems import small

pytestmark = pytest.mark.thorough

LABELS = (BACKGROUND, "ball", "car")
SMALL = {
    "vision.side": 32,
    "vision.stem": 8,
    "vision.groups": 4,
    "vision.pyramid_width": 8,
    "system.hidden": 12,
    "system.before_nms": 16,
    "system.after_nms": 8,
    "system.detections": 5,
    "system.score": 0.0,
    # Whatever the key: all that can be drawn is.
    **{f"system.sampling.{name}": value for name, value in {"anchors": 1000, "anchor_share": 1.0}.items()},
    **{f"system.sampling.{name}": value for name, value in {"proposals": 16, "proposal_share": 1.0}.items()},
}


def configuration(**changes) -> ConfigDict:
    config = ConfigDict(detector.get_config("quickstart").to_dict())
    config.update_from_flattened_dict({**SMALL, **changes})
    return config.lock()


def targets(rng: np.random.Generator, size: int) -> dict:
    low = rng.uniform(0, 0.5, (size, 3, 2))
    box = np.concatenate([low, low + rng.uniform(0.2, 0.5, (size, 3, 2))], axis=-1).astype(np.float32)
    label = rng.integers(1, len(LABELS), (size, 3)).astype(np.int32)
    return {"targets": {"box": box, "label": label, "valid": np.array([[True, True, False]] * size)}}


@functools.cache
def built():
    return small.build(configuration(), LABELS, size=4, more=targets)


def losses(system, variables, batch, axis=None):
    def loss(params):
        share, metrics, _ = system.loss({**variables, "params": params}, batch, jax.random.key(3), axis=axis, train=True)
        return share, metrics

    (share, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    if axis is not None:
        share, metrics, gradients = jax.lax.psum((share, metrics, gradients), axis)
    return share, {name: total / jnp.maximum(count, 1.0) for name, (total, count) in metrics.items()}, gradients


def test_shares_of_shards_add_up_to_the_loss_and_gradient_of_the_batch() -> None:
    system, batch, variables = built()
    batch = {**batch, "valid": np.array([True, True, True, False])}
    share, means, gradients = jax.jit(lambda v, b: losses(system, v, b))(variables, batch)
    parts = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), batch)
    sharded = jax.jit(jax.vmap(lambda v, b: losses(system, v, b, "shards"), in_axes=(None, 0), axis_name="shards"))(variables, parts)
    again, others, summed = jax.tree.map(lambda x: x[0], sharded)
    assert share == pytest.approx(float(again), rel=1e-5)
    assert set(means) == {"loss", "objectness", "proposals", "classes", "boxes"}
    assert float(means["loss"]) == pytest.approx(sum(float(v) for name, v in means.items() if name != "loss"), rel=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), (means, gradients), (others, summed))
    small.assert_gradients(gradients, set(), False)


def test_a_picture_that_is_not_there_teaches_nothing_and_shows_nothing() -> None:
    system, batch, variables = built()
    present = {"photo": np.array([[True], [False], [True], [True]])}
    other = np.array(batch["pictures"]["photo"])
    other[1] = 255 - other[1]
    moved = {name: np.array(x) for name, x in batch["targets"].items()}
    moved["box"][1] = (0.0, 0.0, 0.3, 0.3)
    run = jax.jit(lambda v, b: (losses(system, v, b)[0], system.predict(v, b)))
    first, shown = run(variables, {**batch, "present": present})
    second, _ = run(variables, {**batch, "present": present, "pictures": {"photo": other}, "targets": moved})
    assert float(first) == pytest.approx(float(second), rel=1e-6)
    assert not shown["found"][1].any() and shown["found"][0].any()
    box = np.asarray(shown["box"])[np.asarray(shown["found"])]
    assert (box >= 0).all() and (box <= 1).all() and box.max() > 0.1, "parts of the picture"
    assert set(np.unique(shown["label"][shown["found"]])) <= {1, 2}
    scores = np.where(shown["found"], shown["score"], 0.0)
    assert (np.diff(scores, axis=1) <= 0).all(), "best first"


@pytest.mark.slow
def test_scenes_are_learnt_by_heart_and_all_their_objects_are_found() -> None:
    """From pictures to scores, by the parts that a run is made of."""
    config = ConfigDict(detector.get_config("quickstart").to_dict())
    sizes = {"vision.stem": 16, "vision.groups": 4, "vision.pyramid_width": 32, "system.hidden": 64, "data.counts": (3, 1, 1)}
    config.update_from_flattened_dict({**sizes, "train.batch": 3, "train.eval_batch": 3, "optim.lr": 3e-3})
    train = datasets.open_records(config.data, "train")
    job = new_job(config.lock(), train)
    devices, split, steps = local_devices(1), make_split(job, train), 120
    order = Order(split.lengths, 3, (1,), train=True)
    batch = next(batches_of(job, order, split, 0, 1))
    state = devices.replicate(initial_state(job, split, steps))
    step, key = mapped_step(job, devices, state, steps)
    (given,) = devices.prefetch(iter([batch]))
    for _ in range(steps):
        state, metrics = step(state, given, key)
    scores = make_predictor(job, devices).score(state.variables(), split)
    assert scores["objects"] == sum(len(record.regions) for record in train) > 6
    assert scores["AP50"] > 0.95, {name: float(x) for name, x in devices.first(metrics).items()}


def test_every_setting_reaches_the_detector() -> None:
    """Each changed by itself gives another network or another way to draw."""
    changes = {
        **{f"system.{name}": value for name, value in {"proposal_convolutions": 2, "head_convolutions": 1, "hidden": 13}.items()},
        **{f"system.{name}": value for name, value in {"canonical": 50.0, "before_nms": 17, "after_nms": 9, "detections": 6}.items()},
        **{f"system.{name}": value for name, value in {"proposal_nms": 0.6, "score": 0.2, "nms": 0.4, "anchors": (4, 8, 16)}.items()},
        **{f"system.sampling.{name}": value for name, value in {"anchor_high": 0.6, "anchor_low": 0.2, "anchors": 7}.items()},
        **{f"system.sampling.{name}": value for name, value in {"anchor_share": 0.3, "proposal": 0.4, "proposals": 5}.items()},
        "system.sampling.proposal_share": 0.5,
    }
    flat = {f"system.{name}" for name in SETTINGS} - {"system.flavour", "system.modalities", "system.sampling"}
    assert set(changes) == flat | {f"system.sampling.{name}" for name in SETTINGS["sampling"]}
    first = systems.build(resolve(configuration()), vocab_size=5, labels=LABELS)
    for name, value in changes.items():
        other = systems.build(resolve(configuration(**{name: value})), vocab_size=5, labels=LABELS)
        assert (other.net.config, other.sampling) != (first.net.config, first.sampling), name
    assert declare.defaults(SETTINGS["sampling"]) == vars(Sampling())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task.name": "relation"}, "system 'faster_rcnn' has the task objects, found task.name='relation'"),
        ({"vision.resize": "crop"}, "vision.resize=squash alone keeps"),
        ({"data.objects": "detected"}, "looks at the photo alone: set data.objects=none, found 'detected'"),
        ({"system.anchors": (8, 16)}, r"system.anchors=\(8, 16\) has 2 sides"),
        ({"system.sampling.anchor_low": 0.9}, "system.sampling.anchor_low=0.9 exceeds system.sampling.anchor_high=0.7"),
        ({"vision.kind": "resnet"}, "vision.kind=rcnn, found 'resnet'"),
    ],
)
def test_settings_that_contradict_each_other_are_named(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        systems.build(resolve(configuration(**changes)), vocab_size=5, labels=LABELS)
