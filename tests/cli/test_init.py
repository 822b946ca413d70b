"""``tuner init`` on what people have: label files of known sets and tools, and their folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.data.labels.published import PUBLISHED, Made, save
from tests.tiny_backbone import tiny_backbone
from tuner.config import load_study
from tuner.home import Home
from tuner.home.founding import read_images, split_images


@pytest.fixture(params=PUBLISHED)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    """One published set after the other, in the working directory."""
    return PUBLISHED[request.param](tmp_path)


def drafted(tuner, made: Made):
    """What init printed, with the one answer that it asked for."""
    if made.answer:
        asked = tuner("init", made.source, "-o", "s.yaml")
        assert asked.code == 1
        assert made.answer[0] in asked.err
    return tuner("init", made.source, "-o", "s.yaml", *made.answer)


def test_a_published_set_is_taken_without_a_script(tuner, tmp_path, made):
    """Classes, groups and shipped test are those of the set, and the study file says how."""
    done = drafted(tuner, made)
    assert done.code == 0, done.err
    config = load_study(tmp_path / "s.yaml")
    table = read_images(config, Home(tmp_path / "mlruns"))
    counts = dict(zip(table.class_names, table.counts.tolist(), strict=True))
    assert counts == made.classes
    groups = table.listed_groups
    n_groups = None if groups is None else len(np.unique(groups))
    assert n_groups == made.n_groups
    n_test = None if table.is_shipped_test is None else int(table.is_shipped_test.sum())
    assert n_test == made.n_test
    split_images(config, replace(table, groups=groups, is_grouped=True))
    checked = tuner("check", "s.yaml")
    assert checked.code == 0, checked.err


@pytest.mark.slow
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("name", list(PUBLISHED))
def test_a_published_set_runs(tuner, tmp_path, name):
    """From the file of the set to a finished search: nothing in between is written by hand."""
    made = PUBLISHED[name](tmp_path)
    assert drafted(tuner, made).code == 0
    backbone = f"backbone.model={tiny_backbone()}"
    keys = ["data.image_px=32", backbone, "training.epochs=3", "split.folds=2"]
    words = [word for key in keys for word in ("--set", key)]
    done = tuner("run", "s.yaml", "--trials", "1", *words)
    assert done.code == 0, done.err


def folders(root: Path, names: dict[str, int]) -> None:
    """Folders with so many pictures, all different."""
    for k, (name, n) in enumerate(names.items()):
        for i in range(n):
            save(root / name.replace("#", str(i)), k)


def test_init_leaves_masks_out_and_says_so(tuner, tmp_path):
    """Masks beside images are named, with the line in the file that leaves them out."""
    folders(tmp_path / "d", {f"{c}/{c} (#){m}.png": 8 for c in "xy" for m in ("", "_mask")})
    done = tuner("init", "d", "-o", "s.yaml")
    assert "16 images in 2 classes" in done.out
    assert "masks    16 images look like masks, such as x/x (0)_mask.png" in done.out
    assert load_study(tmp_path / "s.yaml").data.exclude == ("*_mask*",)
    assert "32 images" in tuner("init", "d", "-o", "all.yaml", "--as-is").out


def test_init_takes_include_and_exclude(tuner, tmp_path):
    """What a message tells to leave out can be left out before there is a study file."""
    names = {f"{part}/{c}/#.png": 8 for part in ("train", "test") for c in "xy"}
    folders(tmp_path / "d", {**names, "more/x/#.jpg": 2})
    done = tuner("init", "d", "-o", "s.yaml")
    assert done.code == 1
    assert "--exclude 'more/'" in done.err
    assert tuner("init", "d", "-o", "s.yaml", "--exclude", "more/").code == 0
    assert tuner("init", "d", "-o", "t.yaml", "--include", "*.png").code == 0
    assert load_study(tmp_path / "s.yaml").data.exclude == ("more/",)
    assert load_study(tmp_path / "t.yaml").data.include == ("*.png",)


def test_init_writes_no_nonsense_unless_told(tuner, tmp_path):
    """Versions of a set are no classes: refused with the source that was meant, exit code 2."""
    folders(tmp_path / "d", {f"{v}/{c}/#.png": 4 for v in ("color", "gray") for c in "xyz"})
    done = tuner("init", "d", "-o", "s.yaml")
    assert done.code == 2
    assert "tuner init d/color" in done.err
    assert not (tmp_path / "s.yaml").exists()
    assert tuner("init", "d", "-o", "s.yaml", "--as-is").code == 0


def test_init_turns_mirrored_views_off(tuner, tmp_path):
    """A mirror makes left of right: the file says flip: false, and check of another warns."""
    folders(tmp_path / "d", {"turn_left/#.png": 8, "turn_right/#.png": 8})
    done = tuner("init", "d", "-o", "s.yaml")
    assert "mirrored views would change the class (turn_left and turn_right" in done.out
    assert load_study(tmp_path / "s.yaml").augmentation.flip is False
    said = tuner("check", "s.yaml", "--set", "augmentation.flip=true").out
    assert "set augmentation.flip: false" in said
    assert "flip" not in tuner("check", "s.yaml").out


def test_init_names_the_option_that_follows_links(tuner, tmp_path):
    """Images of a store are refused with the option, and taken with it."""
    for c in "xy":
        folders(tmp_path, {f"store/{c}#.png": 8})
        (tmp_path / "d" / c).mkdir(parents=True)
        for i in range(8):
            (tmp_path / "d" / c / f"{i}.png").symlink_to(tmp_path / "store" / f"{c}{i}.png")
    assert "set --follow-links" in tuner("init", "d", "-o", "s.yaml").err
    assert tuner("init", "d", "-o", "s.yaml", "--follow-links").code == 0
    assert load_study(tmp_path / "s.yaml").data.follow_links


@pytest.mark.parametrize("word", ["label", "label=", "kind=x"])
def test_columns_are_named_by_what_they_say(tuner, tmp_path, word):
    """A word that names no column is one message."""
    PUBLISHED["HAM10000"](tmp_path)
    done = tuner("init", "HAM10000_metadata.csv", "--columns", word)
    assert done.code == 2
    assert "write path=NAME, label=NAME" in done.err
