"""``tuner init``, ``check`` and ``status`` on real images, and what they refuse."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.made import HOSTILE, make_baseline, make_folder, make_matrix, make_record
from tuner.config import load_study
from tuner.data.digits import N_IMAGES, write_digits


def make_images(root: Path, names: list[str], *, n: int = 8) -> Path:
    """A manifest over pictures of one gray each, `n` a class, all different."""
    root.mkdir(parents=True)
    with (root / "images.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "group"])
        for k, name in enumerate(names):
            for i in range(n):
                pixels = np.full((8, 8, 3), n * k + i, dtype=np.uint8)
                Image.fromarray(pixels).save(root / f"{k}_{i}.png")
                rows.writerow([f"{k}_{i}.png", name, f"{k}/{i // 2}"])
    return root / "images.csv"


@pytest.fixture
def steps():
    """Commands that a command prints for going on, as words."""

    def read(out: str) -> list[list[str]]:
        marked = [line.split(None, 1)[1] for line in out.splitlines() if line.startswith("  ")]
        return [shlex.split(line) for line in marked if line.startswith("tuner ")]

    return read


def test_init_writes_a_study_that_check_takes(tuner, tmp_path, steps):
    """The commands that init prints can be run as they are, and the file holds the counts."""
    write_digits(tmp_path / "my data" / "digits [1]")
    done = tuner("init", "my data/digits [1]", "--home", "a home")
    assert done.code == 0
    assert f"{sum(N_IMAGES):,} images in 10 classes" in done.out
    look, start = steps(done.out)
    assert look[:2] == ["tuner", "check"]
    assert start[:2] == ["tuner", "run"]
    assert look[2:] == start[2:] == ["studies/digits_1.yaml", "--home", "a home"]
    text = Path(look[2]).read_text("utf-8")
    assert "digit_9      20" in text
    done = tuner(*look[1:])
    assert done.code == 0
    assert done.err == ""


def test_init_takes_a_manifest_with_root_and_groups(tuner, tmp_path):
    """Options name what a study file of a manifest needs, and the file keeps them."""
    manifest = make_images(tmp_path / "images", ["a", "b"])
    manifest.rename(tmp_path / "list.csv")
    (tmp_path / "lost.csv").write_text("path,label\nx.png,a\ny.png,b\n")
    lost = tuner("init", "lost.csv")
    assert lost.code == 1
    assert "--root" in lost.err
    done = tuner("init", "list.csv", "--root", "images", "--group-by", "group")
    assert done.code == 0
    data = load_study(tmp_path / "studies" / "list.yaml").data
    assert (data.source, data.root, data.group_by) == ("list.csv", "images", "group")


def test_init_overwrites_nothing(tuner, tmp_path):
    """A file that is there is left alone, and so is a folder."""
    make_images(tmp_path / "images", ["a", "b"])
    (tmp_path / "mine.yaml").write_text("precious")
    (tmp_path / "place").mkdir()
    for target, rule in (("mine.yaml", "exists already"), ("place", "is a folder")):
        done = tuner("init", "images/images.csv", "-o", target)
        assert done.code == 2
        assert f"'{target}' {rule}" in done.err
    assert (tmp_path / "mine.yaml").read_text() == "precious"


@pytest.mark.parametrize("target", ["study", "study.txt"])
def test_init_writes_only_what_run_can_be_given(tuner, target):
    """A study file ends in .yaml: without, `tuner run` would look for a study of that name."""
    done = tuner("init", "digits", "-o", target)
    assert done.code == 2
    assert f"write -o {target}.yaml" in done.err


def test_init_says_where_it_cannot_write(tuner, tmp_path):
    """A target below a file is refused by name."""
    (tmp_path / "file").write_text("")
    done = tuner("init", "digits", "-o", "file/x.yaml")
    assert done.code == 2
    assert "cannot be written" in done.err
    assert "file/x.yaml" in done.err


def test_check_shows_hostile_names_as_they_are(tuner, tmp_path):
    """Brackets, emoji codes and Chinese letters of class names come out whole."""
    make_images(tmp_path / "images", [name for name in HOSTILE if name.isprintable()])
    assert tuner("init", "images/images.csv", "-o", "x.yaml").code == 0
    done = tuner("check", "x.yaml")
    assert done.code == 0
    for name in ("[bold]x[/bold]", "a/b", "欠陥の種類その一とその二", ":smile: $HOME `x`", "-o"):
        assert f"\n{name} " in done.out
    assert "groups   32; none crosses a split" in done.out


def test_check_as_json_counts_as_the_table_does(tuner, tmp_path):
    """The JSON has each class with its images on both sides of the seal, and what is wrong."""
    make_images(tmp_path / "images", HOSTILE[:3])
    copy = (tmp_path / "images" / "0_0.png").read_bytes()
    (tmp_path / "images" / "2_7.png").write_bytes(copy)  # same bytes, another label
    (tmp_path / "images" / "1_0.png").write_bytes(b"no picture")
    tuner("init", "images/images.csv", "-o", "x.yaml")
    done = tuner("check", "x.yaml", "--json", "--set", "split.folds=2")
    facts = json.loads(done.out)
    assert [row["class"] for row in facts["classes"]] == sorted(HOSTILE[:3])
    assert sum(row["images"] for row in facts["classes"]) == facts["images"] == 23
    assert all(row["search"] + row["test"] == row["images"] for row in facts["classes"])
    assert [left["path"] for left in facts["left_out"]] == ["1_0.png"]
    assert facts["label_conflicts"] == facts["duplicates"] == [["0_0.png", "2_7.png"]]
    few = [note for note in facts["notes"] if "fewer than 20" in note]
    assert [name in note for name, note in zip(sorted(HOSTILE[:3]), few, strict=True)] == [
        True
    ] * 3
    told = tuner("check", "x.yaml").out
    assert "! same bytes, different labels: 0_0.png ([bold]x[/bold]), 2_7.png" in told
    assert "! left out 1_0.png: " in told


def test_a_class_too_small_for_the_folds_is_one_error(tuner, tmp_path):
    """The class, its count and the key to change are named."""
    make_images(tmp_path / "images", ["plenty", "[few]"], n=6)
    tuner("init", "images/images.csv", "-o", "x.yaml")
    done = tuner("check", "x.yaml")
    assert done.code == 1
    assert "class '[few]' has 6 images" in done.err
    assert "split.folds" in done.err


def test_a_folder_of_the_same_name_does_not_hide_a_study(tuner, tmp_path):
    """Data and study are often called alike; the name means the study once there is one."""
    make_images(tmp_path / "made", ["a", "b"])
    done = tuner("check", "made")
    assert done.code == 2
    assert "'made' is a folder, not a study file" in done.err
    make_folder(tmp_path / "mlruns", ["a", "b"], name="made")
    done = tuner("check", "made", "--set", "data.source=made/images.csv")
    assert done.code == 0
    assert "16 images in 2 classes" in done.out


def test_status_of_an_empty_home_says_how_to_begin(tuner, tmp_path):
    """No study is no error, in words and as JSON."""
    done = tuner("status")
    assert done.code == 0
    assert str(tmp_path / "mlruns") in done.out
    assert tuner("status", "--json") == (0, "[]\n", "")


def test_status_finds_a_study_by_name_and_by_file(tuner, tmp_path):
    """The file's own `name` counts, not what the file is called; names may hold dots."""
    make_folder(tmp_path / "mlruns", ["a", "b"], name="v1.2")
    (tmp_path / "other.yaml").write_text("{name: v1.2, data: {source: digits}}")
    for study in ("v1.2", "other.yaml", tmp_path / "other.yaml"):
        (facts,) = json.loads(tuner("status", study, "--json").out)
        assert facts["study"] == "v1.2"


