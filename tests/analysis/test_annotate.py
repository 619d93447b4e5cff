"""Drawing onto a page: paragraphs that fit, pictures that stay apart, pages that can be saved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmre_jax.analysis import annotate


@given(st.text(max_size=40))
def test_any_text_is_written_as_it_stands_without_a_warning(text: str) -> None:
    figure, page = annotate.new_page(200, 50)
    annotate.write(page, 10, 20, annotate.shown(text), annotate.WORD, annotate.INK)
    FigureCanvasAgg(figure).draw()


def test_a_page_of_any_length_can_be_saved() -> None:
    for size in ((700.0, 300.0), (700.0, 1e5)):
        figure, _ = annotate.new_page(*size)
        pixels = figure.get_size_inches() * figure.dpi
        assert max(pixels) <= annotate.MOST_PIXELS + 1 and np.allclose(figure.get_size_inches() * 72, size)


@given(st.lists(st.text(alphabet="abcdefghij", min_size=1, max_size=30), max_size=30), st.floats(60, 300))
def test_paragraphs_fit_and_lose_nothing(words: list[str], limit: float) -> None:
    lines = annotate.paragraph(" ".join(words), limit)
    wide = annotate.measure(annotate.LABEL)
    assert all(wide(line) <= limit + 2 for line in lines)
    if all(wide(word) <= limit for word in words):
        assert " ".join(lines) == " ".join(words)


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8)])
def test_a_picture_of_another_shape_is_refused(bad: np.ndarray) -> None:
    frame = (0.0, 0.0, 300.0, 100.0)
    with pytest.raises(ValueError, match=r"a picture is uint8 \[H, W, 3\], found"):
        annotate.draw_pictures(Figure(), frame, bad, [], [])
    with pytest.raises(ValueError, match=r"a picture is uint8 \[H, W, 3\], found"):
        annotate.draw_pictures(Figure(), frame, None, [(bad, "crop")], [])


@pytest.mark.parametrize("count", [0, 1, 3, 7, 20])
@pytest.mark.parametrize("shape", [(40, 300), (300, 40), (60, 60), None])
def test_pictures_stay_apart_and_inside_their_frame(count: int, shape: tuple[int, int] | None) -> None:
    figure = Figure(figsize=(10, 5))
    crops = [(np.zeros((20 + 7 * number, 50, 3), np.uint8), f"crop {number}") for number in range(count)]
    annotate.draw_pictures(figure, (20, 10, 680, 250), None if shape is None else np.zeros((*shape, 3), np.uint8), crops, [])
    places = [panel.get_position() for panel in figure.axes]
    assert len(places) == count + 1
    for number, place in enumerate(places):
        assert place.x0 * 720 >= 20 - 1e-6 and place.x1 * 720 <= 700 + 1e-6
        assert (1 - place.y1) * 360 >= 10 - 1e-6 and (1 - place.y0) * 360 <= 260 + 1e-6
        assert not any(place.overlaps(other) for other in places[:number])
