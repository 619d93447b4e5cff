"""Figures of triples and attention: all that was given is drawn, in matching colours, legible and inside the page."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.text import Text

from mmre_jax.analysis.attention_plots import QueryPanel, query_attention_figure, selective_attention_figure
from mmre_jax.analysis.triple_plots import triples_figure
from mmre_jax.records import Box, Mention, Record, RecordError, Triple

PHOTO = np.full((60, 80, 3), 90, np.uint8)
RECORD = Record(id="post $1", words=tuple("Ann Lee \U0001f525 pays $5 or _a_ to Bob".split()))
ANN, BOB = Mention(0, 2), Mention(8, 9)
LEFT, RIGHT, LOW = (0.05, 0.2, 0.4, 0.7), (0.5, 0.2, 0.9, 0.6), (0.1, 0.8, 0.9, 0.95)
HOLDS, NEAR, FAR = Triple(ANN, "holds", LEFT, 0.75), Triple(BOB, "near", RIGHT, 0.5), Triple(ANN, "holds", LOW, 0.25)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def colour_of(figure: Figure, text: str) -> str:
    (found,) = [one for one in figure.findobj(Text) if one.get_text() == text]
    return found.get_color()


def frames(figure: Figure) -> list[tuple[Box, str, bool]]:
    """(box, colour, dashed) of every box in a photo."""
    return [
        ((x, y, x + patch.get_width(), y + patch.get_height()), patch.get_edgecolor(), patch.get_linestyle() not in ("-", "solid"))
        for axes in figure.axes
        for patch in axes.patches
        if type(patch) is Rectangle and not patch.get_fill() and not same_color(patch.get_edgecolor()[:3], "white")
        for x, y in [patch.get_xy()]
    ]


def drawn(figure: Figure) -> list[tuple[str, object]]:
    """Every visible text with its place in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return [(t.get_text(), t.get_window_extent(canvas.get_renderer())) for t in figure.findobj(Text) if t.get_text() and t.get_visible()]


