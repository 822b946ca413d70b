"""From hyperparameters to folds to train, and from what they predict to a record.

Knows neither Optuna nor MLflow: a trial is a pure function of (bank, folds, hyperparameters,
study seed).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuner.config import StudyConfig
from tuner.evaluation.metrics import METRICS, class_table, scores
from tuner.home.listener import Epoch
from tuner.imbalance.weights import class_weights
from tuner.setting import Setting
from tuner.training.bank.folds import Fold, TrialResult, pooled_matrix, train_trials
from tuner.training.bank.heads import Head
from tuner.training.images.loop import train_trial
from tuner.training.inputs import Inputs
from tuner.training.losses import focal_terms

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


class Prepared(NamedTuple):
    """The folds of one trial with what was resolved from its hyperparameters.

    Attributes:
        folds: One per validation fold.
        rows: Training rows per class, per fold.
        class_weights: Weight per class, per fold.
    """

    folds: list[Fold]
    rows: list[list[int]]
    class_weights: list[list[float]]


class Evaluated(NamedTuple):
    """A trained trial in the form of its record.

    Attributes:
        result: What training returned.
        matrix: Pooled out-of-fold confusion matrix; empty when no epoch was reported.
        value: The objective, or None without a report.
        scores: Summary metrics of the matrix.
        curves: Per-epoch values by name.
    """

    result: TrialResult
    matrix: list[list[int]]
    value: float | None
    scores: dict[str, float]
    curves: dict[str, list[Any]]


def make_head(
    params: Setting, inputs: Inputs, images: IntArray, *, config: StudyConfig, key: int
) -> tuple[Head, IntArray]:
    """The head that trains on the given images, and its training rows per class.

    Args:
        params: The setting.
        inputs: What the search works on.
        images: Places of the training images, int64 (n_training,).
        config: The study.
        key: Fold (or -1 for the final training), for the random streams.

    Returns:
        The head and int64 counts (n_classes,) after augmentation.
    """
    rows = inputs.training_rows(
        images,
        multiplier=params.augmentation_multiplier,
        capped=config.augmentation.cap == "largest",
    )
    counts = np.bincount(inputs.labels[rows.images], minlength=inputs.n_classes)
    weight = class_weights(
        counts, params.class_weight_mode, beta=config.training.effective_number_beta
    )
    terms = focal_terms(params.alpha, n_classes=inputs.n_classes, rarer_class=inputs.rarer_class)
    # Never keyed by trial: common random numbers make trials comparable. Keys are not negative.
    head = Head(
        inputs.row_of[rows.images, rows.views], params.gamma, terms, weight, (config.seed, key + 1)
    )
    return head, counts


def prepare(params: Setting, inputs: Inputs, *, config: StudyConfig) -> Prepared:
    """Resolve hyperparameters into the rows, weights and losses of each fold."""
    prepared = Prepared([], [], [])
    for k in range(inputs.n_folds):
        held_out = np.flatnonzero(inputs.fold == k)
        head, counts = make_head(
            params, inputs, np.flatnonzero(inputs.fold != k), config=config, key=k
        )
        prepared.folds.append(Fold(head, inputs.row_of[held_out, 0], held_out))
        prepared.rows.append(counts.tolist())
        prepared.class_weights.append(np.asarray(head.class_weight).tolist())
    return prepared


def objective_value(matrix: IntArray, *, config: StudyConfig) -> float:
    """The study's objective of a confusion matrix."""
    return METRICS[config.objective.metric](matrix)


def train_prepared(
    prepared: Sequence[Prepared],
    inputs: Inputs,
    *,
    config: StudyConfig,
    on_epoch: Callable[[int, Epoch], bool],
) -> list[Evaluated]:
    """Train trials together and evaluate each on its own; `on_epoch` True prunes.

    On images they are trained one after another.
    """
    if inputs.live is not None:
        results = [
            train_trial(
                trial.folds,
                inputs.live,
                inputs.y,
                y_images=inputs.labels,
                n_classes=inputs.n_classes,
                steps=inputs.steps,
                training=config.training,
                on_epoch=partial(on_epoch, i),
            )
            for i, trial in enumerate(prepared)
        ]
        return [_evaluate(result, inputs, config=config) for result in results]
    results = train_trials(
        [trial.folds for trial in prepared],
        inputs.X,
        inputs.y,
        y_images=inputs.labels,
        n_classes=inputs.n_classes,
        steps=inputs.steps,
        training=config.training,
        on_epoch=on_epoch,
    )
    return [_evaluate(result, inputs, config=config) for result in results]


def constraints_of(scores: dict[str, float], *, config: StudyConfig) -> dict[str, float]:
    """Optuna constraints of a trial, feasible at <= 0."""
    floor = config.objective.recall_floor
    return {} if floor is None or not scores else {"recall_floor": floor - scores["min_recall"]}


def _evaluate(result: TrialResult, inputs: Inputs, *, config: StudyConfig) -> Evaluated:
    if not result.epochs:
        return Evaluated(result, [], None, {}, {})
    matrix = pooled_matrix(result.log_prob, inputs.labels, n_classes=inputs.n_classes)
    epochs = result.epochs
    recall = [class_table(epoch.matrix).recall for epoch in epochs]
    curves: dict[str, list[Any]] = {
        "objective": [objective_value(epoch.matrix, config=config) for epoch in epochs],
        "val/macro_recall": [float(row.mean()) for row in recall],
        "val/recall": [row.tolist() for row in recall],
        "val/balanced_loss": [epoch.balanced_loss for epoch in epochs],
        "train/loss": [epoch.train_loss for epoch in epochs],
        "learning_rate": [epoch.learning_rate for epoch in epochs],
    }
    value = objective_value(matrix, config=config)
    return Evaluated(result, matrix.tolist(), value, scores(matrix), curves)
