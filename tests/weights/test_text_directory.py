"""Text encoders as directories of transformers, which loads them with their tokenizers: same ids, same states, same logits."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors, trainers

from mmre_jax.data.text import END, TextEncoder, train_tokenizer
from mmre_jax.data.tokenizer_files import load_tokenizer
from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.gpt import Gpt, GptConfig
from mmre_jax.weights import bert, gpt
from mmre_jax.weights.rules import WeightError
from mmre_jax.weights.text_directory import added_names, write_text_directory

SENTENCES = [("Anna", "lives", "in", "Oslo,"), ("the", "harbour", "of", "Oslo")] * 2
WORDS = ["Anna", "lives", "in", "Ōslo!", "the", "x"]
SIZES = {"width": 16, "layers": 2, "heads": 2, "positions": 40, "init_std": 0.0}
CONFIGS: dict[str, Any] = {
    "bert": BertConfig(**SIZES, mlp=24, types=2),
    "roberta": BertConfig(**SIZES, mlp=24, types=1, kind="roberta", eps=1e-5),
    "gpt2": GptConfig(**SIZES, mlp=24),
    "gpt": GptConfig(**SIZES, mlp=64, kind="gpt"),
}


def byte_level(specials: list[str]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        map(" ".join, SENTENCES),
        trainers.BpeTrainer(vocab_size=290, special_tokens=specials, initial_alphabet=alphabet, show_progress=False),
    )
    return tokenizer


def encoder_of(kind: str, folder: Path) -> TextEncoder:
    """With a tokenizer as those of that kind are: RoBERTa's has a marker's name, GPT's have no special tokens or but one."""
    if kind == "bert":
        return TextEncoder(train_tokenizer(SENTENCES, 60))
    folder.mkdir()
    tokenizer = byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if kind == "roberta" else [END])
    if kind == "roberta":
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    if kind == "gpt":
        tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        settings = {"special_tokens": ["<unk>"], "end_of_word_suffix": "</w>", "show_progress": False}
        tokenizer.train_from_iterator(map(" ".join, SENTENCES), trainers.BpeTrainer(vocab_size=60, **settings))
    tokenizer.save(str(folder / "tokenizer.json"))
    return TextEncoder(load_tokenizer(folder), causal=kind.startswith("gpt"))


def states_of(config: Any, params: Any, ids: np.ndarray, mask: np.ndarray) -> Any:
    if isinstance(config, BertConfig):
        return Bert(config).apply({"params": params}, ids, mask, train=False)[-1]
    model = Gpt(config)
    words = model.apply({"params": params}, ids, method="words")
    return model.apply({"params": params}, words, mask, train=False)[0][-1]


def random_params(config: Any) -> Any:
    net = Bert(config) if isinstance(config, BertConfig) else Gpt(config)
    given = (jnp.zeros((1, 3), jnp.int32), None) if isinstance(config, BertConfig) else (jnp.zeros((1, 3, config.width)),)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), *given, train=False))["params"]
    random = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: random.normal(0, 0.3, leaf.shape).astype(np.float32), shapes)


