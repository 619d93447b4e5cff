"""A tokenised sentence, as it travels from the pass that finds its length to features, decoding and metrics."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Encoded:
    """What a system reads of the text of an example.

    ids: int32 [n], with [CLS] first and [SEP] last.  words: int32 [n], the word each piece comes from, -1 for specials and markers.
    whole: int32 [m], the word of every piece of the sentence, those that were cut off included.
    markers: positions of the head's and the tail's opening markers, or () where no pair was marked.
    caption: int32 [c], what its picture is said to show, [CLS] and [SEP] included; None where there is no caption, or none is read.
    """

    ids: np.ndarray
    words: np.ndarray
    whole: np.ndarray
    markers: tuple[int, ...] = ()
    caption: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def cut_off(self) -> set[int]:
        """The words that have a piece, and none among those that are read: the sentence was too long."""
        return set(self.whole.tolist()).difference(self.words.tolist())
