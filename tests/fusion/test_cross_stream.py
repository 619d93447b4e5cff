"""Two streams sharing keys and values: against eq. 2 by hand, masks, and w/o text attention."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.vit import ImageSequence, ViT, ViTConfig
from mmre_jax.fusion.cross_stream import exchange, exchange_whole

LAYERS, HEADS, WIDTH = 3, 2, 8
TEXT = BertConfig(vocab_size=20, width=WIDTH, layers=LAYERS, heads=HEADS, mlp=12, positions=8, dropout=0.0, attention_dropout=0.0)
VISION = ViTConfig((ImageSequence("photo", 1, 8),), 4, WIDTH, LAYERS, HEADS, 12, dialect="clip", final_norm=False)
random = np.random.default_rng(0)
STATES = random.normal(size=(2, 5, WIDTH)).astype(np.float32)
PATCHES = random.normal(size=(2, 4, WIDTH)).astype(np.float32)
MASK = np.arange(5)[None] < np.array([[5], [3]])
SEEN = np.array([[True] * 4, [True, False, True, False]])


class Streams(nn.Module):
    """Both stacks without their embeddings."""

    text_attention: bool = True

    @nn.compact
    def __call__(self, states: Any, patches: Any, mask: Any, seen: Any) -> jax.Array:
        bert, vit = Bert(TEXT, name="text"), ViT(VISION, name="vision")
        return exchange(bert, vit, states, patches, mask, seen, text_attention=self.text_attention, train=False)


class Whole(nn.Module):
    """The same, of which both streams are read."""

    @nn.compact
    def __call__(self, states: Any, patches: Any, mask: Any, seen: Any) -> tuple[jax.Array, jax.Array]:
        return exchange_whole(Bert(TEXT, name="text"), ViT(VISION, name="vision"), states, patches, mask, seen, train=False)


def make(text_attention: bool = True) -> tuple[Streams, Any]:
    streams = Streams(text_attention)
    shapes = jax.eval_shape(streams.init, jax.random.key(0), STATES, PATCHES, MASK, SEEN)
    values = np.random.default_rng(1)
    return streams, jax.tree.map(lambda p: values.normal(0, 0.5, p.shape).astype(np.float32), shapes)


def run(streams: Streams, variables: Any, states: Any = STATES, patches: Any = PATCHES, mask: Any = MASK, seen: Any = SEEN) -> np.ndarray:
    return np.asarray(streams.apply(variables, jnp.asarray(states), jnp.asarray(patches), mask, seen))


# ---- One record, without padding, in plain numpy.


def dense(p: Any, x: np.ndarray) -> np.ndarray:
    return x @ p["kernel"] + p["bias"]


def norm(p: Any, x: np.ndarray, eps: float) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * p["scale"] + p["bias"]


def attend(p: Any, x: np.ndarray, others: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    q, k, v = (dense(p[name], x) for name in ("query", "key", "value"))
    if others is not None:
        k, v = (np.concatenate([theirs, own]) for theirs, own in zip(others, (k, v), strict=True))
    d, mixed = WIDTH // HEADS, []
    for head in range(HEADS):
        part = slice(head * d, (head + 1) * d)
        weights = np.exp(q[:, part] @ k[:, part].T / d**0.5)
        mixed.append(weights / weights.sum(-1, keepdims=True) @ v[:, part])
    return dense(p["out"], np.concatenate(mixed, axis=-1))


def gelu(x: np.ndarray) -> np.ndarray:
    return np.asarray(jax.nn.gelu(x.astype(np.float32), approximate=False), np.float64)


def by_hand(params: Any, text: np.ndarray, vision: np.ndarray, text_attention: bool, layers: int = LAYERS - 1) -> Any:
    """The last text states, and the vision stream's behind so many layers."""
    for n in range(LAYERS):  # eq. 2: both from the states before layer n
        t, v = params["text"][f"layer_{n}"], params["vision"][f"layer_{n}"]
        normed = norm(v["attention_norm"], vision, 1e-5)
        of_text, of_vision = ([dense(p["attention"][name], x) for name in ("key", "value")] for p, x in ((t, text), (v, normed)))
        after = norm(t["attention_norm"], text + attend(t["attention"], text, of_vision), 1e-12)
        after = norm(t["mlp_norm"], after + dense(t["mlp"]["down"], gelu(dense(t["mlp"]["up"], after))), 1e-12)
        if n < layers:
            vision = vision + attend(v["attention"], normed, of_text if text_attention else None)
            hidden = dense(v["mlp"]["up"], norm(v["mlp_norm"], vision, 1e-5))
            vision = vision + dense(v["mlp"]["down"], hidden / (1 + np.exp(-1.702 * hidden)))
        text = after
    return text, vision


