"""Paints the little pictures of `scenes`: six glyphs on textured, tinted ground.

Plain numpy without fonts, files or transcendental functions (only IEEE-exact operations, in a fixed order), so that the same things
and the same random stream give the same bytes on every platform.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from mmre_jax.records import Box

Colour = tuple[float, float, float]

COLOURS: dict[str, Colour] = {
    "red": (0.88, 0.14, 0.13),
    "yellow": (0.97, 0.86, 0.12),
    "green": (0.12, 0.68, 0.20),
    "blue": (0.13, 0.30, 0.90),
    "purple": (0.62, 0.16, 0.74),
    "white": (0.96, 0.96, 0.96),
}
_DARK: Colour = (0.10, 0.09, 0.12)
_WOOD: Colour = (0.36, 0.22, 0.10)
_SKIN: Colour = (0.93, 0.75, 0.60)
_GLASS: Colour = (0.72, 0.85, 0.93)
_SUPERSAMPLING = 4


@dataclasses.dataclass(frozen=True)
class Thing:
    """A glyph in a picture: what it is, where (normalised xyxy, tight), and its own colour (RGB in [0, 1])."""

    kind: str
    box: Box
    colour: Colour


Part = tuple[np.ndarray, Colour]
Glyph = Callable[[np.ndarray, np.ndarray, Colour], tuple[Part, ...]]


def _disc(u: np.ndarray, v: np.ndarray, x: float, y: float, rx: float, ry: float) -> np.ndarray:
    return ((u - x) / rx) ** 2 + ((v - y) / ry) ** 2 <= 1


def _bar(u: np.ndarray, v: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return (u >= x0) & (u <= x1) & (v >= y0) & (v <= y1)


def _trapezium(u: np.ndarray, v: np.ndarray, y0: float, half0: float, y1: float, half1: float, x: float = 0.5) -> np.ndarray:
    """Upright and symmetric about `x`: half as wide as half0 at y0, as half1 at y1. half0 = 0 makes a triangle."""
    t = (v - y0) / (y1 - y0)
    return (t >= 0) & (t <= 1) & (np.abs(u - x) <= half0 + (half1 - half0) * t)


def _shade(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def _person(u: np.ndarray, v: np.ndarray, colour: Colour) -> tuple[Part, ...]:
    legs = _bar(u, v, 0.22, 0.60, 0.45, 1.0) | _bar(u, v, 0.55, 0.60, 0.78, 1.0)
    arms = _bar(u, v, 0.0, 0.32, 1.0, 0.42) | _bar(u, v, 0.0, 0.32, 0.14, 0.56) | _bar(u, v, 0.86, 0.32, 1.0, 0.56)
    return (legs, _DARK), (arms, colour), (_bar(u, v, 0.22, 0.30, 0.78, 0.66), colour), (_disc(u, v, 0.5, 0.15, 0.28, 0.15), _SKIN)


def _ball(u: np.ndarray, v: np.ndarray, colour: Colour) -> tuple[Part, ...]:
    disc = _disc(u, v, 0.5, 0.5, 0.5, 0.5)
    seams = disc & ((np.abs(v - 0.5) <= 0.05) | (np.abs(_squared_gap(u, v, -0.15)) <= 0.06) | (np.abs(_squared_gap(u, v, 1.15)) <= 0.06))
    return (disc, colour), (seams, _DARK)


def _squared_gap(u: np.ndarray, v: np.ndarray, x: float) -> np.ndarray:
    """How far outside (squared) a point lies of the circle about (x, 0.5) of radius 0.45: zero on it. Curved seams of a ball."""
    return (u - x) ** 2 + (v - 0.5) ** 2 - 0.2


def _house(u: np.ndarray, v: np.ndarray, colour: Colour) -> tuple[Part, ...]:
    window = _bar(u, v, 0.20, 0.56, 0.42, 0.76)
    return (
        (_bar(u, v, 0.10, 0.40, 0.90, 1.0), colour),
        (_trapezium(u, v, 0.0, 0.02, 0.45, 0.5), _shade(colour, 0.45)),
        (window, _GLASS),
        (_bar(u, v, 0.56, 0.58, 0.78, 1.0), _DARK),
    )


def _tree(u: np.ndarray, v: np.ndarray, colour: Colour) -> tuple[Part, ...]:
    tiers = _trapezium(u, v, 0.0, 0.03, 0.36, 0.32), _trapezium(u, v, 0.20, 0.12, 0.58, 0.42), _trapezium(u, v, 0.42, 0.20, 0.80, 0.5)
    return (_bar(u, v, 0.40, 0.78, 0.60, 1.0), _WOOD), (tiers[0] | tiers[1] | tiers[2], colour)


def _kite(u: np.ndarray, v: np.ndarray, colour: Colour) -> tuple[Part, ...]:
    sail = _trapezium(u, v, 0.0, 0.02, 0.30, 0.5) | _trapezium(u, v, 0.30, 0.5, 0.74, 0.02)
    cross = sail & ((np.abs(u - 0.5) <= 0.05) | (np.abs(v - 0.30) <= 0.03))
    bows = _trapezium(u, v, 0.80, 0.16, 0.86, 0.02) | _trapezium(u, v, 0.84, 0.02, 0.90, 0.16)
    return (_bar(u, v, 0.46, 0.70, 0.54, 1.0), _DARK), (sail, colour), (cross, _DARK), (bows, colour)


def _car(u: np.ndarray, v: np.ndarray, colour: Colour) -> tuple[Part, ...]:
    wheels = _disc(u, v, 0.24, 0.80, 0.12, 0.20) | _disc(u, v, 0.76, 0.80, 0.12, 0.20)
    hubs = _disc(u, v, 0.24, 0.80, 0.05, 0.085) | _disc(u, v, 0.76, 0.80, 0.05, 0.085)
    windows = _trapezium(u, v, 0.08, 0.15, 0.36, 0.25, 0.48) & ~_bar(u, v, 0.46, 0.0, 0.50, 0.4)
    return (
        (_trapezium(u, v, 0.0, 0.22, 0.40, 0.32, 0.48), colour),
        (_bar(u, v, 0.0, 0.38, 1.0, 0.80), colour),
        (windows, _GLASS),
        (wheels, _DARK),
        (hubs, _GLASS),
    )


# Width over height, and the painter of the unit square (u to the right, v downwards).
GLYPHS: dict[str, tuple[float, Glyph]] = {
    "person": (0.5, _person),
    "ball": (1.0, _ball),
    "house": (1.0, _house),
    "tree": (0.75, _tree),
    "kite": (0.65, _kite),
    "car": (1.7, _car),
}


def render(things: Sequence[Thing], random: np.random.Generator, side: int) -> np.ndarray:
    """Paints `things`, the first at the back, on a ground drawn from `random`.

    Returns:
      uint8 [side, side, 3].
    """
    picture = _ground(random, side)
    brightness = 0.85 + 0.25 * random.random()
    for thing in things:
        _paint(picture, thing)
    noise = (random.random((side, side, 1)) - 0.5) * 0.10
    return (np.clip(picture * brightness + noise, 0, 1) * 255 + 0.5).astype(np.uint8)


def _ground(random: np.random.Generator, side: int) -> np.ndarray:
    """Muted tint with soft blotches, a different one for each picture. Returns float64 [side, side, 3]."""
    tint = 0.34 + 0.18 * random.random() + 0.14 * (random.random(3) - 0.5)
    cells = 6
    blotches = (random.random((cells + 1, cells + 1, 1)) - 0.5) * 0.16
    at = (np.arange(side) + 0.5) * (cells / side)
    low = at.astype(np.int64)
    part = (at - low)[:, None, None]
    rows = blotches[low] * (1 - part) + blotches[low + 1] * part
    part = part.reshape(1, side, 1)
    return tint + rows[:, low] * (1 - part) + rows[:, low + 1] * part


def _paint(picture: np.ndarray, thing: Thing) -> None:
    """Paints one thing into picture [side, side, 3], each pixel by the share of its samples that a part covers."""
    side, n = picture.shape[0], _SUPERSAMPLING
    x0, y0, x1, y1 = (c * side for c in thing.box)
    left, top, right, bottom = max(int(x0), 0), max(int(y0), 0), min(int(x1) + 1, side), min(int(y1) + 1, side)
    u = ((np.arange((right - left) * n) + 0.5) / n + left - x0) / (x1 - x0)
    v = ((np.arange((bottom - top) * n) + 0.5) / n + top - y0) / (y1 - y0)
    parts = GLYPHS[thing.kind][1](u[None, :], v[:, None], thing.colour)
    owner = np.zeros((v.size, u.size), np.int8)
    for number, (mask, _) in enumerate(parts, start=1):
        owner[mask] = number
    window = picture[top:bottom, left:right]
    blocks = owner.reshape(bottom - top, n, right - left, n)
    painted = np.zeros_like(window)
    for number, (_, colour) in enumerate(parts, start=1):
        painted += (np.count_nonzero(blocks == number, axis=(1, 3)) / n**2)[..., None] * np.asarray(colour)
    window *= (np.count_nonzero(blocks == 0, axis=(1, 3)) / n**2)[..., None]
    window += painted
