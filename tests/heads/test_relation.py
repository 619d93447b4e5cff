"""The relation head's logits by hand; its objective's shares add up over shards of any size."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmre_jax.heads.relation import RelationHead, RelationObjective

B, D, R = 4, 3, 5
random = np.random.default_rng(0)
MARKED = random.normal(size=(B, 2, D)).astype(np.float32)
HEAD = RelationHead(R)
PARAMS = jax.tree.map(lambda p: random.normal(size=p.shape).astype(np.float32), HEAD.init(jax.random.key(0), MARKED)["params"])


def logits_of(states: Any, head: RelationHead = HEAD) -> jax.Array:
    return head.apply({"params": PARAMS}, states)


def test_logits_by_hand_head_first() -> None:
    kernel, bias = PARAMS["classifier"]["kernel"], PARAMS["classifier"]["bias"]
    expected = [np.concatenate([head, tail]) @ kernel + bias for head, tail in MARKED]
    np.testing.assert_allclose(logits_of(MARKED), expected, rtol=1e-5)


def test_logits_are_fp32_in_bf16_computation() -> None:
    logits = logits_of(MARKED.astype(jnp.bfloat16), RelationHead(R, dtype=jnp.bfloat16))
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, logits_of(MARKED), atol=0.1)


LOGITS = random.normal(size=(6, R)).astype(np.float32)
BATCH = {"label": np.array([0, 4, 2, 2, 1, 3], np.int32), "valid": np.array([True, True, False, True, False, True])}


def test_the_loss_is_the_mean_over_valid_records() -> None:
    share, metrics = RelationObjective().loss(LOGITS, BATCH, None)
    losses = [math.log(sum(math.exp(x) for x in row)) - row[label] for row, label in zip(LOGITS.tolist(), BATCH["label"], strict=True)]
    expected = np.array(losses)[BATCH["valid"]]
    np.testing.assert_allclose(share, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], (expected.sum(), 4), rtol=1e-5)
    hits = (LOGITS.argmax(axis=1) == BATCH["label"])[BATCH["valid"]].sum()
    np.testing.assert_array_equal(metrics["accuracy"], (hits, 4))


def test_shares_of_uneven_shards_add_up() -> None:
    def share(logits: jax.Array, batch: Any) -> tuple[jax.Array, jax.Array]:
        return jax.value_and_grad(lambda x: RelationObjective().loss(x, batch, "shards")[0])(logits)

    cut = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), BATCH)  # 2 valid records in each ...
    uneven = {**cut, "valid": np.array([[True, True, True], [True, False, False]])}  # ... and 3 against 1
    for batch in (cut, uneven):
        shares, gradients = jax.pmap(share, axis_name="shards")(LOGITS.reshape(2, 3, R), batch)
        whole = jax.tree.map(lambda x: x.reshape(6), batch)
        expected, gradient = jax.value_and_grad(lambda x, whole=whole: RelationObjective().loss(x, whole, None)[0])(LOGITS)
        np.testing.assert_allclose(shares.sum(), expected, rtol=1e-6)
        np.testing.assert_allclose(gradients.reshape(6, R), gradient, atol=1e-6)


def test_a_batch_without_valid_records_costs_nothing() -> None:
    nothing = {**BATCH, "valid": np.zeros(6, bool)}
    share, gradient = jax.value_and_grad(lambda x: RelationObjective().loss(x, nothing, None)[0])(LOGITS)
    assert share == 0 and not gradient.any()


def test_predictions_are_probabilities() -> None:
    found = RelationObjective().predict(LOGITS, {})
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(found["probabilities"].argmax(axis=1), LOGITS.argmax(axis=1))
    np.testing.assert_array_equal(found["logits"], LOGITS)
