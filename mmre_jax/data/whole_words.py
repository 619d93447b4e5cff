"""Tokenizers that take words as they are: no pieces, no lower-casing, one id for each word of training and one for all others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import tokenizers
from tokenizers import models, trainers

KIND = "whole"  # as text.tokenizer


def train(sentences: Iterable[Sequence[str]], vocab_size: int, specials: Sequence[str]) -> str:
    """A tokenizer of the most frequent words, as JSON; of words that are as frequent those that come first in the alphabet.

    Args:
      vocab_size: entries, specials included, which are the first.
    """
    tokenizer = tokenizers.Tokenizer(models.WordLevel(unk_token="[UNK]"))
    trainer = trainers.WordLevelTrainer(vocab_size=vocab_size, special_tokens=list(specials), show_progress=False)
    own = ([word for word in words if word not in specials] for words in sentences)  # a post that says "[SEP]" says an unknown word
    tokenizer.train_from_iterator(own, trainer)  # without a pre-tokenizer a string is one word
    return tokenizer.to_str()


def vocabulary(tokenizer_json: str) -> dict[str, int] | None:
    """{word: id} of such a tokenizer; None for one of another kind."""
    found = json.loads(tokenizer_json)
    whole = found["model"].get("type") == "WordLevel" and not found.get("pre_tokenizer") and not found.get("normalizer")
    return dict(found["model"]["vocab"]) if whole else None


def read(words: Sequence[str], known: Mapping[str, int]) -> list[str]:
    """Words as they are looked up: one that is not known is read in lower case, if that is."""
    return [word if word in known or (lower := word.lower()) not in known else lower for word in words]
