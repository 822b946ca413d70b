"""What a check says of views: sheet, probe, mirror, and the rows that they take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.small_study import small_config
from tuner.data.mirrored import Mirrored
from tuner.study import Study
from tuner.study.verbs.look_at_views import ViewsLook
from tuner.training.view_probe import Told

LOOK = ViewsLook(
    sheet=Path("views.png"),
    told=Told(0.97, 600),
    mirrored=(Mirrored(0, 1, 40, 50),),
    class_names=("left", "right"),
    augmentation=small_config("augmentation.policy=shared").augmentation,
)


def test_views_that_are_told_too_well_are_a_warning():
    """With what to set; and a class that a mirror changes is named with its numbers."""
    unlike, mirrored = LOOK.warnings
    assert "97% accuracy" in unlike
    assert "augmentation.strength: 0.5" in unlike
    assert mirrored == (
        "mirrored, 40 of 50 images of left are nearest to right; set augmentation.flip: false"
    )
    assert replace(LOOK, told=Told(0.95, 600), mirrored=()).warnings == []
    no_flip = LOOK.augmentation.model_copy(update={"flip": False})
    assert len(replace(LOOK, augmentation=no_flip).warnings) == 1


def test_words_say_whom_the_traces_give_away():
    """By `shared` nobody; by `minority` the rare classes; nothing where features are blind."""
    assert LOOK.words.endswith("every class has its share of them")
    minority = LOOK.augmentation.model_copy(update={"policy": "minority"})
    assert replace(LOOK, augmentation=minority).words.endswith("only rare classes have them")
    assert replace(LOOK, told=None).words == ""


@pytest.mark.slow
def test_a_check_of_features_draws_views_and_counts_rows(digits: Path, tmp_path: Path) -> None:
    """A row of pictures a class; random weights are asked nothing."""
    study = Study.of_folder(
        digits,
        image_px=32,
        home=tmp_path / "home",
        overrides=["split.folds=2", "backbone.weights=random"],
        listener=None,
    )
    check = study.check(features=True)
    assert check.views.told is None
    with Image.open(check.views.sheet) as sheet:
        assert sheet.width > 6 * 144
        assert sheet.height > 3 * 144
    assert check.facts()["views"]["contact_sheet"] == str(check.views.sheet)
    rows = check.rows
    n_images = len(check.table.search)
    assert 0 < rows["by_shared"] <= n_images
    assert rows["rows"] > n_images
