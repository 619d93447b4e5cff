"""The train step: the same gradients on any number of devices and parts, frozen parts without state, failures that change nothing."""

import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).parent))
from toy import ToyNet, ToySystem

from configs import common
from mmre_jax.training.optim import make_optimizer
from mmre_jax.training.parallel import AXIS, Devices, local_devices
from mmre_jax.training.state import create
from mmre_jax.training.step import make_predict_step, make_train_step, mapped_step, precise, with_products_alone

SYSTEM = ToySystem(ToyNet(3))
KEY = np.asarray(jax.random.key_data(jax.random.key(0)))


def batch_of(valid, seed=0):
    rng = np.random.default_rng(seed)
    size = len(valid)
    ids = rng.integers(1, 64, (size, 6)).astype(np.int32)
    return {
        "text": {"ids": ids, "mask": rng.random((size, 6)) < 0.8},
        "label": rng.integers(0, 3, size).astype(np.int32),
        "valid": np.array(valid, bool),
        "index": np.arange(size, dtype=np.int32),
    }


BATCH = batch_of([True] * 5 + [False] * 2 + [True])
BATCH["text"]["mask"][:, 0] = True


def run(devices: Devices, batch, steps=2, tx=None, frozen=(), accumulate=1, system=SYSTEM, remat="none"):
    tx = tx or optax.sgd(0.5)
    variables = system.init(jax.random.key(1), batch)
    state = create(variables, frozen, tx)
    step = make_train_step(system, tx, axis=AXIS, accumulate=accumulate, remat=remat)
    mapped = devices.map(lambda s, b, k: step(s, b, jax.random.wrap_key_data(k)), donate=(0,))
    state, key = devices.replicate(state), devices.replicate(KEY)
    for _ in range(steps):
        state, metrics = mapped(state, devices.shard(batch), key)
    for device in range(len(devices.local)):  # replicas stay equal
        for leaf in jax.tree.leaves(state):
            np.testing.assert_array_equal(leaf[device], leaf[0])
    return devices.first(state), devices.first(metrics)


class Plain(ToySystem):
    """Without dropout, whose keys differ by device."""

    def loss(self, variables, batch, key, *, axis, train):
        share, metrics, _ = super().loss(variables, batch, key, axis=axis, train=False)
        return share, metrics, {}


def test_uneven_shards_give_the_gradients_of_one_device():
    # Five valid records stand on the first device and one on the second: a mean of means would weigh them differently.
    batch = batch_of([True] * 4 + [False] * 3 + [True])
    batch["text"]["mask"][:, 0] = True
    one, two = local_devices(1), local_devices(2)
    (a, metrics_a), (b, metrics_b) = (run(d, batch, system=Plain(ToyNet(3))) for d in (one, two))
    for x, y in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics_a["loss"], metrics_b["loss"], rtol=1e-5)
    np.testing.assert_allclose(metrics_a["gradient_norm"], metrics_b["gradient_norm"], rtol=1e-5)


def test_one_step_equals_autodiff_by_hand():
    system = Plain(ToyNet(3))
    variables = system.init(jax.random.key(1), BATCH)

    def loss(params):
        return system.loss({**variables, "params": params}, BATCH, jax.random.key(0), axis=None, train=True)[0]

    grads = jax.grad(loss)(variables["params"])
    state, _ = run(local_devices(2), BATCH, steps=1, system=system)
    for p, g, found in zip(*(jax.tree.leaves(t) for t in (variables["params"], grads, state.params)), strict=True):
        np.testing.assert_allclose(found, p - 0.5 * g, rtol=1e-5, atol=1e-6)


