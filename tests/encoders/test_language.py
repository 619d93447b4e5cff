"""A language model of either kind, read in stages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.gpt import Gpt, GptConfig
from mmre_jax.encoders.language import language_model, read_stage, read_stages

SIZES = {"vocab_size": 10, "width": 8, "layers": 2, "heads": 2, "mlp": 16, "positions": 12, "init_std": 0.5}
MASK = np.array([[True, True, True, True], [True, False, True, True]])


@pytest.mark.parametrize("config", [GptConfig(**SIZES), BertConfig(**SIZES)], ids=["gpt2", "bert"])
def test_what_a_place_sees(config):
    """Of its own stage a GPT's place sees those before it, a BERT's all; both see the whole stage before, but no padding."""
    model = language_model(config, jnp.float32, None)
    assert isinstance(model, Gpt if isinstance(config, GptConfig) else Bert)
    words = np.random.default_rng(0).normal(size=(2, 4, 8)).astype(np.float32)

    def both(model, first, second):
        _, cache = read_stage(model, first, MASK, None, train=False)
        return read_stage(model, second, MASK, cache, train=False)[0]

    variables = model.init(jax.random.key(0), words, words, method=both)
    read = jax.jit(lambda first, second: model.apply(variables, first, second, method=both))
    plain = read(words, words)

    def changed(n, place, by):
        parts = [words.copy(), words.copy()]
        parts[n][:, place, 0] += by
        return ~np.isclose(read(*parts), plain, atol=1e-6).all(axis=-1)

    np.testing.assert_array_equal(changed(0, 1, 1.0), [[True] * 4, [False] * 4])
    later = [False, False, False, True] if isinstance(config, GptConfig) else [True] * 4
    np.testing.assert_array_equal(changed(1, 3, 1.0)[0], later)


@pytest.mark.parametrize("config", [GptConfig(**SIZES), BertConfig(**SIZES)], ids=["gpt2", "bert"])
def test_stages_in_one_pass_are_the_stages_one_after_the_other(config):
    """States of what is there, and the cache that they leave behind."""
    model = language_model(config, jnp.float32, None)
    rng = np.random.default_rng(1)
    words = [rng.normal(size=(2, length, 8)).astype(np.float32) for length in (4, 2, 4)]
    masks = [MASK, np.array([[False, True], [True, True]]), MASK[::-1]]

    def one_by_one(model, words):
        cache, states = None, []
        for own, mask in zip(words, masks, strict=True):
            state, cache = read_stage(model, own, mask, cache, train=False)
            states.append(state)
        return states, cache

    def at_once(model, words):
        return read_stages(model, list(zip(words, masks, strict=True)), train=False)

    variables = model.init(jax.random.key(0), words, method=one_by_one)
    (first, one), (second, other) = (jax.jit(lambda w, m=m: model.apply(variables, w, method=m))(words) for m in (one_by_one, at_once))
    for a, b, mask in zip(first, second, masks, strict=True):
        np.testing.assert_allclose(a[mask], b[mask], atol=1e-5)
    np.testing.assert_array_equal(one.mask, other.mask)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[one.mask], b[one.mask], atol=1e-5), one.layers, other.layers)
