"""The figures: what they show is there, readable, inside the page, and written whole or not at all."""

from __future__ import annotations

import dataclasses
import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.text import Text

from mmre_jax.analysis import plots
from mmre_jax.data.readers import jsonl
from mmre_jax.records import Mention, Record, RecordError, Relation

MNRE = (
    "None,/per/per/parent,/per/per/siblings,/per/per/couple,/per/per/neighbor,/per/per/peer,/per/per/charges,/per/per/alumi,"
    "/per/per/alternate_names,/per/org/member_of,/per/loc/place_of_residence,/per/loc/place_of_birth,/org/org/alternate_names,"
    "/org/org/subsidiary,/org/loc/locate_at,/loc/loc/contain,/per/misc/present_in,/per/misc/awarded,/per/misc/race,/per/misc/religion,"
    "/per/misc/nationality,/misc/misc/part_of,/misc/loc/held_on"
).split(",")

WORDS = tuple("Ann Lee met \U0001f525\u200d\u6f22 Bob , who pays $5 or $10 _a_ , in Oslo".split())
ANN, BOB, OSLO = Mention(0, 2, "person"), Mention(4, 5), Mention(len(WORDS) - 1, len(WORDS))
RECORD = Record(id="tweet $1", words=WORDS, mentions=(ANN, Mention(9, 10, "sum")))
PICTURE = np.full((60, 80, 3), 90, np.uint8)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def arrows(figure: Figure) -> list[FancyArrowPatch]:
    return figure.findobj(FancyArrowPatch)


