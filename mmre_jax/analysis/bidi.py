"""In which order the words of a line stand where right-to-left scripts occur: the Unicode bidirectional algorithm (UAX #9), of words.

Words are placed one by one, so each is one character to the algorithm: right-to-left if its letters are, a number, or neutral; a word of
both directions has the sentence's own. Inside a word matplotlib orders, joins and mirrors the letters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_LEFT_TO_RIGHT, _RIGHT_TO_LEFT = "\N{LEFT-TO-RIGHT MARK}", "\N{RIGHT-TO-LEFT MARK}"


def runs_right_to_left(words: Sequence[str]) -> bool:
    """The direction of a sentence: that of its first letter (rules P2 and P3)."""
    strong = (kind for word in words for char in word if (kind := _strong(char)))
    return next(strong, "L") == "R"


def levels(words: Sequence[str]) -> list[int]:
    """The embedding levels of words and of the spaces between them, by turns; int [2 n - 1] of n words.

    Even ones run left to right, odd ones right to left (rules W2, W7, N1, N2, I1, I2).
    """
    base = int(runs_right_to_left(words))
    kinds: list[str] = []
    direction, letters = "R" if base else "L", ""
    for word in words:
        kind = _kind(word, "R" if base else "L")
        if kind in ("L", "R"):
            direction, letters = kind, "AL" if kind == "R" and any(unicodedata.bidirectional(char) == "AL" for char in word) else kind
        elif kind == "EN" and letters == "AL":
            kind = "AN"
        elif kind == "EN" and direction == "L":
            kind = "L"
        kinds += [kind, ""]
    kinds = _neutrals(kinds[:-1], "R" if base else "L")
    return [base + (kind == "L" if base else kind == "R") + (1 + (not base)) * (kind in ("EN", "AN")) for kind in kinds]


def visual_order(levels: Sequence[int]) -> list[int]:
    """The words of a line from left to right, by their places (rule L2).

    Args:
      levels: of the line's words and the spaces between them, as `levels` gives them.
    """
    order = list(range(len(levels)))
    for level in range(max(levels, default=0), 0, -1):
        start = 0
        while start < len(order):
            end = start
            while end < len(order) and levels[order[end]] >= level:
                end += 1
            order[start:end] = reversed(order[start:end])
            start = end + 1
    return [place // 2 for place in order if place % 2 == 0]


def marked(word: str, level: int) -> str:
    """The word with an invisible mark before it where its own letters would not tell its direction, as of a bracket in Hebrew text."""
    own = next((kind for char in word if (kind := _strong(char))), "")
    if level % 2:
        return word if own == "R" else _RIGHT_TO_LEFT + word
    return _LEFT_TO_RIGHT + word if own == "R" else word


def _strong(char: str) -> str:
    kind = unicodedata.bidirectional(char)
    return {"L": "L", "R": "R", "AL": "R"}.get(kind, "")


def _kind(word: str, base: str) -> str:
    """'L', 'R', 'EN' or 'AN' (a number with Latin or Arabic digits) or '' for a neutral word."""
    strong = {kind for char in word if (kind := _strong(char))}
    if strong:
        return strong.pop() if len(strong) == 1 else base
    numbers = [kind for char in word if (kind := unicodedata.bidirectional(char)) in ("EN", "AN")]
    return numbers[0] if numbers else ""


def _neutrals(kinds: Sequence[str], base: str) -> list[str]:
    """Neutral words take the direction of both sides where these agree (numbers are right-to-left here), else the sentence's."""
    sides = [("R" if kind in ("EN", "AN") else kind) for kind in kinds]
    before, behind = [], []
    for found, order in ((before, sides), (behind, sides[::-1])):
        last = base
        for kind in order:
            last = kind or last
            found.append(last)
    behind.reverse()
    return [kind or (left if left == right else base) for kind, left, right in zip(kinds, before, behind, strict=True)]
