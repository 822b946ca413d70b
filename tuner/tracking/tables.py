"""Files beside a run's metrics: counts, predictions per image, and the names that were changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.home.records import Record
from tuner.home.study_folder import ImageTable

FloatArray = NDArray[np.float32]

PREDICTIONS = "predictions.json"

_DIGITS = 4  # the study's folder keeps the probabilities whole


def class_names_json(class_names: Sequence[str], names: Sequence[str]) -> str:
    """Map from the names in metrics to the names of the classes, in class order."""
    pairs = zip(names, class_names, strict=True)
    rows = [{"class": i, "metric": a, "name": b} for i, (a, b) in enumerate(pairs)]
    return json.dumps(rows, indent=1)


def confusion_matrix_json(record: Record, class_names: Sequence[str]) -> str:
    """Counts of the pooled out-of-fold predictions, rows true, columns predicted."""
    return json.dumps({"class_names": list(class_names), "matrix": record.matrix})


def predictions_json(
    images: ImageTable, log_prob: FloatArray, class_names: Sequence[str], *, record: Record
) -> str:
    """Prediction of every image that a record counts, in the form of MLflow's tables.

    Images whose fold was not predicted before a failure have no prediction. Only trials and
    baselines have the study's own folds.

    Args:
        images: The study's images.
        log_prob: float32 of shape (n_images, n_classes), the record's images in their order.
        class_names: In class order.
        record: Whose predictions they are.

    Raises:
        ValueError: If `log_prob` belongs to other images or classes.
    """
    rows = images.search if record.part == "validation" else images.test
    if log_prob.shape != (len(rows), len(class_names)):
        raise ValueError(
            f"probabilities of shape {log_prob.shape} for {len(rows)} images "
            f"and {len(class_names)} classes"
        )
    is_known: list[bool] = (log_prob.max(axis=1) > -np.inf).tolist()
    predicted, true = log_prob.argmax(axis=1).tolist(), images.labels[rows].tolist()
    columns: dict[str, list[Any]] = {
        "path": [images.paths[i] for i in rows],
        "class": [class_names[k] for k in true],
        **({} if record.kind == "confirm" else {"fold": images.fold[rows].tolist()}),
        "predicted": [
            class_names[k] if known else None for k, known in zip(predicted, is_known, strict=True)
        ],
        "is_right": [
            k == t if known else None
            for k, t, known in zip(predicted, true, is_known, strict=True)
        ],
    }
    probability = np.round(np.exp(log_prob.astype(np.float64)), _DIGITS)
    for k, name in enumerate(class_names):
        columns[f"probability: {name}"] = probability[:, k].tolist()
    table = {"columns": list(columns), "data": list(zip(*columns.values(), strict=True))}
    return json.dumps(table, separators=(",", ":"))