def overlapping(figure: Figure, chosen: list[Text]) -> list[tuple[str, str]]:
    """Pairs of texts that lie over each other by more than a pixel, and texts that leave the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    frames = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in chosen]
    found = [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(frames, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]
    page = figure.bbox
    outside = [(name, "page") for name, a in frames if a.x0 < 0 or a.y0 < 0 or a.x1 > page.x1 or a.y1 > page.y1]
    return found + outside


def test_confusion_shows_every_count_and_tells_labels_apart() -> None:
    counts = np.random.default_rng(0).integers(0, 3, (23, 23)) * 321
    figure = plots.confusion(counts, MNRE)
    axes = figure.axes[0]
    shown = {(round(text.get_position()[1]), round(text.get_position()[0])): int(text.get_text()) for text in axes.texts}
    assert shown == {(row, column): counts[row, column] for row, column in np.argwhere(counts)}
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert len(set(names)) == 23 and "couple" in names and "org/alternate_names" in names
    assert not overlapping(figure, [*axes.texts, *axes.get_yticklabels(), *axes.get_xticklabels()])


def test_confusion_colours_are_shares_of_the_row() -> None:
    image = plots.confusion(np.array([[6, 2], [0, 0]]), ("None", "a")).axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), [[0.75, 0.25], [0, 0]])


def test_confusion_refuses_another_shape() -> None:
    with pytest.raises(ValueError, match=r"2 labels need counts of shape \(2, 2\), found \(2, 3\)"):
        plots.confusion(np.zeros((2, 3), int), ("a", "b"))


def test_many_classes_have_colours_alone() -> None:
    assert not plots.confusion(np.ones((41, 41), int), [f"r{number}" for number in range(41)]).axes[0].texts


def test_short_names() -> None:
    assert plots.short_names(["/a/x", "/b/x", "x", "/a/y"]) == ["a/x", "b/x", "x", "y"]
    (cut,) = plots.short_names(["a" * 30 + "b" * 30])
    assert len(cut) == 28 and cut.startswith("aaa") and cut.endswith("bbb")


def test_curves_name_the_best() -> None:
    rows = [
        {"step": 1, "train": {"loss": 2.0}},
        {"step": 2, "train": {"loss": 1.0}, "val": {"micro": {"f1": 0.25}}},
        {"step": 3, "val": {"micro": {"f1": 0.875}}},
        {"step": 4},
    ]
    upper, lower = plots.curves(rows, "val.micro.f1").axes
    np.testing.assert_array_equal(upper.lines[0].get_xydata(), [[1, 2], [2, 1]])
    np.testing.assert_array_equal(lower.lines[0].get_xydata(), [[2, 0.25], [3, 0.875]])
    assert "0.875" in [text.get_text() for text in lower.texts]


def test_curves_without_an_evaluation_and_without_a_loss() -> None:
    assert len(plots.curves([{"step": 1, "train": {"loss": 2.0}}], "val.micro.f1").axes) == 1
    with pytest.raises(ValueError, match="none of 1 rows has 'train.loss'; found loss, step"):
        plots.curves([{"step": 1, "loss": 2.0}], "val.micro.f1")


def test_save_is_whole_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    plots.save(Figure(), path)
    first = path.read_bytes()
    assert first.startswith(b"\x89PNG")

    def fail(self: Figure, file: object, format: str) -> None:
        file.write(b"half a picture")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.save(Figure(), path)
    assert path.read_bytes() == first and list(tmp_path.iterdir()) == [path]


def test_save_names_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a.xyz: a figure is saved as one of .*png.*, not 'xyz'"):
        plots.save(Figure(), tmp_path / "a.xyz")
    with pytest.raises(FileNotFoundError):
        plots.save(Figure(), tmp_path / "missing" / "a.png")


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_an_extraction_is_drawn_with_all_it_was_given(tmp_path: Path, suffix: str) -> None:
    relations = [Relation(ANN, BOB, "/per/per/peer", 0.5), Relation(BOB, OSLO, "/per/loc/place_of_birth", 0.25)]
    crops = [(PICTURE[:30], "detected 1"), (PICTURE[:, :20], "\u6f22 2")]
    boxes = [(0.0, 0.0, 1.0, 0.5), (0.0, 0.0, 0.25, 1.0)]
    figure = plots.extraction(RECORD, relations, PICTURE, crops, boxes=boxes, note="Slots of absent crops were masked.")
    plots.save(figure, tmp_path / f"a.{suffix}")
    found = texts(figure)
    for expected in (
        "tweet $1",
        "$5",
        "/per/per/peer 0.50",
        "/per/loc/place_of_birth 0.25",
        "head \u00b7 person",
        "head, tail",
        "tail",
        "sum",
    ):
        assert expected in found
    assert {"1", "2", "detected 1", "Slots of absent crops were masked."} <= set(found) and "no picture" not in found
    assert len(arrows(figure)) == 2


def test_a_missing_picture_is_said() -> None:
    assert "no picture" in texts(plots.extraction(RECORD, [], None, []))


def test_gold_marks_right_wrong_and_missed() -> None:
    relations = [Relation(ANN, BOB, "peer", 0.5), Relation(BOB, OSLO, "None", 0.75), Relation(OSLO, BOB, "None", 1.0)]
    gold = [Relation(ANN, BOB, "peer"), Relation(BOB, OSLO, "lives_in"), Relation(ANN, OSLO, "lives_in")]
    found = texts(plots.extraction(RECORD, relations, None, [], gold=gold))
    assert {"peer 0.50 \N{CHECK MARK}", "None 0.75 \N{BALLOT X} gold lives_in", "None 1.00", "gold lives_in"} <= set(found)
    figure = plots.extraction(RECORD, relations, None, [], gold=gold, show_none=False)
    assert "None 1.00" not in texts(figure) and "None 0.75 \N{BALLOT X} gold lives_in" in texts(figure), (
        "only an unmarked or right None goes"
    )
    assert sorted(arrow.get_linestyle() in ("--", "dashed") for arrow in arrows(figure)) == [False, False, True]


def test_the_empty_relation_is_grey_or_left_out() -> None:
    relations = [Relation(ANN, BOB, "no_relation", 0.5), Relation(BOB, OSLO, None)]
    figure = plots.extraction(RECORD, relations, None, [], none="no_relation")
    assert {arrow.get_edgecolor() for arrow in arrows(figure)} == {
        arrows(plots.extraction(RECORD, relations[1:], None, []))[0].get_edgecolor()
    }
    assert len(arrows(plots.extraction(RECORD, relations, None, [], none="no_relation", show_none=False))) == 1


def test_thirty_words_with_ten_relations_stay_readable() -> None:
    words = tuple(f"word{number}" for number in range(30))
    mentions = [Mention(start, start + 1) for start in range(0, 30, 6)]
    relations = [Relation(head, tail, "/per/loc/place_of_birth", 0.5) for head, tail in itertools.combinations(mentions, 2)]
    figure = plots.extraction(Record(id="x", words=words), relations, None, [])
    chosen = [text for text in figure.findobj(Text) if text.get_text().startswith(("word", "/per"))]
    assert len(chosen) == 40 and not overlapping(figure, chosen)


def test_very_many_arrows_between_lines_widen_the_page() -> None:
    words = tuple("a b c d".split()) + ("x" * 60,) * 2 + tuple("e f g h".split())
    relations = [Relation(Mention(head, head + 1), Mention(tail, tail + 1), "r", 0.5) for head in range(4) for tail in range(6, 10)]
    figure = plots.extraction(Record(id="x", words=words), relations, None, [])
    right = max(arrow.get_path().vertices[:, 0].max() for arrow in arrows(figure))
    assert right < figure.get_size_inches()[0] * 72


PER, ORG, LOC = Mention(0, 2, "PER", 0.5), Mention(4, 5, "ORG"), Mention(len(WORDS) - 1, len(WORDS), "LOC")


def fills(figure: Figure) -> list[tuple[str, str]]:
    """(edge colour, line style) of the boxes behind words."""
    return [(to_hex(box.get_edgecolor()), box.get_linestyle()) for box in figure.findobj(FancyBboxPatch) if box.get_zorder() == 2]


def test_entities_are_drawn_with_all_they_were_given() -> None:
    crops, note = [(PICTURE[:30], "1 detected")], "no picture: masked"
    found = texts(plots.entities(RECORD, [PER, ORG], PICTURE, crops, boxes=[(0.0, 0.0, 1.0, 0.5)], note=note))
    assert {"tweet $1", "$5", "PER 0.50", "ORG", "1 detected", note} <= set(found)
    assert "no picture" in texts(plots.entities(RECORD, [], None, []))


def test_gold_mentions_are_marked_right_wrong_and_missed() -> None:
    gold = [Mention(0, 2, "PER"), Mention(4, 5, "PER"), LOC]
    figure = plots.entities(RECORD, [PER, ORG, Mention(9, 10, "MISC", 0.25)], None, [], gold=gold)
    assert {"PER 0.50 \N{CHECK MARK}", "ORG \N{BALLOT X} gold PER", "MISC 0.25 \N{BALLOT X}", "missed LOC"} <= set(texts(figure))
    assert [style for _, style in fills(figure)].count("--") == 1


def test_a_type_has_one_colour_in_all_figures_that_know_the_types() -> None:
    types = ("LOC", "ORG", "PER")
    alone, together = (plots.entities(RECORD, found, None, [], types=types) for found in ([PER], [PER, ORG, LOC]))
    assert fills(alone)[0] in fills(together) and len(set(fills(together))) == 3


def test_nested_and_crowded_entities_stay_readable() -> None:
    words = tuple(f"w{number}" for number in range(30))
    gold = [Mention(start, start + 3, "ORG") for start in range(0, 30, 3)]
    found = [Mention(start + 1, start + 2, "PER", 0.5) for start in range(0, 30, 3)]
    figure = plots.entities(Record(id="x", words=words), found, None, [], gold=gold)
    chosen = [text for text in figure.findobj(Text) if text.get_text().startswith(("w", "PER", "missed"))]
    assert len(chosen) == 50 and not overlapping(figure, chosen)


def test_mistakes_name_the_record() -> None:
    with pytest.raises(RecordError, match=r"record tweet \$1: tail: span \[4, 99\)"):
        plots.extraction(RECORD, [Relation(ANN, Mention(4, 99), "peer")], None, [])
    with pytest.raises(RecordError, match=r"record tweet \$1: predicted mention: span \[4, 99\)"):
        plots.entities(RECORD, [Mention(4, 99, "PER")], None, [])
    with pytest.raises(RecordError, match=r"record tweet \$1: gold mention: span \[4, 99\)"):
        plots.entities(RECORD, [], None, [], gold=[Mention(4, 99, "PER")])
    with pytest.raises(RecordError, match=r"record tweet \$1: box 1"):
        plots.extraction(RECORD, [], PICTURE, [], boxes=[(0.5, 0.0, 0.2, 1.0)])
    with pytest.raises(ValueError, match=r"a picture is uint8"):
        plots.extraction(RECORD, [], PICTURE.astype(np.float32), [])


def words_of(figure: Figure) -> dict[str, tuple[float, float, float, float]]:
    """The extents of all texts, in points."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    scale = 72 / figure.dpi
    found = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in figure.findobj(Text) if text.get_text()]
    return {text: (place.x0 * scale, place.y0 * scale, place.x1 * scale, place.y1 * scale) for text, place in found}


