"""Words to pieces and back: tokenizers, entity markers, truncation that never drops a marker, alignment of words and pieces."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from mmre_jax.data import whole_words
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.markers import MARKERS, Span, nearest, nested_order, released_order
from mmre_jax.data.tokenizer_files import behind_space
from mmre_jax.records import RecordError

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROLES = {  # the special tokens that an encoder needs, under BERT's names and RoBERTa's
    "pad": ("[PAD]", "<pad>"),
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
    "unk": ("[UNK]", "<unk>"),
}
LEAST = {  # entries of each kind of trained tokenizer
    **dict.fromkeys(("bpe", "word", whole_words.KIND), len(SPECIALS)),
    "byte_bpe": len(SPECIALS) + 256,
}
END = "<|endoftext|>"  # GPT-2's only special token, which stands between two texts
_MARKER = re.compile(r"(</?s>|\s*</?o>\s*)")
Pieces = tuple[list[int], list[int]]  # of a sentence: the pieces' ids, and the word each comes from


@dataclasses.dataclass(frozen=True)
class TextEncoder:
    """A tokenizer (as JSON, so that a checkpoint can hold it) plus, where pairs are marked, four marker ids right behind its vocabulary.

    Every sentence begins with [CLS] and ends with [SEP], or what the tokenizer has in their place. GPT's tokenizers have none of their own:
    GPT-2's <|endoftext|> stands at both ends, is the padding, and would be the unknown piece, which bytes never are. GPT-1 gets rows for a
    first and a last token, as its authors fine-tuned it (Radford et al. 2018, section 3.3), and for the padding. Both get a [MASK].

    The markers are never strings of the tokenizer: a post that contains "<s>" literally cannot forge one, and RoBERTa's own
    `<s>` and `</s>` (BOS and EOS) stay what they are.

    max_tokens: longest sequence, specials and markers included; longer sentences are cut around the entities.
    as_released: encode as the released PyTorch code does, pairs see `_joined`; for converted checkpoints only. There a token which
      the tokenizer already has under a marker's name is the marker, so that RoBERTa's first `<s>` is its BOS.
    markers: whether there are markers at all; False for tasks that mark no pair, whose word table then has no rows for them.
    causal: whether it is for a GPT: special tokens that the tokenizer lacks have rows behind the markers'. Else their lack is an error.
    """

    tokenizer_json: str
    max_tokens: int = 80
    as_released: bool = False
    markers: bool = True
    causal: bool = False

    @functools.cached_property
    def tokenizer(self) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer.from_str(self.tokenizer_json)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True  # "[SEP]" in a post is text, not a separator
        return tokenizer

    def __getstate__(self) -> dict[str, object]:  # the Rust tokenizer is rebuilt in worker processes
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @functools.cached_property
    def _running(self) -> tokenizers.Tokenizer:
        """The tokenizer for running text, as the released code calls it: no space is added, and special tokens are recognised."""
        found = json.loads(self.tokenizer_json)
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps({**found, "pre_tokenizer": behind_space(found.get("pre_tokenizer"), False)}))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    @functools.cached_property
    def _whole(self) -> dict[str, int] | None:
        return whole_words.vocabulary(self.tokenizer_json)

    @property
    def vocab_size(self) -> int:
        """Rows a word table needs: the tokenizer's ids and those of the added tokens behind them."""
        return self._base + len(self.added)

    @property
    def words(self) -> dict[str, int]:
        """{word or piece: id} of the tokenizer, in the order of the ids, without special tokens."""
        special = set(self.special_ids.values())
        known = sorted(self.tokenizer.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1])
        return {word: place for word, place in known if place not in special}

    @functools.cached_property
    def added(self) -> tuple[str, ...]:
        """The names of the rows behind the tokenizer's, in their order: of the markers, and of special tokens that it lacks."""
        own = [name for name in MARKERS if self.as_released and self.tokenizer.token_to_id(name) is not None]
        markers = [name for name in MARKERS if name not in own] if self.markers else []
        return (*markers, *(names[0] for role, names in ROLES.items() if self.causal and self._own_id(role) is None))

    @functools.cached_property
    def marker_ids(self) -> tuple[int, ...]:
        """Ids of MARKERS, in their order. Raises ValueError if there are to be none."""
        if not self.markers:
            raise ValueError("this encoder marks no pairs: it was made with markers=False")
        ids = (self._base + self.added.index(name) if name in self.added else self.tokenizer.token_to_id(name) for name in MARKERS)
        return tuple(ids)

    @functools.cached_property
    def _base(self) -> int:
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def _own_id(self, role: str) -> int | None:
        """The tokenizer's id for a role of ROLES."""
        own, theirs = ROLES[role]
        # Before RoBERTa's names: a directory written with its markers (weights/text_directory.py) has <s> and </s> beside END.
        names = (own, END, theirs) if self.causal and role != "mask" else (own, theirs)
        return next((i for i in map(self.tokenizer.token_to_id, names) if i is not None), None)

    @functools.cached_property
    def special_ids(self) -> dict[str, int]:
        """Ids of pad, cls, sep, mask and unk."""
        found = {}
        for role, names in ROLES.items():
            own = self._own_id(role)
            if own is None and not self.causal:
                raise ValueError(f"the tokenizer has none of {names}, needed as its {role} token")
            found[role] = self._base + self.added.index(names[0]) if own is None else own
        return found

    def pieces(self, words: Sequence[str]) -> Pieces:
        """Ids of all pieces of `words`, and the word each comes from. A word of which the tokenizer leaves nothing has no piece."""
        return self._each_once([words])[tuple(words)]

    def _each_once(self, sentences: Iterable[Sequence[str]]) -> dict[tuple[str, ...], Pieces]:
        """The pieces of each different sentence, tokenised together, on all processors."""
        different = list(dict.fromkeys(map(tuple, sentences)))
        # XLM-R's model has "<s>" among its pieces, so that a post could still spell it out: there it is an unknown word.
        unknown, special = self.special_ids["unk"], set(self.special_ids.values())
        known = self._whole
        read = different if known is None else [whole_words.read(words, known) for words in different]
        encodings = self.tokenizer.encode_batch(read, add_special_tokens=False, is_pretokenized=True)
        ids = ([unknown if i in special else i for i in each.ids] for each in encodings)
        owners = ([-1 if word is None else word for word in each.word_ids] for each in encodings)
        return dict(zip(different, zip(ids, owners, strict=True), strict=True))

    def encode(self, words: Sequence[str], max_tokens: int | None = None) -> Encoded:
        """The sentence without markers; an over-long one loses its end.

        Args:
          max_tokens: longest sequence, specials included; the encoder's if None.
        """
        return self.encode_all([words], max_tokens)[0]

    def encode_all(self, sentences: Sequence[Sequence[str]], max_tokens: int | None = None) -> list[Encoded]:
        """`encode` of each; one that comes again is not tokenised again."""
        room = (self.max_tokens if max_tokens is None else max_tokens) - 2
        found = {words: self._wrap(ids[:room], owners[:room], owners) for words, (ids, owners) in self._each_once(sentences).items()}
        return [found[tuple(words)] for words in sentences]

    def encode_pair(self, words: Sequence[str], head: Span, tail: Span) -> Encoded:
        """The sentence with `<s> head </s>` and `<o> tail </o>`; of an over-long one the pieces farthest from both entities go.

        As released an over-long one loses its end, unless one of the opening markers would go with it.

        Raises:
          RecordError: if max_tokens leaves no room for a piece beside specials and markers.
        """
        return self.encode_pairs([(words, head, tail)])[0]

    def encode_pairs(self, pairs: Sequence[tuple[Sequence[str], Span, Span]]) -> list[Encoded]:
        """`encode_pair` of each; a sentence of several pairs is tokenised once, save as released, where it is another text for each."""
        if self.as_released:
            return [self._as_released(*pair) for pair in pairs]
        pieces = self._each_once(words for words, _, _ in pairs)
        return [self._marked(pieces[tuple(words)], nested_order(head, tail), head, tail) for words, head, tail in pairs]

    def _as_released(self, words: Sequence[str], head: Span, tail: Span) -> Encoded:
        ids, owners = self._joined(words, head, tail)
        cut = self._wrap(ids[: self.max_tokens - 2], owners[: self.max_tokens - 2], [owner for owner in owners if owner >= 0])
        if all((cut.ids == self.marker_ids[m]).any() for m in (0, 2)):
            return self._opened(cut)
        order = [(marker, boundary) for marker, boundary in released_order(head, tail) if boundary < len(words)]
        return self._marked(self.pieces(words), order, head, tail)

    def _marked(self, pieces: Pieces, order: Sequence[tuple[int, int]], head: Span, tail: Span) -> Encoded:
        """A sentence's pieces with the markers among them. order: (marker, word boundary) as they are to stand."""
        ids, owners = pieces
        room = self.max_tokens - 2 - len(MARKERS)
        if room < 2:
            raise RecordError(f"max_tokens={self.max_tokens} leaves no room for text beside [CLS], [SEP] and four markers")
        if len(ids) > room:
            kept = nearest(owners, head, tail, room)
            ids, owners = [ids[i] for i in kept], [owners[i] for i in kept]
        out_ids: list[int] = []
        out_owners: list[int] = []
        position = 0
        for marker, boundary in order:
            while position < len(ids) and owners[position] < boundary:
                out_ids.append(ids[position])
                out_owners.append(owners[position])
                position += 1
            out_ids.append(self.marker_ids[marker])
            out_owners.append(-1)
        return self._opened(self._wrap(out_ids + ids[position:], out_owners + owners[position:], pieces[1]))

    def _joined(self, words: Sequence[str], head: Span, tail: Span) -> Pieces:
        """Ids and words of all pieces of a marked sentence without [CLS] and [SEP], as the released code makes them.

        The markers are inserted among the words, in the order `<s>`, `</s>`, `<o>`, `</o>` at one boundary and none behind the last word;
        all of it is joined by spaces and tokenised anew, as one text around the markers. With RoBERTa, whose pieces hold the spaces, the
        first word then has none before it, and around `<o>` and `</o>` spaces are dropped, which the slow tokenizer does with tokens that
        were added as plain strings, but not around its own `<s>` and `</s>`: a space before these is a piece by itself.
        """
        marked: list[tuple[str, int]] = [(word, i) for i, word in enumerate(words)]
        for marker, boundary in reversed(released_order(head, tail)):
            if boundary < len(words):
                marked.insert(boundary, (MARKERS[marker], -1))
        text = " ".join(word for word, _ in marked)
        owner_of = [owner for word, owner in marked for _ in f"{word} "]  # of each character; a space goes with the word before it
        ids: list[int] = []
        owners: list[int] = []
        position = 0
        for part in _MARKER.split(text):
            if (name := part.strip()) in MARKERS:
                ids.append(self.marker_ids[MARKERS.index(name)])
                owners.append(-1)
            else:
                encoding = self._running.encode(part, add_special_tokens=False)
                ids += encoding.ids
                letters = (range(position + start, position + end) for start, end in encoding.offsets)
                owners += [next((owner_of[i] for i in places if not text[i].isspace()), -1) for places in letters]
            position += len(part)
        return ids, owners

    def _opened(self, encoded: Encoded) -> Encoded:
        """With the positions of the first opening markers."""
        ids = encoded.ids.tolist()
        opened = tuple(ids.index(self.marker_ids[m]) for m in (0, 2))
        return dataclasses.replace(encoded, markers=opened)

    def _wrap(self, ids: list[int], owners: list[int], whole: list[int]) -> Encoded:
        special = self.special_ids
        arrays = ([special["cls"], *ids, special["sep"]], [-1, *owners, -1], whole)
        return Encoded(*(np.array(values, np.int32) for values in arrays))


