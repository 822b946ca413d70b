"""What `tuner confirm` has found, as a file beside the study.

``STUDY/confirmation.json`` holds the numbers, ``STUDY/test_predictions.npz`` the predictions
that they are made from, ``STUDY/seal.json`` who opened the test and when.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import StudyError
from tuner.files import write_whole
from tuner.home.study_folder import StudyFolder

_FILE = "confirmation.json"
_PREDICTIONS = "test_predictions.npz"
_SCHEMA = 1


def save_confirmation(
    folder: StudyFolder,
    content: Mapping[str, Any],
    *,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    log_prob: Mapping[str, NDArray[np.floating]],
) -> None:
    """Write the predictions and then the numbers.

    Args:
        folder: The study.
        content: Plain values.
        rows: Places of the test images in the study's ``images.csv``, int64 (n_test,).
        labels: Their classes, int64 (n_test,).
        log_prob: By model, log probabilities (n_seeds, n_test, n_classes).
    """
    stream = io.BytesIO()
    tables: dict[str, Any] = {key: table.astype(np.float32) for key, table in log_prob.items()}
    np.savez_compressed(stream, rows=rows, labels=labels, **tables)
    write_whole(folder.path / _PREDICTIONS, stream.getvalue())
    text = json.dumps({"schema": _SCHEMA, **content}, indent=1, allow_nan=False)
    write_whole(folder.path / _FILE, text)


def load_confirmation(folder: StudyFolder) -> dict[str, Any] | None:
    """What the last `tuner confirm` has found, or None before the first.

    Raises:
        StudyError: If the file is damaged or from a newer version.
    """
    path = folder.path / _FILE
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != _SCHEMA:
            raise ValueError(f"it has schema {content['schema']!r}, this version reads {_SCHEMA}")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StudyError(
            f"the confirmation cannot be read: {error}",
            where=str(path),
            do=f"restore it, or make it anew with: tuner confirm {folder.name} --again",
        ) from error
    return content
