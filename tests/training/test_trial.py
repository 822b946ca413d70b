"""Settings become outcomes: heads per fold, training, judgement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from keras import ops
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from tests.small_study import Small, quick_engine, small_config
from tuner.config import TrainingConfig
from tuner.evaluation.metrics import METRICS
from tuner.home.baselines import baselines
from tuner.imbalance.weights import class_weights
from tuner.search.study import Search
from tuner.setting import Setting
from tuner.training.outcome import Outcome
from tuner.training.trial import (
    ENGINES,
    OUT_OF_MEMORY,
    fold_heads,
    make_head,
    objective_value,
    train_settings,
    training_counts,
)

RECIPE = baselines(n_classes=5)["published_recipe"]


@pytest.fixture
def search(small: Small) -> Search:
    """The small study, opened."""
    return small.open()


def trained(search: Search, *settings: Setting, **options: Any) -> list[Outcome]:
    """Settings trained together, none pruned."""
    return train_settings(
        settings,
        search.inputs,
        config=search.config,
        on_epoch=lambda i, epoch: False,
        **options,
    )


def test_folds_train_on_the_others_and_judge_their_own(search: Search) -> None:
    """Each image is validated once, on its view 0, by the head that never saw it."""
    inputs = search.inputs
    folds = fold_heads(RECIPE, inputs, config=search.config)
    judged = np.concatenate([fold.validation_places for fold in folds])
    assert sorted(judged.tolist()) == list(range(len(inputs.labels)))
    place_of = np.full(len(inputs.y), -1)
    for place, rows in enumerate(inputs.row_of):
        place_of[rows[rows >= 0]] = place
    for k, fold in enumerate(folds):
        assert set(inputs.fold[place_of[fold.head.rows]]) == {1 - k}
        assert set(inputs.fold[fold.validation_places]) == {k}
        np.testing.assert_array_equal(
            fold.validation_rows, inputs.row_of[fold.validation_places, 0]
        )


@pytest.mark.parametrize("mode", ["none", "sqrt", "balanced", "effective_number"])
def test_rows_and_weights_are_those_of_the_setting(search: Search, mode: str) -> None:
    """Counts after augmentation follow min(n m, max - n), weights follow those counts."""
    inputs = search.inputs
    setting = Setting(1.0, 0.5, 2, mode)
    (outcome,) = trained(search, setting, engine=quick_engine)
    folds = fold_heads(setting, inputs, config=search.config)
    for k in range(2):
        n = np.bincount(inputs.labels[inputs.fold != k], minlength=5)
        expected = n + np.minimum(2 * n, n.max() - n)
        assert outcome.rows[k] == expected.tolist()
        weight = class_weights(expected, mode, beta=0.999)
        np.testing.assert_allclose(outcome.class_weights[k], weight)
        assert np.bincount(inputs.y[folds[k].head.turns[0]]).tolist() == expected.tolist()


def test_cap_none_lifts_the_limit(small: Small) -> None:
    """Without the cap rare classes rise above the largest."""
    search = small.open("augmentation.cap=none")
    folds = fold_heads(Setting(1.0, 0.5, 8, "none"), search.inputs, config=search.config)
    n = np.bincount(search.inputs.labels[search.inputs.fold != 0], minlength=5)
    counts = training_counts(folds[0].head, search.inputs)
    assert counts.tolist() == np.where(n == n.max(), n, 9 * n).tolist()


def test_views_are_shared_but_in_the_published_recipe(small: Small) -> None:
    """Every class has its share of views, by the recipe's own way rare ones alone."""
    search = small.open("augmentation.policy=shared")
    inputs = search.inputs
    view_of = np.zeros(len(inputs.y), dtype=int)
    for view in range(inputs.row_of.shape[1]):
        view_of[inputs.row_of[inputs.row_of[:, view] >= 0, view]] = view
    largest = np.bincount(inputs.labels).argmax()
    shares = {}
    for setting in (RECIPE, replace(RECIPE, augmentation_policy=None)):
        head = fold_heads(setting, inputs, config=search.config)[0].head
        is_largest = inputs.y[head.turns] == largest
        assert (is_largest.sum(axis=1) == is_largest[0].sum()).all()
        of_largest = (view_of[head.turns] > 0)[is_largest].mean()
        of_others = (view_of[head.turns] > 0)[~is_largest].mean()
        shares[setting.augmentation_policy] = (of_largest, of_others)
    assert shares["minority"][0] == 0 < shares["minority"][1]
    assert shares[None][0] == pytest.approx(shares[None][1], abs=0.03)


def test_random_streams_depend_on_study_and_fold_alone(search: Search) -> None:
    """Common random numbers: two settings share their keys, two folds do not."""
    first = fold_heads(Setting(0.0, 1.0, 0, "none"), search.inputs, config=search.config)
    second = fold_heads(Setting(4.0, 0.3, 5, "sqrt"), search.inputs, config=search.config)
    keys = [fold.head.key for fold in first]
    assert keys == [fold.head.key for fold in second] == [(0, 1), (0, 2)]
    other = small_config("seed=1")
    assert fold_heads(RECIPE, search.inputs, config=other)[0].head.key not in keys


