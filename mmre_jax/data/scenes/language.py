"""The words of `scenes`: made-up names, and short sentences around them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from mmre_jax.records import SPLITS

T = TypeVar("T")
BLOCK = 128  # draws


# Each family says one thing in five ways. The lengths (2, 3, 3, 3, 4 words) are the same in all of them, so that neither the length of
# the sentence nor the place of its names tells the family.
PHRASES: dict[str, tuple[str, ...]] = {
    "together": ("sticks with", "hangs out with", "spends time with", "laughs along with", "is always seen with"),
    "against": ("competes against", "lines up against", "wants to beat", "complains loudly about", "tries to get past"),
    "teaches": ("patiently instructs", "shows tricks to", "gives lessons to", "explains everything to", "passes some advice to"),
    "trades": ("sells to", "makes deals with", "sends bills to", "takes orders from", "offers a bargain to"),
}
_OPENERS = (("today",), ("again",), ("apparently",), ("look", ":"), ("this", "morning"))
_CLOSERS = (("today",), ("again",), ("!",), ("right", "now"), ("this", "week"))

# One or two names of whatever the picture shows.
ENTITY_FRAMES = (
    "everybody talks about {} again",
    "so this is {} today",
    "{} was in the news again",
    "nobody had heard of {} before",
    "first {} and then {}",
    "we like {} and also {}",
    "{} is better than {} today",
)
PLACES = ("northwest", "northeast", "southwest", "southeast")
PLACE_VERBS = ("", "waits", "sits", "stays")
GROUNDED_FRAMES = ("{} wears {} and {} wears {}", "{} in {} greets {} in {}", "{} likes {} but {} likes {}")

_SYLLABLES = (
    "ba be bi bo da de do fa fi fo ga ge go ka ke ki ko la le li lo lu ma me mi mo na ne ni no pa pe po ra re ri ro ru "
    "sa se si so ta te ti to va ve vi vo za ze zo"
).split()
_CODAS = ("", "", "n", "r", "s", "l")


class Draws:
    """The numbers that `generator.random()` gives one after the other, drawn in blocks, which takes a tenth of the time."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.random = _numbers(generator).__next__


def _numbers(generator: np.random.Generator) -> Iterator[float]:
    while True:
        yield from generator.random(BLOCK).tolist()


def pick(random: Draws, items: Sequence[T]) -> T:
    """One of `items`, each as likely. (One uniform number each: less open to change between numpy versions than `choice`.)"""
    return items[int(random.random() * len(items))]


def shuffled(random: Draws, items: Sequence[T]) -> list[T]:
    """The items in a random order."""
    order = sorted(range(len(items)), key=[random.random() for _ in items].__getitem__)
    return [items[i] for i in order]


def split_of_name(name: str) -> str:
    """The one split in which a name word may occur: 8 in 10 of all names are training's, 1 validation's, 1 test's."""
    share = zlib.crc32(name.encode()) % 10
    return "train" if share < 8 else SPLITS[share - 7]


def make_name(random: Draws, split: str) -> str:
    """A made-up name of two or three syllables, of those that belong to `split`."""
    while True:
        name = "".join(pick(random, _SYLLABLES) for _ in range(2 + (random.random() < 0.5))) + pick(random, _CODAS)
        if split_of_name(name.capitalize()) == split:
            return name.capitalize()


def make_names(random: Draws, split: str, count: int) -> list[str]:
    """`count` different names."""
    names: list[str] = []
    while len(names) < count:
        name = make_name(random, split)
        if name not in names:
            names.append(name)
    return names


def relation_sentence(random: Draws, family: str, head: str, tail: str) -> tuple[list[str], int, int]:
    """A sentence of 5 to 8 words that joins two names by a phrase of `family`, with a word or two before or after.

    Returns:
      words, index of the head, index of the tail.
    """
    phrase = pick(random, PHRASES[family]).split()
    before, after = (list(pick(random, _OPENERS)), []) if random.random() < 0.5 else ([], list(pick(random, _CLOSERS)))
    words = [*before, head, *phrase, tail, *after]
    return words, len(before), len(before) + 1 + len(phrase)


def fill(frame: str, fillers: Sequence[Sequence[str]]) -> tuple[list[str], list[tuple[int, int]]]:
    """Puts `fillers` (each some words) where the frame has '{}'.

    Returns:
      words, and the span (end-exclusive) of each filler.
    """
    words: list[str] = []
    spans: list[tuple[int, int]] = []
    for word in frame.split():
        if word == "{}":
            filler = fillers[len(spans)]
            spans.append((len(words), len(words) + len(filler)))
            words.extend(filler)
        else:
            words.append(word)
    return words, spans
