"""The best trials keep their predictions, and nothing else of any is lost."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.small_study import Small
from tuner.errors import StudyError
from tuner.home import records as home_records
from tuner.home.founding import create_study_folder
from tuner.home.records import Record, load_log_prob, winner
from tuner.home.study_folder import StudyFolder, need_log_prob
from tuner.search.study import run_search


def kept_in(folder: StudyFolder) -> set[str]:
    """Records that have predictions."""
    return {path.stem for path in folder.records_path.glob("*.npz")}


def ranked(records: list[Record]) -> list[str]:
    """Complete trials, the best first; of equals the earlier."""
    trials = [r for r in records if r.kind == "trial" and r.state == "complete"]
    return [r.name for r in sorted(trials, key=lambda r: (-(r.value or 0), r.number))]


@pytest.mark.parametrize("n_best", [1, 2])
def test_the_best_keep_theirs(small: Small, n_best: int) -> None:
    """Baselines and the best trials have predictions, the winner too; matrices are everywhere."""
    asked = ("records.predictions=best", f"records.best={n_best}", "search.trials=6")
    search = small.open(*asked)
    run_search(search)
    found = search.folder.records()
    baselines = {r.name for r in found if r.kind == "baseline"}
    assert kept_in(search.folder) == baselines | set(ranked(found)[:n_best])
    assert load_log_prob(search.folder.records_path, winner(found).name) is not None
    assert all(r.matrix for r in found if r.state != "failed")


def test_none_keeps_those_of_baselines(small: Small) -> None:
    """Without them neither free baselines nor a confirmation could be made."""
    search = small.open("records.predictions=none")
    run_search(search)
    assert kept_in(search.folder) == {
        r.name for r in search.folder.records() if r.kind == "baseline"
    }


def test_predictions_that_were_not_kept_are_said_so(small: Small) -> None:
    """Nothing was lost: the message names the setting, and no file to restore."""
    search = small.open("records.predictions=none")
    run_search(search)
    trial = next(r for r in search.folder.records() if r.kind == "trial")
    with pytest.raises(StudyError, match=r"records\.predictions: none") as raised:
        need_log_prob(search.folder, trial, instead="name the strength: --tau 1")
    assert "restore" not in str(raised.value)
    assert "another study records.predictions: all, or name the strength" in str(raised.value)
    assert "--tau 1" in str(raised.value)


def test_large_studies_begin_with_the_best(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study says so when it begins; one that did not, as all before it, keeps everything."""
    search = small.open()
    assert search.folder.kept_predictions == "all"
    path = search.folder.path / "about.json"
    assert "predictions" not in json.loads(path.read_text())
    monkeypatch.setattr("tuner.home.founding.LARGE", 10)
    large = StudyFolder(search.folder.path.with_name("large"))
    create_study_folder(large, search.config, search.folder.images, about={})
    assert large.kept_predictions == "best"
    assert search.folder.kept_predictions == "all"  # however large it is


def test_half_precision_predicts_the_same_everywhere() -> None:
    """Rounding moves no image to another class, and no probability by more than a thousandth."""
    rng = np.random.default_rng(0)
    scores = rng.normal(scale=3, size=(20_000, 7))
    scores[::3, 1] = scores[::3, 4] + rng.normal(scale=1e-4, size=len(scores[::3]))  # near ties
    log_prob: Any = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    log_prob[5] = -np.inf
    log_prob[6, 2] = -1e30
    half = home_records.halved(log_prob)
    assert half.dtype == np.float16
    rounded = np.maximum(log_prob, -60_000).astype(np.float16)
    assert (rounded.argmax(axis=1) != log_prob.argmax(axis=1)).any()
    np.testing.assert_array_equal(half.argmax(axis=1), log_prob.argmax(axis=1))
    np.testing.assert_allclose(np.exp(half.astype(float)), np.exp(log_prob), atol=1e-3)
    assert np.isneginf(half[5]).all()
    assert np.isfinite(half[6]).all()
