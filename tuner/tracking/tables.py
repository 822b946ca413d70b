"""Files beside a run's metrics: counts, predictions per image, and the names that were changed.

`FILES` lists them; what is added there is in every run from then on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tuner.arrays import Float32, Int64
from tuner.data.image_table import ImageTable
from tuner.home.records import Record, load_log_prob
from tuner.home.study_folder import StudyFolder

_BLOCK = 2**14  # images
_DIGITS = 4  # the study's folder keeps the probabilities whole


def class_names_json(class_names: Sequence[str], names: Sequence[str]) -> str:
    """Map from the names in metrics to the names of the classes, in class order."""
    pairs = zip(names, class_names, strict=True)
    rows = [{"class": i, "metric": a, "name": b} for i, (a, b) in enumerate(pairs)]
    return json.dumps(rows, indent=1)


def confusion_matrix_json(record: Record, class_names: Sequence[str]) -> str:
    """Counts of the pooled out-of-fold predictions, rows true, columns predicted."""
    return json.dumps({"class_names": list(class_names), "matrix": record.matrix})


def predictions_json(images: ImageTable, log_prob: Float32, *, record: Record) -> Iterator[bytes]:
    """Prediction of every image that a record counts, in the form of MLflow's tables.

    Images whose fold was not predicted before a failure have no prediction. Only trials and
    baselines have the study's own folds.

    Args:
        images: The study's images.
        log_prob: float32 of shape (n_images, n_classes), the record's images in their order.
        record: Whose predictions they are.

    Yields:
        UTF-8, part after part: of a million images it is 150 MB.

    Raises:
        ValueError: If `log_prob` belongs to other images or classes.
    """
    rows = images.search if record.part == "validation" else images.test
    class_names = images.class_names
    if log_prob.shape != (len(rows), images.n_classes):
        raise ValueError(
            f"probabilities of shape {log_prob.shape} for {len(rows)} images "
            f"and {images.n_classes} classes"
        )
    has_fold = record.kind != "confirm"
    names = ["path", "class", *(["fold"] if has_fold else []), "predicted", "is_right"]
    names += [f"probability: {name}" for name in class_names]
    yield f'{{"columns":{json.dumps(names, separators=(",", ":"))},"data":['.encode()
    for start in range(0, len(rows), _BLOCK):  # a row is many objects, while it is no text yet
        block = slice(start, start + _BLOCK)
        data = _predictions_of(images, rows[block], log_prob[block], has_fold=has_fold)
        lines = json.dumps(data, separators=(",", ":"))[1:-1].encode()
        yield b"," + lines if start else lines
    yield b"]}"


def _predictions_of(
    images: ImageTable, rows: Int64, log_prob: Float32, *, has_fold: bool
) -> list[tuple[Any, ...]]:
    """Lines of the table for some images."""
    class_names = images.class_names
    is_known: list[bool] = (log_prob.max(axis=1) > -np.inf).tolist()
    predicted, true = log_prob.argmax(axis=1).tolist(), images.labels[rows].tolist()
    columns: list[Iterable[Any]] = [
        images.paths.take(rows),
        [class_names[k] for k in true],
        *([images.fold[rows].tolist()] if has_fold else []),
        [class_names[k] if known else None for k, known in zip(predicted, is_known, strict=True)],
        [k == t if known else None for k, t, known in zip(predicted, true, is_known, strict=True)],
        *np.round(np.exp(log_prob.T.astype(np.float64)), _DIGITS).tolist(),
    ]
    return list(zip(*columns, strict=True))


class RunFile(NamedTuple):
    """A file of a record's run.

    Attributes:
        name: Of the file, among the run's artifacts.
        what: It holds, for the message that it is left out.
        content: UTF-8, part after part, from folder, record and safe class names; None of a record
            that has no such thing.
        is_table: Whether MLflow shows and compares it as a table.
    """

    name: str
    what: str
    content: Callable[[StudyFolder, Record, Sequence[str]], Iterable[bytes] | None]
    is_table: bool = False


def _class_names(folder: StudyFolder, record: Record, names: Sequence[str]) -> list[bytes]:
    return [class_names_json(folder.class_names, names).encode()]


def _confusion_matrix(
    folder: StudyFolder, record: Record, names: Sequence[str]
) -> list[bytes] | None:
    if not record.matrix:
        return None
    return [confusion_matrix_json(record, folder.class_names).encode()]


def _predictions(
    folder: StudyFolder, record: Record, names: Sequence[str]
) -> Iterator[bytes] | None:
    log_prob = load_log_prob(folder.records_path, record.name)
    if log_prob is None:
        return None
    return predictions_json(folder.images, log_prob, record=record)


FILES = (
    RunFile("class_names.json", "class names", _class_names),
    RunFile("confusion_matrix.json", "counts", _confusion_matrix),
    RunFile("predictions.json", "table of predictions", _predictions, is_table=True),
)
