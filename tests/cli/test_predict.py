"""`tuner predict` prints what the model says and names what it could not read."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.model.made_model import NAMES, write_model, write_photos


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    """A model of random weights that tells pictures apart."""
    return write_model(tmp_path_factory.mktemp("model") / "best.keras")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Pictures of several sizes, one of them damaged, and a text."""
    return write_photos(tmp_path_factory.mktemp("photos"))


def test_the_command_prints_a_table_and_names_what_it_could_not_read(tuner, model_path, photos):
    """CSV on stdout for every good file, the others on stderr, exit code 1 at the end."""
    done = tuner("predict", model_path, photos, "nowhere.png")
    assert done.code == 1
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["path"].rsplit("/", 1)[1] for row in rows] == ["a.png", "C.JPG", "b.png"]
    for row in rows:
        each = [float(row[f"probability/{name}"]) for name in NAMES]
        assert row["class"] == NAMES[int(np.argmax(each))]
        assert float(row["probability"]) == max(each)
    assert "broken.jpg: image cannot be decoded" in done.err
    assert "nowhere.png: no such file" in done.err
    assert "2 of 5 could not be read" in done.err


@pytest.mark.skipif(sys.platform != "linux", reason="only here can names be any bytes")
def test_a_name_that_is_no_text_is_shown_with_a_mark(tuner, model_path, photos, tmp_path):
    """The file is classified; JSON goes the same way as CSV."""
    name = os.fsencode(tmp_path) + b"/\xff.png"
    Path(os.fsdecode(name)).write_bytes((photos / "a.png").read_bytes())
    assert tuner("predict", model_path, os.fsdecode(name), "-o", "x.csv").code == 0
    (row,) = csv.DictReader(Path("x.csv").read_text("utf-8").splitlines())
    assert row["path"] == f"{tmp_path}/?.png"


@pytest.mark.slow
def test_json_is_for_machines(tuner, model_path, photos, tmp_path):
    """The same in JSON, in a file when asked, with exit code 0 when all is well."""
    done = tuner("predict", model_path, photos / "a.png", "--json")
    (row,) = json.loads(done.out)
    assert (done.code, row["class"]) == (
        0,
        max(row["probabilities"], key=row["probabilities"].get),
    )
    assert list(row["probabilities"]) == NAMES
    assert sum(row["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    written = tmp_path / "found.json"
    assert tuner("predict", model_path, photos / "a.png", "--json", "-o", written).out == ""
    assert json.loads(written.read_text("utf-8")) == [row]


@pytest.mark.parametrize(
    ("target", "what"),
    [("nowhere/x.csv", "the folder of 'nowhere/x.csv' does not exist"), (".", "is a folder")],
)
def test_the_target_is_checked_before_anything_loads(tuner, model_path, photos, target, what):
    """A table that could not be written is refused at once, with what to do."""
    done = tuner("predict", model_path, photos, "-o", target)
    assert done.code == 2
    assert what in done.err
    assert "loading" not in done.err
