"""The joint objective against examples worked by hand, and over two devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.heads.joint import TOLD, UNKNOWN, JointObjective, JointWeights, divergence, identification


def test_divergence_by_hand():
    half, skewed = np.log(np.array([0.5, 0.5])), np.log(np.array([0.9, 0.1]))
    expected = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
    np.testing.assert_allclose(divergence(jnp.asarray(half), jnp.asarray(skewed)), expected, rtol=1e-5)
    np.testing.assert_allclose(divergence(jnp.asarray(half + 3), jnp.asarray(half)), 0.0, atol=1e-6)


# Unit vectors in the plane, by their angle in degrees.
TEXT, FUSED, LABEL = [0, 60, 90, 100], [0, 60, 120, 90], [1, 2, 1, 3]


def at(angles):
    return np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=1).astype(np.float32) * 3


def cos(angle):
    return np.cos(np.radians(angle))


def hinges(i, valid):
    """Eq. 12 of a record, looking for its negatives one by one."""
    others = [n for n in range(4) if valid[n] and LABEL[n] != LABEL[i]]
    if not others or not valid[i]:
        return 0.0
    own = cos(TEXT[i] - FUSED[i])
    texts, fused = (max(cos(a[n] - b[i]) for n in others) for a, b in ((TEXT, FUSED), (FUSED, TEXT)))
    return max(0.2 + texts - own, 0.0) + max(0.2 + fused - own, 0.0)


@pytest.mark.parametrize("valid", [[True] * 4, [True, True, True, False], [True, False, True, False]])
def test_hardest_negatives_are_of_another_relation(valid):
    found = identification(at(TEXT), at(FUSED), jnp.array(LABEL), jnp.array(valid), 0.2, None)
    np.testing.assert_allclose(found, [hinges(i, valid) for i in range(4)], atol=1e-6)


def test_identification_by_hand():
    """Two records at 0 and 60 degrees that agree with themselves: the nearest negative has cosine 0.5, so a margin of 0.2 costs nothing and
    one of 0.7 costs 0.2 twice."""
    x, label, valid = at([0, 60]), jnp.array([1, 2]), jnp.ones(2, bool)
    np.testing.assert_allclose(identification(x, x, label, valid, 0.2, None), 0.0, atol=1e-6)
    np.testing.assert_allclose(identification(x, x, label, valid, 0.7, None), 0.4, atol=1e-5)
    np.testing.assert_array_equal(identification(x, x, jnp.array([1, 1]), valid, 0.7, None), 0.0)


def outputs_and_batch():
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(4, size)).astype(np.float32) for name, size in (("logits", 4), ("unfused", 4))}
    arrays |= {"text": at(TEXT), "fused": at(FUSED), "types": rng.normal(size=(4, 2, 3)).astype(np.float32)}
    types = np.array([[0, 1], [UNKNOWN, 2], [UNKNOWN, UNKNOWN], [1, 1]], np.int32)
    return arrays, {"label": np.array(LABEL, np.int32), "valid": np.array([True, True, True, False]), "types": types}


def test_the_whole_by_hand():
    outputs, batch = outputs_and_batch()
    share, metrics = JointObjective(JointWeights(2.0, 3.0, 5.0, 7.0)).loss(outputs, batch, None)

    def log_softmax(x):
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))

    p, q, t = (log_softmax(outputs[name]) for name in ("logits", "unfused", "types"))
    relation = -np.mean([p[i, LABEL[i]] for i in range(3)])
    consistency = np.mean((np.exp(p) * (p - q)).sum(axis=1)[:3])
    identified = np.mean([hinges(i, [True, True, True, False]) for i in range(3)])
    types = -np.mean([t[0, 0, 0], t[0, 1, 1], t[1, 1, 2]])
    np.testing.assert_allclose(share, 2 * consistency + 3 * identified + 5 * relation + 7 * types, rtol=1e-5)
    means = {name: float(total / count) for name, (total, count) in metrics.items()}
    expected = {"relation": relation, "consistency": consistency, "identification": identified, "types": types, "loss": float(share)}
    np.testing.assert_allclose([means[name] for name in expected], list(expected.values()), rtol=1e-5)

    alone, parts = JointObjective(JointWeights(2.0, 3.0, 5.0, 7.0), joint=False).loss({**outputs, "types": None}, batch, None)
    np.testing.assert_allclose(alone, 5 * relation, rtol=1e-5)
    assert set(parts) == {"loss", "accuracy", "relation"}


def test_shares_and_gradients_add_up_over_two_devices():
    """The hardest negative of the first record is the other device's: each half alone would find another one, or none."""
    outputs, batch = outputs_and_batch()
    objective = JointObjective()
    halves = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), (outputs, batch))

    @functools.partial(jax.pmap, axis_name="data")
    def on_device(outputs, batch):
        (share, metrics), slope = jax.value_and_grad(objective.loss, has_aux=True)(outputs, batch, "data")
        return jax.lax.psum((share, metrics), "data"), slope

    (share, metrics), slopes = on_device(*halves)
    (expected, whole), slope = jax.jit(lambda o, b: jax.value_and_grad(objective.loss, has_aux=True)(o, b, None))(outputs, batch)
    np.testing.assert_allclose(share[0], expected, rtol=1e-5)
    for name, (total, count) in metrics.items():
        np.testing.assert_allclose(total[0] / count[0], whole[name][0] / whole[name][1], rtol=1e-5)
    for name, found in slopes.items():
        np.testing.assert_allclose(found.reshape(slope[name].shape), slope[name], atol=1e-6)
    apart = sum(float(objective.loss(*jax.tree.map(lambda x, n=n: x[n], halves), None)[1]["identification"][0]) for n in range(2))
    assert abs(apart - float(whole["identification"][0])) > 0.1


def test_predictions():
    """Beside them what is told of the fusion: a text of length 3 that is turned by an angle moves by twice the sine of its half."""
    outputs, batch = outputs_and_batch()
    gates = np.arange(12, dtype=np.float32).reshape(4, 3)
    found = JointObjective().predict({**outputs, "gates": gates}, batch)
    np.testing.assert_array_equal(found["fusion"][:, :3], gates)
    turned = np.radians(np.abs(np.array(TEXT) - np.array(FUSED)))
    np.testing.assert_allclose(found["fusion"][:, 3], 2 * np.sin(turned / 2), atol=1e-6)
    np.testing.assert_allclose(found["fusion"][:, 4], divergence(outputs["logits"], outputs["unfused"]), atol=1e-6)
    assert len(TOLD) == found["fusion"].shape[1]
    np.testing.assert_allclose(found["probabilities"].sum(axis=-1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(found["types"].sum(axis=-1), 1.0, rtol=1e-6)
