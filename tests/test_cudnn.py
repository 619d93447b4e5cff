"""cuDNN's attention as far as it can be seen without a GPU: where it is taken, and what it is given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax import cudnn
from mmre_jax.attention import attention

B, H = 2, 2


def random(shape: tuple[int, ...], seed: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def test_cudnn_is_refused_where_it_cannot_be_and_not_taken_where_it_is_not() -> None:
    q, k, v = (random((B, n, H, 4), seed) for seed, n in enumerate((3, 5, 5)))
    with pytest.raises(ValueError, match="attention=cudnn takes bfloat16 and heads of 8, 16 .. 128 channels, found float32 and 4"):
        attention(q, k, v, implementation="cudnn")
    wide = [jnp.ones((B, 4, H, 8), jnp.bfloat16)] * 3
    assert not cudnn.chosen("auto", wide[0]) and cudnn.chosen("cudnn", wide[0])


@pytest.mark.parametrize(
    ("queries", "keys", "shape", "biased"),
    [(3, 5, None, False), (3, 5, (B, 1, 1, 5), False), (3, 5, None, True), (4, 5, (1, 1, 4, 5), True), (4, 6, (B, H, 4, 6), False)],
)
def test_what_cudnn_is_given_is_what_xla_computes(
    monkeypatch: pytest.MonkeyPatch, queries: int, keys: int, shape: tuple[int, ...] | None, biased: bool
) -> None:
    """cuDNN itself runs on a GPU alone: here JAX's own products stand in for it, behind the checks of shapes that it makes."""
    theirs = jax.nn.dot_product_attention

    def stand_in(q, k, v, *, bias, mask, implementation):
        assert implementation == "cudnn" and {x.dtype for x in (q, k, v)} == {jnp.dtype("bfloat16")}
        for held in (bias, mask):
            assert held is None or held.shape[2:] == (q.shape[1], k.shape[1])
        assert not q.shape[1] % 2 and not k.shape[1] % 2
        return theirs(q, k, v, bias=bias, mask=mask)

    monkeypatch.setattr(jax.nn, "dot_product_attention", stand_in)
    q, k, v = (random((B, n, H, 8), seed).astype(jnp.bfloat16) for seed, n in enumerate((queries, keys, keys)))
    mask = None if shape is None else jax.random.bernoulli(jax.random.key(5), 0.6, shape).at[0, 0, 0].set(False)
    bias = random((1, 1, 1, keys), 7) if biased else None

    def loss(q: jax.Array, k: jax.Array, v: jax.Array, implementation: str) -> jax.Array:
        return jnp.sum(jnp.cos(attention(q, k, v, mask=mask, bias=bias, implementation=implementation).astype(jnp.float32)))

    with jax.numpy_dtype_promotion("standard"):
        both = jax.jit(lambda *x: [jax.value_and_grad(loss, (0, 1, 2))(*x, name) for name in ("xla", "cudnn")])(q, k, v)
    for plain, flash in zip(*map(jax.tree.leaves, both), strict=True):
        np.testing.assert_allclose(flash.astype(jnp.float32), plain.astype(jnp.float32), atol=0.05, rtol=0.02)
