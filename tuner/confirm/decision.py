"""What `tuner confirm` decides, as pure functions of hits: choose, then judge.

benchmarks/coverage.py runs the same functions on simulated studies and counts their errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tuner.arrays import Bool, Int64
from tuner.evaluation.comparison import RecallDifference, macro_recall_difference


@dataclass(frozen=True)
class Standing:
    """A setting on the retest.

    Attributes:
        mean: Macro recall, mean over seeds.
        behind: Mean of the best minus this mean.
        behind_standard_error: Of that difference, paired over images and seeds.
        is_within: Whether it is behind by at most one standard error.
    """

    mean: float
    behind: float
    behind_standard_error: float
    is_within: bool


@dataclass(frozen=True)
class Choice:
    """What the retest says, before the sealed test is opened.

    Attributes:
        chosen: Simplest candidate within one standard error of the best.
        best: Candidate with the highest mean.
        best_free: Free baseline with the highest mean.
        standings: Every setting against `best`; a free one may be ahead of it.
    """

    chosen: str
    best: str
    best_free: str
    standings: dict[str, Standing]


@dataclass(frozen=True)
class Judgement:
    """What the sealed test says of the chosen setting.

    Attributes:
        is_better: Whether the gains over all that it had to beat are clearly above 0.
        comparisons: The chosen setting against each other one, by key.
    """

    is_better: bool
    comparisons: dict[str, RecallDifference]


def choose(
    hits: Mapping[str, Bool],
    *,
    candidates: Sequence[str],
    free: Sequence[str],
    labels: Int64,
    n_classes: int,
    groups: Int64 | None = None,
) -> Choice:
    """Choose the simplest setting that is within one standard error of the best.

    Args:
        hits: By key, whether each non-test image was found out of fold, bool of shape
            (n_seeds, n_images); seeds re-divide the same images.
        candidates: Keys that may be chosen, from simple to complex; order breaks ties.
        free: Keys of the baselines that need no search.
        labels: True classes, int64 of shape (n_images,).
        n_classes: Each needs at least one image.
        groups: Which images come together, or None.

    Returns:
        The choice and the table it rests on.

    References:
        Breiman et al., Classification and Regression Trees, 1984, section 3.4.3 (the rule); here
        the error is that of the paired difference.
    """
    recalls = {
        key: mean_macro_recall(h, labels=labels, n_classes=n_classes) for key, h in hits.items()
    }
    best = max(candidates, key=recalls.__getitem__)
    standings = {
        key: _standing(
            recalls[key],
            macro_recall_difference(
                hits[best], h, labels=labels, n_classes=n_classes, groups=groups
            ),
            is_best=key == best,
        )
        for key, h in hits.items()
    }
    return Choice(
        chosen=next(key for key in candidates if standings[key].is_within),
        best=best,
        best_free=max(free, key=recalls.__getitem__),
        standings=standings,
    )


def judge(
    hits: Mapping[str, Bool],
    *,
    chosen: str,
    to_beat: Iterable[str],
    labels: Int64,
    n_classes: int,
    groups: Int64 | None = None,
    confidence: float = 0.95,
) -> Judgement:
    """Compare the chosen setting with all others on the sealed test.

    Args:
        hits: By key, whether each test image was found, bool of shape (n_seeds, n_images).
        chosen: Key of the setting that the retest chose.
        to_beat: Keys of plain cross-entropy and of the best free baseline. A setting is not
            better than itself.
        labels: True classes, int64 of shape (n_images,).
        n_classes: Of the study; what a shipped test has no image of is no part of the gain.
        groups: Which images come together, or None.
        confidence: Of the intervals.

    Returns:
        Better only when each interval against `to_beat` lies above 0.
    """
    present, told = np.unique(labels, return_inverse=True)
    comparisons = {
        key: _over_all_classes(
            macro_recall_difference(
                hits[chosen],
                h,
                labels=told,
                n_classes=len(present),
                groups=groups,
                confidence=confidence,
            ),
            present,
            n_classes=n_classes,
        )
        for key, h in hits.items()
        if key != chosen
    }
    is_better = all(key in comparisons and comparisons[key].low > 0 for key in to_beat)
    return Judgement(is_better, comparisons)


def _over_all_classes(
    difference: RecallDifference, present: Int64, *, n_classes: int
) -> RecallDifference:
    """The difference with a variance for every class, 0 where the test has no image."""
    variances = np.zeros(n_classes)
    variances[present] = difference.class_variances
    return replace(difference, class_variances=tuple(variances.tolist()))


def mean_macro_recall(hits: Bool, *, labels: Int64, n_classes: int) -> float:
    """Macro recall, mean over seeds, from hits of shape (n_seeds, n_images)."""
    found = np.bincount(labels, weights=hits.mean(axis=0), minlength=n_classes)
    return float((found / np.bincount(labels, minlength=n_classes)).mean())


def _standing(mean: float, ahead: RecallDifference, *, is_best: bool) -> Standing:
    if is_best:
        return Standing(mean, 0.0, 0.0, is_within=True)
    return Standing(
        mean=mean,
        behind=ahead.gain,
        behind_standard_error=ahead.standard_error,
        is_within=ahead.gain <= ahead.standard_error,
    )
