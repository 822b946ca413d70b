"""A study that trains on images, from the command line, and a model trained the same way."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cli.conftest import tuner  # noqa: F401  # a fixture
from tests.tiny_backbone import write_tiny_backbone
from tuner.home.study_folder import StudyFolder
from tuner.model.archive import read_card

pytestmark = pytest.mark.slow

SETTINGS = (
    "data.image_px=32",
    'data.include=["digit_[789]/*"]',
    "split.folds=2",
    "backbone.model=tiny.keras",
    "search.trials=1",
    "search.augmentation_multiplier=[1, 1]",
    "training.epochs=1",
    "training.hidden_units=8",
)
SETS = [word for setting in SETTINGS for word in ("--set", setting)]


def test_a_live_study_is_a_study(tuner, tmp_path):  # noqa: F811
    """`--live` is kept with the study, goes on as such, is refused as another, and trains."""
    home = ["--home", tmp_path / "home"]
    write_tiny_backbone(tmp_path / "tiny.keras")
    assert tuner("init", "digits", "-o", "digits.yaml", *home).code == 0
    run = ["run", "digits.yaml", *SETS, *home]
    first = tuner(*run, "--live")
    assert first.code == 0, first.err
    folder = StudyFolder(tmp_path / "home" / "studies" / "digits")
    assert folder.config.training.mode == "live"
    records = folder.records()
    assert [r.kind for r in records].count("baseline") == 3
    assert [r.state for r in records] == ["complete"] * 4
    n_images = len(folder.images.search)
    assert {int(np.sum(r.matrix)) for r in records} == {n_images}
    refused = tuner(*run)
    assert refused.code == 1
    assert "training.mode: live -> bank" in refused.err

    assert tuner("export", "digits", "-o", "best.yaml", *home).code == 0
    trained = tuner("train", "best.yaml", *home)
    assert trained.code == 0, trained.err
    assert "reproduced" in trained.out
    card = read_card(tmp_path / "best.keras")
    assert (card["training"], card["fine_tuned"]) == ("live", None)
    assert (tmp_path / "best.md").read_text("utf-8").startswith("# best\n")
    done = tuner("predict", "best.keras", tmp_path / "home" / "datasets" / "digits" / "digit_9")
    assert done.code == 0
    assert len(done.out.splitlines()) == 1 + 20
