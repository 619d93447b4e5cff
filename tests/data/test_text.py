"""Markers, truncation and alignment of tokenised sentences."""

import functools
import io
import json
import pathlib
import pickle
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from mmre_jax.data.markers import MARKERS
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.data.tokenizer_files import load_tokenizer
from mmre_jax.records import RecordError

SENTENCES = [("anna", "lives", "in", "oslo"), ("the", "harbour", "of", "oslo", "was", "built", "by", "anna")]
TOKENIZER = train_tokenizer(SENTENCES, 120)


def render(encoder: TextEncoder, encoded) -> str:
    base = encoder.vocab_size - len(MARKERS)
    return " ".join(MARKERS[i - base] if i >= base else encoder.tokenizer.id_to_token(int(i)) for i in encoded.ids)


@pytest.mark.parametrize(
    ("head", "tail", "expected"),
    [
        ((0, 1), (3, 4), "<s> a </s> b c <o> d </o>"),
        ((3, 4), (0, 1), "<o> a </o> b c <s> d </s>"),
        ((0, 2), (2, 4), "<s> a b </s> <o> c d </o>"),
        ((0, 4), (1, 2), "<s> a <o> b </o> c d </s>"),  # nested
        ((1, 2), (0, 2), "<o> a <s> b </s> </o> c d"),  # ends together: the inner closes first
        ((0, 1), (0, 3), "<o> <s> a </s> b c </o> d"),  # begins together: the longer opens first
        ((1, 3), (1, 3), "a <s> <o> b c </o> </s> d"),  # the same span
        ((0, 3), (2, 4), "<s> a b <o> c </s> d </o>"),  # crossing: cannot be nested
    ],
)
def test_markers_nest(head, tail, expected):
    tokenizer = train_tokenizer([("a", "b", "c", "d")], 60)
    encoder = TextEncoder(tokenizer)
    encoded = encoder.encode_pair(("a", "b", "c", "d"), head, tail)
    assert render(encoder, encoded) == f"[CLS] {expected} [SEP]"
    pieces = render(encoder, encoded).split()
    assert (pieces[encoded.markers[0]], pieces[encoded.markers[1]]) == ("<s>", "<o>")


def test_released_markers_drop_a_closing_marker_at_the_end():
    tokenizer = train_tokenizer([("a", "b", "c", "d")], 60)
    encoder = TextEncoder(tokenizer, as_released=True)
    assert render(encoder, encoder.encode_pair(("a", "b", "c"), (0, 1), (2, 3))) == "[CLS] <s> a </s> b <o> c [SEP]"
    assert render(encoder, encoder.encode_pair(("a", "b", "c"), (1, 2), (0, 1))) == "[CLS] <o> a <s> </o> b </s> c [SEP]"


spans = st.integers(0, 11).flatmap(lambda a: st.integers(a + 1, 12).map(lambda b: (a, b)))


@given(head=spans, tail=spans, room=st.integers(10, 40), released=st.booleans())
def test_no_marker_is_ever_dropped(head, tail, room, released):
    encoder = TextEncoder(TOKENIZER, max_tokens=room)
    words = tuple(f"oslo{i}" for i in range(12))
    encoded = encoder.encode_pair(words, head, tail)
    base = encoder.vocab_size - len(MARKERS)
    assert len(encoded.ids) <= room
    assert sorted(i - base for i in encoded.ids if i >= base) == [0, 1, 2, 3]
    opens, closes = (np.flatnonzero(np.isin(encoded.ids - base, kind)) for kind in ((0, 2), (1, 3)))
    for marker, span in ((0, head), (2, tail)):
        first, last = (int(np.flatnonzero(encoded.ids == base + m)[0]) for m in (marker, marker + 1))
        inside = encoded.words[first:last]
        assert set(inside[inside >= 0]) <= set(range(*span))
        assert (inside >= 0).any(), "the entity's own words are kept first"
    assert opens.min() < closes.max()
    kept = encoded.words[encoded.words >= 0]
    assert (np.diff(kept) >= 0).all()


def test_special_tokens_in_a_post_are_text():
    encoder = TextEncoder(TOKENIZER)
    encoded = encoder.encode(("anna", "[SEP]", "<s>", "oslo"))
    special = encoder.special_ids
    assert (encoded.ids == special["sep"]).sum() == 1
    assert encoded.ids.max() < encoder.vocab_size - len(MARKERS)


def test_too_small_a_length_is_an_error():
    with pytest.raises(RecordError, match="max_tokens=7"):
        TextEncoder(TOKENIZER, max_tokens=7).encode_pair(("anna", "oslo"), (0, 1), (1, 2))


def test_pickles_without_its_tokenizer():
    encoder = TextEncoder(TOKENIZER, max_tokens=20)
    before = encoder.encode(("anna",)).ids
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.encode(("anna",)).ids, before)
    assert "tokenizer" not in encoder.__getstate__()


def test_training_a_tokenizer_is_deterministic():
    assert train_tokenizer(SENTENCES, 120) == TOKENIZER


