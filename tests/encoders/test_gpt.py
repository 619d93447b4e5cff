"""GPT-2 and GPT-1 against transformers' PyTorch models: every layer, gradients, padding; stages against one pass."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.encoders.gpt import Gpt, GptConfig
from mmre_jax.weights.gpt import load_gpt
from mmre_jax.weights.hub import read_config

SIZES = {"vocab_size": 40, "width": 32, "layers": 2, "heads": 4, "mlp": 128, "positions": 14}
CONFIGS = {"gpt2": GptConfig(**SIZES), "openai-gpt": GptConfig(**SIZES, kind="gpt")}
# Whole, padded behind, padded before, and with a hole, as no tokenizer makes one.
MASK = np.array([[1] * 9, [1] * 5 + [0] * 4, [0, 0] + [1] * 7, [1, 1, 0, 1, 1, 0, 1, 0, 0]], bool)
IDS = np.random.default_rng(0).integers(0, 40, MASK.shape).astype(np.int32)
POSITIONS = np.maximum(np.cumsum(MASK, axis=1) - 1, 0)  # of transformers' generation


@functools.partial(jax.jit, static_argnums=0)
def apply(config: GptConfig, params: Any, ids: np.ndarray, *rest: Any, **more: Any) -> Any:
    def call(model: Gpt) -> Any:
        return model(model.words(ids), *rest, train=False, **more)

    return Gpt(config).apply({"params": params}, method=call)


def shapes(config: GptConfig) -> Any:
    return jax.eval_shape(lambda: Gpt(config).init(jax.random.key(0), jnp.zeros((1, 3, config.width)), train=False))["params"]


@functools.cache
def random_params(config: GptConfig) -> Any:
    random = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: random.normal(0, 0.3, leaf.shape).astype(np.float32), shapes(config))


def reference(model_type: str) -> Any:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    kinds = {
        "gpt2": (transformers.GPT2Config, transformers.GPT2Model),
        "openai-gpt": (transformers.OpenAIGPTConfig, transformers.OpenAIGPTModel),
    }
    configure, build = kinds[model_type]
    sizes = {"vocab_size": 40, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 14, "attn_implementation": "eager"}
    model = build(configure(**sizes)).eval()
    with torch.no_grad():  # biases and norms away from 0 and 1, where a mix-up would not show
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.mark.parametrize("model_type", CONFIGS)
def test_states_and_gradients_equal_pytorch(model_type: str, tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    config, model = CONFIGS[model_type], reference(model_type)
    model.save_pretrained(tmp_path / "weights")
    assert GptConfig.from_transformers(read_config(tmp_path / "weights")) == config
    valid = torch.tensor(MASK)
    inputs = {"input_ids": torch.tensor(IDS).long(), "position_ids": torch.tensor(POSITIONS).long()}
    theirs = model(**inputs, attention_mask=valid.long(), output_hidden_states=True).hidden_states
    sum(state.cos()[valid].sum() for state in theirs).backward()
    with torch.no_grad():  # the gradients travel in the weights' format, so that the rules map them too
        for parameter in model.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    model.save_pretrained(tmp_path / "gradients")
    params, expected = (load_gpt(tmp_path / name, config, shapes(config)) for name in ("weights", "gradients"))

    def loss(params: Any) -> Any:
        states, _ = apply(config, params, IDS, MASK)
        return sum(jnp.sum(jnp.where(MASK[..., None], jnp.cos(state), 0.0)) for state in states), states

    found, states = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert len(states) == len(theirs) == 3
    for ours, other in zip(states, theirs, strict=True):
        assert np.abs(ours - other.detach().numpy())[MASK].max() <= 1e-4
    differences = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max() / max(1.0, float(jnp.abs(b).max()))), found, expected)
    assert max(jax.tree.leaves(differences)) <= 1e-4, differences


@pytest.mark.parametrize("model_type", CONFIGS)
def test_three_cached_stages_equal_one_causal_pass(model_type: str) -> None:
    """Padding among them: of the second stage the third is not to see any."""
    config = CONFIGS[model_type]
    params = random_params(config)
    whole, joined = jax.jit(lambda p: apply(config, p, IDS, MASK))(params)

    @jax.jit
    def staged(p: Any) -> Any:
        found, cache = [], None
        for part in (slice(0, 2), slice(2, 6), slice(6, 9)):
            states, cache = apply(config, p, IDS[:, part], MASK[:, part], cache=cache)
            found.append(states)
        return [jnp.concatenate(states, axis=1) for states in zip(*found, strict=True)], cache

    states, cache = staged(params)
    for ours, other in zip(states, whole, strict=True):
        assert np.abs(ours - other)[MASK].max() <= 1e-5
    np.testing.assert_array_equal(cache.mask, MASK)
    keys = MASK[..., None, None]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(np.where(keys, a, 0), np.where(keys, b, 0), atol=1e-5), cache.layers, joined.layers
    )


def test_padding_changes_nothing_of_what_is_there() -> None:
    """Neither its ids nor its number, before, behind or between."""
    config = CONFIGS["gpt2"]
    params = random_params(config)
    states, _ = apply(config, params, IDS, MASK)
    other, _ = apply(config, params, np.where(MASK, IDS, 39), MASK)
    for row in range(len(MASK)):
        kept = IDS[row : row + 1, MASK[row]]
        alone, _ = apply(config, params, kept)
        np.testing.assert_allclose(states[-1][row, MASK[row]], alone[-1][0], atol=1e-5)
        np.testing.assert_allclose(other[-1][row, MASK[row]], alone[-1][0], atol=1e-5)


def test_nothing_sees_ahead_and_any_embedding_may_be_given() -> None:
    config = CONFIGS["openai-gpt"]
    params = random_params(config)
    words = np.random.default_rng(2).normal(size=(2, 6, 32)).astype(np.float32)
    changed = words.copy()
    changed[:, 4] += 1
    read = jax.jit(lambda x: Gpt(config).apply({"params": params}, x, train=False)[0][-1])
    before, after = read(words), read(changed)
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (np.abs(before - after)[:, 4:].max(axis=(1, 2)) > 1e-3).all()


def test_what_does_not_fit_is_named() -> None:
    config = dataclasses.replace(CONFIGS["gpt2"], positions=8)
    with pytest.raises(ValueError, match="9 places exceed the language model's 8 positions"):
        apply(config, random_params(config), IDS)
    with pytest.raises(ValueError, match="width 30 does not divide into 4 heads"):
        dataclasses.replace(config, width=30)
    with pytest.raises(ValueError, match="unknown kind of GPT 'gpt3'"):
        dataclasses.replace(config, kind="gpt3")
    with pytest.raises(ValueError, match="'bert' model, expected model_type 'gpt2', 'openai-gpt'"):
        GptConfig.from_transformers({"model_type": "bert"})
    with pytest.raises(ValueError, match="the gpt2 configuration lacks .*n_head"):
        GptConfig.from_transformers({"model_type": "gpt2", "n_embd": 3})
    full = {"vocab_size": 1, "n_embd": 4, "n_layer": 1, "n_head": 1, "n_positions": 1, "layer_norm_epsilon": 1e-5, "initializer_range": 1}
    full |= {"model_type": "gpt2", "activation_function": "gelu_new", "resid_pdrop": 0, "attn_pdrop": 0}
    assert GptConfig.from_transformers(full).mlp == 16
    with pytest.raises(ValueError, match="scale_attn_by_inverse_layer_idx=True is not supported, only False"):
        GptConfig.from_transformers({**full, "scale_attn_by_inverse_layer_idx": True})
