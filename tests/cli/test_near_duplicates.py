"""Near-duplicates on the command line: planted pairs are all said, and groups keep them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from PIL import Image

from tests.tiny_backbone import tiny_backbone
from tuner.data.image_table import TEST
from tuner.data.near_duplicates.leaks import leak_sentence
from tuner.home import Home
from tuner.home.near_duplicates import load_leaks
from tuner.home.study_folder import StudyFolder
from tuner.model.archive import read_card
from tuner.study import Study

STUDY = """
name: planted
data: {{source: images, image_px: 32, group_by: {group_by}}}
split: {{folds: 2}}
backbone: {{{backbone}}}
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


def study_text(*, group_by: str, backbone: str = "", study: str = STUDY) -> str:
    """The study file, with a tiny backbone unless ResNet50's answers are what matters."""
    backbone = backbone or f"model: {tiny_backbone()}"
    return study.format(group_by=group_by, backbone=backbone)


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
    Path("x.yaml").write_text(study_text(group_by="none", backbone="weights: random"))
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
    assert "group_by: auto would keep 5 pairs together" in again.out


@pytest.mark.slow
def test_grouping_by_near_duplicates_waits_for_features(tuner, tmp_path):
    """Without features the split cannot be shown, and the command that computes them is named."""
    write_planted(tmp_path / "images")
    Path("x.yaml").write_text(study_text(group_by="near_duplicates"))
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
@pytest.mark.usefixtures("database")
def test_a_study_grouped_by_near_duplicates_goes_on_and_trains_again(tuner, tmp_path):
    """Copies share a side, the second start finds nothing changed, and the export reproduces."""
    write_planted(tmp_path / "images")
    Path("x.yaml").write_text(study_text(group_by="near_duplicates"))
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


def confirmed(tuner, study: str) -> str:
    """Run a study of planted copies and confirm it; what was printed at the end."""
    for words in (("run", study), ("confirm", "planted", "--seeds", "2", "--top", "1")):
        done = tuner(*words)
        assert done.code == 0, done.err
    return done.out


@pytest.mark.slow
@pytest.mark.usefixtures("database")
def test_a_leak_stands_in_every_result(tuner, tmp_path):
    """Nine places say that the split parts near-duplicates, and a second start says it again."""
    write_planted(tmp_path / "images")
    text = study_text(group_by="none")
    Path("x.yaml").write_text(text.replace("folds: 2", "folds: 2, test_fraction: 0.4"))
    leak = "images have a near-twin on another side of the split"
    for trials in (1, 2):
        done = tuner("run", "x.yaml", "--trials", trials)
        assert leak in done.err
        assert "tuner check planted" in done.err
        assert leak in done.out.replace("\n", " ")  # the end of run
    study = Study.load("planted")
    assert leak in study.leak
    assert "parts near-duplicates" in repr(study)
    assert leak in study._repr_html_()
    assert leak in tuner("status", "planted").out.replace("\n", " ")
    (facts,) = json.loads(tuner("status", "planted", "--json").out)
    assert facts["leak"] == study.leak
    tuner("export", "planted", "-o", "before.yaml")
    assert yaml.safe_load(Path("before.yaml").read_text())["data"]["leak"] == study.leak

    client = MlflowClient(study.mlflow_uri)
    (run,) = client.search_runs(
        [client.get_experiment_by_name("planted").experiment_id],
        "tags.`tuner.kind` = 'study'",
    )
    assert leak in run.data.tags["mlflow.note.content"]
    assert run.data.tags["tuner.leak"] == study.leak
    n_across, n_test = (
        load_leaks(study.folder)[k] for k in ("images_across", "test_images_across")
    )
    assert run.data.metrics["images_across"] == n_across > 0
    assert run.data.metrics["test_images_across"] == n_test > 0

    done = tuner("confirm", "planted", "--seeds", "2", "--top", "1")
    said = " ".join(done.out.split())
    n_sealed = len(study.folder.images.test)
    assert f"This test cannot be trusted: {n_test} of its {n_sealed} images have" in said
    found = json.loads((study.folder.path / "confirmation.json").read_text())
    assert found["verdict"]["sentence"].startswith("This test cannot be trusted")
    left = found["test"]["without_twins"]
    assert left["n_left_out"] == n_test
    assert sum(left["support"]) == n_sealed - n_test
    assert not found["verdict"]["is_better"]

    tuner("report", "planted")
    page = Path("report.html").read_text()
    assert page.index(leak) < page.index("This test cannot be trusted")
    assert "Labels to check" in page
    with (study.folder.path / "labels_to_check.csv").open() as file:
        doubts = list(csv.DictReader(file))
    of_pair = {"granite/07.png", "marble/07_copy.jpg"}
    assert {doubt["path"] for doubt in doubts} <= of_pair
    assert doubts

    done = tuner("export", "planted", "-o", "best.yaml")
    assert leak in done.out.replace("\n", " ")
    assert tuner("train", "best.yaml").code == 0
    assert leak in read_card(Path("best.keras"))["leak"]


