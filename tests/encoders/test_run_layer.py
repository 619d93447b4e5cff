"""Layers that are traced once for all that are equal against layers that are traced each by itself: states, gradients, and how many."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.gpt import Gpt, GptConfig
from mmre_jax.encoders.stages import Cache
from mmre_jax.encoders.vit import PHOTO, ImageSequence, ViT, ViTConfig

LAYERS = 3
SIZES = {"width": 16, "layers": LAYERS, "heads": 2, "mlp": 24, "init_std": 0.3}
TEXT = BertConfig(vocab_size=20, positions=12, dropout=0.25, attention_dropout=0.25, **SIZES)
LANGUAGE = GptConfig(vocab_size=20, positions=12, dropout=0.25, attention_dropout=0.25, **SIZES)
VISION = ViTConfig((ImageSequence(PHOTO, 1, 16), ImageSequence("crops", 2, 8)), patch=8, **SIZES)
AT = jnp.array([[0, 3], [1, 1]])
Call = Callable[..., Any]


def text(*, prefixes: bool, at: bool) -> tuple[nn.Module, Call]:
    random = np.random.default_rng(0)
    ids, mask = jnp.asarray(random.integers(0, 20, (2, 7))), jnp.asarray(np.arange(7)[None] < np.array([[7], [4]]))
    more: dict[str, Any] = {"at": AT} if at else {}
    if prefixes:
        pair = lambda: tuple(jnp.asarray(random.normal(size=(2, 3, 2, 8)), jnp.float32) for _ in "kv")  # noqa: E731
        more |= {"prefixes": [pair() for _ in range(LAYERS)], "prefix_mask": jnp.array([[True, True, False], [False, True, True]])}
    return Bert(TEXT), lambda bound, train: bound(ids, mask, train=train, **more)


def vision(*, final_norm: bool, at: bool) -> tuple[nn.Module, Call]:
    random, config = np.random.default_rng(3), dataclasses.replace(VISION, final_norm=final_norm)
    pixels = {"photo": random.normal(size=(2, 1, 16, 16, 3)), "crops": random.normal(size=(2, 2, 8, 8, 3))}
    pixels = jax.tree.map(jnp.float32, pixels)
    mask = jnp.asarray(random.integers(0, 2, (2, config.length)).astype(bool)).at[:, 0].set(True)
    return ViT(config), lambda bound, train: bound(pixels, mask, train=train, at=AT if at else None)


def language(*, cached: bool, kind: str = "gpt2") -> tuple[nn.Module, Call]:
    random = np.random.default_rng(5)
    words, mask = jnp.asarray(random.normal(size=(2, 5, 16)), jnp.float32), jnp.asarray(np.arange(5)[None] < np.array([[5], [3]]))
    pair = lambda: tuple(jnp.asarray(random.normal(size=(2, 3, 2, 8)), jnp.float32) for _ in "kv")  # noqa: E731
    cache = Cache(tuple(pair() for _ in range(LAYERS)), jnp.ones((2, 3), bool)) if cached else None

    def call(bound: Any, train: bool) -> Any:
        bound.words(jnp.zeros((1, 1), jnp.int32))  # which makes its table
        return bound(words, mask, train=train, cache=cache)

    return Gpt(dataclasses.replace(LANGUAGE, kind=kind)), call


CASES = {
    "text": text(prefixes=False, at=False),
    "text at places": text(prefixes=False, at=True),
    "text behind prefixes": text(prefixes=True, at=False),
    "text behind prefixes, at places": text(prefixes=True, at=True),
    "vision": vision(final_norm=False, at=False),
    "vision, normalised, at places": vision(final_norm=True, at=True),
    "language": language(cached=False),
    "language behind a stage": language(cached=True),
    "GPT-1": language(cached=True, kind="gpt"),
}


def variables_of(module: nn.Module, call: Call) -> Any:
    return nn.init(lambda bound: call(bound, False), module)(jax.random.key(1))


@pytest.mark.parametrize("name", CASES)
def test_states_and_gradients_are_those_of_layers_by_themselves(name: str) -> None:
    module, call = CASES[name]
    variables = variables_of(module, call)

    def total(states: Any) -> jax.Array:
        return sum(jnp.cos(leaf).sum() for leaf in jax.tree.leaves(states) if leaf.dtype == jnp.float32)

    def once(variables: Any) -> tuple[jax.Array, Any]:
        states = nn.apply(lambda bound: call(bound, False), module)(variables)
        return total(states), states

    def each(variables: Any) -> tuple[jax.Array, Any]:
        states, _ = nn.apply(lambda bound: call(bound, False), module, mutable=["intermediates"])(variables)
        return total(states), states

    found, expected = (jax.jit(jax.grad(way, has_aux=True))(variables) for way in (once, each))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), found[1], expected[1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5, rtol=2e-5), found[0], expected[0])
    assert any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(found[0]))


@pytest.mark.parametrize("name", CASES)
def test_a_prediction_traces_what_differs(name: str) -> None:
    module, call = CASES[name]
    variables = variables_of(module, call)

    def lowered(train: bool) -> str:
        rngs = {"dropout": jax.random.key(0)}
        run = nn.apply(lambda bound: call(bound, train), module)
        return jax.jit(lambda variables: run(variables, rngs=rngs)).lower(variables).as_text()

    text = lowered(False)
    traced, calls = (re.findall(rf"{start} @_predicted\w*\(", text) for start in ("func private", "call"))
    assert len(calls) == LAYERS and len(traced) == (2 if "at places" in name else 1)
    assert "@_predicted" not in lowered(True), "each layer draws its own dropout"
