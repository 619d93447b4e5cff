"""Selective attention row by row, and what masked tokens and absent pictures can do: nothing."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.fusion.selective_attention import SelectiveAttention

B, L, P, D = 3, 4, 6, 8
random = np.random.default_rng(0)
TEXT, IMAGE = (random.normal(size=(B, n, D)).astype(np.float32) for n in (L, P))
POSITIONS = random.normal(size=(P, D)).astype(np.float32)
WORDS = np.array([[True] * 4, [True, True, False, False], [True] * 4])
CELLS = np.array([[True] * 6, [True] * 6, [False] * 6])
MODULE = SelectiveAttention()


@jax.jit
def select(text: jax.Array, image: jax.Array, words: jax.Array = WORDS, cells: jax.Array = CELLS) -> tuple[jax.Array, jax.Array]:
    return MODULE.apply({}, text, image, POSITIONS, words, cells)


def softmax(scores: np.ndarray) -> np.ndarray:
    return np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()


def test_equations_2_and_3_row_by_row() -> None:
    of_text, of_image = np.zeros((B, L, D)), np.zeros((B, P, D))
    for b in range(B):
        words, cells = np.flatnonzero(WORDS[b]), np.flatnonzero(CELLS[b])
        for i in range(L):
            if len(cells):
                scores = np.array([TEXT[b, i] @ (IMAGE[b, j] + POSITIONS[j]) for j in cells]) / np.sqrt(D)
                of_text[b, i] = softmax(scores) @ IMAGE[b, cells]
        for j in range(P):
            scores = np.array([(IMAGE[b, j] + POSITIONS[j]) @ TEXT[b, i] for i in words]) / np.sqrt(D)
            of_image[b, j] = softmax(scores) @ TEXT[b, words]
    found = select(TEXT, IMAGE)
    np.testing.assert_allclose(found[0], of_text, atol=1e-5)
    np.testing.assert_allclose(found[1], of_image, atol=1e-5)
    assert not found[0][2].any(), "without a picture a token finds exactly 0"


@given(st.lists(st.booleans(), min_size=L, max_size=L), st.booleans(), st.sampled_from([0.0, 1e3, -1e6]))
def test_what_masked_places_hold_is_never_seen(words: list[bool], picture: bool, value: float) -> None:
    words, cells = np.broadcast_to(np.array(words), (B, L)), np.full((B, P), picture)
    text = np.where(words[..., None], TEXT, np.float32(value))
    image = np.where(cells[..., None], IMAGE, np.float32(value))
    np.testing.assert_array_equal(select(TEXT, image, words, cells)[0], select(TEXT, IMAGE, words, cells)[0])
    np.testing.assert_array_equal(select(text, IMAGE, words, cells)[1], select(TEXT, IMAGE, words, cells)[1])


def test_gradients_are_finite_without_a_picture() -> None:
    def total(text: jax.Array, image: jax.Array) -> jax.Array:
        return sum(jnp.sin(x).sum() for x in select(text, image))

    gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(TEXT, IMAGE)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_the_weights_can_be_looked_at() -> None:
    _, seen = MODULE.apply({}, TEXT, IMAGE, POSITIONS, WORDS, CELLS, mutable=["intermediates"])
    (to_image,), (to_text,) = (seen["intermediates"][name] for name in ("text_to_image", "image_to_text"))
    assert to_image.shape == (B, 1, L, P) and to_text.shape == (B, 1, P, L)
    np.testing.assert_allclose(to_image.sum(-1)[:2], 1, rtol=1e-5)
    np.testing.assert_allclose(to_text.sum(-1), 1, rtol=1e-5)
    assert not to_image[2].any() and not to_text[1, :, :, 2:].any()