@pytest.mark.parametrize("shape", [(60, 50), (300, 100), (60, 500), (4, 4), None])
@pytest.mark.parametrize("words", [("Ada", "meets", "Bo"), ("Ada", "Bo", *["word"] * 40), ("Ada", "Bo", "\u05d3\u05e0\u05d4")])
def test_the_page_is_as_wide_as_what_is_on_it(shape: tuple[int, int] | None, words: tuple[str, ...]) -> None:
    picture = None if shape is None else np.full((*shape, 3), 90, np.uint8)
    figure = plots.extraction(Record("a", words), [Relation(Mention(0, 1), Mention(1, 2), "/per/per/peer", 0.5)], picture, [])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].min(axis=(0, 2))
    blank = figure.bbox.x1 - 1 - np.flatnonzero(pixels < 255).max()
    least = plots.LEAST + 2 * plots.EDGE
    assert blank <= 2 * plots.EDGE * figure.dpi / 72 or figure.get_size_inches()[0] * 72 <= least + 1e-6
    assert not overlapping(figure, [text for text in figure.findobj(Text) if text.get_text() in words])


def test_right_to_left_sentences_run_right_to_left() -> None:
    dana, lives, tel, aviv = "\u05d3\u05e0\u05d4", "\u05d2\u05e8\u05d4", "Tel", "Aviv"
    record = Record("a", (dana, lives, tel, aviv))
    figure = plots.extraction(record, [Relation(Mention(0, 1), Mention(2, 4), "lives_in", 0.5)], None, [])
    left = {text: place[0] for text, place in words_of(figure).items()}
    assert left[tel] < left[aviv] < left[lives] < left[dana]
    assert left["head"] == pytest.approx(left[dana], abs=2) and left["tail"] == pytest.approx(left[tel], abs=2)


