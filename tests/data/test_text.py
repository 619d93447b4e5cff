"""Markers, truncation and alignment of tokenised sentences."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmre_jax.data.text import MARKERS, TextEncoder, load_tokenizer, nested_order, train_tokenizer
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
    encoder = TextEncoder(tokenizer, released_markers=True)
    assert render(encoder, encoder.encode_pair(("a", "b", "c"), (0, 1), (2, 3))) == "[CLS] <s> a </s> b <o> c [SEP]"
    assert render(encoder, encoder.encode_pair(("a", "b", "c"), (1, 2), (0, 1))) == "[CLS] <o> a <s> </o> b </s> c [SEP]"


spans = st.integers(0, 11).flatmap(lambda a: st.integers(a + 1, 12).map(lambda b: (a, b)))


@settings(deadline=None, max_examples=200)
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


@given(head=spans, tail=spans)
def test_nested_order_closes_what_was_opened_last_unless_the_spans_cross(head, tail):
    crossing = head[0] < tail[0] < head[1] < tail[1] or tail[0] < head[0] < tail[1] < head[1]
    stack = []
    for marker, _ in nested_order(head, tail):
        if marker % 2 == 0:
            stack.append(marker)
        elif not crossing:
            assert stack.pop() == marker - 1


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
