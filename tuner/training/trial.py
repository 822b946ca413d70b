"""From settings to what came of training them, with either engine.

Knows neither Optuna nor MLflow: an outcome is a pure function of (bank, folds, setting, study
seed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from tuner.arrays import Int64, Ints
from tuner.config import StudyConfig, TrainingConfig
from tuner.evaluation.metrics import METRICS, class_table, scores
from tuner.home.listener import Epoch
from tuner.imbalance.weights import class_weights
from tuner.setting import Setting
from tuner.training.bank.compiled import is_out_of_memory
from tuner.training.bank.folds import train_trials
from tuner.training.head import FoldHead, Head
from tuner.training.images.loop import train_trial
from tuner.training.inputs import Inputs
from tuner.training.losses import focal_terms
from tuner.training.outcome import Outcome, Trained, no_predictions, pooled_matrix

OnEpoch = Callable[[int, Epoch], bool]  # which setting, and its report; True prunes it

OUT_OF_MEMORY = "memory ran out; lower search.batch or training.batch_size"


class Trainer(Protocol):
    """Trains settings together; search and confirm are given one."""

    def __call__(
        self,
        settings: Sequence[Setting],
        inputs: Inputs,
        *,
        config: StudyConfig,
        on_epoch: OnEpoch,
    ) -> list[Outcome]:
        """What came of each setting, in their order."""


class Engine(Protocol):
    """Trains the heads of settings that are resolved already; a trainer has one."""

    def __call__(
        self,
        trials: Sequence[Sequence[FoldHead]],
        inputs: Inputs,
        *,
        training: TrainingConfig,
        on_epoch: OnEpoch,
    ) -> list[Trained]:
        """What has become of each setting, in their order."""


def train_settings(
    settings: Sequence[Setting],
    inputs: Inputs,
    *,
    config: StudyConfig,
    on_epoch: OnEpoch,
    engine: Engine | None = None,
) -> list[Outcome]:
    """Train settings together and judge each on its own; the `Trainer` of every study.

    Where memory runs out all of them have failed.

    Args:
        settings: What to train.
        inputs: The images, in the folds to train on.
        config: The study, with the seed to train with.
        on_epoch: Called with (index, report) after each epoch of a setting; True prunes it.
        engine: What trains the heads; that of the study's `training.mode` unless given.
    """
    engine = engine or ENGINES[config.training.mode]
    trials: list[list[FoldHead]] = [[] for _ in settings]  # until they are resolved
    try:
        trials = [fold_heads(setting, inputs, config=config) for setting in settings]
        trained = engine(trials, inputs, training=config.training, on_epoch=on_epoch)
        return [
            _judged(result, folds, inputs, config=config)
            for result, folds in zip(trained, trials, strict=True)
        ]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        nothing = no_predictions(inputs.labels, n_classes=inputs.n_classes)
        failed = Trained(nothing, state="failed", reason=OUT_OF_MEMORY)
        return [_judged(failed, folds, inputs, config=config) for folds in trials]


def fold_heads(setting: Setting, inputs: Inputs, *, config: StudyConfig) -> list[FoldHead]:
    """Resolve a setting into one head per validation fold: its rows, weights and loss."""
    folds = []
    for k in range(inputs.n_folds):
        held_out = np.flatnonzero(inputs.fold == k)
        head = make_head(setting, inputs, np.flatnonzero(inputs.fold != k), config=config, fold=k)
        folds.append(FoldHead(head, inputs.row_of[held_out, 0], held_out))
    return folds


def make_head(
    setting: Setting, inputs: Inputs, places: Int64, *, config: StudyConfig, fold: int | None
) -> Head:
    """The head that a setting trains on some images.

    Args:
        setting: The setting.
        inputs: What the search works on.
        places: Of the training images, int64 (n_training,).
        config: The study, with the seed to train with.
        fold: Number of the fold that judges the head; None of the final one, which none does.
    """
    rows = inputs.training_rows(
        places,
        multiplier=setting.augmentation_multiplier,
        capped=config.augmentation.cap == "largest",
        policy=setting.augmentation_policy or config.augmentation.policy,
    )
    weight = class_weights(
        row_counts(rows, inputs),
        setting.class_weight_mode,
        beta=config.training.effective_number_beta,
    )
    terms = focal_terms(setting.alpha, n_classes=inputs.n_classes, rarer_class=inputs.rarer_class)
    # Never keyed by trial: common random numbers make trials comparable. Keys are not negative.
    key = (config.seed, 0 if fold is None else fold + 1)
    return Head(rows=rows, gamma=setting.gamma, terms=terms, class_weight=weight, key=key)


def training_counts(head: Head, inputs: Inputs) -> Int64:
    """Rows per class that a head is trained on, added views and all, int64 (n_classes,)."""
    return row_counts(head.rows, inputs)


def row_counts(rows: Ints, inputs: Inputs) -> Int64:
    """Rows per class, the same in every turn, int64 (n_classes,)."""
    return np.bincount(inputs.y[np.atleast_2d(rows)[0]], minlength=inputs.n_classes)


def objective_value(matrix: Int64, *, config: StudyConfig) -> float:
    """The study's objective of a confusion matrix."""
    return METRICS[config.objective.metric](matrix)


