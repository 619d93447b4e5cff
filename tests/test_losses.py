"""Cross-entropy against PyTorch, at the extremes too; sums over a mapped axis."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmre_jax.losses import cross_entropy, global_sum

LOGITS = arrays(np.float32, (3, 2, 5), elements=st.floats(-1e4, 1e4, width=32))
LABELS = arrays(np.int32, (3, 2), elements=st.integers(0, 4))


@given(LOGITS, LABELS)
def test_cross_entropy_is_pytorchs(logits: np.ndarray, labels: np.ndarray) -> None:
    theirs = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(theirs.flatten(0, 1), torch.tensor(labels).long().flatten(), reduction="none")
    found = cross_entropy(logits, labels)
    assert found.shape == (3, 2) and found.dtype == jnp.float32
    np.testing.assert_allclose(found.reshape(-1), expected.detach(), rtol=1e-5, atol=1e-5)
    expected.sum().backward()
    gradient = jax.grad(lambda x: cross_entropy(x, labels).sum())(logits)
    np.testing.assert_allclose(gradient, theirs.grad, atol=1e-5)


def test_by_hand() -> None:
    found = cross_entropy(np.log(np.array([[1.0, 3.0], [1.0, 3.0]], np.float32)), np.array([0, 1]))
    np.testing.assert_allclose(found, [np.log(4), np.log(4 / 3)], rtol=1e-6)


@given(LOGITS, LABELS, st.floats(-100, 100, width=32))
def test_never_negative_and_blind_to_a_shift(logits: np.ndarray, labels: np.ndarray, shift: float) -> None:
    found = cross_entropy(logits, labels)
    assert (found >= 0).all()
    np.testing.assert_allclose(cross_entropy(logits + np.float32(shift), labels), found, atol=0.02)  # 1e4 + 100 in fp32


def test_bf16_logits_are_summed_in_fp32() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 23)).astype(jnp.bfloat16)
    labels = np.arange(4)
    found = cross_entropy(logits, labels)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, cross_entropy(logits.astype(np.float32), labels))


def test_global_sum() -> None:
    assert global_sum(jnp.float32(3), None) == 3
    np.testing.assert_array_equal(jax.pmap(lambda x: global_sum(x, "shards"), axis_name="shards")(np.float32([1, 2])), [3, 3])
