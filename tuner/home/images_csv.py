"""``images.csv``: the images of a study with their folds, as they were when it began."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tuner.data.image_table import ImageTable
from tuner.files import write_whole


def write_images(path: Path, table: ImageTable) -> None:
    """Write a table that is split."""
    columns: dict[str, Any] = {
        "path": table.paths,
        "sha256": table.sha256,
        "label": table.labels,
        "class": [table.class_names[k] for k in table.labels],
        "fold": table.fold,
    }
    if table.groups is not None:
        columns["group"] = table.groups
    # All text quoted: pandas leaves a carriage return bare, and reads it as the end of a line.
    text = pd.DataFrame(columns).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    write_whole(path, text)


def read_images(path: Path, *, class_names: Sequence[str], split_fingerprint: str) -> ImageTable:
    """The images, and the folds, that the study began with.

    Args:
        path: The file.
        class_names: Those of the study, in class order.
        split_fingerprint: Of the split that the study began with.

    Raises:
        OSError: If there is no such file.
        ValueError: If it holds something else; or KeyError, TypeError, OverflowError from pandas.
    """
    frame = pd.read_csv(path, dtype={"path": str, "sha256": str}, keep_default_na=False)
    table = ImageTable(
        paths=tuple(frame["path"]),
        sha256=tuple(frame["sha256"]),
        labels=frame["label"].to_numpy(np.int64),
        class_names=tuple(class_names),
        groups=frame["group"].to_numpy(np.int64) if "group" in frame.columns else None,
        fold=frame["fold"].to_numpy(np.int64),
    )
    n_classes = table.n_classes
    if table.n_images and not 0 <= table.labels.min() <= table.labels.max() < n_classes:
        raise ValueError(f"a label is none of the {n_classes} classes")
    if table.split_fingerprint != split_fingerprint:
        raise ValueError("images or folds are not those that the study began with")
    return table