def test_not_a_tokenizers_directory(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no tokenizer.json"):
        load_tokenizer(tmp_path)


def test_old_directory_with_a_vocabulary_alone(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "anna", "os", "##lo"]))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    encoder = TextEncoder(load_tokenizer(tmp_path))
    assert encoder.pieces(("Anna", "Oslo")) == ([5, 6, 7], [0, 1, 1])


@pytest.mark.parametrize("marked", [("vocab.txt",), ("config.json",), ("vocab.txt", "config.json", "tokenizer_config.json")])
def test_a_mark_at_the_head_of_a_vocabulary_is_no_part_of_its_first_entry(tmp_path, marked):
    entries = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "anna", "os", "##lo"])
    for name, text in (("vocab.txt", entries), ("config.json", '{"model_type": "bert"}'), ("tokenizer_config.json", "{}")):
        (tmp_path / name).write_text(text, "utf-8-sig" if name in marked else "utf-8")
    encoder = TextEncoder(load_tokenizer(tmp_path))
    assert encoder.special_ids["pad"] == 0 and encoder.pieces(("Anna", "Oslo")) == ([5, 6, 7], [0, 1, 1])
    (tmp_path / "tokenizer.json").write_text(TOKENIZER, "utf-8-sig")
    assert load_tokenizer(tmp_path) == TOKENIZER


NAMES = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
CORPUS = [" ".join(words) for words in SENTENCES] * 3


@functools.cache
def byte_level_model() -> dict[str, Any]:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=NAMES, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return json.loads(tokenizer.to_str())["model"]


@functools.cache  # its trainer gives another model each time
def unigram_model() -> dict[str, Any]:
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=NAMES, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return json.loads(tokenizer.to_str())["model"]


def roberta(add_prefix_space: bool) -> Any:
    """transformers' tokenizer around a byte-level BPE of a few words."""
    build, model = pytest.importorskip("transformers").RobertaTokenizer, byte_level_model()
    return build(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]], add_prefix_space=add_prefix_space)


def xlm_roberta(add_prefix_space: bool) -> Any:
    """transformers' tokenizer around a Unigram model of a few words."""
    build = pytest.importorskip("transformers").XLMRobertaTokenizer
    return build(vocab=[tuple(entry) for entry in unigram_model()["vocab"]], add_prefix_space=add_prefix_space)


KINDS = {"roberta": roberta, "xlm-roberta": xlm_roberta}


def check_same(encoder: TextEncoder, theirs: Any, words: list[str]) -> None:
    expected = theirs(words, is_split_into_words=True)
    found = encoder.encode(words)
    assert found.ids.tolist() == expected["input_ids"]
    assert found.words.tolist() == [-1 if word is None else word for word in expected.word_ids()]


@pytest.mark.parametrize("add_prefix_space", [True, False])
@pytest.mark.parametrize("kind", list(KINDS))
def test_words_are_encoded_behind_their_spaces_whatever_the_directory_says(kind, add_prefix_space, tmp_path):
    theirs = KINDS[kind](True)
    KINDS[kind](add_prefix_space).save_pretrained(tmp_path)
    encoder = TextEncoder(load_tokenizer(tmp_path), max_tokens=10_000)
    check_same(encoder, theirs, ["anna", "lives,", "in", "Ōslo!", "oslo"])
    assert encoder.encode(["anna", "oslo"]).ids.tolist() == theirs(" anna oslo")["input_ids"]

    # Neither spaces nor control characters, which no reader leaves in a word, nor what a special token could be spelt with.
    letters = st.characters(exclude_categories=("Z", "C"), exclude_characters="<>")

    @given(words=st.lists(st.text(letters, min_size=1, max_size=8), min_size=1, max_size=6))
    def any_words(words: list[str]) -> None:
        check_same(encoder, theirs, words)

    any_words()


@pytest.mark.parametrize("kind", list(KINDS))
def test_roles_and_markers_of_a_tokenizer_whose_own_tokens_are_spelt_like_markers(kind, tmp_path):
    theirs = KINDS[kind](False)
    theirs.save_pretrained(tmp_path)
    encoder = TextEncoder(load_tokenizer(tmp_path))
    roles = {"pad": theirs.pad_token_id, "cls": theirs.bos_token_id, "sep": theirs.eos_token_id, "mask": theirs.mask_token_id}
    assert encoder.special_ids == {**roles, "unk": theirs.unk_token_id}
    assert encoder.marker_ids == tuple(range(len(theirs), len(theirs) + 4)) and encoder.vocab_size == len(theirs) + 4
    encoded = encoder.encode_pair(("anna", "<s>", "<pad>", "oslo"), (0, 1), (3, 4))
    special = encoded.ids[np.isin(encoded.ids, [*roles.values(), *encoder.marker_ids])].tolist()
    opened, closed, tail, end = encoder.marker_ids
    assert special == [roles["cls"], opened, closed, tail, end, roles["sep"]], "what stands in a post is text"
    assert encoded.ids[list(encoded.markers)].tolist() == [opened, tail]