@pytest.mark.parametrize("word", ["x" * 100_000, "\u6f22" * 50_000, "\u0628" * 50_000, "e" + "\u0301" * 100_000, "\u200d" * 30_000])
def test_the_longest_word_is_drawn_in_no_time(word: str) -> None:
    record, began = Record(word, (word, "Bo")), time.process_time()
    figure = plots.extraction(record, [Relation(Mention(0, 1), Mention(1, 2), word, 0.5)], None, [], note=word)
    FigureCanvasAgg(figure).draw()
    assert time.process_time() - began < 8
    assert figure.get_size_inches()[0] * 72 <= plots.WIDTH


def test_nothing_is_taken_as_a_formula() -> None:
    words = ("$AAPL", "beats", "$TSLA", "\\frac{", "$x_1^", "#win", "%", "$a$")
    figure = plots.extraction(Record("$id$", words), [Relation(Mention(0, 1), Mention(2, 3), "$r_1$", 0.5)], None, [], note="$n$")
    assert {*words, "$id$", "$r_1$ 0.50", "$n$"} <= set(texts(figure))
    assert not any(text.get_parse_math() for text in figure.findobj(Text) if "$" in text.get_text())
    FigureCanvasAgg(figure).draw()


CONTROLS = ("\x07", "a\nb", "a\tb", "\x00", "e\u0301", "\U0001f469\u200d\U0001f467", "\u202eabc", "\u200b", "\ud83d")


def test_what_cannot_be_seen_breaks_no_line() -> None:
    figure = plots.extraction(Record("a\nb", CONTROLS), [Relation(Mention(0, 1), Mention(3, 4), "r", 0.5)], None, [])
    words = [text for text in figure.findobj(Text) if text.get_fontsize() == 12 and text.get_text()]
    assert len(words) == len(CONTROLS) and not any("\n" in text.get_text() for text in figure.findobj(Text))
    assert len({text.get_position()[1] for text in words}) == 1 and not overlapping(figure, words)


CASE = Path(__file__).resolve().parents[3] / "shared" / "cases" / "draw" / "posts.jsonl"


@pytest.mark.skipif(not CASE.is_file(), reason=f"no {CASE}")
def test_the_posts_of_the_shared_case_are_drawn_fast_and_inside_the_page() -> None:
    for record in jsonl.read(CASE):
        relations = [dataclasses.replace(relation, label="/per/per/peer", score=0.5) for relation in record.relations]
        began = time.process_time()
        figure = plots.extraction(record, relations, None, [])
        words = [text for text in figure.findobj(Text) if text.get_fontsize() == 12 and text.get_text()]
        assert len(words) == len(record.words) and not overlapping(figure, words) and time.process_time() - began < 5