def test_status_tells_the_truth_about_each_study(tuner, tmp_path):
    """Finished, stopped, not started and running are told apart; failures are not progress."""
    home = tmp_path / "home [1]"
    weak, strong = make_matrix([8, 4], [4, 2]), make_matrix([8, 4], [1, 0])
    base = make_baseline(weak, "cross_entropy")
    done = [make_record(strong, number=n, state=s) for n, s in ((3, "complete"), (4, "pruned"))]
    failed = make_record([], number=5, state="failed", reason="nan", curves={})
    make_folder(home, ["a", "b"], name="finished", records=[base, *done, failed])
    make_folder(home, ["a", "b"], name="stopped", records=[base])
    make_folder(home, ["a", "b"], name="waiting")
    running = make_folder(home, ["a", "b"], name="running", records=done[:1])
    with running.locked():
        listed = json.loads(tuner("status", "--home", home, "--json").out)
    states = {row["study"]: (row["state"], row["finished"], row["failed"]) for row in listed}
    assert states == {
        "finished": ("finished", 2, 1),
        "running": ("running", 1, 0),
        "stopped": ("stopped", 0, 0),
        "waiting": ("not started", 0, 0),
    }
    best = {row["study"]: row["best"] and row["best"]["title"] for row in listed}
    assert best == {
        "finished": "#3",
        "running": "#3",
        "stopped": "cross-entropy",
        "waiting": None,
    }
    assert listed[0]["best"]["recall"] == {"a": 7 / 8, "b": 1.0}
    assert listed[0]["best"]["params"] == done[0].params.as_dict()
    table = tuner("status", "--home", home).out
    assert "2 of 2, 1 failed  finished" in table


