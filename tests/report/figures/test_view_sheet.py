"""A sheet of views: each class has a row, each picture its caption."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.cli.made import HOSTILE
from tuner.report.figures.view_sheet import ShownViews, draw_views, save_views


def row(label: str, *colors: int) -> ShownViews:
    """Plain pictures of these grey levels."""
    pictures = np.stack([np.full((32, 32, 3), color, dtype=np.uint8) for color in colors])
    return ShownViews(label, pictures, [f"level {color}" for color in colors])


def test_every_picture_is_there_with_its_caption(tmp_path):
    """In rows by class, the image first."""
    rows = [row("rust", 10, 60), row("dent", 120, 200)]
    texts = [text.get_text() for text in draw_views(rows, title="Views").axes[0].texts]
    assert {"rust", "dent", "Views", "level 10", "level 60", "level 120", "level 200"} <= {*texts}
    save_views(rows, tmp_path / "new" / "sheet.png")
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    places = [np.argwhere((pixels == level).all(axis=2)) for level in (10, 60, 120, 200)]
    assert min(map(len, places)) > 10_000
    (a, b, c, d) = (place.mean(axis=0) for place in places)
    assert a[0] == pytest.approx(b[0], abs=2)
    assert a[1] < b[1]
    assert a[0] < c[0] == pytest.approx(d[0], abs=2)


@pytest.mark.parametrize("label", HOSTILE)
def test_hostile_class_names_are_drawn(label, tmp_path):
    """No name breaks the sheet or is taken for mathematics."""
    save_views([row(label, 5), row(f"${label}$", 5)], tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000