def test_final_training_has_a_stream_of_its_own(search: Search) -> None:
    """The head on all images takes no fold's key."""
    everything = np.arange(len(search.inputs.labels))
    head = make_head(RECIPE, search.inputs, everything, config=search.config, fold=None)
    folds = fold_heads(RECIPE, search.inputs, config=search.config)
    assert head.key == (0, 0)
    assert head.key not in {fold.head.key for fold in folds}
    assert training_counts(head, search.inputs).sum() == head.turns.shape[1]


def test_matrix_and_scores_are_those_of_the_out_of_fold_table(search: Search) -> None:
    """Value, matrix and scores follow from the pooled table, by scikit-learn's arithmetic."""
    (found,) = trained(search, RECIPE)
    assert found.log_prob is not None
    y_true, y_pred = search.inputs.labels, found.log_prob.argmax(axis=1)
    assert found.matrix == confusion_matrix(y_true, y_pred).tolist()
    assert found.value == pytest.approx(balanced_accuracy_score(y_true, y_pred))
    assert found.scores["macro_f1"] == pytest.approx(
        f1_score(y_true, y_pred, average="macro", zero_division=0)
    )
    np.testing.assert_allclose(np.exp(found.log_prob).sum(axis=1), 1)


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_last_report_is_the_value(small: Small, metric: str) -> None:
    """Whatever the metric, the last epoch's objective is the value told."""
    search = small.open(f"objective.metric={metric}")
    (found,) = trained(search, RECIPE)
    assert found.curves["objective"][-1] == found.value == found.scores[metric]
    assert found.value == objective_value(np.array(found.matrix), config=search.config)


def test_curves_have_one_value_an_epoch(search: Search) -> None:
    """All curves are as long, and the macro recall is the mean of the classes' recalls."""
    (found,) = trained(search, RECIPE)
    assert {len(curve) for curve in found.curves.values()} == {4}
    means = np.mean(found.curves["val/recall"], axis=1)
    np.testing.assert_allclose(found.curves["val/macro_recall"], means)


def test_trial_is_the_same_whatever_shares_its_batch(search: Search) -> None:
    """Alone or beside others, a setting gives the same table to the bit."""
    others = [Setting(0.0, 1.0, 0, "none"), Setting(3.0, 0.4, 1, "effective_number")]
    (alone,) = trained(search, RECIPE)
    beside = trained(search, others[0], RECIPE, others[1])[1]
    np.testing.assert_array_equal(alone.log_prob, beside.log_prob)
    assert alone.curves == beside.curves


def test_training_learns(small: Small) -> None:
    """With time enough the heads tell the digits apart far better than chance."""
    search = small.open("training.epochs=30")
    (found,) = trained(search, Setting(0.0, 1.0, 0, "balanced"))
    assert found.value is not None
    assert found.value > 0.85  # chance: 0.2


def test_failing_before_the_first_report_leaves_no_matrix(search: Search) -> None:
    """A loss that is never finite gives a reason and nothing else."""
    spoilt = np.full_like(ops.convert_to_numpy(search.inputs.X), np.nan)
    inputs = replace(search.inputs, X=ops.convert_to_tensor(spoilt))
    (found,) = trained(replace(search, inputs=inputs), RECIPE)
    assert (found.state, found.matrix, found.value, found.curves) == ("failed", [], None, {})
    assert found.log_prob is None
    assert found.reason == "training loss is nan at step 1"


def test_where_memory_runs_out_all_have_failed(search: Search) -> None:
    """Rows and weights stay known, results do not; what is no lack of memory comes through."""

    def hungry(trials: Any, inputs: Any, *, training: Any, on_epoch: Any) -> Any:
        on_epoch(
            0, quick_engine(trials, inputs, training=training, on_epoch=on_epoch)[0].epochs[0]
        )
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")

    found = trained(search, RECIPE, Setting(0.0, 1.0, 0, "none"), engine=hungry)
    whole = trained(search, RECIPE, Setting(0.0, 1.0, 0, "none"), engine=quick_engine)
    for failed, other in zip(found, whole, strict=True):
        assert (failed.state, failed.reason) == ("failed", OUT_OF_MEMORY)
        assert (failed.value, failed.matrix, failed.curves, failed.log_prob) == (
            None,
            [],
            {},
            None,
        )
        assert (failed.rows, failed.class_weights) == (other.rows, other.class_weights)

    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        trained(search, RECIPE, engine=broken)


def test_every_mode_has_an_engine() -> None:
    """What a study file may say is what can be trained."""
    modes = TrainingConfig.model_fields["mode"].annotation
    assert set(ENGINES) == set(get_args(modes))


def test_images_need_images(small: Small) -> None:
    """Inputs that hold features only are refused by the engine that decodes images."""
    with pytest.raises(ValueError, match="hold features only"):
        trained(small.open("training.mode=live"), RECIPE)
