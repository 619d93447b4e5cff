"""BERT as a language model of stages, against one pass under a block mask; positions by hand."""

import functools
from typing import Any

import jax
import numpy as np
import pytest

from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.stages import Cache, positions_of

CONFIG = BertConfig(vocab_size=40, width=32, layers=2, heads=4, mlp=48, positions=16, types=2)
STAGES = (slice(0, 3), slice(3, 7), slice(7, 9), slice(9, 10))
OF = np.repeat(np.arange(4), [3, 4, 2, 1])  # the stage of each place; the last one is a slot to generate into
MASK = np.array([[1] * 10, [1, 0, 0, 1, 1, 0, 0, 1, 0, 1], [0, 1, 1, 1, 0, 1, 1, 1, 1, 1]], bool)
IDS = np.random.default_rng(0).integers(0, 40, MASK.shape).astype(np.int32)


@functools.cache
def params() -> Any:
    shapes = jax.eval_shape(lambda: Bert(CONFIG).init(jax.random.key(0), IDS, MASK, train=False))["params"]
    random = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: random.normal(0, 0.3, leaf.shape).astype(np.float32), shapes)


def by_stages(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    def read(model: Bert) -> Any:
        cache, last = None, []
        for part in STAGES:
            states, cache = model.stage(model.words(ids[:, part]), mask[:, part], train=False, cache=cache)
            last.append(states[-1])
        return last

    return np.concatenate(jax.jit(lambda p: Bert(CONFIG).apply({"params": p}, method=read))(params()), axis=1)


def test_stages_equal_one_pass_under_their_block_mask() -> None:
    blocks = (OF[None, :] <= OF[:, None])[None, None] & MASK[:, None, None, :]
    positions = np.maximum(np.cumsum(MASK, axis=1) - 1, 0)

    def whole(model: Bert) -> Any:
        state = model.embed(IDS, MASK, None, positions, train=False)
        for n in range(CONFIG.layers):
            state = model.run_layer(n, state, blocks, train=False)
        return state

    expected = jax.jit(lambda p: Bert(CONFIG).apply({"params": p}, method=whole))(params())
    assert np.abs(by_stages(IDS, MASK) - expected)[MASK].max() <= 1e-5


def test_a_stage_sees_none_behind_it_and_no_padding() -> None:
    states = by_stages(IDS, MASK)
    later = IDS.copy()
    later[:, 7:] = 5
    np.testing.assert_allclose(by_stages(later, MASK)[:, :7], states[:, :7], atol=1e-6)
    padded = by_stages(np.where(MASK, IDS, 7), MASK)
    np.testing.assert_allclose(padded[MASK], states[MASK], atol=1e-6)  # whole rows of a product are rounded together


def test_a_whole_text_as_one_stage_is_the_encoder() -> None:
    mask = np.arange(9)[None] < np.array([[9], [4], [7]])

    def both(model: Bert) -> Any:
        staged, _ = model.stage(model.words(IDS[:, :9]), mask, train=False)
        return staged, model(IDS[:, :9], mask, train=False)

    staged, encoded = jax.jit(lambda p: Bert(CONFIG).apply({"params": p}, method=both))(params())
    for ours, other in zip(staged, encoded, strict=True):
        assert np.abs(ours - other)[mask].max() <= 1e-5


def test_positions_by_hand() -> None:
    first = np.array([[True, False, True], [False, False, False]])
    np.testing.assert_array_equal(positions_of(first, None), [[0, 0, 1], [0, 0, 0]])
    second = np.array([[False, True], [True, True]])
    np.testing.assert_array_equal(positions_of(second, Cache((), first)), [[2, 2], [0, 1]])


def test_too_many_places_are_named() -> None:
    with pytest.raises(ValueError, match="17 places exceed the text encoder's 16 positions"):
        words = np.zeros((1, 17, 32), np.float32)
        Bert(CONFIG).apply({"params": params()}, words, np.ones((1, 17), bool), train=False, method=Bert.stage)
