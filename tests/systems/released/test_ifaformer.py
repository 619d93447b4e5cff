"""What the released IFAformer computes instead of eq. 2: by hand, and what it sees. (Against the release: test_released_parity.py.)"""

import sys
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "fusion"))
from test_cross_stream import HEADS, LAYERS, MASK, PATCHES, STATES, TEXT, VISION, WIDTH, dense, gelu, norm, run

from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.vit import ViT
from mmre_jax.systems.released.ifaformer import exchange


class Released(nn.Module):
    """Both stacks without their embeddings."""

    text: BertConfig = TEXT

    @nn.compact
    def __call__(self, states: Any, patches: Any, mask: Any, seen: Any) -> jax.Array:
        return exchange(Bert(self.text, name="text"), ViT(VISION, name="vision"), states, patches, mask, train=False)


def make() -> tuple[Released, Any]:
    streams = Released()
    shapes = jax.eval_shape(streams.init, jax.random.key(0), STATES, PATCHES, MASK, None)
    values = np.random.default_rng(1)
    return streams, jax.tree.map(lambda p: values.normal(0, 0.5, p.shape).astype(np.float32), shapes)


def test_the_vision_stream_sees_padding() -> None:
    streams, variables = make()
    padded = np.where(MASK[..., None], STATES, 9).astype(np.float32)
    found, before = run(streams, variables, padded), run(streams, variables)
    np.testing.assert_array_equal(found[0], before[0])
    assert not np.allclose(found[1, :3], before[1, :3], atol=1e-3)


def test_of_the_last_vision_layer_the_keys_alone_are_read() -> None:
    last = make()[1]["params"]["vision"][f"layer_{LAYERS - 1}"]
    assert set(last) == {"attention", "attention_norm"} and set(last["attention"]) == {"key"}


def test_the_first_layer_by_hand() -> None:
    """With one layer, the text sees the patches' memory read as [H, P, d], as keys and values, with 1 added to their scores."""
    one = BertConfig(vocab_size=20, width=WIDTH, layers=1, heads=HEADS, mlp=12, positions=8, dropout=0.0, attention_dropout=0.0)
    streams, variables = Released(one), make()[1]
    p = jax.tree.map(np.float64, variables["params"]["text"]["layer_0"])
    text, memory = STATES[0].astype(np.float64), PATCHES[0].astype(np.float64).reshape(HEADS, 4, WIDTH // HEADS)
    q, k, v = (dense(p["attention"][name], text).reshape(5, HEADS, -1) for name in ("query", "key", "value"))
    mixed = []
    for head in range(HEADS):
        keys, values = (np.concatenate([memory[head], own[:, head]]) for own in (k, v))
        scores = q[:, head] @ keys.T / (WIDTH // HEADS) ** 0.5 + np.array([1] * 4 + [0] * 5)
        weights = np.exp(scores)
        mixed.append(weights / weights.sum(-1, keepdims=True) @ values)
    after = norm(p["attention_norm"], text + dense(p["attention"]["out"], np.concatenate(mixed, axis=-1)), 1e-12)
    expected = norm(p["mlp_norm"], after + dense(p["mlp"]["down"], gelu(dense(p["mlp"]["up"], after))), 1e-12)
    np.testing.assert_allclose(run(streams, variables)[0], expected, atol=1e-4)
