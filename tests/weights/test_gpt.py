"""GPT directories of transformers: read, written back exactly, what is not read, and what does not fit."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mmre_jax.encoders.gpt import Gpt, GptConfig
from mmre_jax.weights.gpt import PREFIX, load_gpt, split, write_gpt
from mmre_jax.weights.hub import WeightError

CONFIGS = {
    "gpt2": GptConfig(vocab_size=40, width=16, layers=2, heads=2, mlp=24, positions=12),
    "openai-gpt": GptConfig(kind="gpt", vocab_size=40, width=16, layers=2, heads=2, mlp=64, positions=12),
}


def filled(config: GptConfig) -> Any:
    shapes = jax.eval_shape(lambda: Gpt(config).init(jax.random.key(0), jnp.zeros((1, 3, config.width)), train=False))["params"]
    random = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: random.normal(0, 0.3, leaf.shape).astype(np.float32), shapes)


def save_model(model_type: str, folder: Path, *, head: bool) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch").manual_seed(0)
    sizes = {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 12}
    if model_type == "gpt2":
        build = transformers.GPT2LMHeadModel if head else transformers.GPT2Model
        build(transformers.GPT2Config(**sizes, n_inner=24)).save_pretrained(folder)
    else:
        build = transformers.OpenAIGPTLMHeadModel if head else transformers.OpenAIGPTModel
        build(transformers.OpenAIGPTConfig(**sizes)).save_pretrained(folder)


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("model_type", CONFIGS)
def test_a_directory_is_read_and_written_back_exactly(model_type: str, head: bool, tmp_path: Path) -> None:
    save_model(model_type, tmp_path, head=head)
    config, tensors = CONFIGS[model_type], load_file(tmp_path / "model.safetensors")
    written = write_gpt(load_gpt(tmp_path, config, filled(config)), config.kind, PREFIX if head else "")
    assert {name for name in tensors if not name.startswith("lm_head.")} == set(written)
    for name, tensor in written.items():
        np.testing.assert_array_equal(tensor, tensors[name])


def test_fewer_layers_more_words_and_old_constants(tmp_path: Path) -> None:
    save_model("gpt2", tmp_path, head=False)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors |= {f"h.{n}.attn.bias": np.ones((1, 1, 12, 12), np.uint8) for n in range(2)}
    save_file(tensors, tmp_path / "model.safetensors")
    config = dataclasses.replace(CONFIGS["gpt2"], layers=1, vocab_size=44)
    params = filled(config)
    found = load_gpt(tmp_path, config, params)
    np.testing.assert_array_equal(found["word"], np.concatenate([tensors["wte.weight"], params["word"][40:]]))
    np.testing.assert_array_equal(found["layer_0"]["attention"]["key"]["bias"], tensors["h.0.attn.c_attn.bias"][16:32])
    assert "layer_1" not in found


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    save_model("gpt2", tmp_path, head=False)
    config = CONFIGS["gpt2"]
    for change, message in (
        ({"heads": 4}, "heads is 2 in the checkpoint, 4 in the model"),
        ({"kind": "gpt"}, "kind is gpt2 in the checkpoint"),
        ({"positions": 9}, r"wpe.weight \[12, 16\]"),
    ):
        other = dataclasses.replace(config, **change)
        with pytest.raises(WeightError, match=message):
            load_gpt(tmp_path, other, filled(other))
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors | {"h.0.attn.rotary": np.zeros(1, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightError, match="rotary.*neither read nor excused"):
        load_gpt(tmp_path, config, filled(config))
    with pytest.raises(WeightError, match=r"h.0.attn.c_attn.weight \[16, 47\] does not hold query, key and value"):
        split({"h.0.attn.c_attn.weight": np.zeros((16, 47))})
