"""Encoder and decoder layers against PyTorch's, which are DETR's without positions; masks; the fixed slots; pooling."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from mmre_jax.fusion.query_transformer import Decoder, Encoder, Slots, TransformerSizes, masked_mean

B, P, Q, D = 3, 5, 4, 8
SIZES = TransformerSizes(heads=2, mlp=12, dropout=0.0)
random = np.random.default_rng(0)
MEMORY = random.normal(size=(B, P, D)).astype(np.float32)
MASK = np.array([[True] * 5, [True, False, True, True, False], [False] * 5])


def randomised(params: Any) -> Any:
    """Every parameter at random, zero-initialised biases included."""
    numbers = np.random.default_rng(1)
    return jax.tree.map(lambda p: numbers.normal(size=p.shape).astype(np.float32) * 0.5, params)


ENCODER, DECODER = Encoder(2, SIZES), Decoder(Q, 3, SIZES)
ENCODER_PARAMS = randomised(ENCODER.init(jax.random.key(0), MEMORY, MASK, train=False)["params"])
DECODER_PARAMS = randomised(DECODER.init(jax.random.key(0), MEMORY, MASK, train=False)["params"])


def copied(layer: torch.nn.Module, params: Any, parts: dict[str, str]) -> torch.nn.Module:
    """PyTorch's layer with these parameters; `parts` says which of its submodules is which of ours."""
    p = jax.tree.map(torch.tensor, params)
    state = {}
    for theirs, ours in parts.items():
        if "kernel" in p[ours].get("query", {}):
            for kind, join in (("weight", lambda d: d["kernel"].T), ("bias", lambda d: d["bias"])):
                state[f"{theirs}.in_proj_{kind}"] = torch.cat([join(p[ours][name]) for name in ("query", "key", "value")])
                state[f"{theirs}.out_proj.{kind}"] = join(p[ours]["out"])
        else:
            state[f"{theirs}.weight"], state[f"{theirs}.bias"] = p[ours]["scale"], p[ours]["bias"]
    for theirs, ours in (("linear1", "up"), ("linear2", "down")):
        state[f"{theirs}.weight"], state[f"{theirs}.bias"] = p["mlp"][ours]["kernel"].T, p["mlp"][ours]["bias"]
    layer.load_state_dict(state)
    return layer.train()  # in evaluation PyTorch takes another path, which zeroes masked places


def test_the_encoder_is_pytorchs() -> None:
    parts = {"self_attn": "attention", "norm1": "attention_norm", "norm2": "mlp_norm"}
    expected = torch.tensor(MEMORY)
    for n in range(2):
        layer = torch.nn.TransformerEncoderLayer(D, 2, 12, dropout=0.0, batch_first=True)
        expected = copied(layer, ENCODER_PARAMS[f"layer_{n}"], parts)(expected, src_key_padding_mask=torch.tensor(~MASK))
    found = jax.jit(lambda x: ENCODER.apply({"params": ENCODER_PARAMS}, x, MASK, train=False))(MEMORY)
    np.testing.assert_allclose(found[:2], expected.detach()[:2], atol=1e-5)  # PyTorch has NaN where there are no keys


def test_the_decoder_is_pytorchs_after_every_layer() -> None:
    parts = {"self_attn": "attention", "multihead_attn": "cross", "norm1": "attention_norm", "norm2": "cross_norm", "norm3": "mlp_norm"}
    expected = torch.tensor(DECODER_PARAMS["queries"]).expand(B, Q, D)
    found = jax.jit(lambda x: DECODER.apply({"params": DECODER_PARAMS}, x, MASK, train=False))(MEMORY)
    assert found.shape == (3, B, Q, D)
    for n in range(3):
        layer = torch.nn.TransformerDecoderLayer(D, 2, 12, dropout=0.0, batch_first=True)
        masked = torch.tensor(~MASK)
        expected = copied(layer, DECODER_PARAMS[f"layer_{n}"], parts)(expected, torch.tensor(MEMORY), memory_key_padding_mask=masked)
        np.testing.assert_allclose(found[n, :2], expected.detach()[:2], atol=1e-5)


def test_masked_places_are_never_read_and_an_empty_sequence_is_finite() -> None:
    other = np.where(MASK[..., None], MEMORY, np.float32(1e4))
    decode = jax.jit(lambda x: DECODER.apply({"params": DECODER_PARAMS}, x, MASK, train=False))
    np.testing.assert_array_equal(decode(MEMORY), decode(other))
    assert np.isfinite(decode(MEMORY)).all()
    gradient = jax.jit(jax.grad(lambda x: jnp.sin(decode(x)).sum()))(MEMORY)
    assert np.isfinite(gradient).all() and not gradient[~MASK].any() and gradient[MASK].any()


def test_without_layers_the_encoder_changes_nothing() -> None:
    module = Encoder(0, SIZES)
    variables = module.init(jax.random.key(0), MEMORY, MASK, train=False)
    assert not variables
    np.testing.assert_array_equal(module.apply(variables, MEMORY, MASK, train=False), MEMORY)


def test_one_query_has_no_self_attention() -> None:
    params = Decoder(1, 1, SIZES).init(jax.random.key(0), MEMORY, MASK, train=False)["params"]
    assert set(params["layer_0"]) == {"cross", "cross_norm", "mlp", "mlp_norm"}


def test_dropout_is_on_in_training_alone() -> None:
    module = Encoder(1, TransformerSizes(heads=2, mlp=12, dropout=0.5))
    variables = {"params": {"layer_0": ENCODER_PARAMS["layer_0"]}}
    calm = module.apply(variables, MEMORY, MASK, train=False)
    np.testing.assert_array_equal(calm, module.apply(variables, MEMORY, MASK, train=False))
    assert not np.allclose(calm, module.apply(variables, MEMORY, MASK, train=True, rngs={"dropout": jax.random.key(0)}))


def test_slots_by_hand() -> None:
    module = Slots(Q, D)
    pooled = random.normal(size=(B, 6)).astype(np.float32)
    params = randomised(module.init(jax.random.key(0), pooled)["params"])
    found = module.apply({"params": params}, pooled)
    kernel, bias = params["slots"]["kernel"], params["slots"]["bias"]
    for q in range(Q):
        part = slice(q * D, (q + 1) * D)
        np.testing.assert_allclose(found[0, :, q], pooled @ kernel[:, part] + bias[part], atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_mean_is_over_valid_places(dtype: Any) -> None:
    found = masked_mean(jnp.asarray(np.where(MASK[..., None], MEMORY, np.nan), dtype), jnp.asarray(MASK))
    assert found.dtype == dtype
    expected = [MEMORY[0].mean(0), MEMORY[1][MASK[1]].mean(0), np.zeros(D)]
    np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=1e-6 if dtype == jnp.float32 else 0.02)
