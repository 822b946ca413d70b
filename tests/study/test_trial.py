"""A trial is its record with the names of the classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score

from tests.cli.made import make_baseline, make_record
from tuner.study import Trial
from tuner.study.trial import frame_of, ranking

NAMES = ("<script>alert(1)</script>", "b & c")
MATRIX = [[8, 2], [1, 3]]


def trial_of(**changes: object) -> Trial:
    """A trial of two classes."""
    return Trial(make_record(MATRIX, **changes), NAMES)


def test_a_trial_tells_what_its_record_holds() -> None:
    """Name, number, state, setting, objective, scores and curves."""
    trial = trial_of()
    record = trial.record
    assert (trial.name, trial.title, trial.number) == ("trial-00003", "#3", 3)
    assert (trial.state, trial.value) == ("complete", record.value)
    assert trial.params == record.params.as_dict()
    assert trial.scores == record.scores
    assert trial.curves == record.curves
    baseline = Trial(make_baseline(MATRIX), NAMES)
    assert baseline.number is None
    assert baseline.title == baseline.record.title


def test_recall_is_that_of_scikit_learn() -> None:
    """By class name, from the confusion matrix whose rows are true classes."""
    trial = trial_of()
    y_true = np.repeat([0, 0, 1, 1], [8, 2, 1, 3])
    y_pred = np.repeat([0, 1, 0, 1], [8, 2, 1, 3])
    assert list(trial.recall.index) == list(NAMES)
    np.testing.assert_allclose(trial.recall, recall_score(y_true, y_pred, average=None))
    matrix = trial.confusion_matrix
    pd.testing.assert_frame_equal(
        matrix,
        pd.DataFrame(
            MATRIX, index=pd.Index(NAMES, name="true"), columns=pd.Index(NAMES, name="predicted")
        ),
    )


def test_the_standard_error_is_that_of_independent_binomials() -> None:
    """Half the root of the summed variances of two recalls."""
    expected = np.sqrt((0.8 * 0.2 / 10 + 0.75 * 0.25 / 4) / 4)
    assert trial_of().standard_error == pytest.approx(expected, rel=0.2)


def test_what_a_caller_does_to_its_values_does_not_reach_the_record() -> None:
    """Scores and curves are copies."""
    trial = trial_of()
    trial.scores["macro_recall"] = 2.0
    trial.curves["mine"] = []
    assert trial.record.scores["macro_recall"] < 1
    assert "mine" not in trial.record.curves


def test_a_trial_shows_itself_with_names_as_they_are() -> None:
    """Setting and value in a line; as HTML recall and k of n a class, and no markup of names."""
    trial = trial_of()
    assert repr(trial) == f"<#3: {trial.record.params}, 0.7750, complete>"
    page = trial._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "b &amp; c" in page
    assert "8 of 10" in page
    assert "macro recall 0.775" in page


def test_a_failed_trial_shows_why() -> None:
    """It has no matrix; its reason is no markup either."""
    failed = Trial(make_record([], state="failed", value=None, reason="loss is <b>nan</b>"), NAMES)
    assert repr(failed).endswith("failed, failed>")
    page = failed._repr_html_()
    assert "loss is &lt;b&gt;nan&lt;/b&gt;" in page
    assert (failed.confusion_matrix == 0).all(axis=None)
    assert list(failed.recall.index) == list(NAMES)
    assert failed.recall.isna().all()
    assert np.isnan(failed.standard_error)


def test_a_frame_of_failed_trials_alone_has_no_recalls() -> None:
    """What was not measured is missing, not nought."""
    record = make_record([], state="failed", value=None, reason="no")
    frame = frame_of([Trial(record, NAMES), trial_of(number=4)])
    assert frame.loc[0, [f"recall/{name}" for name in NAMES]].isna().all()
    assert frame.loc[1, f"recall/{NAMES[0]}"] == 0.8
    assert list(frame["seconds"]) == [2.5, 2.5]


def test_what_has_no_value_is_ranked_below_a_negative_objective() -> None:
    """Matthews' correlation may be below zero, and is still better than a failure."""
    poor = trial_of(value=-0.25)
    failed = trial_of(state="failed", value=None, reason="memory", name="trial-00004", number=4)
    shown = "".join(map(str, ranking([failed, poor], best=None)))
    assert shown.index("#3") < shown.index("#4")
