"""Spans of words among the tokens of a sentence: where a mention stands, and which span a query says."""

from __future__ import annotations

import numpy as np

from mmre_jax.data.encoded import Encoded
from mmre_jax.tasks.task import Outputs


def place_of(span: tuple[int, int], encoded: Encoded) -> tuple[int, int] | str:
    """The tokens of a span's first and last piece, or why there are none: 'truncated' or 'without_pieces'."""
    places, pieces = (np.flatnonzero((words >= span[0]) & (words < span[1])) for words in (encoded.words, encoded.whole))
    if not len(pieces):
        return "without_pieces"
    return "truncated" if len(places) < len(pieces) else (int(places[0]), int(places[-1]))


def said_spans(outputs: Outputs, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each query's most probable span of whole words, int [Q, 2], and its probability, float [Q].

    In a sentence without pieces there is none: (-1, -1), which no word has, with nan.

    Args:
      outputs: start, end float [Q, L].  owners: the word of each token, int [n], -1 for specials.
    """
    words, first, last = _edges(owners)
    if not len(words):
        queries = len(outputs["start"])
        return np.full((queries, 2), -1), np.full(queries, np.nan)
    start, end, probability = _best_spans(outputs["start"][:, first], outputs["end"][:, last])
    return np.stack([words[start], words[end] + 1], axis=1), probability


def _edges(owners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The words that have pieces, in order, and for each the tokens of its first and last piece; int [W] each.

    Args:
      owners: the word of each token, int [n], -1 for specials.
    """
    tokens = np.flatnonzero(owners >= 0)
    words, first = np.unique(owners[tokens], return_index=True)
    last = np.append(first, len(tokens))[1:] - 1
    return words, tokens[first], tokens[last]


def _best_spans(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each query the i <= j that maximise start[i] * end[j], and that product.

    Args:
      start, end: probabilities float [Q, W] over words.
    """
    last = (np.maximum.accumulate(start, axis=1) * end).argmax(axis=1)  # the best start up to each j, times its end
    first = np.where(np.arange(start.shape[1]) <= last[:, None], start, -1.0).argmax(axis=1)
    rows = np.arange(len(start))
    return first, last, start[rows, first] * end[rows, last]
