"""Tokenizers of GPT-2 and GPT-1, and the byte-level BPE that is trained: pieces, words, special tokens and markers."""

import functools
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, trainers

from mmre_jax.data.markers import MARKERS
from mmre_jax.data.text import END, SPECIALS, TextEncoder, train_tokenizer
from mmre_jax.data.tokenizer_files import load_tokenizer
from mmre_jax.records import RecordError

SENTENCES = [("Anna", "lives", "in", "Oslo,", "doesn't", "she?"), ("the", "harbour", "of", "Oslo", "was", "built", "by", "Anna")] * 2
BYTES = train_tokenizer(SENTENCES, 300, "byte_bpe")
# What no reader leaves in a word: spaces and control characters.
WORDS = st.lists(st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=8), min_size=1, max_size=8)


@functools.cache
def trained(kind: str) -> dict[str, Any]:
    """Vocabulary and merges as GPT-2's and GPT-1's authors published them, of a few words."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    settings: dict[str, Any] = {"vocab_size": 330, "show_progress": False}
    if kind == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        settings |= {"initial_alphabet": sorted(pre_tokenizers.ByteLevel.alphabet()), "special_tokens": [END]}
    else:
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
        settings |= {"end_of_word_suffix": "</w>", "special_tokens": ["<unk>"]}
    tokenizer.train_from_iterator([" ".join(words) for words in SENTENCES], trainers.BpeTrainer(**settings))
    return json.loads(tokenizer.to_str())["model"]


def theirs(kind: str, **options: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    build = transformers.GPT2Tokenizer if kind == "gpt2" else transformers.OpenAIGPTTokenizer
    return build(vocab=trained(kind)["vocab"], merges=[tuple(pair) for pair in trained(kind)["merges"]], **options)


@pytest.fixture(params=["tokenizer.json", "vocab.json and merges.txt"])
def saved(request, tmp_path):
    """A function that makes a directory with a GPT's tokenizer, in either of its forms."""

    def make(kind: str):
        if request.param == "tokenizer.json":
            theirs(kind).save_pretrained(tmp_path)
            return tmp_path
        (tmp_path / "vocab.json").write_text(json.dumps(trained(kind)["vocab"]), "utf-8")
        (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, trained(kind)["merges"])]), "utf-8")
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2" if kind == "gpt2" else "openai-gpt"}))
        return tmp_path

    return make


@pytest.mark.parametrize("kind", ["gpt2", "gpt"])
def test_pieces_and_words_are_transformers(kind, saved):
    encoder = TextEncoder(load_tokenizer(saved(kind)), max_tokens=10_000, causal=True)
    reference = theirs(kind, **({"add_prefix_space": True} if kind == "gpt2" else {}))
    special = encoder.special_ids

    @given(words=WORDS)
    def any_words(words: list[str]) -> None:
        expected = reference(words, is_split_into_words=True, add_special_tokens=False)
        found = encoder.encode(words)
        assert found.ids.tolist() == [special["cls"], *expected["input_ids"], special["sep"]]
        assert found.words[1:-1].tolist() == expected.word_ids() and found.words[[0, -1]].tolist() == [-1, -1]

    any_words()
    found = encoder.encode(("Anna", "lives", "in", "Oslo,"))
    text = reference(" Anna lives in Oslo,", add_special_tokens=False)["input_ids"]
    assert found.ids[1:-1].tolist() == text, "words are encoded as in running text"


@pytest.mark.parametrize("markers", [True, False])
def test_what_stands_at_both_ends_of_a_gpts_sentence(markers, saved):
    size = len(theirs("gpt2"))
    encoder = TextEncoder(load_tokenizer(saved("gpt2")), markers=markers, causal=True)
    end = theirs("gpt2").eos_token_id
    behind = size + 4 * markers
    assert encoder.special_ids == {"pad": end, "cls": end, "sep": end, "unk": end, "mask": behind}
    assert encoder.added == (*(MARKERS if markers else ()), "[MASK]") and encoder.vocab_size == behind + 1
    if markers:
        assert encoder.marker_ids == (size, size + 1, size + 2, size + 3)
    assert end not in encoder.encode(("Anna", END)).ids[1:-1], "what stands in a post is text"


def test_gpt_1_has_none_but_the_unknown_piece(saved):
    size = len(theirs("gpt"))
    encoder = TextEncoder(load_tokenizer(saved("gpt")), causal=True)
    assert encoder.added == (*MARKERS, "[PAD]", "[CLS]", "[SEP]", "[MASK]") and encoder.vocab_size == size + 8
    roles = {role: size + 4 + i for i, role in enumerate(("pad", "cls", "sep", "mask"))}
    assert encoder.special_ids == {**roles, "unk": theirs("gpt").unk_token_id}
    plain = [encoder.tokenizer.id_to_token(i) for i in encoder.pieces(("Anna", "OSLO"))[0]]
    assert "".join(plain) == "anna</w>oslo</w>"


