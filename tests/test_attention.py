"""Attention against a NumPy implementation, its two paths against each other, and its promises on masked rows."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax import attention as attention_lib
from mmre_jax.attention import MultiHeadAttention, attention, on_rows
from mmre_jax.dropout import kept

B, LQ, LK, H, D = 2, 3, 5, 2, 4


run = jax.jit(attention, static_argnames=("dropout_rate", "return_weights"))


def random(shape: tuple[int, ...], seed: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def qkv() -> tuple[jax.Array, jax.Array, jax.Array]:
    return random((B, LQ, H, D), 0), random((B, LK, H, D), 1), random((B, LK, H, D), 2)


def by_loops(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    out, weights = np.zeros(q.shape), np.zeros((q.shape[0], q.shape[2], q.shape[1], k.shape[1]))
    for b, h, i in np.ndindex(q.shape[0], q.shape[2], q.shape[1]):
        keys = np.flatnonzero(mask[b, h, i])
        if keys.size:
            raised = np.exp([q[b, i, h] @ k[b, j, h] / np.sqrt(q.shape[3]) + bias[b, h, i, j] for j in keys])
            weights[b, h, i, keys] = raised / raised.sum()
            out[b, i, h] = weights[b, h, i] @ v[b, :, h]
    return out, weights


@given(st.integers(0, 10_000), st.sampled_from([(B, H, LQ, LK), (B, 1, 1, LK), (LQ, LK)]), st.booleans())
def test_both_paths_equal_loops_for_any_mask(seed: int, shape: tuple[int, ...], biased: bool) -> None:
    q, k, v = qkv()
    mask = jax.random.bernoulli(jax.random.key(seed), 0.5, shape)
    bias = random((B, 1, LQ, LK), seed + 1) if biased else None
    expected, expected_weights = by_loops(
        np.asarray(q),
        np.asarray(k),
        np.asarray(v),
        np.broadcast_to(mask, (B, H, LQ, LK)),
        np.broadcast_to(bias if biased else 0.0, (B, H, LQ, LK)),
    )
    fast = run(q, k, v, mask=mask, bias=bias)
    explicit, weights = run(q, k, v, mask=mask, bias=bias, return_weights=True)
    np.testing.assert_allclose(fast, expected, atol=1e-5)
    np.testing.assert_allclose(explicit, expected, atol=1e-5)
    np.testing.assert_allclose(weights, expected_weights, atol=1e-5)


@pytest.mark.parametrize("explicit", [False, True])
def test_gradients_of_both_paths_agree_and_rows_without_keys_pass_zero(explicit: bool) -> None:
    q, k, v = qkv()
    mask = jnp.ones((B, 1, LQ, LK), bool).at[0].set(False).at[1, 0, 0].set(False).at[1, 0, 1, 2].set(False)

    def loss(q: jax.Array, k: jax.Array, v: jax.Array, explicit: bool) -> jax.Array:
        out = attention(q, k, v, mask=mask, return_weights=explicit)
        return jnp.sum(jnp.cos(out[0] if explicit else out))

    gradient = jax.jit(jax.grad(loss, (0, 1, 2)), static_argnums=3)
    gradients = gradient(q, k, v, explicit)
    for found, other in zip(gradients, gradient(q, k, v, not explicit), strict=True):
        np.testing.assert_allclose(found, other, atol=1e-5)
        assert jnp.isfinite(found).all() and not found[0].any()
    assert not gradients[0][1, 0].any() and gradients[0][1, 1].any()


def test_masked_keys_never_matter_even_when_huge() -> None:
    q, k, v = qkv()
    mask = jnp.ones((1, 1, 1, LK), bool).at[..., -1].set(False)
    expected = run(q, k, v, mask=mask)
    np.testing.assert_array_equal(run(q, k.at[:, -1].set(1e4), v.at[:, -1].set(1e4), mask=mask), expected)
    explicit, _ = run(q, k.at[:, -1].set(1e4), v.at[:, -1].set(1e4), mask=mask, return_weights=True)
    np.testing.assert_allclose(explicit, expected, atol=1e-5)


@pytest.mark.parametrize("explicit", [False, True])
def test_bfloat16_takes_its_softmax_in_float32(explicit: bool) -> None:
    q, k, v = (x.astype(jnp.bfloat16) for x in qkv())
    mask = jnp.ones((B, 1, 1, LK), bool).at[0].set(False)
    found = run(q, k, v, mask=mask, bias=random((1, 1, LQ, LK), 3), return_weights=explicit)
    if explicit:
        found, weights = found
        assert weights.dtype == jnp.float32
        np.testing.assert_allclose(weights[1].sum(-1), 1.0, atol=1e-6)
    wide = run(*(x.astype(jnp.float32) for x in (q, k, v)), mask=mask, bias=random((1, 1, LQ, LK), 3))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), wide, atol=0.03)


def test_dropout_is_unbiased_keeps_the_weights_returned_and_follows_its_key() -> None:
    q, k, v = qkv()
    plain, plain_weights = run(q, k, v, return_weights=True)
    drop = jax.jit(lambda key: attention(q, k, v, dropout_rate=0.3, dropout_key=key, return_weights=True))
    outs, weights = jax.lax.map(drop, jax.random.split(jax.random.key(0), 4000))
    np.testing.assert_allclose(outs.mean(0), plain, atol=0.1)
    np.testing.assert_allclose(weights[0], plain_weights, atol=1e-6)
    assert not np.array_equal(outs[0], outs[1])
    np.testing.assert_array_equal(outs[0], drop(jax.random.split(jax.random.key(0), 4000)[0])[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": jnp.zeros((B, LK, H, D + 1))}, "attention takes q"),
        ({"mask": jnp.ones((B, LK), bool)}, "does not broadcast"),
        ({"mask": jnp.ones((1, B, 1, 1, LK), bool)}, "does not broadcast"),
        ({"bias": jnp.zeros((B, 1, 1, LK + 1))}, "bias"),
        ({"dropout_rate": 0.1}, "no dropout_key"),
        ({"dropout_rate": 1.0, "dropout_key": jax.random.key(0)}, r"\[0, 1\)"),
    ],
)
def test_what_does_not_fit_is_named(change: dict, message: str) -> None:
    q, k, v = qkv()
    with pytest.raises(ValueError, match=message):
        attention(**({"q": q, "k": k, "v": v} | change))


def module(**options: Any) -> tuple[MultiHeadAttention, Any, jax.Array]:
    attend, x = MultiHeadAttention(8, 2, **options), random((B, LK, 8), 0)
    shapes = jax.eval_shape(lambda: attend.init(jax.random.key(1), x, x, train=False))
    values = np.random.default_rng(0)
    return attend, jax.tree.map(lambda leaf: values.normal(0, 0.3, leaf.shape).astype(leaf.dtype), shapes), x


@functools.partial(jax.jit, static_argnames=("attend", "mutable"))
def call(
    attend: MultiHeadAttention,
    variables: Any,
    x: jax.Array,
    context: jax.Array,
    mask: jax.Array | None = None,
    prefix: tuple[jax.Array, jax.Array] | None = None,
    prefix_mask: jax.Array | None = None,
    mutable: Any = False,
) -> Any:
    return attend.apply(variables, x, context, mask, train=False, prefix=prefix, prefix_mask=prefix_mask, mutable=mutable)


def test_module_sows_only_when_asked_and_its_paths_agree() -> None:
    attend, variables, x = module()
    mask = jnp.ones((B, LK), bool).at[0, 3:].set(False)
    fast = call(attend, variables, x, x, mask)
    explicit, sown = call(attend, variables, x, x, mask, mutable="intermediates")
    np.testing.assert_allclose(fast, explicit, atol=1e-5)
    (weights,) = sown["intermediates"]["attention"]
    assert weights.shape == (B, 2, LK, LK) and not weights[0, :, :, 3:].any()
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-5)
    assert set(jax.eval_shape(lambda: attend.init(jax.random.key(1), x, x, train=False, mutable=True))) == {"params"}


def test_a_prefix_of_the_layers_own_keys_equals_a_longer_context() -> None:
    attend, variables, x = module()
    extra = random((B, 2, 8), 5)
    prefix = attend.apply(variables, extra, method="keys_values")
    np.testing.assert_array_equal(attend.apply(variables, extra, method="keys"), prefix[0])
    own, before = jnp.ones((B, LK), bool).at[0, 2:].set(False), jnp.ones((B, 2), bool).at[1, 0].set(False)
    context = jnp.concatenate([extra, x], axis=1)
    for own_mask, prefix_mask in [(own, before), (own, None), (None, before), (None, None)]:
        parts = [
            jnp.ones((B, 2), bool) if prefix_mask is None else prefix_mask,
            jnp.ones((B, LK), bool) if own_mask is None else own_mask,
        ]
        expected = call(attend, variables, x, context, jnp.concatenate(parts, axis=1))
        found = call(attend, variables, x, x, own_mask, prefix, prefix_mask)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    causal = jnp.tril(jnp.ones((LK, LK), bool))[None, None]
    found = call(attend, variables, x, x, causal, prefix, before)
    seen = jnp.concatenate([jnp.broadcast_to(before[:, None, None], (B, 1, LK, 2)), jnp.broadcast_to(causal, (B, 1, LK, LK))], axis=3)
    np.testing.assert_allclose(found, call(attend, variables, x, context, seen), atol=1e-6)
    with pytest.raises(ValueError, match="without a prefix"):
        call(attend, variables, x, x, None, None, before)


def test_module_prefix_bias_adds_to_the_scores_of_the_prefix_alone() -> None:
    """Scores + b on two of the keys, where softmax multiplies weights by e^b: the same as from weights that are taken by hand."""
    attend, variables, x = module()
    prefix = (random((B, 2, 2, 4), 5), random((B, 2, 2, 4), 6))
    own = jnp.ones((B, LK), bool).at[0, 3:].set(False)

    def by(bias: float, mutable: Any) -> Any:
        return attend.apply(variables, x, x, own, train=False, prefix=prefix, prefix_bias=bias, mutable=mutable)

    plain, biased = (by(bias, "intermediates")[1]["intermediates"]["attention"][0] for bias in (0.0, 1.5))
    raised = plain * jnp.where(jnp.arange(2 + LK) < 2, jnp.exp(1.5), 1.0)[None, None, None]
    np.testing.assert_allclose(biased, raised / raised.sum(-1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(by(1.5, "intermediates")[0], by(1.5, False), atol=1e-6)
    assert np.abs(by(1.5, False) - by(0.0, False)).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefix_bias": 1.0}, "without a prefix"),
        ({"prefix": (jnp.zeros((B, 2, 4, 2)), jnp.zeros((B, 2, 4, 2)))}, r"\[2, Lx, 2, 4\] each, found \[\[2, 2, 4, 2\]"),
        ({"prefix": (jnp.zeros((B, 2, 2, 4)), jnp.zeros((B, 3, 2, 4)))}, "keys and values"),
        ({"prefix": (jnp.zeros((1, 2, 2, 4)), jnp.zeros((1, 2, 2, 4)))}, "keys and values"),
    ],
)
def test_a_prefix_that_does_not_fit_is_named(options: dict[str, Any], message: str) -> None:
    attend, variables, x = module()
    with pytest.raises(ValueError, match=message):
        attend.apply(variables, x, x, train=False, **options)


def test_module_dropout_works_under_jit_and_only_in_training() -> None:
    attend, variables, x = module(dropout=0.5)
    drop = jax.jit(lambda key: attend.apply(variables, x, x, train=True, rngs={"dropout": key}))
    first, second = drop(jax.random.key(0)), drop(jax.random.key(1))
    assert jnp.isfinite(first).all() and not np.array_equal(first, second)
    np.testing.assert_array_equal(call(attend, variables, x, x), call(module()[0], variables, x, x))


def test_module_options() -> None:
    _, variables, _ = module(qkv_bias=False)
    assert set(variables["params"]["query"]) == {"kernel"} and set(variables["params"]["out"]) == {"kernel", "bias"}
    attend, variables, x = module(dtype=jnp.bfloat16)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    narrow = call(attend, variables, x.astype(jnp.bfloat16), x.astype(jnp.bfloat16))
    assert narrow.dtype == jnp.bfloat16
    np.testing.assert_allclose(narrow.astype(jnp.float32), call(module()[0], variables, x, x), atol=0.1)
    with pytest.raises(ValueError, match="does not divide"):
        MultiHeadAttention(8, 3).init(jax.random.key(0), x, x, train=False)


@pytest.mark.parametrize("implementation", ["auto", "xla"])
def test_dropped_values_are_weights_dropped_alike_for_all_queries(implementation: str) -> None:
    q, k, v = qkv()
    mask, key = jnp.ones((B, 1, 1, LK), bool).at[0, ..., -1].set(False), jax.random.key(3)
    drop = functools.partial(attention, mask=mask, dropout_rate=0.4, dropout_key=key, dropout_at="values", implementation=implementation)
    out, weights = drop(q, k, v, return_weights=True)
    np.testing.assert_allclose(drop(q, k, v), out, atol=1e-6)
    np.testing.assert_allclose(weights, run(q, k, v, mask=mask, return_weights=True)[1], atol=1e-6)
    keep = np.asarray(kept(key, 0.4, (B, LK, H)))
    alike = np.where(np.moveaxis(keep, 2, 1)[:, :, None], weights / 0.6, 0.0)
    np.testing.assert_allclose(out, np.einsum("bhqk,bkhd->bqhd", alike, v), atol=1e-4)
    assert 0 < keep.sum() < keep.size
    outs = jax.lax.map(lambda key: attention(q, k, v, dropout_rate=0.4, dropout_key=key, dropout_at="values"), jax.random.split(key, 4000))
    np.testing.assert_allclose(outs.mean(0), run(q, k, v), atol=0.15)


@pytest.mark.parametrize(("platform", "length", "rows"), [("tpu", 5, False), ("tpu", 8, True), ("cpu", 5, True)])
def test_kernels_meet_rows_where_that_moves_nothing(monkeypatch: pytest.MonkeyPatch, platform: str, length: int, rows: bool) -> None:
    monkeypatch.setattr("mmre_jax.attention._platform", lambda: platform)
    dense, x, seen = nn.Dense(3), random((B, length, 4), 0), []
    variables = dense.init(jax.random.key(0), x)

    def apply(x: jax.Array) -> jax.Array:
        seen.append(x.shape)
        return dense.apply(variables, x)

    np.testing.assert_allclose(on_rows(apply, x), dense.apply(variables, x), atol=1e-6)
    assert seen == [(B * length, 4) if rows else (B, length, 4)]


def test_the_platform_is_the_devices_of_the_mesh() -> None:
    def told(x: jax.Array) -> jax.Array:
        assert attention_lib._platform() == "cpu" and jax.sharding.get_abstract_mesh().abstract_device.platform == "cpu"
        return x

    jax.pmap(told, axis_name="x", devices=jax.devices()[:1])(jnp.ones((1, 2)))
    assert attention_lib._platform() == jax.default_backend()
