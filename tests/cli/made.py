"""Studies on disk, made by hand: what the commands that only look and export read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tuner.config import parse_study
from tuner.data.image_table import ImageTable
from tuner.data.split import make_split
from tuner.evaluation.metrics import scores
from tuner.home import Home
from tuner.home.founding import create_study_folder
from tuner.home.records import Record, save_record
from tuner.home.study_folder import StudyFolder
from tuner.setting import Setting

HOSTILE = [
    "[bold]x[/bold]",
    "a/b",
    "欠陥の種類その一とその二",
    "é" * 40 + "x" * 40,
    ":smile: $HOME `x`",
    "-o",
    "new\nline",
    "\x1b[31mred",
    "oxide_scale_of_plate_system",
    "oxide_scale_of_temperature_system",
]


def make_matrix(support: Sequence[int], missed: Sequence[int]) -> list[list[int]]:
    """Confusion counts in which class k loses `missed[k]` of its images to the next class."""
    matrix = np.diag(np.array(support) - np.array(missed))
    for k, n in enumerate(missed):
        matrix[k, (k + 1) % len(support)] += n
    return matrix.tolist()


def make_record(
    matrix: Sequence[Sequence[int]] = ((8, 2), (1, 3)), number: int = 3, **changes: Any
) -> Record:
    """A complete trial with this out-of-fold confusion matrix."""
    counts = np.array(matrix)
    found = scores(counts) if counts.size else {}
    values: dict[str, Any] = {
        "kind": "trial",
        "name": f"trial-{number:05d}",
        "number": number,
        "params": Setting(1.8, 0.4, 3, "effective_number"),
        "state": "complete",
        "reason": None,
        "value": found.get("macro_recall"),
        "matrix": counts.tolist(),
        "scores": found,
        "curves": {"objective": [0.1, 0.2, 0.3]},
        "best_epochs": [2, 1],
        "learning_rates": [[1e-4, 1e-4, 2e-5], [1e-4, 1e-4]],
        "rows": [[10] * len(counts)] * 2,
        "class_weights": [[1.0] * len(counts)] * 2,
        "constraints": {},
        "seeds": {"study_seed": 0, "view_seed": 0},
        "environment": {"backend": "test", "weights": "random weights, seed 0"},
        "started_s": 1000.0 + number,
        "ended_s": 1002.5 + number,
    }
    return Record(**(values | changes))


def make_baseline(matrix: Sequence[Sequence[int]], name: str = "balanced") -> Record:
    """The baseline of that name."""
    params = Setting(0.0, 1.0, 0, "none" if name == "cross_entropy" else "balanced")
    made = make_record(matrix, kind="baseline", name=f"baseline-{name}", params=params)
    return replace(made, number=None)


def make_folder(
    home: Path, class_names: Sequence[str], *, name: str = "made", records: Sequence[Record] = ()
) -> StudyFolder:
    """A study of twelve images a class without files, with these records."""
    labels = np.repeat(np.arange(len(class_names)), 12)
    images = ImageTable(
        root=home,
        paths=tuple(f"{k}/{i}.png" for i, k in enumerate(labels)),
        labels=labels,
        class_names=tuple(class_names),
        sha256=tuple(hashlib.sha256(b"%d" % i).hexdigest() for i in range(len(labels))),
        fold=make_split(labels, class_names=class_names, n_folds=2, test_fraction=0.2, seed=0),
    )
    config = parse_study(
        f"{{name: {name}, data: {{source: nowhere, image_px: 32}}, split: {{folds: 2}},"
        " search: {trials: 2}}",
        source="made.yaml",
    )
    folder = StudyFolder(Home(home).studies / name)
    create_study_folder(folder, config, images, about={})
    for record in records:
        save_record(folder.records_path, record, log_prob=None)
    return folder
