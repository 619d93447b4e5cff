"""Puts a scene of `scenes` together: what is in the picture, what is said, and what follows from both.

A scene is a function of (task, seed, split, index) alone.

relations: the phrase says how two people are tied (4 families), the picture what ties them (a ball, a house, a kite, a car, or nothing):
  20 cells, all equally likely. 16 of them are a relation each, 4 for each family; the other 4, one for each family and each kind of
  prop, are None. So None is a fifth of each family and at most a quarter of each picture: whoever sees one modality alone cannot tell
  None from some relation any better than by always saying 'some' (0.8), and micro-F1 over the 16 relations is at most
    words alone: 4 cells of 20 right, 20 predicted, 16 true -> 2*4/(20+16) = 0.222;
    picture alone: 5 of 20 (one in each of the 5 columns)   -> 2*5/(20+16) = 0.278;
    both, the picture being another record's: right where it happens to show the same -> 0.16/0.8 = 0.2 (for a perfect reader).
  A class of neutral phrases would have told None from the words alone, pictures without prop None from the picture alone.
entities: names of one or two words; all names of a record have the type of the one thing in the picture that is a person (PER), a house
  (LOC), a ball (ORG) or a car (MISC), beside trees and kites that mean nothing. Words alone: 1/4.
triples: one thing in each quadrant; the words name up to four places; the relation of a name is the kind of the thing at its place.
  Words alone: relation 1/6, box unknown. Picture alone: no span.
grounded: three people of different colours; the words give two names a colour each; the relation is who stands left of whom, or None (a
  fifth) where nobody wears one of the two colours. Words or picture alone: 2*0.4/(1+0.8) = 0.444 by always naming one side.
objects: one to five things of any kinds anywhere, all of them to be found; the words say nothing of them.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from mmre_jax.data.scenes import language
from mmre_jax.data.scenes.draw import COLOURS, GLYPHS, Colour, Thing
from mmre_jax.data.scenes.language import Draws, pick
from mmre_jax.records import Box

TASKS = ("relations", "entities", "triples", "grounded", "objects")
KINDS = tuple(GLYPHS)
NONE = "None"

# (family of the phrase, prop in the picture) -> relation; the cell that a family lacks is None.
RELATIONS: dict[tuple[str, str], str] = {
    ("together", "ball"): "/per/per/teammate",
    ("together", "house"): "/per/per/housemate",
    ("together", "kite"): "/per/per/playmate",
    ("together", "nothing"): "/per/per/friend",
    ("against", "ball"): "/per/per/opponent",
    ("against", "house"): "/per/per/hostile_neighbour",
    ("against", "car"): "/per/per/racing_driver",
    ("against", "nothing"): "/per/per/rival",
    ("teaches", "ball"): "/per/per/coach",
    ("teaches", "kite"): "/per/per/flying_teacher",
    ("teaches", "car"): "/per/per/driving_teacher",
    ("teaches", "nothing"): "/per/per/mentor",
    ("trades", "house"): "/per/per/landlord",
    ("trades", "kite"): "/per/per/toy_seller",
    ("trades", "car"): "/per/per/car_dealer",
    ("trades", "nothing"): "/per/per/business_partner",
}
PROPS = ("ball", "house", "kite", "car", "nothing")
ENTITY_TYPE_OF = {"person": "PER", "house": "LOC", "ball": "ORG", "car": "MISC"}
# Each colour belongs to several kinds, but a kind has few: a small network learns its kinds of things from these in a minute of training,
# and hardly at all from shape alone.
TYPICAL: dict[str, tuple[str, ...]] = {
    "person": ("green", "blue"),  # any colour would do, but then learning takes far longer than a quickstart should
    "ball": ("red", "yellow"),
    "house": ("white", "red"),
    "tree": ("green",),
    "kite": ("yellow", "purple"),
    "car": ("blue", "white"),
}
LEFT, RIGHT = "/per/per/left_of", "/per/per/right_of"


@dataclasses.dataclass(frozen=True)
class Scene:
    """Words, the things of the picture (back to front), and for each span what holds of it.

    `labels` has the type of each span (entities), the kind of the thing at each span's place (triples; `places` says which of `things`),
    or the one relation of head and tail (relations, grounded).
    `factors` is (what the words say, what the picture shows), of which the labels of `relations` and `entities` are a function.
    """

    words: tuple[str, ...]
    things: tuple[Thing, ...]
    spans: tuple[tuple[int, int], ...]
    labels: tuple[str, ...]
    factors: tuple[str, str] = ("", "")
    places: tuple[int, ...] = ()


def stream(task: str, seed: int, split: str, index: int, purpose: int) -> np.random.Generator:
    """The random stream of one scene; purpose 0 is its composition, 1 its ground and noise."""
    key = [seed, TASKS.index(task), language.SPLITS.index(split), index, purpose]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def compose(task: str, seed: int, split: str, index: int) -> Scene:
    """The scene `index` of a split."""
    random = Draws(stream(task, seed, split, index, 0))
    kinds = {"relations": _relations, "entities": _entities, "triples": _triples, "grounded": _grounded, "objects": _objects}
    return kinds[task](random, split)


def _relations(random: Draws, split: str) -> Scene:
    family, prop = pick(random, tuple(language.PHRASES)), pick(random, PROPS)
    head, tail = language.make_names(random, split, 2)
    words, at_head, at_tail = language.relation_sentence(random, family, head, tail)
    # A tree or a person in the prop's stead: the number of things is no hint either.
    kinds = ["person", "tree" if prop == "nothing" else prop, *(pick(random, ("person", "tree")) for _ in range(pick(random, (0, 1, 2))))]
    things = scatter(random, language.shuffled(random, kinds))
    label = RELATIONS.get((family, prop), NONE)
    return Scene(tuple(words), things, ((at_head, at_head + 1), (at_tail, at_tail + 1)), (label,), (family, prop))


def _entities(random: Draws, split: str) -> Scene:
    kind = pick(random, tuple(ENTITY_TYPE_OF))
    frame = pick(random, language.ENTITY_FRAMES)
    names = [language.make_names(random, split, pick(random, (1, 1, 2))) for _ in range(frame.count("{}"))]
    words, spans = language.fill(frame, names)
    kinds = [kind, *(pick(random, ("tree", "kite")) for _ in range(pick(random, (0, 1, 2))))]
    things = scatter(random, language.shuffled(random, kinds))
    return Scene(tuple(words), things, tuple(spans), (ENTITY_TYPE_OF[kind],) * len(spans), ("", kind))


def _triples(random: Draws, split: str) -> Scene:
    things = []
    for place in range(4):
        kind = pick(random, KINDS)
        width, height = _size(random, kind, 0.23, 0.33)
        x = 0.5 * (place % 2) + 0.01 + (0.48 - width) * random.random()
        y = 0.5 * (place // 2) + 0.01 + (0.48 - height) * random.random()
        things.append(Thing(kind, (x, y, x + width, y + height), _colour(random, pick(random, TYPICAL[kind]))))
    named = language.shuffled(random, range(4))[: pick(random, (1, 2, 3, 4))]
    names = language.make_names(random, split, len(named))
    verb = pick(random, language.PLACE_VERBS)
    clauses = [" ".join(("{}", verb, language.PLACES[place])) for place in named]
    words, spans = language.fill(" , ".join(clauses), [[name] for name in names])
    return Scene(tuple(words), tuple(things), tuple(spans), tuple(things[place].kind for place in named), places=tuple(named))


def _grounded(random: Draws, split: str) -> Scene:
    shown = language.shuffled(random, tuple(COLOURS))
    things = scatter(random, ["person"] * 3, colours=shown[:3], apart=0.08)
    said = shown[:2]
    centres = [thing.box[0] + thing.box[2] for thing in things]
    label = LEFT if centres[0] < centres[1] else RIGHT
    if random.random() < 0.2:
        said[pick(random, (0, 1))], label = shown[3], NONE
    names = language.make_names(random, split, 2)
    words, spans = language.fill(pick(random, language.GROUNDED_FRAMES), [[names[0]], [said[0]], [names[1]], [said[1]]])
    order = language.shuffled(random, things)
    return Scene(tuple(words), tuple(order), (spans[0], spans[2]), (label,))


def _objects(random: Draws, split: str) -> Scene:
    things = scatter(random, [pick(random, KINDS) for _ in range(pick(random, (1, 2, 3, 4, 5)))])
    return Scene(("a", "picture"), things, (), tuple(thing.kind for thing in things))


def scatter(random: Draws, kinds: list[str], colours: list[str] | None = None, apart: float = 0.0) -> tuple[Thing, ...]:
    """Things of `kinds` anywhere in the picture, none touching another; centres at least `apart` from each other from left to right.

    Most of the time in which scenes are made passes here, over some 50 tries a scene.
    """
    largest, gap, draw, roots = 0.40, 0.02, random.random, [_root(kind) for kind in kinds]
    while True:
        boxes: list[Box] = []
        low = 0.75 * largest
        span = largest - low
        for root in roots:
            for _ in range(20):
                size = low + span * draw()
                width, height = size * root, size / root
                left, top = 0.01 + (0.98 - width) * draw(), 0.01 + (0.98 - height) * draw()
                right, bottom = left + width, top + height
                until, below = right + gap, bottom + gap
                for a, b, c, d in boxes:
                    if until > a and below > b and c + gap > left and d + gap > top:
                        break
                    if apart and abs(left + right - a - c) < 2 * apart:
                        break
                else:
                    boxes.append((left, top, right, bottom))
                    break
        if len(boxes) == len(kinds):
            named = colours or [pick(random, TYPICAL[kind]) for kind in kinds]
            return tuple(Thing(kind, box, _colour(random, name)) for kind, box, name in zip(kinds, boxes, named, strict=True))
        largest *= 0.97


def _size(random: Draws, kind: str, low: float, high: float) -> tuple[float, float]:
    """Width and height, as shares of the side, of a glyph whose box has an area of low**2 to high**2."""
    size = low + (high - low) * random.random()
    return size * _root(kind), size / _root(kind)


def _root(kind: str) -> float:
    """How much wider a glyph's box is than a square of its area."""
    return math.sqrt(GLYPHS[kind][0])


def _colour(random: Draws, name: str) -> Colour:
    """A shade of a named colour."""
    red, green, blue = COLOURS[name]
    jitter = [0.12 * (random.random() - 0.5) for _ in range(3)]
    return red + jitter[0], green + jitter[1], blue + jitter[2]