@pytest.mark.slow
@pytest.mark.usefixtures("database")
def test_a_new_study_keeps_twins_together_and_nothing_is_said(tuner, tmp_path):
    """Without a word on groups copies share a side, and no result speaks of a leak."""
    write_planted(tmp_path / "images")
    text = study_text(group_by="auto")
    Path("x.yaml").write_text(text.replace(", group_by: auto", ""))
    out = confirmed(tuner, "x.yaml")
    study = Study.load("planted")
    images = study.folder.images
    side = dict(zip(images.paths, images.fold.tolist(), strict=True))
    assert all(side[name] == side[copy] for name, copy in PLANTED)
    assert study.config.data.group_by == "auto"
    assert study.leak == ""
    assert "cannot be trusted" not in out
    assert tuner("run", "x.yaml", "--trials", "2").code == 0
    costs = json.loads(tuner("check", "planted", "--features", "--json").out)["near_duplicates"][
        "macro_recall"
    ]
    assert set(costs) == {"logistic regression", "nearest class mean"}
    assert all(0 <= cost["together"] <= 1 for cost in costs.values())


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.usefixtures("database")
def test_a_shipped_test_stays_and_what_it_shares_is_said(tuner, tmp_path, imagenet_weights):
    """One twin across the shipped border: run and confirm go through, and the verdict says it."""
    for part, seeds in (("train", range(14)), ("test", range(50, 56))):
        for k, label in enumerate(("granite", "marble")):
            (tmp_path / "images" / part / label).mkdir(parents=True)
            for i in seeds:
                texture(100 * k + i).save(tmp_path / "images" / part / label / f"{i:02d}.png")
    texture(3).save(tmp_path / "images" / "test" / "granite" / "twin.jpg", quality=85)
    texture(4).save(tmp_path / "images" / "train" / "granite" / "twin.jpg", quality=85)
    text = study_text(group_by="auto", backbone=f"weights: {imagenet_weights.path}")
    Path("x.yaml").write_text(text)
    out = " ".join(confirmed(tuner, "x.yaml").split())
    assert "This test cannot be trusted: 1 of its 13 images has a near-twin" in out
    study = Study.load("planted")
    images = study.folder.images
    side = dict(zip(images.paths, images.fold.tolist(), strict=True))
    assert side["train/granite/04.png"] == side["train/granite/twin.jpg"]
    assert side["test/granite/twin.jpg"] == TEST
    assert "1 of the 13 in the sealed test" in study.leak


@pytest.mark.slow
@pytest.mark.usefixtures("database")
def test_a_study_of_earlier_days_goes_on_as_it_began(tuner, tmp_path):
    """Its null meant each image for itself; the same file goes on, and a new study does not."""
    write_planted(tmp_path / "images")
    Path("x.yaml").write_text(study_text(group_by="none"))
    assert tuner("run", "x.yaml").code == 0
    folder = StudyFolder(Home.find().studies / "planted")
    kept = (folder.path / "study.yaml").read_text().replace("group_by: none", "group_by: null")
    (folder.path / "study.yaml").write_text(kept)
    for group_by in ("null", "auto"):
        Path("x.yaml").write_text(study_text(group_by=group_by))
        done = tuner("run", "x.yaml", "--trials", "2")
        assert done.code == 0, done.err
        assert StudyFolder(folder.path).config.data.group_by is None
    Path("x.yaml").write_text(study_text(group_by="null").replace("planted", "new"))
    assert tuner("run", "x.yaml").code == 0
    assert StudyFolder(Home.find().studies / "new").config.data.group_by == "auto"


def test_groups_stand_in_the_paths(tuner, tmp_path):
    """A pattern takes tracks, patients or parts out of the paths; one that fits none is named."""
    for k, label in enumerate(("stop", "yield")):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(24):
            texture(100 * k + i).save(
                tmp_path / "images" / label / f"{i // 3:05d}_{i % 3:05d}.png"
            )
    study = STUDY.replace("{group_by}", "{{pattern: '{group_by}'}}")
    Path("x.yaml").write_text(study_text(group_by="/(\\d{5})_", study=study))
    done = tuner("check", "x.yaml", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["groups"] == 8
    Path("x.yaml").write_text(study_text(group_by="track(\\d+)", study=study))
    done = tuner("check", "x.yaml")
    assert done.code == 1
    assert "48 of 48 paths do not match the pattern of groups" in done.err
    Path("x.yaml").write_text(study_text(group_by="(", study=study))
    done = tuner("check", "x.yaml")
    assert done.code == 2
    assert "no regular expression" in done.err
