"""Normalisation by hand, and the poolings against PyTorch's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.encoders.convolution import EPS, ConvNorm, FrozenBatchNorm, Norm, apart, halving_pool, max_pool, pointwise, smooth_pool


def maps(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, 2.0, shape).astype(np.float32)


def constants(width: int) -> dict[str, np.ndarray]:
    return {name: np.abs(maps(width, seed=seed)) + 0.1 for seed, name in enumerate(("mean", "var", "scale", "bias"))}


@pytest.mark.parametrize("side", [5, 6])
def test_pooling_pads_as_pytorch_does(side: int) -> None:
    functional = pytest.importorskip("torch").nn.functional
    torch = pytest.importorskip("torch")
    x = maps(2, side, side + 1, 3) - 5.0  # below zero, where a maximum over zeros would show
    there = torch.tensor(x.transpose(0, 3, 1, 2))
    expected = {
        max_pool: functional.max_pool2d(there, 3, 2, 1),
        smooth_pool: functional.avg_pool2d(there, 3, 2, 1),
        halving_pool: functional.avg_pool2d(there, 2, 2, ceil_mode=True, count_include_pad=False),
    }
    for pool, theirs in expected.items():
        np.testing.assert_allclose(pool(x), theirs.numpy().transpose(0, 2, 3, 1), atol=1e-5)
        assert pool(jnp.asarray(x, jnp.bfloat16)).dtype == jnp.bfloat16


def test_a_frozen_norm_is_four_constants() -> None:
    x, held = maps(2, 3, 3, 4), constants(4)
    found, updates = FrozenBatchNorm().apply({"batch_stats": held}, x, mutable=["batch_stats"])
    expected = (x - held["mean"]) / np.sqrt(held["var"] + EPS) * held["scale"] + held["bias"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, updates["batch_stats"], held)
    assert set(FrozenBatchNorm().init(jax.random.key(0), x)) == {"batch_stats"}


@pytest.mark.parametrize("kind", ["frozen", "batch", "group"])
def test_statistics_are_computed_in_fp32_whatever_the_dtype(kind: str) -> None:
    """A mean of 1000 leaves bfloat16 four units a step: only fp32 statistics bring the spread of 1 back."""
    norm = Norm(kind, 2)
    unit = ConvNorm(4, 1, norm, dtype=jnp.bfloat16)
    x = jnp.asarray(1000.0 + 32.0 * maps(2, 8, 8, 4), jnp.bfloat16)
    variables = dict(unit.init(jax.random.key(0), x, train=False))
    variables["params"] = {**variables["params"], "conv": {"kernel": jnp.eye(4)[None, None]}}
    if kind == "frozen":
        wide = x.astype(jnp.float32)
        held = {"mean": wide.mean((0, 1, 2)), "var": wide.var((0, 1, 2)), "scale": jnp.ones(4), "bias": jnp.zeros(4)}
        variables["batch_stats"] = {"norm": held}
    found = unit.apply(variables, x, train=True, mutable=["batch_stats"])[0]
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.std(np.asarray(found, np.float32)), 1.0, atol=0.02)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def test_group_norm_keeps_pictures_apart() -> None:
    unit = ConvNorm(4, 3, Norm("group", 2))
    x = maps(3, 6, 6, 4)
    variables: Any = unit.init(jax.random.key(0), x, train=False)
    assert set(variables) == {"params"}
    np.testing.assert_allclose(unit.apply(variables, x, train=True)[:1], unit.apply(variables, x[:1], train=False), atol=1e-5)


def test_unknown_norms_are_named() -> None:
    with pytest.raises(ValueError, match="unknown norm 'layer'; known are frozen, batch, global, group"):
        Norm("layer")  # type: ignore[arg-type]


@pytest.mark.parametrize("stride", [1, 2])
def test_a_product_is_the_1x1_convolution(stride):
    random = np.random.default_rng(0)
    x, kernel = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((2, 5, 6, 3), (1, 1, 3, 4)))
    expected = jax.lax.conv_general_dilated(x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(pointwise(x, kernel, (stride, stride), "VALID"), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"found \[3, 3\] and 1"):
        pointwise(x, jnp.zeros((3, 3, 3, 4)), (1, 1), "SAME")


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [2, 3])
def test_groups_apart_are_the_grouped_convolution(stride, groups):
    random = np.random.default_rng(0)
    x, kernel = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((2, 5, 6, 2 * groups), (3, 3, 2, 4 * groups)))
    about = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": groups}

    def both(convolve):
        return jax.value_and_grad(lambda *xs: (convolve(*xs, (stride, stride), "SAME", **about) ** 2).sum(), argnums=(0, 1))(x, kernel)

    for found, expected in zip(jax.tree.leaves(both(apart)), jax.tree.leaves(both(jax.lax.conv_general_dilated)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
