"""``tuner report``: the page, its place, and the copy in MLflow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.report.made_study import make_study
from tuner.config import parse_study
from tuner.home import Home
from tuner.home.founding import data_root


@pytest.fixture
def home(tmp_path):
    """A home with a study of three classes."""
    make_study(tmp_path / "home", ["a", "b", "<c>"], trials=2, has_images=True)
    return tmp_path / "home"


def test_a_pipe_stays_a_pipe(tuner, home, tmp_path):
    """What is no file is not replaced by the page, and the message names it."""
    os.mkfifo(tmp_path / "pipe")
    done = tuner("report", "made", "-o", "pipe", "--home", home)
    assert done.code == 1
    assert "the report cannot be written: this is no file that can be replaced\n  pipe" in done.err
    done = tuner("export", "made", "-o", "pipe", "--home", home)
    assert done.code == 1
    assert "already a file that tuner did not export" in done.err
    assert (tmp_path / "pipe").is_fifo()


def test_report_writes_a_page_and_keeps_a_copy_in_mlflow(tuner, home):
    """The file and the artifact of the study's own run are the same bytes."""
    done = tuner("report", "made", "-o", "out.html", "--home", home)
    assert (done.code, done.err) == (0, "")
    page = Path("out.html").read_bytes()
    assert page.startswith(b"<!doctype html>")
    assert b"data:image/jpeg" in page  # the images were found
    assert "out.html" in done.out
    client = MlflowClient(Home(home).tracking_uri)
    experiment = client.get_experiment_by_name("made")
    (run,) = client.search_runs([experiment.experiment_id], "tags.`tuner.kind` = 'study'")
    kept = client.download_artifacts(run.info.run_id, "report.html")
    assert Path(kept).read_bytes() == page


def test_a_report_is_written_when_mlflow_is_away(tuner, home, monkeypatch):
    """Nobody answers: the page is there, and the command says what is missing."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = tuner("report", "made", "--home", home, "--tracking-uri", "http://127.0.0.1:9")
    assert done.code == 0
    assert "MLflow has no copy" in done.out
    assert Path("report.html").exists()


@pytest.mark.parametrize(("target", "word"), [(".", "is a folder"), ("no/x.html", "no folder")])
def test_a_place_that_cannot_be_written_is_refused_first(tuner, home, target, word):
    """Nothing is drawn before the target is known to be a file in a folder that is there."""
    done = tuner("report", "made", "-o", target, "--home", home)
    assert done.code == 2
    assert word in done.err


def test_an_unknown_study_is_named(tuner, home):
    """The error lists the studies that are there."""
    done = tuner("report", "other", "--home", home)
    assert done.code == 1
    assert "no study 'other'" in done.err
    assert "made" in done.err


def test_the_folder_of_the_images_is_found(tmp_path, monkeypatch):
    """Digits lie in the home, a manifest's images at its root or beside it, others at source."""
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / "home")
    for place in ("home/datasets/digits", "lists", "images"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "lists/all.csv").write_text("path,label\n")

    def found(data):
        return data_root(parse_study(f"{{name: x, data: {data}}}", source="x"), home)

    assert found("{source: digits}") == tmp_path / "home/datasets/digits"
    assert found("{source: lists/all.csv}") == tmp_path / "lists"
    assert found("{source: lists/all.csv, root: images}") == tmp_path / "images"
    assert found("{source: images}") == tmp_path / "images"
    assert found("{source: gone}") is None
