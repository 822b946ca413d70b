"""``tuner init`` on what people have: label files of known sets and tools, and their folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.labels.published import PUBLISHED, Made
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
    n_groups = None if table.groups is None else len(np.unique(table.groups))
    assert n_groups == made.n_groups
    n_test = None if table.is_shipped_test is None else int(table.is_shipped_test.sum())
    assert n_test == made.n_test
    split_images(config, table)
    checked = tuner("check", "s.yaml")
    assert checked.code == 0, checked.err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["HAM10000", "Roboflow"])
def test_a_published_set_runs(tuner, tmp_path, name):
    """From the file of the set to a finished search: nothing in between is written by hand."""
    made = PUBLISHED[name](tmp_path)
    assert drafted(tuner, made).code == 0
    keys = ["data.image_px=32", "backbone.weights=random", "training.epochs=3", "split.folds=2"]
    words = [word for key in keys for word in ("--set", key)]
    done = tuner("run", "s.yaml", "--trials", "1", *words)
    assert done.code == 0, done.err
