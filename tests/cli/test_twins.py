"""Near-duplicates on the command line: planted pairs are all said, and groups keep them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.cli.commands.twins import leak_facts, leak_sentence, pair_facts, split_by_twins
from tuner.config import parse_study
from tuner.data.index import ImageIndex
from tuner.data.near_duplicates.find import Twins, linked_groups
from tuner.errors import SplitError
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


def index_of(labels: list[int]) -> ImageIndex:
    """Images without files."""
    names = tuple(f"{i}.png" for i in range(len(labels)))
    return ImageIndex(Path("nowhere"), names, np.array(labels), ("a", "b"), sha256=names)


def twins_of(*pairs: tuple[int, int], n_images: int) -> Twins:
    """These pairs, the likest first."""
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    falling = np.linspace(1, 0.8, len(pairs), dtype=np.float32)
    return Twins(first, second, falling, falling, linked_groups(n_images, first, second))


def test_facts_count_pairs_sides_labels_and_groups():
    """A pair within a fold leaks nothing; those between sides do, the sealed test's apart."""
    index = index_of([0, 0, 0, 1, 1, 1, 1])
    twins = twins_of((0, 1), (1, 2), (2, 3), (5, 6), n_images=7)
    fold = np.array([0, 0, 1, -1, 0, -1, -1])
    assert leak_facts(twins, index, fold) == {
        "schema": 1,
        "images": 7,
        "pairs": 4,
        "images_with_twin": 6,
        "images_across": 3,
        "test_images": 3,
        "test_images_across": 1,
        "label_conflicts": 1,
        "groups_of_two_or_more": 2,
        "largest_group": 4,
        "images_to_move": 2,
    }


def test_pairs_that_the_split_parts_are_listed_first():
    """Of these the likest first; each image has class and side beside it."""
    index = index_of([0, 0, 1, 1])
    twins = twins_of((0, 1), (1, 2), (2, 3), n_images=4)
    listed = pair_facts(twins, index, np.array([0, 0, -1, 1]))
    assert [pair["images"] for pair in listed] == [
        ["1.png", "2.png"],
        ["2.png", "3.png"],
        ["0.png", "1.png"],
    ]
    assert listed[0]["classes"] == ["a", "b"]
    assert listed[0]["sides"] == ["fold 0", "sealed test"]


def test_without_leaks_there_is_nothing_to_say():
    """The sentence is empty unless the split parts a pair, and then it has the counts."""
    index, twins = index_of([0, 1, 0, 1]), twins_of((0, 2), n_images=4)
    assert leak_sentence(leak_facts(twins, index, np.array([0, 1, 0, -1]))) == ""
    said = leak_sentence(leak_facts(twins, index, np.array([0, 1, -1, -1])))
    assert "2 of 4 images have a near-twin on another side" in said
    assert "(1 of the 2 in the sealed test)" in said


def test_a_class_of_one_picture_cannot_be_split_by_groups():
    """Where near-duplicates swallow a class, the reason is given instead of a split."""
    config = parse_study("{name: x, data: {source: x}, split: {folds: 2}}", source="x.yaml")
    index = index_of([0] * 10 + [1] * 10)
    chain = twins_of(*((i, i + 1) for i in range(10, 19)), n_images=20)
    found = split_by_twins(config, index, chain)
    assert isinstance(found, SplitError)
    assert "'b' (10 images in 1 groups)" in found.what
    pair = twins_of((0, 1), n_images=20)
    split = split_by_twins(config, index, pair)
    assert split.fold[0] == split.fold[1]


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
    twins = json.loads(done.out)["near_duplicates"]
    assert {tuple(pair["images"]) for pair in twins["listed"]} == PLANTED
    assert twins["label_conflicts"] == 1
    assert twins["grouped_split_is_possible"]
    with Image.open(twins["contact_sheet"]) as sheet:
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
    from tuner.features.weights import resolve as weights_source

    write_planted(tmp_path / "images")
    Path("x.yaml").write_text(STUDY.format(group_by="null"))
    # Random weights stand in for a file of real ones: their twins are not asked for otherwise.
    resolve = weights_source.resolve_weights
    monkeypatch.setattr(
        weights_source,
        "resolve_weights",
        lambda spec, **options: replace(resolve(spec, **options), kind="file"),
    )
    for trials in (1, 2):
        done = tuner("run", "x.yaml", "--trials", trials)
        assert done.code == 0, done.err
        assert "images have a near-twin on another side of the split" in done.err
        assert "tuner check planted" in done.err
