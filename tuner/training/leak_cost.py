"""What near-duplicates on two sides of a split are worth: free baselines with and without."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tuner.arrays import Float32, Int64
from tuner.evaluation.metrics import confusion_matrix, macro_recall
from tuner.training.free import FITS, out_of_folds

MOST_IMAGES = 3000  # more tell no more, and a logistic regression of 20,000 takes minutes
_RARE = 100  # images of a class below which all of them are taken


class LeakCost(NamedTuple):
    """Macro recall over the folds of a baseline that needs no search.

    Attributes:
        parted: With near-duplicates wherever chance puts them.
        together: With near-duplicates on one side.
    """

    parted: float
    together: float


def leak_costs(
    features: Float32, labels: Int64, *, parted: Int64, together: Int64, n_classes: int
) -> dict[str, LeakCost]:
    """What the free baselines reach on two splits of the same images, by their key.

    Args:
        features: Of the images themselves, float32 (n_images, n_features).
        labels: int64 (n_images,).
        parted: Fold of each image in the split that parts near-duplicates; below 0: sealed.
        together: The same where they are kept together.
        n_classes: Number of classes.
    """
    return {
        key: LeakCost(
            _macro_recall(key, features, labels, parted, n_classes),
            _macro_recall(key, features, labels, together, n_classes),
        )
        for key in FITS
    }


def some_groups(labels: Int64, groups: Int64, *, most: int = MOST_IMAGES) -> Int64:
    """Images of whole groups, about `most` of them, with all of the rare classes; ascending.

    Args:
        labels: int64 (n_images,).
        groups: int64 (n_images,), 0 to n_groups - 1.
        most: Images wanted.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    is_rare = np.bincount(labels)[labels] <= _RARE
    is_taken = np.zeros(int(groups.max()) + 1, dtype=np.bool_)
    is_taken[groups[is_rare]] = True
    sizes, n_taken = np.bincount(groups), int(np.bincount(groups)[is_taken].sum())
    order = np.random.default_rng(0).permutation(len(sizes))
    order = order[~is_taken[order]]
    is_taken[order[n_taken + np.cumsum(sizes[order]) <= most]] = True
    return np.flatnonzero(is_taken[groups])


def _macro_recall(
    key: str, features: Float32, labels: Int64, fold: Int64, n_classes: int
) -> float:
    used = fold >= 0
    features, labels, fold = features[used], labels[used], fold[used]
    log_prob = out_of_folds(key, features, labels, fold, n_classes=n_classes)
    return macro_recall(confusion_matrix(labels, log_prob.argmax(axis=1), n_classes=n_classes))
