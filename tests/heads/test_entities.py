"""The entity head's outputs and its objective: a mean over valid records whose shares add up over shards of any size."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.heads.crf import Crf, illegal, log_likelihood
from mmre_jax.heads.entities import EntityHead, EntityObjective
from mmre_jax.heads.marginals import mention_probabilities

B, L, D = 6, 7, 4
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
K = len(TAGS)
random = np.random.default_rng(0)
STATES = random.normal(size=(B, L, D)).astype(np.float32)
HEAD = EntityHead(K)
PARAMS = HEAD.init(jax.random.key(0), STATES, train=False)["params"]
BATCH = {
    "tags": np.where(np.arange(L) == 2, 1, 0).repeat(B).reshape(L, B).T.astype(np.int32),
    "scored": random.random((B, L)) < 0.6,
    "valid": np.array([True, True, False, True, False, True]),
}
OBJECTIVE = EntityObjective(TAGS)
Outputs = dict[str, jax.Array]


def outputs_of(params: Any, states: Any = STATES) -> Outputs:
    return HEAD.apply({"params": params}, states, train=False)


def crf_of(outputs: Outputs) -> Crf:
    return Crf(outputs["transitions"], outputs["start"], outputs["end"])


def test_parameters_and_outputs() -> None:
    shapes = {"classifier": {"bias": (K,), "kernel": (D, K)}, "transitions": (K, K), "start": (K,), "end": (K,)}
    assert jax.tree.map(lambda p: p.shape, PARAMS) == shapes
    chain = np.concatenate([np.ravel(PARAMS[name]) for name in ("transitions", "start", "end")])
    assert np.abs(chain).max() <= 0.1 and (chain < 0).any() and (chain > 0).any()
    outputs = outputs_of(PARAMS)
    kernel, bias = (np.asarray(PARAMS["classifier"][name]) for name in ("kernel", "bias"))
    np.testing.assert_allclose(outputs["emissions"], STATES @ kernel + bias, atol=1e-5)
    assert all((outputs[name] == PARAMS[name]).all() for name in ("transitions", "start", "end"))


def test_emissions_are_fp32_in_bf16_computation() -> None:
    outputs = EntityHead(K, dtype=jnp.bfloat16).apply({"params": PARAMS}, STATES.astype(jnp.bfloat16), train=False)
    assert outputs["emissions"].dtype == jnp.float32
    np.testing.assert_allclose(outputs["emissions"], outputs_of(PARAMS)["emissions"], atol=0.02)


def test_dropout_in_training_alone() -> None:
    head = EntityHead(K, dropout=0.5)
    emissions = [head.apply({"params": PARAMS}, STATES, train=True, rngs={"dropout": jax.random.key(i)})["emissions"] for i in range(2)]
    assert not np.allclose(*emissions)
    np.testing.assert_array_equal(head.apply({"params": PARAMS}, STATES, train=False)["emissions"], outputs_of(PARAMS)["emissions"])


def test_the_loss_is_the_mean_over_valid_records() -> None:
    outputs = outputs_of(PARAMS)
    share, metrics = OBJECTIVE.loss(outputs, BATCH, None)
    each = -log_likelihood(outputs["emissions"], BATCH["tags"], BATCH["scored"], crf_of(outputs))
    expected = np.asarray(each)[BATCH["valid"]]
    np.testing.assert_allclose(share, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], (expected.sum(), 4), rtol=1e-5)


def test_invalid_records_have_no_influence() -> None:
    def loss(params: Any, states: Any, batch: Any) -> jax.Array:
        return OBJECTIVE.loss(outputs_of(params, states), batch, None)[0]

    valid = BATCH["valid"]
    other = {**BATCH, "tags": np.where(valid[:, None], BATCH["tags"], 4), "scored": BATCH["scored"] | ~valid[:, None]}
    states = np.where(valid[:, None, None], STATES, np.float32(1e4))
    value, gradients = jax.value_and_grad(loss)(PARAMS, STATES, BATCH)
    value_too, gradients_too = jax.value_and_grad(loss)(PARAMS, states, other)
    np.testing.assert_allclose(value, value_too, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), gradients, gradients_too)


def test_every_parameter_has_a_gradient() -> None:
    gradients = jax.grad(lambda params: OBJECTIVE.loss(outputs_of(params), BATCH, None)[0])(PARAMS)
    assert all(np.asarray(gradient).any() for gradient in jax.tree.leaves(gradients))


def test_a_batch_without_valid_records_costs_nothing() -> None:
    nothing = {**BATCH, "valid": np.zeros(B, bool)}
    share, gradients = jax.value_and_grad(lambda params: OBJECTIVE.loss(outputs_of(params), nothing, None)[0])(PARAMS)
    assert share == 0 and not any(np.asarray(gradient).any() for gradient in jax.tree.leaves(gradients))


@pytest.mark.parametrize("valid", [BATCH["valid"], np.array([True, True, True, True, False, False])], ids=["even", "uneven"])
def test_shares_of_shards_add_up(valid: np.ndarray) -> None:
    def share(params: Any, states: Any, batch: Any, axis: str | None = "shards") -> tuple[jax.Array, Any]:
        return jax.value_and_grad(lambda p: OBJECTIVE.loss(outputs_of(p, states), batch, axis)[0])(params)

    batch = {**BATCH, "valid": valid}
    cut = jax.tree.map(lambda x: x.reshape(2, B // 2, *x.shape[1:]), (STATES, batch))
    shares, gradients = jax.pmap(share, axis_name="shards", in_axes=(None, 0, 0))(PARAMS, *cut)
    expected, gradient = share(PARAMS, STATES, batch, None)
    np.testing.assert_allclose(shares.sum(), expected, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a.sum(axis=0), b, atol=1e-5), gradients, gradient)


def test_training_learns_the_tags() -> None:
    rng = np.random.default_rng(1)
    tags = np.array([[0, 1, 2, 0, 3, 4, 4], [3, 4, 0, 0, 1, 2, 2]], np.int32)
    states = (np.eye(K)[tags] + 0.1 * rng.normal(size=(2, L, K))).astype(np.float32)
    batch = {"tags": tags, "scored": np.ones((2, L), bool), "valid": np.ones(2, bool)}
    params = HEAD.init(jax.random.key(1), states, train=False)["params"]
    gradient = jax.jit(jax.grad(lambda p: OBJECTIVE.loss(outputs_of(p, states), batch, None)[0]))
    for _ in range(60):
        params = jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient(params))
    np.testing.assert_array_equal(OBJECTIVE.predict(outputs_of(params, states), batch)["tags"], tags)


def test_constrained_predictions_are_legal_and_unconstrained_ones_need_not_be() -> None:
    outputs = {**outputs_of(PARAMS), "emissions": jnp.asarray(5 * random.normal(size=(B, L, K)), jnp.float32)}
    batch = {**BATCH, "scored": np.ones((B, L), bool)}
    transitions, start = illegal(TAGS)

    def breaks(objective: EntityObjective) -> int:
        tags = np.asarray(objective.predict(outputs, batch)["tags"])
        return int(start[tags[:, 0]].sum() + transitions[tags[:, :-1], tags[:, 1:]].sum())

    assert breaks(EntityObjective(TAGS)) > 0
    assert breaks(EntityObjective(TAGS, constrain=True)) == 0
    losses = [objective.loss(outputs, batch, None)[0] for objective in (EntityObjective(TAGS), EntityObjective(TAGS, constrain=True))]
    assert losses[1] < losses[0]  # the tags are legal, and share their probability with fewer others


def test_predictions_say_how_sure_their_mentions_are() -> None:
    outputs = {**outputs_of(PARAMS), "emissions": jnp.asarray(3 * random.normal(size=(B, L, K)), jnp.float32)}
    for objective in (OBJECTIVE, EntityObjective(TAGS, constrain=True)):
        found = objective.predict(outputs, BATCH)
        asked = outputs["emissions"], found["tags"], BATCH["scored"], BATCH["scored"], objective.crf(outputs), TAGS
        np.testing.assert_array_equal(found["mention"], mention_probabilities(*asked))
        alone = objective.predict(outputs, {**BATCH, "words": np.arange(L)[None].repeat(B, 0) < 3})
        assert not np.asarray(alone["mention"])[:, 3:].any() and np.asarray(alone["mention"])[:, :3].any()
        np.testing.assert_array_equal(alone["tags"], found["tags"])
