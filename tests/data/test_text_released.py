"""Marked sentences as released, against the slow RoBERTa tokenizer of the time, written out loop by loop around a BPE trained here."""

import functools
import json
import os
import pathlib

import numpy as np
import pytest
import tokenizers
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, processors, trainers

from mmre_jax.data.readers import mnre
from mmre_jax.data.text import MARKERS, SPECIALS, TextEncoder, train_tokenizer
from mmre_jax.data.tokenizer_files import load_tokenizer

REAL = pathlib.Path(os.environ.get("MMRE_DATA", pathlib.Path(__file__).parents[3] / "shared" / "data")) / "RE_data"
NAMES = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
CORPUS = ["Anna lives in Oslo , RT @ada : they 're at the harbour of Oslo 1899 !!", "Anna 's harbour in Oslo"] * 3
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@functools.cache
def byte_level() -> str:
    """The JSON of a byte-level BPE with RoBERTa's special tokens."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=NAMES, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer.to_str()


def letters_of_bytes() -> dict[int, str]:
    """GPT-2's printable letter for every byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}


class Slow:
    """The slow tokenizer with `<o>` and `</o>` added as plain strings: added tokens are cut out, the rest goes through the BPE."""

    def __init__(self, description: str) -> None:
        model = json.loads(description)["model"]
        self.vocab = {**model["vocab"], "<o>": len(model["vocab"]), "</o>": len(model["vocab"]) + 1}
        self.ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
        self.bytes = letters_of_bytes()

    def split(self, text: str) -> list[str]:
        parts, start, i = [], 0, 0
        while i < len(text):
            if (name := next((name for name in (*NAMES, "<o>", "</o>") if text.startswith(name, i)), None)) is None:
                i += 1
                continue
            parts += [text[start:i], name]
            start = i = i + len(name)
        parts = [part for part in (*parts, text[start:]) if part]
        for i, part in enumerate(parts):
            if part in ("<o>", "</o>"):  # plain strings: spaces go on both sides
                if i + 1 < len(parts):
                    parts[i + 1] = parts[i + 1].lstrip()
                if i:
                    parts[i - 1] = parts[i - 1].rstrip()
        return [part for part in parts if part]

    def merged(self, word: str) -> list[str]:
        pieces = list(word)
        while len(pieces) > 1:
            ranked = [(self.ranks[pair], pair) for pair in zip(pieces, pieces[1:], strict=False) if pair in self.ranks]
            if not ranked:
                break
            pair, merged, i = min(ranked)[1], [], 0
            while i < len(pieces):
                if tuple(pieces[i : i + 2]) == pair:
                    merged.append("".join(pair))
                    i += 2
                else:
                    merged.append(pieces[i])
                    i += 1
            pieces = merged
        return pieces

    def encode(self, text: str, longest: int) -> list[int]:
        regex = pytest.importorskip("regex")
        pieces: list[str] = []
        for part in self.split(text):
            if part in (*NAMES, "<o>", "</o>"):
                pieces.append(part)
                continue
            for word in regex.findall(PATTERN, part):
                pieces += self.merged("".join(self.bytes[byte] for byte in word.encode()))
        return [0, *[self.vocab[piece] for piece in pieces][: longest - 2], 2]


def marked(words: tuple[str, ...], head: tuple[int, int], tail: tuple[int, int]) -> str:
    """As the released data set class puts the markers in: before the word at each position, so that none is put behind the last."""
    extended = []
    for i, word in enumerate(words):
        for position, marker in zip((*head, *tail), MARKERS, strict=True):
            if i == position:
                extended.append(marker)
        extended.append(word)
    return " ".join(extended)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> tuple[TextEncoder, Slow]:
    folder = tmp_path_factory.mktemp("roberta")
    (folder / "tokenizer.json").write_text(byte_level(), encoding="utf-8")
    return TextEncoder(load_tokenizer(folder), max_tokens=60, as_released=True), Slow(byte_level())


WORD = st.text(st.characters(exclude_categories=("Z", "C"), exclude_characters="<>"), min_size=1, max_size=6)
SENTENCES = st.lists(st.one_of(st.sampled_from(["Anna", "'s", "Oslo", "harbour", ",", "@ada", "1899"]), WORD), min_size=2, max_size=10)


