"""The generative decoder against the language model's own steps, and the classifier's shared dropout."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmre_jax.encoders.gpt import Gpt, GptConfig
from mmre_jax.encoders.language import language_model, read_stage
from mmre_jax.heads.generative import GenerativeDecoder, RelationClassifier

CONFIG = GptConfig(vocab_size=20, width=8, layers=2, heads=2, mlp=16, positions=12)
MASK = np.array([[True, True, True], [True, True, False]])


class Spoken(nn.Module):
    """A text that is read, and a decoder behind it."""

    types: int

    @nn.compact
    def __call__(self, words):
        model = language_model(CONFIG, jnp.float32, "text")
        _, cache = read_stage(model, words, MASK, None, train=False)
        return GenerativeDecoder(model, self.types, name="decoder")(cache, train=False)


def made(types):
    random = np.random.default_rng(0)
    words = random.normal(size=(2, 3, 8)).astype(np.float32)
    shapes = jax.eval_shape(Spoken(types).init, jax.random.key(0), words)
    return words, jax.tree.map(lambda leaf: random.normal(0, 0.4, leaf.shape).astype(np.float32), shapes)


def test_a_step_reads_what_the_one_before_it_said():
    """Type of e1, type of e2, relation: the types' embeddings, weighted by their probabilities, are the next input."""
    words, variables = made(types=3)
    relation, types = map(np.asarray, jax.jit(Spoken(3).apply)(variables, words))
    decoder = variables["params"]["decoder"]
    spoken = [np.broadcast_to(decoder["start"], (2, 8))]
    for n in range(2):
        shares = np.exp(types[:, n]) / np.exp(types[:, n]).sum(axis=1, keepdims=True)
        spoken.append(shares @ decoder["embedding"])
    whole = np.concatenate([words, np.stack(spoken, axis=1)], axis=1)
    mask = np.concatenate([MASK, np.ones((2, 3), bool)], axis=1)
    model = Gpt(CONFIG)
    states = np.asarray(jax.jit(lambda p: model.apply({"params": p}, whole, mask, train=False)[0][-1])(variables["params"]["text"]))
    np.testing.assert_allclose(relation, states[:, -1], atol=1e-5)
    said = states[:, 3:5] @ decoder["type"]["kernel"] + decoder["type"]["bias"]
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
