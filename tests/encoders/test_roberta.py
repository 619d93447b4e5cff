"""RoBERTa and XLM-R against transformers' PyTorch models: positions that depend on padding, every layer, gradients."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.weights.bert import load_bert
from mmre_jax.weights.hub import read_config

SIZES = {"vocab_size": 40, "width": 32, "layers": 2, "heads": 4, "mlp": 48, "positions": 14, "types": 1, "eps": 1e-5}
CONFIGS = {
    "roberta": BertConfig(**SIZES, kind="roberta"),
    "xlm-roberta": BertConfig(**SIZES, kind="roberta", pad_id=3),
}
# Whole, padded behind, padded before, and with a hole, as no tokenizer makes one.
MASK = np.array([[1] * 9, [1] * 5 + [0] * 4, [0, 0] + [1] * 7, [1, 1, 0, 1, 1, 0, 1, 0, 0]], bool)


def batch(config: BertConfig) -> np.ndarray:
    """ids of four sentences; padding, and nothing else, has the padding id."""
    ids = np.random.default_rng(0).integers(config.pad_id + 1, config.vocab_size, MASK.shape)
    return np.where(MASK, ids, config.pad_id).astype(np.int32)


def shapes(config: BertConfig) -> Any:
    return jax.eval_shape(lambda: Bert(config).init(jax.random.key(0), batch(config), MASK, train=False))["params"]


def reference(model_type: str, config: BertConfig) -> Any:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    kinds = {
        "roberta": (transformers.RobertaConfig, transformers.RobertaModel),
        "xlm-roberta": (transformers.XLMRobertaConfig, transformers.XLMRobertaModel),
    }
    configure, build = kinds[model_type]
    theirs = configure(
        vocab_size=config.vocab_size,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp,
        max_position_embeddings=config.positions,
        type_vocab_size=config.types,
        layer_norm_eps=config.eps,
        pad_token_id=config.pad_id,
        attn_implementation="eager",
    )
    model = build(theirs, add_pooling_layer=False).eval()
    with torch.no_grad():  # biases, norms and the rows of padding away from 0 and 1, where a mix-up would not show
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def theirs_of(config: BertConfig, offset: int) -> np.ndarray:
    """transformers' positions for ids whose padding is recognised by its id."""
    torch = pytest.importorskip("torch")
    embeddings = pytest.importorskip("transformers.models.roberta.modeling_roberta").RobertaEmbeddings
    ids = torch.tensor(batch(config), dtype=torch.long)
    return embeddings.create_position_ids_from_input_ids(ids, config.pad_id, offset).numpy().astype(np.int32)


@functools.partial(jax.jit, static_argnames="config")
def embedded(config: BertConfig, params: Any, mask: np.ndarray | None, positions: np.ndarray | None = None) -> jax.Array:
    model = Bert(config)
    return model.apply({"params": params}, batch(config), mask, None, positions, train=False, method=Bert.embed)


@pytest.mark.parametrize("model_type", ["roberta", "xlm-roberta"])
def test_states_and_gradients_equal_pytorch(model_type: str, tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    config = CONFIGS[model_type]
    model = reference(model_type, config)
    model.save_pretrained(tmp_path / "weights")
    assert BertConfig.from_transformers(read_config(tmp_path / "weights")) == config
    ids, valid = torch.tensor(batch(config), dtype=torch.long), torch.tensor(MASK)
    theirs = model(input_ids=ids, attention_mask=valid.long(), output_hidden_states=True).hidden_states
    sum(state.cos()[valid].sum() for state in theirs).backward()
    with torch.no_grad():  # the gradients travel in the weights' format, so that the rules map them too
        for parameter in model.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    model.save_pretrained(tmp_path / "gradients")
    params, expected = (load_bert(tmp_path / name, config, shapes(config)) for name in ("weights", "gradients"))

    def loss(params: Any) -> Any:
        states = Bert(config).apply({"params": params}, batch(config), MASK, train=False)
        return sum(jnp.sum(jnp.where(MASK[..., None], jnp.cos(state), 0.0)) for state in states), states

    found, states = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert len(states) == len(theirs) == 3
    for ours, other in zip(states, theirs, strict=True):
        assert np.abs(ours - other.detach().numpy())[MASK].max() <= 1e-4
    differences = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max() / max(1.0, float(jnp.abs(b).max()))), found, expected)
    assert max(jax.tree.leaves(differences)) <= 1e-4, differences


@pytest.mark.parametrize("offset", [0, 16])
@pytest.mark.parametrize("model_type", ["roberta", "xlm-roberta"])
def test_positions_are_those_of_transformers(model_type: str, offset: int) -> None:
    """Also behind 16 places that a prefix is thought to take up."""
    config = dataclasses.replace(CONFIGS[model_type], layers=0, positions=40, position_offset=offset)
    random = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(np.float32), shapes(config))
    positions = theirs_of(config, offset)
    np.testing.assert_allclose(embedded(config, params, MASK), embedded(config, params, MASK, positions), atol=1e-5)
    first = config.pad_id + 1 + offset
    assert positions[2].tolist() == [config.pad_id] * 2 + list(range(first, first + 7))
    without = embedded(config, params, None)
    np.testing.assert_allclose(without, embedded(config, params, np.ones_like(MASK)), atol=1e-5)
    np.testing.assert_allclose(without[0], embedded(config, params, MASK)[0], atol=1e-5)
    assert np.abs(without - embedded(config, params, None, positions - 1))[0].max() > 1e-2


def test_the_position_table_has_rows_for_so_many_tokens() -> None:
    """RoBERTa-base's 514 rows hold 512 tokens."""
    base = BertConfig(positions=514, kind="roberta")
    assert base.max_length == 512 and BertConfig(positions=512).max_length == 512
    assert dataclasses.replace(base, position_offset=16).max_length == 496
    assert dataclasses.replace(base, pad_id=0).max_length == 513
    longest = dataclasses.replace(CONFIGS["roberta"], layers=0, positions=11)
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes(longest))
    assert np.isfinite(embedded(longest, params, MASK)).all()
    with pytest.raises(ValueError, match="9 tokens exceed the text encoder's 8 positions"):
        shapes(dataclasses.replace(longest, positions=10))


def test_a_configuration_without_padding_is_refused() -> None:
    config = {name: 1 for name in ("hidden_size", "vocab_size")}
    with pytest.raises(ValueError, match="the xlm-roberta configuration lacks .*pad_token_id"):
        BertConfig.from_transformers({"model_type": "xlm-roberta", **config})
    with pytest.raises(ValueError, match="'gpt2' model, expected model_type 'bert', 'roberta', 'xlm-roberta'"):
        BertConfig.from_transformers({"model_type": "gpt2"})