@pytest.mark.parametrize("text_attention", [True, False])
def test_equation_2_by_hand(text_attention: bool) -> None:
    streams, variables = make(text_attention=text_attention)
    params = jax.tree.map(np.float64, variables["params"])
    found = run(streams, variables)
    expected = by_hand(params, STATES[0].astype(np.float64), PATCHES[0].astype(np.float64), text_attention)[0]
    np.testing.assert_allclose(found[0], expected, atol=1e-4)
    padded = by_hand(params, STATES[1, :3].astype(np.float64), PATCHES[1, [0, 2]].astype(np.float64), text_attention)[0]
    np.testing.assert_allclose(found[1, :3], padded, atol=1e-4)


def test_both_streams_by_hand() -> None:
    shapes, values = jax.eval_shape(Whole().init, jax.random.key(0), STATES, PATCHES, MASK, SEEN), np.random.default_rng(1)
    variables = jax.tree.map(lambda p: values.normal(0, 0.5, p.shape).astype(np.float32), shapes)
    text, vision = Whole().apply(variables, jnp.asarray(STATES), jnp.asarray(PATCHES), MASK, SEEN)
    params = jax.tree.map(np.float64, variables["params"])
    for record, words, patches in ((0, slice(0, 5), [0, 1, 2, 3]), (1, slice(0, 3), [0, 2])):
        given = STATES[record, words].astype(np.float64), PATCHES[record, patches].astype(np.float64)
        expected = by_hand(params, *given, True, LAYERS)
        np.testing.assert_allclose(text[record, words], expected[0], atol=1e-4)
        np.testing.assert_allclose(np.asarray(vision)[record, patches], expected[1], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(text, run(Streams(), variables))


def test_without_text_attention_the_vision_stream_is_the_encoder_alone() -> None:
    streams, variables = make(text_attention=False)
    vit = ViT(VISION).bind({"params": variables["params"]["vision"]})
    bert = Bert(TEXT).bind({"params": variables["params"]["text"]})
    patches, states = jnp.asarray(PATCHES), jnp.asarray(STATES)
    for n in range(LAYERS):
        states = bert.run_layer(n, states, MASK, train=False, prefix=vit.keys_values(n, patches), prefix_mask=SEEN)
        if n < LAYERS - 1:
            patches = vit.run_layer(n, patches, SEEN, train=False)
    np.testing.assert_allclose(run(streams, variables), states, atol=1e-5)
    assert not np.allclose(run(make()[0], variables), states, atol=1e-2)


def test_padding_and_absent_patches_change_nothing() -> None:
    streams, variables = make()
    states, patches = np.where(MASK[..., None], STATES, 9), np.where(SEEN[..., None], PATCHES, 9)
    found = run(streams, variables, states.astype(np.float32), patches.astype(np.float32))
    np.testing.assert_array_equal(found[MASK], run(streams, variables)[MASK])


def test_without_any_patch_the_text_is_alone() -> None:
    streams, variables = make()
    bert, states = Bert(TEXT).bind({"params": variables["params"]["text"]}), jnp.asarray(STATES)
    for n in range(LAYERS):
        states = bert.run_layer(n, states, MASK, train=False)
    np.testing.assert_allclose(run(streams, variables, seen=np.zeros_like(SEEN)), states, atol=1e-5)


def test_the_last_vision_layer_has_what_is_read_of_it_alone() -> None:
    last = make()[1]["params"]["vision"][f"layer_{LAYERS - 1}"]
    assert set(last) == {"attention", "attention_norm"} and set(last["attention"]) == {"key", "value"}
