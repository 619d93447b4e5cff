"""Activations, layer normalisation and feed-forward block against their definitions."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.encoders.blocks import ACTIVATIONS, FeedForward, check_activation, layer_norm


class Norm(nn.Module):
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return layer_norm(x, 1e-5, self.dtype, "norm")


def test_activations_follow_their_formulas() -> None:
    x = np.linspace(-4, 4, 33)
    formulas = {
        "gelu": [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x],
        "gelu_new": [0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) for v in x],
        "quick_gelu": [v / (1 + math.exp(-1.702 * v)) for v in x],
        "relu": [max(v, 0.0) for v in x],
    }
    assert set(formulas) == set(ACTIVATIONS)
    for name, expected in formulas.items():
        np.testing.assert_allclose(ACTIVATIONS[name](jnp.asarray(x, jnp.float32)), expected, atol=1e-6)
    with pytest.raises(ValueError, match="unknown activation 'silu'; known are gelu,"):
        check_activation("silu")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_layer_norm_keeps_its_digits_far_from_zero(dtype: jnp.dtype) -> None:
    x = (jax.random.normal(jax.random.key(0), (2, 3, 16)) + 1000.0).astype(jnp.float32)
    found = Norm(dtype).apply({"params": {"norm": {"scale": jnp.full(16, 2.0), "bias": jnp.ones(16)}}}, x)
    wide = np.asarray(x, np.float64)
    expected = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5) * 2 + 1
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=1e-3 if dtype == jnp.float32 else 0.03)


def test_feed_forward_is_two_dense_layers() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 3, 4))
    module = FeedForward(6, "relu", init_std=0.5)
    variables = module.init(jax.random.key(1), x)
    up, down = variables["params"]["up"], variables["params"]["down"]
    expected = np.maximum(np.asarray(x) @ up["kernel"], 0.0) @ down["kernel"]
    assert up["kernel"].shape == (4, 6)
    np.testing.assert_allclose(module.apply(variables, x), expected, atol=1e-5)
    added = np.arange(6, dtype=np.float32) - 3
    expected = np.maximum(np.asarray(x @ up["kernel"]) + added, 0.0) @ down["kernel"]
    np.testing.assert_allclose(module.apply(variables, x, jnp.broadcast_to(added, (2, 3, 6))), expected, atol=1e-5)
