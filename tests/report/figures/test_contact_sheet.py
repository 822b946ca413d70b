"""Contact sheets: every pair is there, whatever its classes are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.made import HOSTILE
from tuner.report.figures.contact_sheet import MOST_PAIRS, Shown, ShownPair, draw_pairs, save_pairs


@pytest.fixture
def pair(tmp_path: Path):
    """Maker of a red and a blue picture side by side."""
    files = []
    for name, color in (("red.png", "red"), ("blue.png", "blue")):
        Image.new("RGB", (30, 50), color).save(tmp_path / name)
        files.append(tmp_path / name)

    def make(label: str = "class", *, is_alarming: bool = False) -> ShownPair:
        red, blue = (Shown(file, file.name, label, "fold 0") for file in files)
        return ShownPair(red, blue, "likeness 0.98", is_alarming)

    return make


def shown_texts(figure) -> list[str]:
    """Everything written on the sheet."""
    return [text.get_text() for text in figure.axes[0].texts]


def test_both_pictures_and_their_words_are_on_the_sheet(pair, tmp_path):
    """A pair's pictures stand side by side, with class, name and side below each."""
    texts = shown_texts(draw_pairs([pair("rust")], title="Twins"))
    assert texts.count("rust") == texts.count("fold 0") == 2
    assert {"red.png", "blue.png", "likeness 0.98", "Twins"} <= set(texts)
    save_pairs([pair("rust")], tmp_path / "new" / "sheet.png")
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    red, blue = ((pixels == color).all(axis=2) for color in ([255, 0, 0], [0, 0, 255]))
    assert red.sum() == blue.sum() > 10_000
    assert np.nonzero(red)[1].max() < np.nonzero(blue)[1].min()


@pytest.mark.parametrize("label", HOSTILE)
def test_hostile_class_names_are_drawn(pair, label, tmp_path):
    """No name breaks the sheet, is taken for mathematics or runs into its neighbour."""
    save_pairs([pair(label), pair(f"${label}$")], tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_alarming_pairs_stand_out(pair):
    """Pairs that need a decision have words of another colour than the others."""
    figure = draw_pairs([pair("calm"), pair("bad", is_alarming=True)])
    colors = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert colors["calm"] != colors["bad"]


def test_a_long_list_says_how_much_of_it_is_shown(pair):
    """What is left out is said in the title, and the sheet stays of a bounded size."""
    figure = draw_pairs([pair()] * (MOST_PAIRS + 5), title="Twins")
    assert f"Twins: the first {MOST_PAIRS} of {MOST_PAIRS + 5}" in shown_texts(figure)
    assert shown_texts(figure).count("likeness 0.98") == MOST_PAIRS
