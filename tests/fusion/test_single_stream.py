"""Words and regions in one stream: against transformers' PyTorch `VisualBertModel`, every layer and every gradient; absent regions."""

from __future__ import annotations

import pathlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.fusion.single_stream import RegionEmbeddings, single_stream
from mmre_jax.weights.bert import load_bert
from mmre_jax.weights.hub import read_config
from mmre_jax.weights.visualbert import load_regions

SMALL = BertConfig(vocab_size=40, width=32, layers=2, heads=4, mlp=48, positions=16, dropout=0.0, attention_dropout=0.0)
FEATURES = 12
random = np.random.default_rng(0)
MASK = np.arange(9)[None] < np.array([[9], [6], [4]])
IDS = np.where(MASK, random.integers(1, 40, (3, 9)), 0).astype(np.int32)
REGIONS = random.normal(size=(3, 5, FEATURES)).astype(np.float32)
THERE = np.arange(5)[None] < np.array([[5], [3], [0]])
VALID = np.concatenate([MASK, THERE], axis=1)


class Stream(nn.Module):
    """The stream alone; `regions` None: words alone."""

    config: BertConfig = SMALL

    @nn.compact
    def __call__(self, ids: Any, mask: Any, regions: Any, there: Any, at: Any = None) -> jax.Array:
        seen = None if regions is None else RegionEmbeddings(self.config, name="regions")(regions)
        return single_stream(Bert(self.config, name="text"), ids, mask, seen, there, train=False, at=at)


def params_of(folder: pathlib.Path) -> Any:
    shapes = jax.eval_shape(Stream().init, jax.random.key(0), IDS, MASK, REGIONS, THERE)["params"]
    return {
        "text": load_bert(folder, SMALL, shapes["text"]),
        "regions": load_regions(folder, SMALL, jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes["regions"])),
    }


@pytest.fixture(scope="module")
def parity(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same random VisualBERT in both frameworks: states, and the gradients of one loss over what is valid in all layers."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 16}
    sizes |= {"vocab_size": 40, "visual_embedding_dim": FEATURES, "pad_token_id": 0}
    config = transformers.VisualBertConfig(**sizes, attn_implementation="eager")
    model = transformers.VisualBertModel(config).eval()
    with torch.no_grad():  # biases, norms and tables away from one another, where a mix-up would not show
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    folder = tmp_path_factory.mktemp("visualbert")
    model.save_pretrained(folder / "weights")
    inputs = {"input_ids": torch.tensor(IDS, dtype=torch.long), "attention_mask": torch.tensor(MASK).long()}
    inputs |= {"visual_embeds": torch.tensor(REGIONS), "visual_attention_mask": torch.tensor(THERE).long()}
    states = model(**inputs, output_hidden_states=True).hidden_states
    valid = torch.tensor(VALID)[..., None]
    sum((state.cos() * valid).sum() for state in states).backward()
    with torch.no_grad():  # the gradients travel in the weights' format, so that the rules map them too
        for parameter in model.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    model.save_pretrained(folder / "gradients")
    return {"folder": folder, "states": [state.detach().numpy() for state in states]}


@jax.jit
def hidden(params: Any) -> Any:
    return Stream().apply({"params": params}, IDS, MASK, REGIONS, THERE, mutable=["intermediates"])[1]["intermediates"]["text"]["hidden"]


def test_every_layer_equals_pytorch(parity: dict[str, Any]) -> None:
    assert BertConfig.from_transformers(read_config(parity["folder"] / "weights")).width == 32
    states, theirs = hidden(params_of(parity["folder"] / "weights")), parity["states"]
    assert len(states) == len(theirs) == 3
    embedded = np.concatenate([states[0], np.zeros_like(theirs[0][:, 9:])], axis=1)  # of which the words are sown
    for ours, expected, counted in zip((embedded, *states[1:]), theirs, (np.arange(14) < 9, True, True), strict=True):
        assert np.abs(ours - expected)[VALID & counted].max() <= 1e-4


def test_gradients_equal_pytorch_tensor_by_tensor(parity: dict[str, Any]) -> None:
    params, expected = (params_of(parity["folder"] / name) for name in ("weights", "gradients"))

    def loss(params: Any) -> jax.Array:
        bert = {"params": params["text"]}
        regions = RegionEmbeddings(SMALL).apply({"params": params["regions"]}, REGIONS)
        beside = Bert(SMALL).apply(bert, regions, train=False, method=lambda net, x, train: net.beside(x, train=train))
        states = hidden(params)
        whole = [jnp.concatenate([states[0], beside], axis=1), *states[1:]]
        return sum(jnp.sum(jnp.where(VALID[..., None], jnp.cos(state), 0.0)) for state in whole)

    found = jax.jit(jax.grad(loss))(params)
    for (path, ours), theirs in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        largest = max(float(np.abs(theirs).max()), 1.0)
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * largest, rtol=1e-4, err_msg=jax.tree_util.keystr(path))
    assert np.abs(found["regions"]["type"]).max() > 0.1


def test_absent_regions_change_nothing_and_places_are_those_of_the_whole(parity: dict[str, Any]) -> None:
    variables = {"params": params_of(parity["folder"] / "weights")}
    run = jax.jit(lambda regions, at: Stream().apply(variables, IDS, MASK, regions, THERE, at))
    whole = run(REGIONS, None)
    noise = np.where(THERE[..., None], REGIONS, 9.0).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(run(noise, None))[VALID], np.asarray(whole)[VALID])
    at = np.array([[1, 3], [0, 5], [2, 1]], np.int32)
    np.testing.assert_allclose(run(REGIONS, at), np.take_along_axis(whole, at[..., None], axis=1), atol=1e-5)
    alone = jax.jit(lambda: Stream().apply({"params": {"text": variables["params"]["text"]}}, IDS, MASK, None, None))()
    np.testing.assert_allclose(np.asarray(whole)[2, :4], np.asarray(alone)[2, :4], atol=1e-5)
