"""Words as they are: which are known, what stands for the others, and posts that spell special tokens out."""

import json

import pytest

from mmre_jax.data import whole_words
from mmre_jax.data.text import SPECIALS, TextEncoder, train_tokenizer

SENTENCES = [("Ada", "meets", "@Grace", "in", "N.Y."), ("ada", "meets", "the", "[SEP]", "it's"), ("Ada", "the", "a b")]


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder(train_tokenizer(SENTENCES, 100, "whole"))


def test_every_word_of_training_is_one_piece_as_it_is(encoder):
    assert list(encoder.words) == ["Ada", "meets", "the", "@Grace", "N.Y.", "a b", "ada", "in", "it's"], "the frequent ones first"
    assert list(encoder.words.values()) == list(range(len(SPECIALS), len(SPECIALS) + 9))
    for words in SENTENCES:
        ids, owners = encoder.pieces(words)
        assert owners == list(range(len(words)))
        assert ids == [encoder.words.get(word, encoder.special_ids["unk"]) for word in words]


def test_special_tokens_are_the_first_and_no_post_spells_them_out(encoder):
    known = json.loads(encoder.tokenizer_json)["model"]["vocab"]
    assert [known[name] for name in SPECIALS] == list(range(len(SPECIALS)))
    assert encoder.pieces(("[SEP]", "<s>", "[CLS]"))[0] == [encoder.special_ids["unk"]] * 3


def test_an_unknown_word_is_read_in_lower_case_if_that_is_known(encoder):
    ids, _ = encoder.pieces(("THE", "In", "MEETS", "@grace", "Oslo"))
    unknown = encoder.special_ids["unk"]
    assert ids == [encoder.words["the"], encoder.words["in"], encoder.words["meets"], unknown, unknown]
    assert whole_words.read(("Ada", "ADA"), encoder.words) == ["Ada", "ada"], "a known word stays as it is"


def test_a_small_vocabulary_keeps_the_frequent_words():
    assert list(TextEncoder(train_tokenizer(SENTENCES, len(SPECIALS) + 3, "whole")).words) == ["Ada", "meets", "the"]
    assert train_tokenizer(SENTENCES, 100, "whole") == train_tokenizer(list(reversed(SENTENCES)), 100, "whole")


@pytest.mark.parametrize("kind", ["word", "bpe", "byte_bpe"])
def test_other_tokenizers_are_not_taken_for_one(kind):
    assert whole_words.vocabulary(train_tokenizer(SENTENCES, 300, kind)) is None
