"""TVA against PyTorch's multi-head attention, patches that may not be seen, and the mixture against an explicit loop over tokens."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.fusion.mome import NORM_EPS, MixtureOfExperts, TextGuidedAttention

B, L, P, D, V, H = 3, 5, 7, 12, 8, 3
random = np.random.default_rng(0)
TEXT = random.normal(size=(B, L, D)).astype(np.float32)
LEVEL = random.normal(size=(B, P, V)).astype(np.float32)
MASK = np.array([[True] * 7, [True, False, True, True, False, False, True], [False] * 7])


def randomised(params: Any) -> Any:
    """Every parameter at random, zero-initialised biases included."""
    numbers = np.random.default_rng(1)
    return jax.tree.map(lambda p: numbers.normal(size=p.shape).astype(np.float32) * 0.5, params)


TVA = TextGuidedAttention(width=D, heads=H)
TVA_PARAMS = randomised(TVA.init(jax.random.key(0), TEXT, LEVEL, None)["params"])


@jax.jit
def tva(params: Any, text: jax.Array, level: jax.Array, mask: jax.Array | None) -> jax.Array:
    return TVA.apply({"params": params}, text, level, mask)


def by_torch(text: np.ndarray, level: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """The same by torch.nn.functional; a row without keys gets NaN there."""
    attention = {name: {k: torch.tensor(v) for k, v in part.items()} for name, part in TVA_PARAMS["attention"].items()}
    q, k, v, out = (attention[name] for name in ("query", "key", "value", "out"))
    attended, _ = torch.nn.functional.multi_head_attention_forward(
        torch.tensor(text).transpose(0, 1),
        torch.tensor(level).transpose(0, 1),
        torch.tensor(level).transpose(0, 1),
        embed_dim_to_check=D,
        num_heads=H,
        in_proj_weight=None,
        in_proj_bias=torch.cat([q["bias"], k["bias"], v["bias"]]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=out["kernel"].T,
        out_proj_bias=out["bias"],
        training=False,
        key_padding_mask=None if mask is None else torch.tensor(~mask),
        use_separate_proj_weight=True,
        q_proj_weight=q["kernel"].T,
        k_proj_weight=k["kernel"].T,
        v_proj_weight=v["kernel"].T,
    )
    norm = {name: torch.tensor(x) for name, x in TVA_PARAMS["norm"].items()}
    return torch.nn.functional.layer_norm(attended.transpose(0, 1), (D,), norm["scale"], norm["bias"], NORM_EPS).numpy()


def test_tva_is_pytorchs_attention_and_norm() -> None:
    np.testing.assert_allclose(tva(TVA_PARAMS, TEXT, LEVEL, None), by_torch(TEXT, LEVEL, None), atol=1e-5)
    found = tva(TVA_PARAMS, TEXT, LEVEL, MASK)
    np.testing.assert_allclose(found[:2], by_torch(TEXT, LEVEL, MASK)[:2], atol=1e-5)


def test_masked_patches_are_as_if_cut_out() -> None:
    cut = tva(TVA_PARAMS, TEXT[1:2], LEVEL[1:2, MASK[1]], None)
    np.testing.assert_allclose(tva(TVA_PARAMS, TEXT, LEVEL, MASK)[1:2], cut, atol=1e-5)


@given(st.lists(st.booleans(), min_size=P, max_size=P), st.sampled_from([0.0, 1e3, -1e6]))
def test_what_masked_patches_hold_is_never_seen(seen: list[bool], value: float) -> None:
    mask = np.broadcast_to(np.array(seen), (B, P))
    level = np.where(mask[..., None], LEVEL, np.float32(value))
    np.testing.assert_array_equal(tva(TVA_PARAMS, TEXT, level, mask), tva(TVA_PARAMS, TEXT, LEVEL, mask))


def test_without_any_patch_the_answer_is_a_constant() -> None:
    found = tva(TVA_PARAMS, TEXT, LEVEL, MASK)[2]
    bias, norm = TVA_PARAMS["attention"]["out"]["bias"], TVA_PARAMS["norm"]
    constant = (bias - bias.mean()) / np.sqrt(bias.var() + NORM_EPS) * norm["scale"] + norm["bias"]
    np.testing.assert_allclose(found, np.broadcast_to(constant, (L, D)), atol=1e-5)

    def total(text: jax.Array, level: jax.Array) -> jax.Array:
        return jnp.sin(TVA.apply({"params": TVA_PARAMS}, text, level, MASK)).sum()

    of_text, of_level = jax.jit(jax.grad(total, argnums=(0, 1)))(TEXT, LEVEL)
    assert np.isfinite(of_text).all() and np.isfinite(of_level).all()
    assert not of_text[2].any() and not of_level[~MASK].any()
    assert of_text[:2].any() and of_level[MASK].any(axis=-1).all()


def gelu(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.gelu(x)


@pytest.mark.parametrize("mixture", ["experts", "concat"])
@pytest.mark.parametrize("biases", [True, False])
def test_mixture_token_by_token(mixture: str, biases: bool) -> None:
    visual = [random.normal(size=(B, L, D)).astype(np.float32) for _ in range(2)]
    module = MixtureOfExperts(mixture, biases)
    params = randomised(module.init(jax.random.key(0), TEXT, visual)["params"])
    assert ("experts_in_bias" in params) == ("experts_out_bias" in params) == biases
    assert ("router" in params) == (mixture == "experts")
    p = jax.tree.map(torch.tensor, params)
    bias_in, bias_out = (p.get(f"experts_{name}_bias", torch.zeros(2, D)) for name in ("in", "out"))
    expected = np.empty((B, L, D), np.float32)
    for b, i in np.ndindex(B, L):
        t, seen = torch.tensor(TEXT[b, i]), [torch.tensor(v[b, i]) for v in visual]
        experts = [
            gelu(torch.cat([t, v]) @ p["experts_in"][n] + bias_in[n]) @ p["experts_out"][n] + bias_out[n] + t for n, v in enumerate(seen)
        ]
        if mixture == "experts":
            weights = torch.softmax(torch.cat([t, *seen]) @ p["router"]["kernel"] + p["router"]["bias"], 0)
            expected[b, i] = sum(w * c for w, c in zip(weights, [t, *experts], strict=True))
        else:
            hidden = gelu(torch.cat([t, *experts]) @ p["concat_in"]["kernel"] + p["concat_in"]["bias"])
            expected[b, i] = hidden @ p["concat_out"]["kernel"] + p["concat_out"]["bias"]
    found = jax.jit(module.apply)({"params": params}, TEXT, visual)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_router_that_is_certain_picks_one_expert() -> None:
    visual = [random.normal(size=(B, L, D)).astype(np.float32) for _ in range(2)]
    module = MixtureOfExperts()
    params = module.init(jax.random.key(0), TEXT, visual)["params"]
    certain = {**params, "router": {"kernel": jnp.zeros((3 * D, 3)), "bias": jnp.array([100.0, 0.0, 0.0])}}
    np.testing.assert_array_equal(module.apply({"params": certain}, TEXT, visual), TEXT)