def test_accumulated_parts_average_to_the_whole():
    batch = batch_of([True] * 8)
    batch["text"]["mask"][:, 0] = True
    whole, parts = (run(local_devices(1), batch, accumulate=n, system=Plain(ToyNet(3)))[0] for n in (1, 4))
    for x, y in zip(jax.tree.leaves(whole.params), jax.tree.leaves(parts.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_batch_statistics_are_those_of_the_global_batch():
    batch = batch_of([True] * 8)
    batch["text"]["mask"][:] = True
    (a, _), (b, _) = (run(local_devices(n), batch, steps=1) for n in (1, 2))
    for x, y in zip(jax.tree.leaves(a.stats), jax.tree.leaves(b.stats), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    assert np.abs(a.stats["batch_stats"]["norm"]["mean"]).max() > 0


def test_frozen_parts_have_no_optimiser_state_and_stay():
    variables = SYSTEM.init(jax.random.key(1), BATCH)
    state, _ = run(local_devices(2), BATCH, tx=optax.sgd(0.1, momentum=0.9), frozen=("text",))
    np.testing.assert_array_equal(state.frozen["text"]["embedding"], variables["params"]["text"]["embedding"])
    trained = sum(x.size for x in jax.tree.leaves(state.params))
    assert "text" not in state.params
    assert sum(x.size for x in jax.tree.leaves(state.opt_state)) == trained


@pytest.mark.parametrize("accumulate", [1, 2])
def test_batch_statistics_of_a_frozen_part_stay(accumulate):
    """Whatever the system says of them; those of the other parts follow the batches."""
    before = SYSTEM.init(jax.random.key(1), BATCH)["batch_stats"]["norm"]
    for frozen in ((), ("norm",)):
        state, _ = run(local_devices(2), BATCH, frozen=frozen, accumulate=accumulate)
        same = [np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (state.stats["batch_stats"]["norm"], before)), strict=True)]
        assert len(same) == 2 and all(same) == bool(frozen)


def test_a_failing_step_changes_nothing_and_is_remembered():
    class Failing(Plain):
        def loss(self, variables, batch, key, *, axis, train):
            share, metrics, updates = super().loss(variables, batch, key, axis=axis, train=train)
            total, count = metrics["loss"]
            bad = jnp.where(variables["params"]["head"]["bias"][0] == 0, 1.0, jnp.nan)  # fine at first, not after an update
            return share * bad, {"loss": (total * bad, count)}, updates

    system = Failing(ToyNet(3))
    once, _ = run(local_devices(2), BATCH, steps=1, system=system, tx=optax.sgd(0.5, momentum=0.5))
    thrice, _ = run(local_devices(2), BATCH, steps=3, system=system, tx=optax.sgd(0.5, momentum=0.5))
    assert (once.failed, thrice.failed, thrice.step) == (-1, 1, 3)
    jax.tree.map(np.testing.assert_array_equal, *((s.params, s.opt_state, s.stats) for s in (once, thrice)))


def test_dropout_differs_by_step_and_device_but_not_by_run():
    a, b = (run(local_devices(2), BATCH)[0] for _ in range(2))
    for x, y in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("count", [1, 2])
def test_predictions_come_back_in_order(count):
    devices = local_devices(count)
    variables = SYSTEM.init(jax.random.key(1), BATCH)
    mapped = devices.map(make_predict_step(SYSTEM))
    found = devices.collect(mapped(devices.replicate(variables), devices.shard(BATCH)))
    np.testing.assert_array_equal(found["index"], BATCH["index"])
    np.testing.assert_array_equal(found["valid"], BATCH["valid"])
    np.testing.assert_allclose(found["probabilities"], SYSTEM.predict(variables, BATCH)["probabilities"], rtol=1e-5)


def test_parts_that_do_not_exist_cannot_be_frozen():
    variables = SYSTEM.init(jax.random.key(1), BATCH)
    with pytest.raises(ValueError, match=r"\['vision'\].*\['head', 'norm', 'text'\]"):
        create(variables, ("vision",), optax.sgd(1.0))
    with pytest.raises(ValueError, match="every part"):
        create(variables, ("text", "head", "norm"), optax.sgd(1.0))


def test_more_devices_than_there_are():
    with pytest.raises(ValueError, match="parallel.devices=99"):
        local_devices(99)
    with pytest.raises(ValueError, match="7 records does not divide over 2"):
        local_devices(2).shard(batch_of([True] * 7))


def products(jaxpr):
    """The precision of every matrix product in a program and in those inside it."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            found.append(equation.params["precision"])
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            found += products(inner) if hasattr(inner, "eqns") else []
    return found


@pytest.mark.parametrize("name", ["default", "high", "highest"])
def test_a_precision_is_that_of_every_product_in_training_and_prediction(name):
    variables = SYSTEM.init(jax.random.key(1), BATCH)
    state = create(variables, (), optax.sgd(0.1))
    train = make_train_step(SYSTEM, optax.sgd(0.1), axis=AXIS)

    def step(state, batch):
        return jax.vmap(train, in_axes=(None, 0, None), axis_name=AXIS)(state, batch, jax.random.key(0))

    expected = None if name == "default" else (jax.lax.Precision(name),) * 2
    whole = jax.tree.map(lambda x: x[None], BATCH)
    for program in (
        jax.make_jaxpr(precise(step, name))(state, whole),
        jax.make_jaxpr(precise(make_predict_step(SYSTEM), name))(variables, BATCH),
    ):
        found = products(program.jaxpr)
        assert found and set(found) == {expected}


def test_a_prediction_cannot_take_the_name_of_what_the_record_says():
    """The record's own value would take its place without a word."""

    class Clashing(ToySystem):
        def predict(self, variables, batch):
            return {**super().predict(variables, batch), "valid": jnp.ones((8, 3), bool)}

    system = Clashing(ToyNet(3))
    with pytest.raises(ValueError, match="predictions are called otherwise than valid"):
        jax.eval_shape(make_predict_step(system), system.init(jax.random.key(0), BATCH), BATCH)


def test_only_products_are_kept_where_that_is_asked_for():
    def loss(w):
        return jnp.sum(jnp.tanh(jnp.tanh(jnp.ones((2, 4)) @ w) @ w))

    def counts(loss):
        program = str(jax.make_jaxpr(jax.grad(loss))(jnp.ones((4, 4))))
        return program.count("tanh "), program.count("dot_general[")

    (tanh, products), (again, same) = counts(loss), counts(with_products_alone(loss))
    assert again == 2 * tanh and same == products, "activations are computed twice, products once"


@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_is_kept_changes_no_gradient(accumulate):
    batch = batch_of([True] * 8)
    batch["text"]["mask"][:, 0] = True
    found = [run(local_devices(2), batch, accumulate=accumulate, remat=remat) for remat in ("none", "dots")]
    for x, y in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-7)


def test_draws_are_made_by_the_generator_that_is_asked_for():
    """The program of rbg asks the chip's own generator, which threefry's does without; each step's draws are its own."""
    devices, asked = local_devices(1), {}
    for prng in ("threefry2x32", "rbg"):
        config = ConfigDict({"optim": common.section("optim"), "train": common.section("train")})
        config.optim.lr, config.optim.warmup, config.train.prng = 0.0, 0.0, prng
        variables = SYSTEM.init(jax.random.key(1), BATCH)
        state = devices.replicate(create(variables, (), make_optimizer(config.optim, variables["params"], 4)))
        step, key = mapped_step(types.SimpleNamespace(config=config, system=SYSTEM), devices, state, 4)
        asked[prng] = "rng_bit_generator" in step.lower(state, devices.shard(BATCH), key).as_text()
        losses = []
        for _ in range(2):
            state, metrics = step(state, devices.shard(BATCH), key)
            losses.append(float(metrics["loss"][0]))
        assert losses[0] != losses[1]
    assert asked == {"threefry2x32": False, "rbg": True}
