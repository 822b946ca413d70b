"""Study folders whose images nobody opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.small_study import small_config
from tuner.data.image_table import ImageTable
from tuner.home.founding import create_study_folder
from tuner.home.study_folder import StudyFolder


def table_of(
    paths: Sequence[str], *, class_names: Sequence[str] = ("a", "b"), grouped: bool = False
) -> ImageTable:
    """A table of files that nobody opens."""
    n = len(paths)
    return ImageTable(
        root=Path("/data"),
        paths=tuple(paths),
        labels=np.arange(n, dtype=np.int64) % len(class_names),
        class_names=tuple(class_names),
        sha256=tuple(f"{i:064x}" for i in range(n)),
        groups=np.arange(n, dtype=np.int64) // 2 if grouped else None,
    )


def created(path: Path, table: ImageTable) -> StudyFolder:
    """A new study folder, read afresh."""
    fold = np.arange(table.n_images) % 3 - 1
    create_study_folder(StudyFolder(path), small_config(), replace(table, fold=fold), about={})
    return StudyFolder(path)