def test_ids_are_the_slow_tokenizers(encoders):
    encoder, slow = encoders

    @given(words=SENTENCES, data=st.data())
    def any_pair(words, data):
        spans = []
        for _ in range(2):
            start = data.draw(st.integers(0, len(words) - 1))
            spans.append((start, data.draw(st.integers(start + 1, len(words)))))
        ids = slow.encode(marked(tuple(words), *spans), 60)
        found = encoder.encode_pair(tuple(words), *spans)
        if slow.vocab["<o>"] in ids:
            assert found.ids.tolist() == ids
            assert found.markers == (0, ids.index(slow.vocab["<o>"]))

    any_pair()


def test_spaces_by_hand(encoders):
    """No space before the first word, a lone one before `<s>` and `</s>`, none around `<o>` and `</o>`."""
    encoder, _ = encoders
    words = ("Anna", "lives", "in", "Oslo", "!")
    found = encoder.encode_pair(words, (1, 2), (3, 4))
    own = {i: name for name, i in json.loads(byte_level())["model"]["vocab"].items()}
    names = own | dict(zip(encoder.marker_ids, MARKERS, strict=True))
    text = "".join(names[i] for i in found.ids.tolist())
    assert text == "<s>AnnaĠ<s>ĠlivesĠ</s>Ġin<o>Oslo</o>!</s>"
    assert found.markers == (0, found.ids.tolist().index(encoder.marker_ids[2]))
    assert set(found.words.tolist()) == {-1, 0, 1, 2, 3, 4} and found.words[found.ids == encoder.marker_ids[2]] == -1
    lone = [place for place, i in enumerate(found.ids.tolist()) if names[i] == "Ġ"]
    assert (found.words[lone] == -1).all(), "a space belongs to no word"


def test_the_end_of_a_long_sentence_is_cut_unless_a_marker_would_go(encoders):
    encoder, slow = encoders
    words = ("Anna", "lives") + ("harbour", "!") * 40
    ids = slow.encode(marked(words, (0, 1), (1, 2)), 60)
    assert len(ids) == 60 and encoder.encode_pair(words, (0, 1), (1, 2)).ids.tolist() == ids
    late = encoder.encode_pair(words, (0, 1), (80, 81))
    assert len(late.ids) <= 60 and encoder.marker_ids[2] in late.ids and late.ids[late.markers[1]] == encoder.marker_ids[2]


@given(words=SENTENCES, head=st.integers(0, 1))
def test_a_berts_pieces_are_those_of_its_words(words, head):
    """BERT splits at spaces before anything else: the joined sentence has the same pieces, around the same markers."""
    assume(not any(name in word for name in SPECIALS for word in words))
    encoder = TextEncoder(bert(), max_tokens=500, as_released=True)
    found = encoder.encode_pair(tuple(words), (head, head + 1), (1 - head, 2 - head))
    assert found.ids[list(found.markers)].tolist() == [encoder.marker_ids[0], encoder.marker_ids[2]]
    plain = [i for i in found.ids.tolist() if i not in encoder.marker_ids]
    assert plain == TextEncoder(bert(), max_tokens=500).encode(words).ids.tolist()
    assert found.words[found.words >= 0].tolist() == encoder.pieces(words)[1]


def test_a_special_token_that_a_post_spells_out_is_one_as_released():
    encoder = TextEncoder(bert(), as_released=True)
    found = encoder.encode_pair(("oslo", "[SEP]", "anna"), (0, 1), (2, 3))
    assert (found.ids == encoder.special_ids["sep"]).sum() == 2


@functools.cache
def bert() -> str:
    return train_tokenizer([line.split() for line in CORPUS], 200)


@pytest.mark.real
@pytest.mark.parametrize(("split", "dropped"), [("train", 104), ("val", 16), ("test", 14)])
def test_closing_markers_that_the_released_insertion_drops(split, dropped, encoders):
    if not REAL.is_dir():
        pytest.skip(f"no real data at {REAL}")
    records = mnre.read(REAL, split)
    assert sum(len(r.words) in (r.relations[0].head.end, r.relations[0].tail.end) for r in records) == dropped
    encoder, slow = encoders
    encoder, different = TextEncoder(encoder.tokenizer_json, max_tokens=1000, as_released=True), 0
    for record in records[:400]:
        pair = record.relations[0]
        ids = encoder.encode_pair(record.words, pair.head.span, pair.tail.span).ids
        assert ids.tolist() == slow.encode(marked(record.words, pair.head.span, pair.tail.span), 1000), record.origin
        different += not np.array_equal(ids, TextEncoder(encoder.tokenizer_json, max_tokens=1000).encode(record.words).ids)
    assert different == len(records[:400])
