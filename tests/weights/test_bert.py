"""The text encoders' table in both directions, and RoBERTa directories from the file to the hidden states."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from configs import hvformer
from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.from_config import bert_config
from mmre_jax.weights import pretrained
from mmre_jax.weights.bert import bert_rules, load_bert
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.rules import write

SMALL = BertConfig(vocab_size=40, width=16, layers=2, heads=2, mlp=24, positions=36, types=1, eps=1e-5, kind="roberta")
IDS = np.array([[0, 7, 9, 30, 2], [0, 8, 2, 1, 1]], np.int32)


def filled(config: BertConfig, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: Bert(config).init(jax.random.key(0), IDS, None, train=False))["params"]
    return jax.tree.map(lambda leaf: random.normal(0.0, 0.3, leaf.shape).astype(np.float32), shapes)


def masked_language_model(model_type: str) -> Any:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch").manual_seed(0)
    kinds = {
        "bert": (transformers.BertConfig, transformers.BertForMaskedLM),
        "roberta": (transformers.RobertaConfig, transformers.RobertaForMaskedLM),
        "xlm-roberta": (transformers.XLMRobertaConfig, transformers.XLMRobertaForMaskedLM),
    }
    configure, build = kinds[model_type]
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    sizes |= {"max_position_embeddings": 36, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1}
    return build(configure(**sizes)).eval()


@pytest.mark.parametrize("model_type", ["bert", "roberta", "xlm-roberta"])
def test_a_model_with_a_head_is_read_and_written_back_exactly(model_type: str, tmp_path: Path) -> None:
    masked_language_model(model_type).save_pretrained(tmp_path)
    config = dataclasses.replace(SMALL, kind="bert" if model_type == "bert" else "roberta")
    tensors = load_file(tmp_path / "model.safetensors")
    written = write(bert_rules("bert." if model_type == "bert" else "roberta."), load_bert(tmp_path, config, filled(config)))
    rest = set(tensors) - set(written)
    assert set(written) <= set(tensors) and all(name.startswith(("lm_head.", "cls.")) for name in rest)
    for name, tensor in written.items():
        np.testing.assert_array_equal(tensor, tensors[name])


@pytest.mark.parametrize("prefix", ["", "roberta."])
def test_position_ids_and_pooler_are_unread_and_anything_else_is_an_error(prefix: str, tmp_path: Path) -> None:
    params = filled(SMALL)
    tensors = write(bert_rules(prefix), params)
    tensors |= {f"{prefix}embeddings.position_ids": np.arange(36)[None], f"{prefix}pooler.dense.bias": np.zeros(16, np.float32)}
    description = json.loads(masked_language_model("roberta").config.to_json_string(use_diff=False))
    (tmp_path / "config.json").write_text(json.dumps(description))
    save_file(tensors, tmp_path / "model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, load_bert(tmp_path, SMALL, filled(SMALL, 1)), params)
    save_file(tensors | {f"{prefix}encoder.adapter": np.zeros(1, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightError, match="adapter.*neither read nor excused"):
        load_bert(tmp_path, SMALL, params)
    save_file(tensors, tmp_path / "model.safetensors")
    for field, value, message in (("kind", "bert", "kind is roberta in the checkpoint"), ("pad_id", 0, "pad_id is 1 in the checkpoint")):
        with pytest.raises(WeightError, match=message):
            load_bert(tmp_path, dataclasses.replace(SMALL, **{field: value}), params)


@pytest.mark.parametrize("model_type", ["roberta", "xlm-roberta"])
def test_a_configuration_that_names_a_directory_gives_its_hidden_states(model_type: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = masked_language_model(model_type)
    model.save_pretrained(tmp_path)
    config = hvformer.get_config("quickstart").unlock()
    config.text.update({name: 0 for name in ("width", "layers", "heads", "mlp", "positions")})
    config.text.update({"weights": str(tmp_path), "max_tokens": 34})
    config = config.lock()
    resolved = pretrained.resolve(config)
    sizes = bert_config(resolved.text, 44)
    dropout = {name: resolved.text[name] for name in ("dropout", "attention_dropout", "attention", "init_std")}
    assert sizes == dataclasses.replace(SMALL, vocab_size=44, **dropout)
    found = pretrained.load(resolved, (), {"params": {"text": filled(sizes)}})
    mask = IDS != 1
    states = jax.jit(lambda params: Bert(sizes).apply({"params": params}, IDS, mask, train=False))(found["params"]["text"])
    ids, valid = torch.tensor(IDS, dtype=torch.long), torch.tensor(mask)
    with torch.no_grad():
        theirs = model(input_ids=ids, attention_mask=valid.long(), output_hidden_states=True).hidden_states
    for ours, other in zip(states, theirs, strict=True):
        assert np.abs(ours - other.numpy())[mask].max() <= 1e-4
    config.unlock().text.max_tokens = 35
    with pytest.raises(ValueError, match=r"max_tokens=35 exceeds the text encoder's 34 positions"):
        pretrained.resolve(config)