def train_tokenizer(sentences: Iterable[Sequence[str]], vocab_size: int, kind: str = "bpe") -> str:
    """A tokenizer trained on tokenised sentences (the training split's), as JSON; the same for the same sentences.

    Args:
      vocab_size: entries, specials included.
      kind: 'bpe': a word that training never had falls into pieces, down to single characters of the training alphabet.
        'byte_bpe': into bytes at last, so that none is unknown, and words keep their capitals: GPT-2's (Radford et al. 2019, section 2.2).
        'word': the most frequent words; all others are one and the same unknown word, so that rare names cannot be learnt by heart.
        'whole': likewise, but as they are, with capitals and all (whole_words.py).
        All others but byte_bpe lower-case.

    Raises:
      ValueError: for another kind, or a vocabulary that is too small for it.
    """
    check_vocabulary(kind, vocab_size)
    if kind == whole_words.KIND:
        return whole_words.train(sentences, vocab_size, SPECIALS)
    settings: dict[str, Any] = {"vocab_size": vocab_size, "special_tokens": list(SPECIALS), "show_progress": False}
    if kind == "byte_bpe":
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
        trainer = trainers.BpeTrainer(initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), **settings)
    else:  # not WordPiece: its trainer numbers the pieces inside words in the order of a hash table, another one each time
        whole = kind == "word"
        tokenizer = tokenizers.Tokenizer((models.WordLevel if whole else models.BPE)(unk_token="[UNK]"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
        trainer = (trainers.WordLevelTrainer if whole else trainers.BpeTrainer)(**settings)
    tokenizer.train_from_iterator((" ".join(words) for words in sentences), trainer)
    return tokenizer.to_str()


def check_vocabulary(kind: str, vocab_size: int) -> None:
    """Raises ValueError for a kind of tokenizer that cannot be trained, or a vocabulary that is too small for it."""
    if kind not in LEAST:
        raise ValueError(f"text.tokenizer is one of {', '.join(LEAST)}, found {kind!r}")
    if vocab_size < LEAST[kind]:
        raise ValueError(f"text.vocab_size={vocab_size} is too small for text.tokenizer={kind}: it has at least {LEAST[kind]} entries")
