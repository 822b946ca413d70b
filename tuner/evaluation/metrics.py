"""Scores of a confusion matrix, and the loss that training is monitored by."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuner.arrays import Float64, Int64


class ClassTable(NamedTuple):
    """Per-class numbers of a confusion matrix, each of shape (n_classes,)."""

    recall: Float64
    precision: Float64
    f1: Float64
    support: Int64


def confusion_matrix(y_true: Int64, y_pred: Int64, *, n_classes: int) -> Int64:
    """Counts with true classes as rows and predicted ones as columns.

    Args:
        y_true: int64 of shape (n_images,), each in 0..n_classes-1.
        y_pred: int64 of shape (n_images,), each in 0..n_classes-1.
        n_classes: Fixes the shape, so an absent class keeps its row and column.

    Returns:
        int64 of shape (n_classes, n_classes).
    """
    flat = np.bincount(y_true * n_classes + y_pred, minlength=n_classes * n_classes)
    return flat.reshape(n_classes, n_classes).astype(np.int64)


def class_table(matrix: Int64) -> ClassTable:
    """Recall, precision, F1 and support of every class; 0 where nothing can be divided."""
    hits = np.diag(matrix).astype(np.float64)
    support, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    return ClassTable(
        recall=_divide(hits, support),
        precision=_divide(hits, predicted),
        f1=_divide(2 * hits, support + predicted),
        support=support,
    )


def present_recall(matrix: Int64) -> Float64:
    """Recall of the classes that have images, in class order: a shipped test may lack one."""
    table = class_table(matrix)
    return table.recall[table.support > 0]


def macro_recall(matrix: Int64) -> float:
    """Mean recall over the classes that have images (balanced accuracy)."""
    return float(present_recall(matrix).mean())


def macro_f1(matrix: Int64) -> float:
    """Mean of the classes' F1 scores (scikit-learn's ``average="macro"``), as `macro_recall`."""
    table = class_table(matrix)
    return float(table.f1[table.support > 0].mean())


def g_mean(matrix: Int64) -> float:
    """Geometric mean of the recalls; 0 as soon as one class is never found."""
    recall = present_recall(matrix)
    return float(np.exp(np.log(recall).mean())) if (recall > 0).all() else 0.0


def mcc(matrix: Int64) -> float:
    """Matthews correlation coefficient of K classes (Gorodkin 2004); 0 when undefined."""
    m = matrix.astype(np.float64)
    true, predicted, total, hits = m.sum(axis=1), m.sum(axis=0), m.sum(), np.trace(m)
    spread = (total**2 - (predicted**2).sum()) * (total**2 - (true**2).sum())
    return float((hits * total - true @ predicted) / np.sqrt(spread)) if spread > 0 else 0.0


def accuracy(matrix: Int64) -> float:
    """Share of images on the diagonal."""
    return float(np.trace(matrix) / matrix.sum())


METRICS: dict[str, Callable[[Int64], float]] = {
    "macro_recall": macro_recall,
    "macro_f1": macro_f1,
    "g_mean": g_mean,
    "mcc": mcc,
    "accuracy": accuracy,
}
SCORES = (*METRICS, "min_recall")


def scores(matrix: Int64) -> dict[str, float]:
    """All summary metrics of a matrix, with the worst recall as ``min_recall``."""
    summary = {name: metric(matrix) for name, metric in METRICS.items()}
    return summary | {"min_recall": float(present_recall(matrix).min())}


def log_softmax(logits: NDArray[np.floating]) -> Float64:
    """Log probabilities, float64, over the last axis."""
    z = np.asarray(logits, dtype=np.float64)
    z = z - z.max(axis=-1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(axis=-1, keepdims=True)), dtype=np.float64)


def balanced_loss(log_prob: Float64, y_true: Int64) -> float:
    """Cross-entropy averaged over the images of each class, then over classes.

    Free of gamma, alpha and class weights, so it is comparable between trials.

    Args:
        log_prob: float64 of shape (n_images, n_classes).
        y_true: int64 of shape (n_images,). Classes without images are left out of the mean.

    Returns:
        Mean over present classes, in nats.
    """
    n_classes = log_prob.shape[1]
    counts = np.bincount(y_true, minlength=n_classes)
    losses = -log_prob[np.arange(len(y_true)), y_true]
    sums = np.bincount(y_true, weights=losses, minlength=n_classes)
    present = counts > 0
    return float((sums[present] / counts[present]).mean())


def _divide(numerator: Float64, denominator: Int64) -> Float64:
    out = np.zeros(len(numerator), dtype=np.float64)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)
