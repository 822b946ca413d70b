"""Near-duplicates on the command line: planted pairs are all said, and groups keep them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.data.near_duplicates.leaks import leak_sentence
from tuner.home import Home
from tuner.home.study_folder import StudyFolder

STUDY = """
name: planted
data: {{source: images, image_px: 32, group_by: {group_by}}}
split: {{folds: 2}}
backbone: {{weights: random}}
search: {{trials: 1, augmentation_multiplier: [0, 0]}}
training: {{epochs: 2, hidden_units: 8}}
"""
PLANTED = {
    ("granite/00.png", "granite/00_copy.jpg"),
    ("granite/05.png", "granite/05_copy.jpg"),
    ("granite/07.png", "marble/07_copy.jpg"),  # under another label
    ("marble/01.png", "marble/01_copy.jpg"),
    ("marble/08.png", "marble/08_copy.jpg"),
}


def texture(seed: int) -> Image.Image:
    """Coarse grains in colour, different for each seed."""
    grains = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(grains).resize((64, 64), Image.Resampling.BICUBIC)


def write_planted(root: Path) -> None:
    """Two classes of twelve textures each, with copies as JPEG of five of them."""
    pictures = {
        f"{label}/{i:02d}.png": texture(100 * k + i)
        for k, label in enumerate(("granite", "marble"))
        for i in range(12)
    }
    for name, picture in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(root / name)
    for name, copy in PLANTED:
        pictures[name].save(root / copy, quality=85)


def test_without_leaks_there_is_nothing_to_say():
    """The sentence is empty unless the split parts a pair, and then it has the counts."""
    facts = {"images": 4, "images_across": 0, "test_images": 1, "test_images_across": 0}
    assert leak_sentence(facts) == ""
    said = leak_sentence(facts | {"images_across": 2, "test_images": 2, "test_images_across": 1})
    assert "2 of 4 images have a near-twin on another side" in said
    assert "(1 of the 2 in the sealed test)" in said


def test_check_lists_every_planted_pair(tuner, tmp_path):
    """Copies, one of them under another label, are all in the JSON, the sheet and the text.

    Once the features are there, the plain command shows them too.
    """
    write_planted(tmp_path / "images")
    Path("x.yaml").write_text(STUDY.format(group_by="null"))
    facts = json.loads(tuner("check", "x.yaml", "--json").out)
    assert facts["near_duplicates"] is None
    assert "tuner check x.yaml --features" in tuner("check", "x.yaml").out
    done = tuner("check", "x.yaml", "--features", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)["near_duplicates"]
    assert {tuple(pair["images"]) for pair in found["listed"]} == PLANTED
    assert found["label_conflicts"] == 1
    assert found["grouped_split_is_possible"]
    with Image.open(found["contact_sheet"]) as sheet:
        assert sheet.format == "PNG"
    again = tuner("check", "x.yaml")
    for name, copy in PLANTED:
        (line,) = (line for line in again.out.splitlines() if name in line and copy in line)
        assert ("(marble)" in line) == ("marble/07" in copy)
    assert "5 pairs of near-duplicates, 10 images" in again.out
    assert "group_by: near_duplicates would keep 5 pairs together" in again.out


@pytest.mark.slow
def test_grouping_by_near_duplicates_waits_for_features(tuner, tmp_path):
    """Without features the split cannot be shown, and the command that computes them is named."""
    write_planted(tmp_path / "images")
    Path("x.yaml").write_text(STUDY.format(group_by="near_duplicates"))
    done = tuner("check", "x.yaml")
    assert done.code == 2
    assert "tuner check x.yaml --features" in done.err
    done = tuner("check", "x.yaml", "--features", "--json")
    facts = json.loads(done.out)
    assert facts["groups"] == 24
    assert facts["near_duplicates"]["images_across"] == 0


def test_init_takes_near_duplicates_for_a_folder(tuner, tmp_path):
    """It is no column: a folder may ask for it, and the next command extracts what it needs."""
    write_planted(tmp_path / "images")
    done = tuner("init", "images", "--group-by", "near_duplicates", "-o", "x.yaml")
    assert done.code == 0, done.err
    assert "tuner check x.yaml --features" in done.out
    assert "group_by: near_duplicates" in Path("x.yaml").read_text()


@pytest.mark.slow  # a study of one trial, run twice and trained again
def test_a_study_grouped_by_near_duplicates_goes_on_and_trains_again(tuner, tmp_path):
    """Copies share a side, the second start finds nothing changed, and the export reproduces."""
    write_planted(tmp_path / "images")
    Path("x.yaml").write_text(STUDY.format(group_by="near_duplicates"))
    done = tuner("run", "x.yaml")
    assert done.code == 0, done.err
    images = StudyFolder(Home.find().studies / "planted").images
    side = dict(zip(images.paths, images.fold.tolist(), strict=True))
    group = dict(zip(images.paths, images.groups.tolist(), strict=True))
    for name, copy in PLANTED:
        assert side[name] == side[copy]
        assert group[name] == group[copy]
    again = tuner("run", "x.yaml", "--trials", "2")
    assert again.code == 0, again.err
    assert tuner("export", "planted", "-o", "best.yaml").code == 0
    for home in ("mlruns", "elsewhere"):
        trained = tuner("train", "best.yaml", "-o", f"{home}.keras", "--home", home)
        assert trained.code == 0, trained.err
        assert "reproduced: the out-of-fold confusion matrix is the same" in trained.out


@pytest.mark.slow
def test_run_warns_of_a_split_that_leaks_and_says_it_again(tuner, tmp_path, monkeypatch):
    """The warning comes with the command that shows the pairs, on every start."""
    from tuner import ground

    write_planted(tmp_path / "images")
    Path("x.yaml").write_text(STUDY.format(group_by="null"))
    # Random weights stand in for a file of real ones: their pairs are not asked for otherwise.
    resolve = ground.resolve_weights
    monkeypatch.setattr(
        ground,
        "resolve_weights",
        lambda spec, **options: replace(resolve(spec, **options), kind="file"),
    )
    for trials in (1, 2):
        done = tuner("run", "x.yaml", "--trials", trials)
        assert done.code == 0, done.err
        assert "images have a near-twin on another side of the split" in done.err
        assert "tuner check planted" in done.err