def test_status_of_one_study_shows_the_winner_and_the_seal(tuner, tmp_path):
    """The winner stands beside the baselines as k of n, and how often the test has been opened."""
    best = make_record(make_matrix([8, 4], [1, 0]))
    base = make_baseline(make_matrix([8, 4], [4, 2]), "cross_entropy")
    folder = make_folder(tmp_path / "mlruns", ["a", "[b]"], records=[base, best])
    out = tuner("status", "made").out
    assert ["[b]", "4", "of", "4", "2", "of", "4"] in [line.split() for line in out.splitlines()]
    assert "still sealed" in out
    folder.open_seal(command="tuner train")
    assert "opened 1 time" in tuner("status", "made").out


def test_a_winning_baseline_is_said(tuner, tmp_path):
    """Status does not sell a baseline as what the search found."""
    base = make_baseline(make_matrix([8, 4], [0, 0]), "cross_entropy")
    worse = make_record(make_matrix([8, 4], [4, 2]))
    make_folder(tmp_path / "mlruns", ["a", "b"], records=[base, worse])
    assert "The winner is a baseline" in tuner("status", "made").out


def test_a_damaged_record_is_named(tuner, tmp_path):
    """Status points at the file that cannot be read."""
    folder = make_folder(tmp_path / "mlruns", ["a", "b"], records=[make_record()])
    (path,) = folder.records_path.glob("*.json")
    path.write_text("{")
    done = tuner("status")
    assert done.code == 1
    assert str(path) in done.err


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_damaged_studies_do_not_hide_the_others(tuner, tmp_path, words):
    """The sound ones are printed, every damaged file is named, and the exit code tells."""
    broken = []
    for name in ("first", "second", "third"):
        folder = make_folder(tmp_path / "mlruns", ["a", "b"], records=[make_record()], name=name)
        if name != "second":
            (path,) = folder.records_path.glob("*.json")
            path.write_text("{")
            broken.append(str(path))
    done = tuner("status", *words)
    assert done.code == 1
    assert "second" in done.out
    assert "first" not in done.out
    assert all(done.err.replace("\n", "").count(path) == 1 for path in broken)
    if words:
        assert [study["study"] for study in json.loads(done.out)] == ["second"]


@pytest.mark.parametrize("text", ["name: [", "name: first\n"], ids=["no YAML", "cut off"])
def test_a_damaged_study_file_does_not_hide_the_others(tuner, tmp_path, text):
    """Neither one that cannot be read nor one without its end keeps the sound ones from view."""
    for name in ("first", "second"):
        make_folder(tmp_path / "mlruns", ["a", "b"], records=[make_record()], name=name)
    (tmp_path / "mlruns" / "studies" / "first" / "study.yaml").write_text(text)
    done = tuner("status")
    assert done.code != 0
    assert "second" in done.out
    assert "study.yaml" in done.err.replace("\n", "")


def test_the_home_is_found_by_option_then_by_environment(tuner, tmp_path, monkeypatch):
    """`--home` beats TUNER_HOME, which beats mlruns/ in the working directory."""
    for name in ("mlruns", "environment", "option"):
        make_folder(tmp_path / name, ["a", "b"], name=f"in_{name}")
    assert "in_mlruns" in tuner("status").out
    monkeypatch.setenv("TUNER_HOME", str(tmp_path / "environment"))
    assert "in_environment" in tuner("status").out
    assert "in_option" in tuner("status", "--home", "option").out
