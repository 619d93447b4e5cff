"""Letters that can be drawn and what stands in for others, whatever fonts are installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from mmre_jax.analysis import annotate, fonts

HAN, FAMILY, FLAG = "\u5c0f\u660e", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f1f3\U0001f1f4"


def has_it(char: str) -> bool:
    return ord(char) < 0x250 or char in (fonts.STAND_IN, "\u5c0f", "\u0628", "\u200c", "\u200d", "\u0301")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain $5 _a_ \\frac{", "plain $5 _a_ \\frac{"),
        ("a\tb\x07c\nd\u2028e", "a b c d e"),
        ("\u26bd\ufe0f!", f"{fonts.STAND_IN}!"),
        ("\u05d0", fonts.STAND_IN),
        ("\ud800", fonts.STAND_IN),
        ("\u6f22\u6f22", fonts.STAND_IN * 2),
        (FAMILY, fonts.STAND_IN),
        (f"{FAMILY}{FAMILY[0]}", fonts.STAND_IN * 2),
        ("\U0001f44d\U0001f3fd", fonts.STAND_IN),
        (FLAG, "NO"),
        ("\u0628\u200c\u0628", "\u0628\u200c\u0628"),
        (" \u200d", " "),
        ("\u202eabc\u2066", "abc"),
        ("e\u0301", "e\u0301"),
        ("e\u0302", "e"),
        ("\u0301", ""),
        ("\u6f22\u0301", fonts.STAND_IN),
        ("e" + "\u0301" * 99 + "f", "e" + "\u0301" * 4 + "f"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert fonts.printable(text, has_it) == expected


def test_a_font_without_the_square_gets_question_marks() -> None:
    assert fonts.printable("a\u6f22", str.isascii) == "a?"


@pytest.mark.parametrize("word", ["\x07", "\u200d", "\u0301", " ", "\ufe0f"])
def test_a_word_can_always_be_seen(word: str) -> None:
    assert fonts.shown_word(word) == fonts.BLANK


def test_shown_text_follows_the_current_font() -> None:
    assert fonts.families("\N{CHECK MARK} a") == matplotlib.rcParams["font.family"]
    with matplotlib.rc_context({"font.family": "cmr10"}):
        assert "DejaVu Sans" in fonts.families("\N{CHECK MARK} a") and fonts.shown("\N{CHECK MARK} a") == "\N{CHECK MARK} a"


@given(st.text(max_size=40))
def test_any_text_is_drawn_in_its_families_without_a_warning(text: str) -> None:
    shown, figure = fonts.shown(text), Figure(figsize=(2, 1))
    figure.text(0, 0, shown, parse_math=False, family=fonts.families(shown))
    FigureCanvasAgg(figure).draw()


@pytest.mark.parametrize("char", [*HAN, "\u05d0", "\u0633", "\u2764", FAMILY[0], "\u0928", "\U00010380"])
def test_a_letter_is_drawn_or_missed_as_the_installed_fonts_say(char: str) -> None:
    """Beside all fonts of outlines on this machine, opened one by one."""
    files = [path for path in font_manager.findSystemFonts() if any(name in path for name in ("Noto", "Symbola", "DejaVuSans."))]
    having = [path for path in files if has_outline(path, char)]
    if having:
        assert fonts.shown(char) == char and fonts.advice([char]) == ""
    elif fonts.shown(char) != char:
        assert fonts.shown(char) == fonts.STAND_IN and char in fonts.advice([char])


def has_outline(path: str, char: str) -> bool:
    font = FT2Font(path)
    if not font.scalable or not font.get_char_index(ord(char)):
        return False
    font.set_size(20, 72)
    font.load_char(ord(char))
    return len(font.get_path()[0]) > 0


SIGN = "\N{CUNEIFORM SIGN A}"


def make_font(path: Path, name: str, outline: bool) -> None:
    """A font of one letter, with or without an outline, as colour fonts have none."""
    builder, pen = FontBuilder(1000, isTTF=True), TTGlyphPen(None)
    if outline:
        for place, draw in (((0, 0), pen.moveTo), ((0, 700), pen.lineTo), ((700, 0), pen.lineTo)):
            draw(place)
        pen.closePath()
    builder.setupGlyphOrder([".notdef", "sign"])
    builder.setupCharacterMap({ord(SIGN): "sign"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "sign": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "sign": (800, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, sTypoDescender=-200, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose fonts count as the system's: as if they were installed when matplotlib had made its list."""
    bundled = [entry for entry in font_manager.fontManager.ttflist if entry.fname.startswith(matplotlib.get_data_path())]
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: [str(path) for path in tmp_path.iterdir()])
    monkeypatch.setattr(font_manager.fontManager, "ttflist", bundled)
    forget()
    yield tmp_path
    monkeypatch.undo()
    forget()


def forget() -> None:
    fonts._fallbacks.cache_clear()
    fonts._family.cache_clear()


def test_without_a_font_the_letter_is_missed(installed: Path) -> None:
    (installed / "damaged.ttf").write_bytes(b"no font")
    make_font(installed / "colour.ttf", "Aa Colour Sans", outline=False)
    assert fonts.shown(SIGN) == fonts.STAND_IN and "Cuneiform" in fonts.advice([SIGN]) and "fonts-noto-core" in fonts.advice([SIGN])


def test_a_font_that_was_just_installed_is_found_and_drawn(installed: Path) -> None:
    make_font(installed / "colour.ttf", "Aa Colour Sans", outline=False)
    make_font(installed / "signs.ttf", "Ab Signs Sans", outline=True)
    assert fonts.shown(SIGN) == SIGN and fonts.advice([SIGN]) == ""
    assert fonts.families(f"a{SIGN}") == [*matplotlib.rcParams["font.family"], "Ab Signs Sans"]
    figure, page = annotate.new_page(100, 50)
    annotate.write(page, 10, 30, SIGN, 30, "black")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    dark = (np.asarray(canvas.buffer_rgba())[..., 0] < 128).sum()
    assert dark == pytest.approx(0.5 * (0.7 * 60) ** 2, rel=0.1), "the triangle of the font"


def test_advice_names_scripts_and_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_family", lambda char, default: "" if char.isascii() else None)
    line = fonts.advice([f"a {HAN} \u0928", f"{HAN} {FAMILY} {FLAG}\ufe0f"])
    assert line.startswith("5 characters are in no installed font") and "\n" not in line
    assert f"CJK {HAN[0]} {HAN[1]};" in line and "Devanagari \u0928" in line and FAMILY[0] in line
    assert line.endswith("apt-get install fonts-noto-cjk fonts-noto-core fonts-symbola")
    assert fonts.advice(["abc", ""]) == ""
