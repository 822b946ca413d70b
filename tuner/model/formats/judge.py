"""What less precision changes: recall of each class, decisions, probabilities, and speed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tuner.arrays import Bool, Float32, Int64, UInt8
from tuner.errors import ExportError
from tuner.evaluation.metrics import confusion_matrix
from tuner.model.card import recall_rows
from tuner.model.formats.opened import Opened

_BATCH = 32


class Smaller(NamedTuple):
    """What smaller files are made and judged with.

    Attributes:
        precisions: "fp16" and "int8".
        calibration: uint8 (n, image_px, image_px, 3), of images outside of the test.
        judged: Others, of the same form.
        labels: Their classes, int64 (n_judged,); None where nobody knows.
        class_names: In the order of probabilities.
    """

    precisions: Sequence[str]
    calibration: UInt8
    judged: UInt8
    labels: Int64 | None
    class_names: Sequence[str]


def judge(whole: Opened, small: Opened, smaller: Smaller) -> dict[str, Any]:
    """Hold a smaller file against the float32 one of its format, on the same pictures.

    Returns:
        Pictures, largest change of a probability, decisions changed, images a second of both,
        and where labels are known the recall of each class before and after.

    Raises:
        ExportError: If a class got exact zeros that it had not.
    """
    before, rate_before = _answers(whole, smaller.judged)
    after, rate_after = _answers(small, smaller.judged)
    lost = [smaller.class_names[k] for k in np.flatnonzero(_new_zeros(before, after)).tolist()]
    if lost:
        raise ExportError(f"it says exactly 0 of {', '.join(map(repr, lost))}")
    found: dict[str, Any] = {
        "pictures": len(before),
        "largest_difference": float(np.abs(after - before).max()),
        "decisions_changed": int((after.argmax(axis=1) != before.argmax(axis=1)).sum()),
        "images_a_second": {"float32": round(rate_before, 1), "this": round(rate_after, 1)},
    }
    if smaller.labels is not None:
        n = len(smaller.class_names)
        for name, rows in (("float32", before), ("this", after)):
            matrix = confusion_matrix(smaller.labels, rows.argmax(axis=1), n_classes=n)
            found.setdefault("recall", {})[name] = recall_rows(matrix, smaller.class_names)
    return found


def _answers(opened: Opened, pictures: UInt8) -> tuple[Float32, float]:
    """Probabilities, (n, n_classes), and images a second, in batches, the first not counted."""
    run, parts = opened.squares(pictures.shape[1]), range(0, len(pictures), _BATCH)
    run(pictures[:_BATCH])
    began = time.perf_counter()
    found = np.concatenate([run(pictures[i : i + _BATCH]) for i in parts])
    return found, len(pictures) / (time.perf_counter() - began)


def _new_zeros(before: Float32, after: Float32) -> Bool:
    """Of each class, (n_classes,), whether some picture has got an exact zero."""
    found: Bool = ((after == 0) & (before > 0)).any(axis=0)
    return found
