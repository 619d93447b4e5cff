"""Schedule, decay mask and learning rates per part."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import common
from mmre_jax.training.optim import clip, decay_mask, make_optimizer, schedule

PARAMS = {
    "text": {"dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "norm": {"scale": jnp.ones(2), "bias": jnp.ones(2)}},
    "mome": {"experts_in": jnp.ones((3, 2, 2)), "experts_in_bias": jnp.ones((3, 2))},
}


def config(**more):
    found = common.section("optim")
    found.update({"lr": 0.1, "warmup": 0.0, "schedule": "constant", "clip": 0.0, "eps": 1e-20, **more})
    return found


def updates(grads, **more):
    tx = make_optimizer(config(**more), PARAMS, 10)
    return tx.update(grads, tx.init(PARAMS), PARAMS, norm=optax.tree.norm(grads))[0]


def test_warm_up_then_linear_to_zero():
    rate = schedule(config(lr=1.0, warmup=0.2, schedule="linear"), 10)
    np.testing.assert_allclose([rate(i) for i in range(11)], [0, 0.5, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0], atol=1e-7)
    assert schedule(config(lr=1.0), 10)(0) == 1


def test_biases_and_norms_do_not_decay():
    mask = decay_mask(PARAMS)
    assert mask["text"] == {"dense": {"kernel": True, "bias": False}, "norm": {"scale": False, "bias": False}}
    assert mask["mome"] == {"experts_in": True, "experts_in_bias": False}
    found = updates(jax.tree.map(jnp.zeros_like, PARAMS), weight_decay=0.5)
    np.testing.assert_allclose(found["text"]["dense"]["kernel"], -0.1 * 0.5)
    assert not found["text"]["norm"]["scale"].any() and not found["mome"]["experts_in_bias"].any()


def test_every_parameter_moves_and_parts_have_their_own_rate():
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    found = updates(grads, weight_decay=0.0, multipliers={"mome": 10.0})
    for leaf in jax.tree.leaves(found["text"]):
        np.testing.assert_allclose(leaf, -0.1, rtol=1e-5)
    for leaf in jax.tree.leaves(found["mome"]):
        np.testing.assert_allclose(leaf, -1.0, rtol=1e-5)
    with pytest.raises(ValueError, match=r"\['head'\].*\['mome', 'text'\]"):
        updates(grads, multipliers={"head": 2.0})


def test_clipping_is_that_of_optax():
    tx = make_optimizer(config(clip=1.0, b1=0.0), PARAMS, 10)
    grads = jax.tree.map(lambda p: 100.0 * p, PARAMS)
    _, state = tx.update(grads, tx.init(PARAMS), PARAMS, norm=optax.tree.norm(grads))
    second = sum(float(leaf.sum()) for leaf in jax.tree.leaves(state[1].nu))
    np.testing.assert_allclose(second, 1e-3, rtol=1e-4)  # (1 - b2) of a gradient of norm 1
    for limit in (0.5, 1e3):  # cut, and let through as it is
        theirs = optax.clip_by_global_norm(limit)
        wanted, _ = theirs.update(grads, theirs.init(PARAMS))
        found, _ = clip(limit).update(grads, optax.EmptyState(), norm=optax.tree.norm(grads))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, wanted)
