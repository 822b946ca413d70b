"""Figures inside a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from tuner.report.figures.confusion import plot_confusion_matrix
from tuner.report.figures.palette import INK, PAPER, ROLES, TEXT_TURNS_AT
from tuner.report.page.svg import inline_svg


def luminance(colour):
    """Relative luminance of WCAG of a colour given as three values in 0..255."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in
              (value / 255 for value in colour)]  # fmt: skip
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    """Contrast of WCAG, 1 to 21."""
    low, high = sorted([luminance(a), luminance(b)])
    return (high + 0.05) / (low + 0.05)


def rgb(text):
    """Three values in 0..255 of ``#rrggbb``."""
    return [int(text[i : i + 2], 16) for i in (1, 3, 5)]


def drawn(names=("<b>&", "rare", "猫"), key="f"):
    """A confusion matrix as inline SVG."""
    ax = plot_confusion_matrix([[8, 2, 0], [1, 3, 0], [0, 0, 5]], names)
    return inline_svg(ax.figure, key=key, alt='8 of 10 & "more"')


def test_text_stays_text_and_is_escaped():
    """Counts and names are text elements; parsed, they are what was drawn."""
    root = ElementTree.fromstring(drawn())
    texts = [element.text for element in root.iter("text")]
    assert {"<b>&", "rare", "猫", "8", "80%"} <= set(texts)
    assert root.get("aria-label") == '8 of 10 & "more"'


def test_colours_are_variables_of_the_page():
    """No ink, paper or scale colour is left that would be fixed in the dark."""
    svg = drawn()
    assert "var(--map)" in svg
    assert "var(--ink)" in svg
    assert not set(re.findall(r"#[0-9a-f]{6}", svg)) & {role.light for role in ROLES.values()}


def test_identifiers_begin_with_the_key_and_differ_between_figures():
    """Two figures of one page share no identifier, and every reference has a target."""
    first, second = drawn(key="a"), drawn(key="b")
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert not ids[0] & ids[1]
    for svg, known in zip((first, second), ids, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= known
        assert set(re.findall(r'href="#([^"]+)"', svg)) <= known


def test_cells_that_nobody_sees_are_left_out():
    """A matrix of 40 classes with a clean diagonal is a small figure."""
    ax = plot_confusion_matrix(np.eye(40, dtype=int) * 9, [f"c{k}" for k in range(40)])
    svg = inline_svg(ax.figure, key="f", alt="9")
    assert svg.count("var(--map)") == 40
    assert len(svg) < 60_000


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "role", ["ink", "muted", "winner", "plain", "balanced", "recipe", "warning"]
)
def test_texts_can_be_read_on_both_backgrounds(theme, role):
    """WCAG AA: contrast of every text colour to the paper is at least 4.5."""
    paper = getattr(ROLES["paper"], theme)
    assert contrast(rgb(getattr(ROLES[role], theme)), rgb(paper)) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_numbers_in_cells_can_be_read_at_any_shade(theme):
    """The text colour turns where it should: contrast is 3.5 or more at every opacity."""
    paper, ink, shade = (rgb(getattr(ROLES[r], theme)) for r in ("paper", "ink", "map"))
    for percent in range(101):
        alpha = percent / 100
        cell = [alpha * a + (1 - alpha) * b for a, b in zip(shade, paper, strict=True)]
        text = paper if alpha >= TEXT_TURNS_AT else ink
        assert contrast(text, cell) >= 3.5, percent


def test_light_colours_are_what_figures_are_drawn_in():
    """Each role has a colour of its own, or one would turn into another's variable."""
    assert len({role.light for role in ROLES.values()}) == len(ROLES)
    assert (ROLES["paper"].light, ROLES["ink"].light) == (PAPER, INK)
