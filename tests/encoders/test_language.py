"""A language model of either kind, read in stages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.gpt import Gpt, GptConfig
from mmre_jax.encoders.language import language_model, read_stage

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
