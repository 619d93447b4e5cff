"""Spans of words among tokens: a hand-worked sentence, of whose words one has two pieces and one none. See also test_triples.py."""

import numpy as np
import pytest

from mmre_jax.data.encoded import Encoded
from mmre_jax.tasks.triple_spans import place_of, said_spans

# [CLS] a b ##b d [SEP]: the word c has no piece, and e was cut off.
WORDS = np.array([-1, 0, 1, 1, 3, -1], np.int32)
ENCODED = Encoded(np.zeros(6, np.int32), WORDS, np.array([0, 1, 1, 3, 4], np.int32))


@pytest.mark.parametrize(
    ("span", "place"),
    [((0, 1), (1, 1)), ((1, 2), (2, 3)), ((0, 4), (1, 4)), ((2, 4), (4, 4)), ((2, 3), "without_pieces"), ((3, 5), "truncated")],
)
def test_tokens_of_a_span(span, place):
    assert place_of(span, ENCODED) == place


def test_a_query_says_whole_words_that_do_not_end_before_they_begin():
    start = np.array([[0.0, 0.1, 0.2, 0.6, 0.1, 0.0], [0.0, 0.1, 0.1, 0.0, 0.8, 0.0]])
    end = np.array([[0.0, 0.1, 0.7, 0.1, 0.1, 0.0], [0.0, 0.9, 0.0, 0.05, 0.05, 0.0]])
    spans, sure = said_spans({"start": start, "end": end}, WORDS)
    assert spans.tolist() == [[1, 2], [0, 1]], "not from the middle of b, and not from d back to a"
    np.testing.assert_allclose(sure, [0.2 * 0.1, 0.1 * 0.9])
    nowhere, nothing = said_spans({"start": start, "end": end}, np.full(6, -1))
    assert nowhere.tolist() == [[-1, -1]] * 2 and np.isnan(nothing).all()
