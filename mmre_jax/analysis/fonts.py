"""Which installed fonts have the letters of a text, what is drawn where none has, and what to install then.

Matplotlib falls back from font to font by itself, once it is told their names. It draws no colour fonts: emoji need one of outlines.
"""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence

import matplotlib
from matplotlib.font_manager import FontEntry, FontPath, FontProperties, findfont, findSystemFonts, fontManager, get_font
from matplotlib.ft2font import LoadFlags

STAND_IN = "\N{WHITE SQUARE}"
BLANK = "\N{OPEN BOX}"  # for a word without a visible character
MARKS = 4  # most combining marks on one letter: more would reach into the lines around
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
_NO_LETTER = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
_BUNDLED = ("DejaVu Sans", "STIXGeneral")  # of what comes with matplotlib: others have symbols in the places of letters
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH", "KANGXI", "YI")
_PACKAGES = {"CJK": "fonts-noto-cjk", "emoji and symbols (colour fonts cannot be drawn)": "fonts-symbola", "": "fonts-noto-core"}


def families(text: str) -> list[str]:
    """Names of fonts that together have all letters of a text that any installed font has: the current ones first."""
    default = findfont(FontProperties())
    needed = dict.fromkeys(name for char in dict.fromkeys(text) if (name := _family(char, default)))
    return [*matplotlib.rcParams["font.family"], *needed]


def shown(text: str) -> str:
    """`text` with what no installed font has replaced (see `printable`), so that drawing it with its `families` never warns."""
    default = findfont(FontProperties())
    return printable(text, lambda char: _family(char, default) is not None)


def shown_word(word: str) -> str:
    """`shown`, of which something can always be seen."""
    return shown(word).strip() or shown(BLANK)


def advice(texts: Iterable[str], most: int = 4) -> str:
    """One line on the letters that no installed font has: which they are and what to install; '' where there are none."""
    default = findfont(FontProperties())
    found: dict[str, list[str]] = {}
    for char in dict.fromkeys(char for text in texts for char in text):
        replaced = _regional(char) or 0xFE00 <= ord(char) <= 0xFE0F or unicodedata.category(char) in _NO_LETTER
        if not replaced and _family(char, default) is None:
            found.setdefault(_script(char), []).append(char)
    if not found:
        return ""
    scripts = [f"{script} {' '.join(chars[:most])}{' ...' if len(chars) > most else ''}" for script, chars in found.items()]
    packages = dict.fromkeys(_PACKAGES.get(script, _PACKAGES[""]) for script in found)
    count = f"{sum(map(len, found.values()))} characters are in no installed font and drawn as squares"
    return f"{count}: {'; '.join(scripts)}. Fonts that have them, on Debian: apt-get install {' '.join(packages)}"


def printable(text: str, has_glyph: Callable[[str], bool]) -> str:
    """`text` as fonts can show it.

    Controls become spaces, selectors and other invisible characters go, and so do marks that are missing or more than four on a letter. A
    missing letter becomes a square (or '?'), an emoji of several joined by zero-width joiners one square, a missing flag the letters of
    its country. Joiners stay between letters, whose forms depend on them.
    """
    stand_in = STAND_IN if has_glyph(STAND_IN) else "?"
    shown: list[str] = []
    letter, marks, joined = False, 0, False  # whether the last one shown is a letter; marks on it; whether a joiner followed it
    for char in text:
        category = unicodedata.category(char)
        if char in _JOINERS and letter and has_glyph(char):
            shown.append(char)
        elif category == "Cf" or 0xFE00 <= ord(char) <= 0xFE0F or (0x1F3FB <= ord(char) <= 0x1F3FF and shown and not letter):
            joined = joined or char == _JOINERS[1]
        elif category[0] == "M":
            marks += 1
            if has_glyph(char) and marks <= MARKS and shown and shown[-1] != stand_in:
                shown.append(char)
        else:
            if category in ("Cc", "Zl", "Zp"):
                shown.append(" ")
            elif has_glyph(char):
                shown.append(char)
            elif not (joined and shown and shown[-1] == stand_in):
                shown.append(_regional(char) or stand_in)
            letter, marks, joined = category[0] == "L", 0, False
    return "".join(shown)


def _regional(char: str) -> str:
    """The letter of a regional indicator, two of which make a flag; '' for any other character."""
    place = ord(char) - ord("\N{REGIONAL INDICATOR SYMBOL LETTER A}")
    return chr(ord("A") + place) if 0 <= place < 26 else ""


@functools.lru_cache(maxsize=1 << 16)
def _family(char: str, default: str) -> str | None:
    """'' for a character of the font `default`, else the first fallback that has it, None if none has."""
    if get_font(default).get_char_index(ord(char)):
        return ""
    if unicodedata.category(char) in _NO_LETTER or _regional(char):
        return None
    return next((entry.name for entry in _fallbacks() if _draws(entry, char)), None)


def _draws(entry: FontEntry, char: str) -> bool:
    """Whether a font has an outline for a character: fonts of colour or of blanks claim letters that they do not draw."""
    try:
        font = get_font(FontPath(entry.fname, entry.index))
        index = font.get_char_index(ord(char))
        if not index:
            return False
        font.set_size(12, 72)  # some size
        font.load_glyph(index, LoadFlags.NO_HINTING)
        return unicodedata.category(char) == "Zs" or len(font.get_path()[0]) > 0
    except (OSError, RuntimeError):  # a font that is damaged, or gone since matplotlib listed it
        return False


@functools.lru_cache(maxsize=1)
def _fallbacks() -> Sequence[FontEntry]:
    """One upright font of usual weight for each installed family, in the order in which they are tried: sans serif, simplified Chinese
    where a font has several forms of Han characters, single-width and serif last."""
    known = {entry.fname for entry in fontManager.ttflist}
    for path in sorted(set(findSystemFonts()) - known):  # matplotlib lists fonts once and keeps the list: some were installed since
        try:
            fontManager.addfont(path)
        except (OSError, RuntimeError, NotImplementedError):  # damaged, or a bitmap font
            continue
    regular = {}
    for entry in fontManager.ttflist:
        bundled = entry.fname.startswith(matplotlib.get_data_path())
        usual = (entry.style, entry.variant, entry.weight, entry.stretch) == ("normal", "normal", 400, "normal")
        if usual and (not bundled or entry.name in _BUNDLED) and os.path.exists(entry.fname):
            regular.setdefault(entry.name, entry)
    return sorted(regular.values(), key=_rank)


def _rank(entry: FontEntry) -> tuple[bool, bool, bool, bool, str]:
    name = entry.name
    return "LastResort" in entry.fname, "Mono" in name, "Sans" not in name, "CJK" in name and "SC" not in name, name


def _script(char: str) -> str:
    """What a character belongs to, by the first word of its name."""
    if unicodedata.category(char) in ("So", "Sk", "Sm", "Sc", "No"):
        return "emoji and symbols (colour fonts cannot be drawn)"
    first = unicodedata.name(char, "other").split()[0].split("-")[0]
    return "CJK" if first in _EAST_ASIAN else first.capitalize()