def _on_bank(
    trials: Sequence[Sequence[FoldHead]],
    inputs: Inputs,
    *,
    training: TrainingConfig,
    on_epoch: OnEpoch,
) -> list[Trained]:
    """All heads in lock-step, on cached features."""
    return train_trials(
        trials,
        inputs.X,
        inputs.y,
        labels=inputs.labels,
        n_classes=inputs.n_classes,
        steps=inputs.steps,
        training=training,
        on_epoch=on_epoch,
    )


def _on_images(
    trials: Sequence[Sequence[FoldHead]],
    inputs: Inputs,
    *,
    training: TrainingConfig,
    on_epoch: OnEpoch,
) -> list[Trained]:
    """One setting after another, on images with other views in every epoch."""
    return [
        train_trial(
            folds,
            inputs.live_images,
            inputs.y,
            labels=inputs.labels,
            n_classes=inputs.n_classes,
            steps=inputs.steps,
            training=training,
            on_epoch=partial(on_epoch, i),
        )
        for i, folds in enumerate(trials)
    ]


ENGINES: Mapping[str, Engine] = {"bank": _on_bank, "live": _on_images}  # by `training.mode`


def _judged(
    trained: Trained, folds: Sequence[FoldHead], inputs: Inputs, *, config: StudyConfig
) -> Outcome:
    """What an engine has made of a setting, as its record tells it."""
    outcome = Outcome(
        trained.state,
        trained.reason,
        best_epochs=trained.best_epochs,
        learning_rates=trained.learning_rates,
        rows=[training_counts(fold.head, inputs).tolist() for fold in folds],
        class_weights=[np.asarray(fold.head.class_weight).tolist() for fold in folds],
    )
    if not trained.epochs:
        return outcome
    matrix = pooled_matrix(trained.log_prob, inputs.labels, n_classes=inputs.n_classes)
    return replace(
        outcome,
        value=objective_value(matrix, config=config),
        matrix=matrix.tolist(),
        scores=scores(matrix),
        curves=_curves(trained.epochs, config=config),
        log_prob=trained.log_prob,
    )


def _curves(epochs: Sequence[Epoch], *, config: StudyConfig) -> dict[str, list[Any]]:
    """Values of each epoch, by name."""
    recall = [class_table(epoch.matrix).recall for epoch in epochs]
    return {
        "objective": [objective_value(epoch.matrix, config=config) for epoch in epochs],
        "val/macro_recall": [float(by_class.mean()) for by_class in recall],
        "val/recall": [by_class.tolist() for by_class in recall],
        "val/balanced_loss": [epoch.balanced_loss for epoch in epochs],
        "train/loss": [epoch.train_loss for epoch in epochs],
        "learning_rate": [epoch.learning_rate for epoch in epochs],
    }