@pytest.mark.parametrize("kind", CONFIGS)
def test_transformers_loads_what_is_written(kind: str, tmp_path: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    encoder = encoder_of(kind, tmp_path / "tokenizer")
    config = dataclasses.replace(CONFIGS[kind], vocab_size=encoder.vocab_size)
    params = random_params(config)
    out = tmp_path / "out"
    out.mkdir()
    write_text_directory(out, config, params, encoder)

    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    assert tokenizer(WORDS, is_split_into_words=True)["input_ids"] == encoder.encode(WORDS).ids.tolist()
    assert len(tokenizer) == encoder.vocab_size
    opens, closes, *_ = added_names(encoder)
    assert (opens == "<s>") == (kind != "roberta")
    marked = encoder.encode_pair(("Anna", "in", "the", "harbour"), (0, 1), (2, 4))
    text = [opens, "Anna", closes, "in", added_names(encoder)[2], "the", "harbour", added_names(encoder)[3]]
    ids = [i for word in text for i in tokenizer([word], is_split_into_words=True, add_special_tokens=False)["input_ids"]]
    assert ids == marked.ids[1:-1].tolist()
    for role, i in encoder.special_ids.items():
        assert getattr(tokenizer, f"{role}_token_id") == i

    length = len(marked.ids)
    mask = np.arange(length) < np.array([[length], [4]])
    ids = np.where(mask, np.stack([marked.ids, marked.ids[::-1]]), encoder.special_ids["pad"])
    model = transformers.AutoModel.from_pretrained(out, **({"add_pooling_layer": False} if isinstance(config, BertConfig) else {})).eval()
    with torch.no_grad():
        expected = model(torch.tensor(ids).long(), attention_mask=torch.tensor(mask).long()).last_hidden_state.numpy()
    found = states_of(config, params, ids, mask)
    assert np.abs(found - expected)[mask].max() <= 1e-5
    if isinstance(config, GptConfig):
        build = transformers.GPT2LMHeadModel if kind == "gpt2" else transformers.OpenAIGPTLMHeadModel
        with torch.no_grad():
            logits = build.from_pretrained(out).eval()(torch.tensor(ids).long(), attention_mask=torch.tensor(mask).long()).logits.numpy()
        assert np.abs(found @ params["word"].T - logits)[mask].max() <= 1e-4

    load = gpt.load_gpt if isinstance(config, GptConfig) else bert.load_bert
    again = load(out, config, jax.tree.map(np.zeros_like, params))
    jax.tree.map(np.testing.assert_array_equal, again, params)
    again = TextEncoder(load_tokenizer(out), markers=False, causal=isinstance(config, GptConfig))
    assert again.vocab_size == encoder.vocab_size and not again.added, "its rows are the vocabulary of what starts from it"
    assert again.special_ids == encoder.special_ids
    np.testing.assert_array_equal(again.encode(WORDS).ids, encoder.encode(WORDS).ids)


def test_a_robertas_positions_begin_where_transformers_begins_them(tmp_path: Path) -> None:
    """Behind a prefix's places, and with a tokenizer whose padding is 0, not 1: same states, of padded texts, too."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    encoder = encoder_of("bert", tmp_path)
    config = dataclasses.replace(CONFIGS["roberta"], vocab_size=encoder.vocab_size, position_offset=5)
    params = random_params(config)
    write_text_directory(tmp_path, config, params, encoder)
    assert (pad := encoder.special_ids["pad"]) == 0 != config.pad_id
    mask = np.arange(9) < np.array([[9], [5]])
    ids = np.where(mask, np.random.default_rng(1).integers(5, encoder.vocab_size, mask.shape), pad).astype(np.int32)
    model = transformers.AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    assert model.config.max_position_embeddings == 1 + config.max_length
    with torch.no_grad():
        expected = model(torch.tensor(ids).long(), attention_mask=torch.tensor(mask).long()).last_hidden_state.numpy()
    assert np.abs(states_of(config, params, ids, mask) - expected)[mask].max() <= 1e-5


def test_what_transformers_does_not_have_is_named(tmp_path: Path) -> None:
    encoder = encoder_of("gpt", tmp_path / "tokenizer")
    size = encoder.vocab_size
    for change, message in (
        ({"mlp": 24}, "cannot be written .*: transformers' GPT-1 has feed-forward blocks of width 64, here they are 24 wide"),
        ({"activation": "gelu"}, "transformers' GPT-1 has the activations gelu_new and relu, here it is gelu"),
        ({"vocab_size": size + 1}, f"the tokenizer has {size} entries, added ones included, the word table {size + 1} rows"),
    ):
        config = dataclasses.replace(CONFIGS["gpt"], **{"vocab_size": size, **change})
        with pytest.raises(WeightError, match=message):
            write_text_directory(tmp_path, config, {}, encoder)
    assert not list(tmp_path.glob("*.json"))
    config = dataclasses.replace(CONFIGS["bert"], vocab_size=size, position_offset=3)
    with pytest.raises(WeightError, match="count positions from their own start, here they start 3 later"):
        write_text_directory(tmp_path, config, {}, encoder)


def test_a_vocabulary_with_gaps_is_refused(tmp_path: Path) -> None:
    vocabulary = {name: i for i, name in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))} | {"anna": 9}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    encoder = TextEncoder(tokenizer.to_str())
    config = dataclasses.replace(CONFIGS["bert"], vocab_size=encoder.vocab_size)
    with pytest.raises(WeightError, match="the tokenizer would call row 6 '<s>', which is row 10 of the word table"):
        write_text_directory(tmp_path, config, random_params(config), encoder)
