"""What classes and settings are called in figures: short, on one line, in glyphs of some font."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Sequence

from matplotlib import font_manager
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import text_to_path

from tuner.home.baselines import BALANCED
from tuner.home.records import Record
from tuner.text import elided, one_line, visible

FONT = FontProperties(family="DejaVu Sans", size=1)

# Beside matplotlib's own font: whichever of these a machine has.
_FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Noto Sans",
    "Noto Sans Devanagari",
    "Noto Sans Arabic",
    "Noto Sans Thai",
    "Segoe UI Symbol",
)
_MISSING = "▯"
_SHORT_TITLES = {BALANCED: "balanced weights"}


def short_title(record: Record) -> str:
    """A baseline's title, shortened where it is long, or a trial's number."""
    return _SHORT_TITLES.get(record.name, record.title)


def short_labels(class_names: Sequence[str], *, longest: int) -> list[str]:
    """Distinct labels of at most about `longest` characters.

    The middle of a long name is left out, because names often differ at an end. Labels that
    lost too much get the class's place in front.

    Args:
        class_names: In class order.
        longest: Characters kept, 3 or more.
    """
    names = [visible(one_line(name)) for name in class_names]
    labels = [elided(name, longest=longest) for name in names]
    if len(set(labels)) < len(set(names)):
        labels = [elided(name, longest=longest) for name in _without_common_ends(names)]
    counts = Counter(labels)
    return [
        f"{k}: {label}" if counts[label] > 1 or _MISSING in label else label
        for k, label in enumerate(labels)
    ]


def _without_common_ends(names: list[str]) -> list[str]:
    """Names without the words at the beginning and at the end that all of them share."""
    head = _n_common(names)
    rest = [name[head:] for name in names]
    tail = _n_common([name[::-1] for name in rest])
    before, after = "…" if head else "", "…" if tail else ""
    return [f"{before}{name[: len(name) - tail]}{after}" for name in rest]


def _n_common(names: list[str]) -> int:
    """Characters at the beginning, up to the end of a word, that all names share."""
    places = zip(*names, strict=False)
    n = sum(1 for _ in itertools.takewhile(lambda place: len(set(place)) == 1, places))
    while n and names[0][n - 1].isalnum():
        n -= 1
    return n


def width_em(text: str) -> float:
    """Width of a text on one line in font sizes; a character of another font counts as 1."""
    known = _glyphs(font_manager.findfont("DejaVu Sans"))
    return sum(advance(c) if ord(c) in known else 1.0 for c in text)


@functools.cache
def advance(character: str) -> float:
    """How far the next character is from this one, in font sizes."""
    return _width(f"0{character}0") - _width("00")


def _width(text: str) -> float:
    return float(text_to_path.get_text_width_height_descent(text, FONT, False)[0])


def drawable(text: str) -> str:
    """Text on one line in which every character has a glyph, for pictures made of pixels."""
    line = visible(one_line(text), mark=_MISSING)
    known = _glyphs(font_manager.findfont("DejaVu Sans"))
    if all(ord(c) in known for c in line):
        return line
    known = known.union(*(_glyphs(path) for _, path in _installed()))
    return "".join(c if ord(c) in known else _MISSING for c in line)


def font_families(texts: Sequence[str]) -> list[str]:
    """Fonts to draw texts with: matplotlib's own and, where it lacks a glyph, what is there."""
    known = _glyphs(font_manager.findfont("DejaVu Sans"))
    if all(ord(c) in known for text in texts for c in text):
        return ["DejaVu Sans"]
    return ["DejaVu Sans", *(name for name, _ in _installed())]


@functools.cache
def _installed() -> tuple[tuple[str, str], ...]:
    """Name and path of each fallback that this machine has; asking for others would warn."""
    paths = {font.name: font.fname for font in font_manager.fontManager.ttflist}
    return tuple((name, paths[name]) for name in _FALLBACKS if name in paths)


@functools.cache
def _glyphs(path: str) -> frozenset[int]:
    return frozenset(FT2Font(path).get_charmap())