def clashes(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that lie over each other by more than a pixel, and texts that leave the page."""
    places = drawn(figure)
    found = [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(places, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]
    return found + [(text, "page") for text, a in places if a.x0 < 0 or a.y0 < 0 or a.x1 > figure.bbox.x1 or a.y1 > figure.bbox.y1]


def close(found: list[Box], expected: list[Box]) -> bool:
    return np.allclose(sorted(found), sorted(expected))


def test_predictions_are_framed_listed_and_marked_in_one_colour() -> None:
    figure = triples_figure(RECORD, [HOLDS, NEAR], PHOTO)
    found = texts(figure)
    assert {"post $1", "Ann Lee: holds  0.75", "Bob: near  0.50", "1 Ann Lee: holds", "2 Bob: near", "$5", "_a_", "predicted"} <= set(found)
    assert "no picture" not in found and not clashes(figure)
    (first, second) = frames(figure)
    assert close([first[0], second[0]], [LEFT, RIGHT]) and not (first[2] or second[2])
    entities = {patch.get_edgecolor() for patch in figure.findobj(FancyBboxPatch) if patch.get_facecolor() != (1, 1, 1, 1)}
    assert len({first[1], second[1]}) == 2 and {first[1], second[1]} <= entities
    (number, _) = [text for text in figure.findobj(Text) if text.get_text() == "1"][:2]
    assert same_color(number.get_color(), first[1])


def test_triples_of_one_entity_share_its_colour() -> None:
    figure = triples_figure(RECORD, [HOLDS, FAR], PHOTO)
    assert len({colour for _, colour, _ in frames(figure)}) == 1 and "1, 2" in texts(figure)


def test_gold_marks_right_wrong_and_missed() -> None:
    near = dataclasses.replace(NEAR, box=LOW)
    figure = triples_figure(RECORD, [dataclasses.replace(HOLDS, box=(0.06, 0.2, 0.4, 0.7)), near], PHOTO, (HOLDS, NEAR))
    found = set(texts(figure))
    assert {"Ann Lee: holds  0.75  \N{CHECK MARK}", "Bob: near  0.50  \N{BALLOT X}", "Bob: near  missed", "3 Bob: near"} <= found
    assert close([box for box, _, dashed in frames(figure) if dashed], [LEFT, RIGHT])
    assert close([box for box, _, dashed in frames(figure) if not dashed], [(0.06, 0.2, 0.4, 0.7), LOW])
    assert "Ann Lee: holds  0.75  \N{BALLOT X}" in texts(triples_figure(RECORD, [HOLDS], None, (FAR,)))


def test_the_threshold_decides_what_is_right() -> None:
    half = [dataclasses.replace(HOLDS, box=(0.05, 0.2, 0.4, 0.5))]  # IoU 0.6
    assert any("\N{CHECK MARK}" in text for text in texts(triples_figure(RECORD, half, PHOTO, (HOLDS,), iou=0.5)))
    assert any("\N{BALLOT X}" in text for text in texts(triples_figure(RECORD, half, PHOTO, (HOLDS,), iou=0.7)))


def test_a_missing_picture_is_said_and_the_triples_are_listed() -> None:
    figure = triples_figure(RECORD, [HOLDS], None, (HOLDS,))
    assert {"no picture", "Ann Lee: holds  0.75  \N{CHECK MARK}"} <= set(texts(figure)) and not frames(figure)
    assert "no triples" in texts(triples_figure(RECORD, [], PHOTO, ()))


def test_a_nested_entity_is_drawn_over_the_outer_one() -> None:
    figure = triples_figure(RECORD, [HOLDS, dataclasses.replace(NEAR, mention=Mention(1, 2))], PHOTO)
    outer, inner = [p for p in figure.findobj(FancyBboxPatch) if p.get_width() > 0 and p.get_zorder() == 2]
    assert outer.get_width() > inner.get_width() and outer.get_height() > inner.get_height()


def test_long_lists_stay_legible() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.6, (40, 2))
    boxes = [tuple(map(float, (x, y, x + 0.3, y + 0.3))) for x, y in corners]
    words = tuple(f"word{number}" for number in range(60)) + ("x" * 200,)
    spans = [Mention(3 * (number % 10), 3 * (number % 10) + 2) for number in range(39)] + [Mention(60, 61)]
    triples = [Triple(span, "/a/long/name/of/a/relation" * 3, box, 0.5) for span, box in zip(spans, boxes, strict=True)]
    figure = triples_figure(Record(id="x", words=words), triples, PHOTO, triples[:5])
    listed = [text for text, _ in drawn(figure) if text.endswith("\N{HORIZONTAL ELLIPSIS}") and ": /a" in text]
    assert len(listed) >= 39
    outside_photo = [pair for pair in clashes(figure) if not all(part[:1].isdigit() for part in pair)]
    assert not outside_photo, "only numbers in a crowded photo may touch"


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_labels_in_the_photo_do_not_cover_each_other(count: int) -> None:
    equal = [dataclasses.replace(HOLDS, label=f"relation{number}", box=(0.3, 0.3, 0.7, 0.7)) for number in range(count)]
    assert not clashes(triples_figure(RECORD, equal, PHOTO))


def test_mistakes_name_the_record_and_the_triple() -> None:
    with pytest.raises(RecordError, match=r"record post \$1: predicted triple 2: span \[8, 99\)"):
        triples_figure(RECORD, [HOLDS, dataclasses.replace(NEAR, mention=Mention(8, 99))], PHOTO)
    with pytest.raises(RecordError, match=r"record post \$1: gold triple 1: box"):
        triples_figure(RECORD, [], PHOTO, (dataclasses.replace(NEAR, box=(0.5, 0.0, 0.5, 1.0)),))
    with pytest.raises(ValueError, match=r"a picture is uint8"):
        triples_figure(RECORD, [], PHOTO.astype(np.float32))


TOKENS = ("[CLS]", "Ann", "\u6f22$1", "[SEP]")
ATTENTION = np.random.default_rng(0).dirichlet(np.ones(4), 6)


def test_selective_attention_shows_every_weight() -> None:
    figure = selective_attention_figure(TOKENS, PHOTO, ATTENTION, grid=(2, 3))
    picture, heat, _, *maps = figure.axes
    np.testing.assert_allclose(heat.images[0].get_array(), ATTENTION.T)
    assert [label.get_text() for label in heat.get_yticklabels()][:2] == ["[CLS]", "Ann"]
    assert [text.get_text() for text in picture.texts] == list("012345"), "cells are numbered row by row"
    np.testing.assert_allclose(picture.texts[4].get_position(), (0.5, 0.75))
    shown = [axes for axes in maps if axes.axison]
    for token, axes in enumerate(shown):
        strength = axes.images[1].get_array()[..., 3]
        np.testing.assert_allclose(strength, 0.8 * ATTENTION[:, token].reshape(2, 3) / ATTENTION.max(), atol=1e-6)
    assert len(shown) == 4 and "attention to each token, on the scale above" in texts(figure)


def test_selective_attention_of_a_long_text_keeps_the_most_attended_in_order() -> None:
    tokens = [f"token{number}" for number in range(70)]
    attention = np.full((196, 70), 0.001)
    attention[:, [50, 7, 30]] = (0.5, 0.2, 0.23)
    figure = selective_attention_figure(tokens, PHOTO, attention, grid=(14, 14), maps=3)
    shown = [axes.get_title() for axes in figure.axes if axes.axison and axes.get_title().startswith("token")]
    assert shown == ["token7", "token30", "token50"] and not clashes(figure)
    assert "attention to the 3 tokens of 70 with the most attention, on the scale above" in texts(figure)


def test_selective_attention_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"2 x 2 cells and 4 tokens need attention of shape \(4, 4\), found \(6, 4\)"):
        selective_attention_figure(TOKENS, PHOTO, ATTENTION, grid=(2, 2))
    with pytest.raises(ValueError, match=r"a picture is uint8"):
        selective_attention_figure(TOKENS, PHOTO / 255, ATTENTION, grid=(2, 3))


@pytest.mark.parametrize(("queries", "shape"), [(1, (60, 80)), (2, (80, 30)), (5, (30, 90)), (8, (60, 80))])
def test_each_query_has_its_map_boxes_and_scale(queries: int, shape: tuple[int, int]) -> None:
    photo = np.full((*shape, 3), 90, np.uint8)
    maps = np.random.default_rng(0).random((queries, 3, 4))
    panels = [QueryPanel(weights, f"{q + 1}  Ann Lee: holds\nquery 7", "#123456") for q, weights in enumerate(maps)]
    panels[0] = dataclasses.replace(panels[0], predicted=LEFT)
    panels[-1] = dataclasses.replace(panels[-1], gold=RIGHT)
    figure = query_attention_figure(photo, panels, [(RIGHT, "#654321")])
    first, *rest = [axes for axes in figure.axes if axes.axison and axes.images]
    bars = [axes for axes in figure.axes if axes.axison and not axes.images]
    assert len(rest) == len(bars) == queries and not clashes(figure)
    for axes, weights, bar in zip(rest, maps, bars, strict=True):
        np.testing.assert_allclose(axes.images[1].get_array()[..., 3], 0.8 * weights / weights.max(), atol=1e-6)
        assert [label.get_text() for label in bar.get_yticklabels()] == ["0", f"{weights.max():.2g}"]
        assert same_color(axes.title.get_color(), "#123456")
    assert [axes.get_title() for axes in rest] == [f"{q + 1}  Ann Lee: holds\nquery 7" for q in range(queries)]
    for axes in (first, *rest):
        place = axes.get_window_extent()
        assert place.width / place.height == pytest.approx(shape[1] / shape[0], rel=0.02), "the photo's own proportions"
    found = frames(figure)
    assert close([box for box, _, dashed in found if dashed], [RIGHT, RIGHT]), "in its query's panel, and in the photo"
    assert close([box for box, _, dashed in found if not dashed], [LEFT])
    assert sorted(to_hex(colour) for _, colour, _ in found) == ["#123456", "#123456", "#654321"]


def test_a_map_has_rows_and_columns() -> None:
    with pytest.raises(ValueError, match=r"a query's map has rows and columns, found shape \(4,\)"):
        query_attention_figure(PHOTO, [QueryPanel(np.ones(4), "a")])


def test_attention_of_nothing_is_drawn_as_nothing() -> None:
    figure = query_attention_figure(PHOTO, [QueryPanel(np.zeros((2, 2)), "query 1")])
    assert not figure.axes[1].images[1].get_array()[..., 3].any()


@pytest.mark.parametrize(("shape", "across"), [((60, 80), 600), ((90, 30), 320), (None, 400)])
def test_the_page_is_as_wide_as_what_is_on_it(shape: tuple[int, int] | None, across: float) -> None:
    photo = None if shape is None else np.full((*shape, 3), 90, np.uint8)
    record = Record("a", ("Ann", "Lee"))
    figure = triples_figure(record, [dataclasses.replace(HOLDS, label="r")], photo)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].min(axis=(0, 2))
    blank = figure.bbox.x1 - 1 - np.flatnonzero(pixels < 255).max()
    assert figure.get_size_inches()[0] * 72 <= across and blank <= 40 * figure.dpi / 72


def test_right_to_left_words_and_han_are_listed_and_captioned() -> None:
    words = ("\u05d3\u05e0\u05d4", "\u05d2\u05e8\u05d4", "\u5c0f\u660e")
    figure = triples_figure(Record("a", words), [Triple(Mention(0, 1), "holds", LEFT, 0.75)], PHOTO)
    places = {text: frame for text, frame in drawn(figure)}
    assert places[words[0]].x0 > places[words[1]].x1