def test_released_markers_are_the_tokenizers_own_where_it_has_them(tmp_path):
    """The released code adds `<s>` and `</s>`, which RoBERTa has, so that the first `<s>` is the BOS, and only two rows are new."""
    theirs = roberta(False)
    theirs.save_pretrained(tmp_path)
    encoder = TextEncoder(load_tokenizer(tmp_path), as_released=True)
    size = len(theirs)
    assert encoder.marker_ids == (0, 2, size, size + 1) and encoder.vocab_size == size + 2
    encoded = encoder.encode_pair(("in", "anna", "oslo", "was"), (1, 2), (2, 3))
    assert encoded.markers[0] == 0 and encoded.ids[encoded.markers[1]] == size
    assert [int(i) for i in encoded.ids if i in (0, 2, size, size + 1)] == [0, 0, 2, size, size + 1, 2]
    theirs.add_tokens(["<o>", "</o>"], special_tokens=True)
    theirs.save_pretrained(tmp_path)
    again = TextEncoder(load_tokenizer(tmp_path), as_released=True)
    assert (again.marker_ids, again.vocab_size) == (encoder.marker_ids, encoder.vocab_size)


def test_an_encoder_that_marks_no_pairs_has_no_markers():
    encoder, plain = TextEncoder(TOKENIZER), TextEncoder(TOKENIZER, markers=False)
    assert plain.vocab_size == encoder.vocab_size - len(MARKERS) == max(plain.tokenizer.get_vocab().values()) + 1
    np.testing.assert_array_equal(plain.encode(("anna", "oslo")).ids, encoder.encode(("anna", "oslo")).ids)
    with pytest.raises(ValueError, match="marks no pairs"):
        plain.encode_pair(("anna", "oslo"), (0, 1), (1, 2))


def test_roberta_directory_with_vocabulary_and_merges_alone(tmp_path):
    theirs = roberta(True)
    model = byte_level_model()
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    with pytest.raises(FileNotFoundError, match=r"vocab.json without its merges.txt"):
        load_tokenizer(tmp_path)
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, model["merges"])]))
    with pytest.raises(FileNotFoundError, match=r"neither config.json nor tokenizer_config.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    check_same(TextEncoder(load_tokenizer(tmp_path)), theirs, ["anna", "lives,", "in", "Ōslo!"])


def sentencepiece_directory(folder: pathlib.Path) -> bytes:
    sentencepiece = pytest.importorskip("sentencepiece", reason="sentencepiece, which reads XLM-R's own file, is not installed")
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_writer=written, vocab_size=24, minloglevel=2)
    (folder / "sentencepiece.bpe.model").write_bytes(written.getvalue())
    return written.getvalue()


def test_xlm_roberta_directory_with_a_sentencepiece_model_alone(tmp_path):
    """Its ids are SentencePiece's, moved up by one for the padding token; those of specials are fairseq's."""
    model = sentencepiece_directory(tmp_path)
    import sentencepiece

    (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta"}')
    encoder = TextEncoder(load_tokenizer(tmp_path))
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    words = ("anna", "lives", "in", "Ōslo", "of", "oslo")
    pieces = processor.encode(" ".join(words))
    assert encoder.encode(words).ids.tolist() == [0, *(3 if piece == processor.unk_id() else piece + 1 for piece in pieces), 2]
    assert (encoder.special_ids["pad"], encoder.special_ids["mask"]) == (1, processor.get_piece_size() + 1)


def test_a_sentencepiece_model_without_the_packages_it_takes(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    monkeypatch.setattr(transformers.utils, "is_sentencepiece_available", lambda: False)
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"")
    (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta"}')
    with pytest.raises(ValueError, match="pip install sentencepiece protobuf, or save a tokenizer.json"):
        load_tokenizer(tmp_path)


def test_a_damaged_tokenizer_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(ValueError, match=r"tokenizer.json is not valid JSON"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 100\n")
    with pytest.raises(ValueError, match=r"tokenizer.json is a Git LFS pointer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([{"type": "Metaspace", "replacement": "▁", "add_prefix_space": False}], ["▁anna", "▁oslo"]),  # as older files have it
        ([{"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}], ["▁anna", "▁oslo"]),
        ([{"type": "Punctuation", "behavior": "Isolated"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"}], None),
    ],
)
def test_only_the_first_step_after_splitting_at_spaces_adds_one(steps, expected, tmp_path):
    names = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "anna", "oslo", "▁anna", "▁oslo"]
    tokenizer = tokenizers.Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    description = json.loads(tokenizer.to_str()) | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(description))
    ids, _ = TextEncoder(load_tokenizer(tmp_path)).pieces(("anna", "oslo"))
    assert [names[i] for i in ids] == (expected or ["anna", "oslo"])


def test_a_berts_tokenizer_is_passed_on_as_it_is(tmp_path):
    (tmp_path / "tokenizer.json").write_text(TOKENIZER, encoding="utf-8")
    assert load_tokenizer(tmp_path) == TOKENIZER
