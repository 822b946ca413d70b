from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from tuner.home.baselines import PLAIN
from tuner.home.free import FREE_TITLES, load_free
from tuner.home.records import load_log_prob
from tuner.imbalance.adjustment import TAUS
from tuner.search.study import run_search
from tuner.training.adjusted import tau_of
from tuner.training.free import out_of_fold


@pytest.fixture
def searched(small, quick):
    """The small study, searched."""
    search = small.open("search.trials=1")
    run_search(search)
    return search


def test_a_search_leaves_its_free_baselines_beside_the_records(searched):
    """All four are there after the search, with the scores that their matrices have."""
    found = {baseline.key: baseline for baseline in load_free(searched.folder.path)}

    assert list(found) == list(FREE_TITLES)
    for baseline in found.values():
        matrix = np.array(baseline.matrix)
        assert matrix.sum() == len(searched.inputs.labels)
        assert baseline.value == pytest.approx(np.mean(np.diag(matrix) / matrix.sum(axis=1)))


def test_no_image_is_judged_by_a_model_that_saw_it(searched):
    """Predictions of a fold do not change when the labels of that fold's images do."""
    inputs = searched.inputs
    before = out_of_fold(inputs, "logistic_regression")
    labels = inputs.labels.copy()
    held_out = inputs.fold == 0
    labels[held_out] = np.roll(labels[held_out], 7)
    object.__setattr__(inputs, "labels", labels)

    after = out_of_fold(inputs, "logistic_regression")

    assert after[held_out] == pytest.approx(before[held_out])
    assert not np.allclose(after[~held_out], before[~held_out])


def test_tau_is_the_best_on_the_out_of_fold_predictions(searched):
    """The chosen strength has the highest balanced accuracy, worked out image by image."""
    folder, inputs = searched.folder, searched.inputs
    record = next(r for r in folder.records() if r.name == PLAIN)
    log_prob = load_log_prob(folder.records_path, PLAIN)
    mass = np.array(record.rows) * np.array(record.class_weights)
    shares = (mass / mass.sum(axis=1, keepdims=True))[inputs.fold]
    recalls = [
        balanced_accuracy_score(inputs.labels, (np.exp(log_prob) / shares**tau).argmax(axis=1))
        for tau in TAUS
    ]

    assert tau_of(folder, record) == TAUS[int(np.argmax(recalls))]


def test_free_baselines_are_not_made_twice(searched, small):
    """Going on with a study leaves the file as it is."""
    path = searched.folder.path / "free.json"
    before = path.stat().st_mtime_ns

    run_search(small.open("search.trials=2"))

    assert path.stat().st_mtime_ns == before
