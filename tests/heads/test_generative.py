"""The generative decoder against the language model's own steps, causal and both ways, and the classifier's shared dropout."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.encoders.bert import BertConfig
from mmre_jax.encoders.gpt import GptConfig
from mmre_jax.encoders.language import LanguageConfig, language_model, read_stages
from mmre_jax.heads.generative import GenerativeDecoder, RelationClassifier

SIZES = {"vocab_size": 20, "width": 8, "layers": 2, "heads": 2, "mlp": 16}
CONFIG = GptConfig(**SIZES, positions=6)  # as many as are read: a text of 3 places and the 3 steps
CONFIGS = {"gpt2": CONFIG, "bert": BertConfig(**SIZES, positions=6)}
MASK = np.array([[True, True, True], [True, True, False]])


class Spoken(nn.Module):
    """A text that is read, and a decoder behind it."""

    types: int
    config: LanguageConfig = CONFIG

    @nn.compact
    def __call__(self, words):
        model = language_model(self.config, jnp.float32, "text")
        _, cache = read_stages(model, [(words, MASK)], train=False)
        return GenerativeDecoder(model, self.types, name="decoder")(cache, train=False)


def made(types, config=CONFIG):
    random = np.random.default_rng(0)
    words = random.normal(size=(2, 3, 8)).astype(np.float32)
    shapes = jax.eval_shape(Spoken(types, config).init, jax.random.key(0), words)
    return words, jax.tree.map(lambda leaf: random.normal(0, 0.4, leaf.shape).astype(np.float32), shapes)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_step_reads_what_the_one_before_it_said(kind):
    """Type of e1, type of e2, relation: the types' embeddings, weighted by their probabilities, are the next input. What is said is one
    pass over text and steps, in which each step is a stage: a BERT's text does not see what is said of it."""
    config = CONFIGS[kind]
    words, variables = made(3, config)
    relation, types = map(np.asarray, jax.jit(Spoken(3, config).apply)(variables, words))
    decoder = variables["params"]["decoder"]
    spoken = [np.broadcast_to(decoder["start"], (2, 8))]
    for n in range(2):
        shares = np.exp(types[:, n]) / np.exp(types[:, n]).sum(axis=1, keepdims=True)
        spoken.append(shares @ decoder["embedding"])
    stages = [(words, MASK), *((said[:, None], np.ones((2, 1), bool)) for said in spoken)]
    model = language_model(config, jnp.float32, None)
    read = jax.jit(lambda p: model.apply({"params": p}, method=lambda m: read_stages(m, stages, train=False)[0]))
    first, second, third = (np.asarray(state)[:, 0] for state in read(variables["params"]["text"])[1:])
    np.testing.assert_allclose(relation, third, atol=1e-5)
    said = np.stack([first, second], axis=1) @ decoder["type"]["kernel"] + decoder["type"]["bias"]
    np.testing.assert_allclose(types, said, atol=1e-5)


def test_without_types_there_is_one_step():
    words, variables = made(types=0)
    relation, types = jax.eval_shape(Spoken(0).apply, variables, words)
    assert relation.shape == (2, 8) and types is None
    assert set(variables["params"]["decoder"]) == {"start"}


def test_both_texts_are_classified_alike():
    """One matrix, and in training the same draws: texts that agree have the same distribution."""
    rng = np.random.default_rng(0)
    relation, text = rng.normal(size=(2, 4)).astype(np.float32), rng.normal(size=(2, 12)).astype(np.float32)
    head = RelationClassifier(5, dropout=0.5)
    texts = np.stack([text, text, text + 1])
    variables = head.init(jax.random.key(0), relation, texts, train=False)
    plain = head.apply(variables, relation, texts, train=False)
    dense = jax.tree.map(np.asarray, variables["params"]["classifier"])
    np.testing.assert_allclose(plain[2], np.concatenate([relation, text + 1], axis=1) @ dense["kernel"] + dense["bias"], atol=1e-5)
    dropped = head.apply(variables, relation, texts, train=True, rngs={"dropout": jax.random.key(1)})
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert not np.allclose(dropped[0], plain[0], atol=1e-3)
