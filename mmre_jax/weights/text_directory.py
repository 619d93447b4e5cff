"""A text encoder and its tokenizer as a directory of transformers: the inverse of reading one.

The directory holds all rows of the word table. Those of the added tokens have names in its tokenizer, so that `<s> Ada </s>` in a text is
what the encoder was trained on. AutoTokenizer gives the ids of `TextEncoder.encode`, what stands at both ends included.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from safetensors.numpy import save_file
from tokenizers import processors

from mmre_jax.data.text import TextEncoder
from mmre_jax.encoders.bert_config import BertConfig
from mmre_jax.encoders.gpt import GptConfig
from mmre_jax.weights.bert import bert_rules
from mmre_jax.weights.gpt import write_gpt
from mmre_jax.weights.rules import WeightError, write

ARCHITECTURES = {"bert": "BertModel", "roberta": "RobertaModel", "gpt2": "GPT2Model", "gpt": "OpenAIGPTModel"}
TAKEN = "<{}:marker>"  # what a marker is called where the tokenizer has its name, as RoBERTa's has <s>


def write_text_directory(directory: str | Path, config: BertConfig | GptConfig, params: Mapping[str, Any], encoder: TextEncoder) -> None:
    """Writes config.json, model.safetensors, tokenizer.json and tokenizer_config.json, which transformers' Auto classes load.

    A BERT's directory has no pooler, which is no part of the encoder: transformers starts one at random and says so. Its RoBERTa counts
    positions from the id of padding on: where ours counts from another, or from behind a prefix, the rows of the position table are moved.

    Args:
      directory: that is there, and empty.
      config: of the model.
      params: the `params` of that `Bert` or `Gpt`.
      encoder: with the tokenizer; its word table must be the model's.

    Raises:
      WeightError: for a model that transformers does not have, or a tokenizer that does not go with it.
    """
    directory = Path(directory)
    if encoder.vocab_size != config.vocab_size:
        raise WeightError(f"the tokenizer has {encoder.vocab_size} entries, added ones included, the word table {config.vocab_size} rows")
    if isinstance(config, BertConfig) and config.kind == "roberta":
        config, params = _counted_from(encoder.special_ids["pad"], config, params)
    try:
        described = config.to_transformers()
    except ValueError as error:
        raise WeightError(f"this text encoder cannot be written as a directory of transformers: {error}") from error
    tensors = write_gpt(params, config.kind) if isinstance(config, GptConfig) else write(bert_rules(), params)
    ids, names = encoder.special_ids, _special_names(encoder)
    ends = {"bos_token": names["cls"], "eos_token": names["sep"]}
    described |= {"bos_token_id": ids["cls"], "eos_token_id": ids["sep"], "pad_token_id": ids["pad"]}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", **{f"{role}_token": name for role, name in names.items()}, **ends}
    about |= {"model_max_length": config.max_length, "add_prefix_space": True, "clean_up_tokenization_spaces": False}
    _write_json(directory / "config.json", {"architectures": [ARCHITECTURES[config.kind]], "dtype": "float32", **described})
    _write_json(directory / "tokenizer_config.json", about)
    (directory / "tokenizer.json").write_text(_tokenizer(encoder).to_str(pretty=True), "utf-8")
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, directory / "model.safetensors", {"format": "pt"})


def _counted_from(pad: int, config: BertConfig, params: Mapping[str, Any]) -> tuple[BertConfig, Mapping[str, Any]]:
    """A RoBERTa whose padding has the id and the position `pad`, and whose first token has the position behind it; else the same."""
    if (config.pad_id, config.position_offset) == (pad, 0):
        return config, params
    table = np.asarray(params["embeddings"]["position"])
    before = np.zeros((pad + 1, table.shape[1]), table.dtype)
    before[pad] = table[config.pad_id]
    table = np.concatenate([before, table[config.first_position :]])
    sizes = dataclasses.replace(config, pad_id=pad, position_offset=0, positions=len(table))
    return sizes, {**params, "embeddings": {**params["embeddings"], "position": table}}


def added_names(encoder: TextEncoder) -> tuple[str, ...]:
    """What the added tokens are called in a written tokenizer: as here, but for names that it has already."""
    there = encoder.tokenizer.get_vocab(with_added_tokens=True)
    return tuple(TAKEN.format(name.strip("<>")) if name in there else name for name in encoder.added)


def _special_names(encoder: TextEncoder) -> dict[str, str]:
    """{role: name} of the special tokens, which go by their own names where the tokenizer has them."""
    rows = dict(zip(range(encoder.vocab_size - len(encoder.added), encoder.vocab_size), added_names(encoder), strict=True))
    return {role: rows.get(i) or encoder.tokenizer.id_to_token(i) for role, i in encoder.special_ids.items()}


def _tokenizer(encoder: TextEncoder) -> tokenizers.Tokenizer:
    """The tokenizer with names for the added rows, which puts the special tokens at both ends."""
    tokenizer = tokenizers.Tokenizer.from_str(encoder.tokenizer_json)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    names = added_names(encoder)
    tokenizer.add_special_tokens([tokenizers.AddedToken(name, normalized=False, special=True) for name in names])
    first = encoder.vocab_size - len(names)
    for i, name in enumerate(names, first):
        if tokenizer.token_to_id(name) != i:  # a vocabulary with gaps, which the library fills
            raise WeightError(f"the tokenizer would call row {tokenizer.token_to_id(name)} {name!r}, which is row {i} of the word table")
    cls, sep = (_special_names(encoder)[role] for role in ("cls", "sep"))
    ends = [encoder.special_ids["cls"], encoder.special_ids["sep"]]
    if [i for i in tokenizer.encode("").ids] != ends:
        pair = f"{cls} $A {sep} $B:1 {sep}:1"
        special = list(dict(zip((cls, sep), ends, strict=True)).items())
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{cls} $A {sep}", pair=pair, special_tokens=special)
    return tokenizer


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
