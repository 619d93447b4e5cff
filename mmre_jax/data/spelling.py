"""How the words of a sentence are written, for systems that read their letters: as the bytes of UTF-8.

Of English a byte is a letter. A tokenizer's vocabulary, its lower-casing and its unknown word have no part in it, and no byte is unknown:
a checkpoint needs no alphabet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BYTES = 257  # rows of a table of bytes: 0 stands for none


def spelled(words: Sequence[str], owners: np.ndarray, length: int, most: int) -> np.ndarray:
    """The bytes of the word that each token of a sentence comes from, int32 [length, most]: a byte's value and 1, behind them 0.

    Args:
      owners: the word of each token, int [n], -1 for one of no word, which has no bytes.
      length: tokens that the sentence is padded to.
      most: bytes of a word that are read, its first ones.
    """
    found = np.zeros((length, most), np.int32)
    for place, word in enumerate(owners.tolist()):
        if word >= 0:
            written = words[word].encode("utf-8", "surrogatepass")[:most]
            found[place, : len(written)] = np.frombuffer(written, np.uint8).astype(np.int32) + 1
    return found
