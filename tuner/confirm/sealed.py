"""Score models on the sealed test; the only module of the search that reads its images' labels.

Whoever calls it has recorded the opening before (`StudyFolder.open_seal`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tuner.arrays import Float32, Float64, Int64
from tuner.confirm.retest import Confirming, Retest
from tuner.evaluation.metrics import confusion_matrix, scores
from tuner.features.bank import FeatureBank
from tuner.features.wanted import of_table
from tuner.home.baselines import PLAIN
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder
from tuner.imbalance.adjustment import adjust_logits, effective_prior
from tuner.training.final import head_log_prob, train_finals
from tuner.training.free import FITS, original_features
from tuner.training.head import HeadWeights
from tuner.training.plan import plan_of
from tuner.training.trial import make_head, training_counts


@dataclass(frozen=True)
class SealedImages:
    """The images of the sealed test.

    Attributes:
        images: Their numbers in the study's table of images, int64 (n_test,).
        labels: True classes, int64 (n_test,).
        groups: Which images come together, int64 (n_test,), or None.
        features: float32 (n_test, n_features).
    """

    images: Int64
    labels: Int64
    groups: Int64 | None
    features: Float32


def read_test(folder: StudyFolder, bank: FeatureBank) -> SealedImages:
    """The sealed images, whose features must be in the bank.

    Raises:
        BankError: If a row is missing or damaged.
    """
    table = folder.images
    chosen = table.test
    names = of_table(table, chosen).names(folder.config.augmentation)
    groups = None if table.groups is None else table.groups[chosen]
    return SealedImages(
        images=chosen, labels=table.labels[chosen], groups=groups, features=bank.read(names)
    )


def score_settings(
    confirming: Confirming, retest: Retest, settings: Sequence[Record], test: SealedImages
) -> dict[str, Float64]:
    """Log probabilities of the test by setting, float64 (n_seeds, n_test, n_classes).

    The study seed comes first, with the head that `tuner train` writes; then the fresh ones,
    each trained as long as its own folds say.
    """
    seeds = [confirming.config.seed, *confirming.folds]
    scored: dict[str, list[Float64]] = {setting.name: [] for setting in settings}
    for seed in seeds:
        confirming.listener.note(f"sealed test, seed {seed}: heads of {len(settings)} settings")
        for setting, head in zip(
            settings, _heads(confirming, retest, settings, seed=seed), strict=True
        ):
            scored[setting.name].append(head_log_prob(head, test.features))
    return {name: np.stack(parts) for name, parts in scored.items()}


def _heads(
    confirming: Confirming, retest: Retest, settings: Sequence[Record], *, seed: int
) -> list[HeadWeights]:
    own = seed == confirming.config.seed
    judged = [setting if own else retest.records[setting.name][seed] for setting in settings]
    plans = [plan_of(record.best_epochs, record.learning_rates) for record in judged]
    return train_finals(
        [(setting.params, plan) for setting, plan in zip(settings, plans, strict=True)],
        confirming.inputs,
        config=confirming.config_of(seed),
    )


def score_free(
    confirming: Confirming, plain: Float64, test: SealedImages, *, taus: Mapping[str, float]
) -> dict[str, Float64]:
    """Log probabilities of the free baselines; what has no seed is repeated for each.

    Args:
        confirming: The study.
        plain: Those of plain cross-entropy, (n_seeds, n_test, n_classes).
        test: The sealed images.
        taus: Strength of each logit adjustment, by key.

    Returns:
        By key, float64 (n_seeds, n_test, n_classes).
    """
    baseline = next(r for r in confirming.folder.records() if r.name == PLAIN)
    found = score_adjusted(confirming, baseline, plain, taus=taus)
    X, labels = original_features(confirming.inputs), confirming.inputs.labels
    for key, fit in FITS.items():
        log_prob = fit(X, labels)(test.features)
        found[key] = np.broadcast_to(log_prob, plain.shape)
    return found


def score_adjusted(
    confirming: Confirming, setting: Record, log_prob: Float64, *, taus: Mapping[str, float]
) -> dict[str, Float64]:
    """Logit adjustment of a setting's predictions, with the prior that its final head saw."""
    inputs, places = confirming.inputs, np.arange(len(confirming.inputs.labels))
    head = make_head(setting.params, inputs, places, config=confirming.config, fold=None)
    prior = effective_prior(training_counts(head, inputs), head.class_weight)
    return {key: adjust_logits(log_prob, prior, tau=tau) for key, tau in taus.items()}


def sealed_record(setting: Record, log_prob: Float64, labels: Int64) -> Record:
    """Record of a setting's model of the study seed on the sealed test.

    Args:
        setting: The record of its search.
        log_prob: Of the study seed's head, (n_test, n_classes).
        labels: True classes, int64 (n_test,).
    """
    matrix = confusion_matrix(labels, log_prob.argmax(axis=1), n_classes=log_prob.shape[1])
    return replace(
        setting,
        kind="confirm",
        name=f"test-{setting.name}",
        number=None,
        of=setting.name,
        part="test",
        state="complete",
        value=None,
        matrix=matrix.tolist(),
        scores=scores(matrix),
        curves={},
    )