def test_only_a_causal_encoder_may_lack_special_tokens(saved):
    with pytest.raises(ValueError, match=r"the tokenizer has none of \('\[PAD\]', '<pad>'\), needed as its pad token"):
        TextEncoder(load_tokenizer(saved("gpt2"))).encode(("Anna",))
    bert = TextEncoder(BYTES, causal=True)
    assert bert.added == MARKERS and bert.special_ids == {r: SPECIALS.index(f"[{r.upper()}]") for r in ("pad", "unk", "cls", "sep", "mask")}


@given(words=WORDS)
def test_the_bytes_of_a_words_pieces_are_the_word_behind_its_space(words):
    encoder = TextEncoder(BYTES)
    ids, owners = encoder.pieces(words)
    assert owners == sorted(owners) and set(owners) == set(range(len(words)))
    assert encoder.special_ids["unk"] not in ids
    for n, word in enumerate(words):
        assert encoder.tokenizer.decode([i for i, owner in zip(ids, owners, strict=True) if owner == n]) == f" {word}"


def test_capitals_are_kept_and_common_words_are_one_piece():
    encoder = TextEncoder(BYTES)
    tokens = [encoder.tokenizer.id_to_token(i) for i in encoder.pieces(("Anna", "anna", "Oslo"))[0]]
    assert tokens[0] == "ĠAnna" and tokens[-1] == "ĠOslo" and "ĠAnna" not in tokens[1:]


spans = st.integers(0, 7).flatmap(lambda a: st.integers(a + 1, 8).map(lambda b: (a, b)))


@pytest.mark.parametrize("kind", ["byte_bpe", "gpt2", "gpt"])
def test_an_overlong_sentence_is_cut_around_its_entities(kind, tmp_path):
    if kind != "byte_bpe":
        theirs(kind).save_pretrained(tmp_path)
    tokenizer = BYTES if kind == "byte_bpe" else load_tokenizer(tmp_path)

    @given(head=spans, tail=spans, room=st.integers(10, 40))
    def any_spans(head, tail, room):
        encoder = TextEncoder(tokenizer, max_tokens=room, causal=kind != "byte_bpe")
        words = tuple(f"Oslo{i}é" for i in range(8))
        encoded = encoder.encode_pair(words, head, tail)
        special = encoder.special_ids
        assert len(encoded.ids) <= room and (encoded.ids[0], encoded.ids[-1]) == (special["cls"], special["sep"])
        assert sorted(encoder.marker_ids.index(i) for i in encoded.ids.tolist() if i in encoder.marker_ids) == [0, 1, 2, 3]
        for marker, span in ((0, head), (2, tail)):
            first, last = (int(np.flatnonzero(encoded.ids == encoder.marker_ids[m])[0]) for m in (marker, marker + 1))
            inside = encoded.words[first:last]
            assert encoded.markers[marker // 2] == first
            assert (inside >= 0).any() and set(inside[inside >= 0]) <= set(range(*span))

    any_spans()
    with pytest.raises(RecordError, match="max_tokens=7"):
        TextEncoder(tokenizer, max_tokens=7, causal=kind != "byte_bpe").encode_pair(("Anna", "Oslo"), (0, 1), (1, 2))


def test_another_process_trains_the_same_tokenizer():
    code = f"from mmre_jax.data.text import train_tokenizer; print(train_tokenizer({SENTENCES!r}, 300, 'byte_bpe'), end='')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert found.stdout == BYTES


@pytest.mark.parametrize(("kind", "size", "message"), [
    ("byte_bpe", 260, "text.vocab_size=260 is too small for text.tokenizer=byte_bpe: it has at least 261 entries"),
    ("word", 4, "text.vocab_size=4 is too small for text.tokenizer=word"),
    ("wordpiece", 300, "text.tokenizer is one of bpe, word, whole, byte_bpe, found 'wordpiece'"),
])  # fmt: skip
def test_kinds_and_sizes_that_cannot_be_trained(kind, size, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(SENTENCES, size, kind)


def test_the_least_vocabulary_is_the_bytes():
    encoder = TextEncoder(train_tokenizer(SENTENCES, 261, "byte_bpe"), markers=False)
    assert encoder.vocab_size == 261 and len(encoder.pieces(("Anna",))[0]) == len(" Anna")
