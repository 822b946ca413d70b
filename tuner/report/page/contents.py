"""What a report shows of a study, read from its folder once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from tuner.errors import StudyError
from tuner.home.confirmed_form import CONFIRMATION
from tuner.home.free import FREE
from tuner.home.records import Record, best_baseline, load_log_prob, winner
from tuner.home.stored import reason_of
from tuner.home.study_folder import TEST, StudyFolder
from tuner.report.figures.labels import short_labels

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

_SCHEMA = 1  # of confirmation.json and free.json
_LABEL = 40  # characters of a class name in a table; whole names are among the data


@dataclass(frozen=True)
class Contents:
    """A study as a report sees it.

    Attributes:
        folder: The study's folder.
        records: Baselines and trials, in the folder's order.
        confirmation: Content of ``confirmation.json``, or None.
        free: Content of ``free.json``, or None.
        root: Folder of the images, or None where it is not known.
        notes: What could not be read, in words.
    """

    folder: StudyFolder
    records: list[Record]
    confirmation: dict[str, Any] | None
    free: dict[str, Any] | None
    root: Path | None
    notes: list[str] = field(default_factory=list)

    @property
    def class_names(self) -> list[str]:
        """In the order of every per-class array."""
        return self.folder.class_names

    @cached_property
    def labels(self) -> list[str]:
        """Class names for tables and lists: distinct, without the middle of the long ones."""
        return short_labels(self.class_names, longest=_LABEL, is_drawn=False)

    @cached_property
    def best(self) -> Record | None:
        """The winner of the search."""
        return winner(self.records)

    @cached_property
    def plain(self) -> Record | None:
        """Plain cross-entropy, where it has not failed."""
        found = (r for r in self.records if r.name == "baseline-cross_entropy" and r.matrix)
        return next(found, None)

    @cached_property
    def baseline(self) -> Record | None:
        """The best baseline: what there is without a search."""
        return best_baseline(self.records)

    @cached_property
    def compared(self) -> list[Record]:
        """The winner, then the other baselines that have a confusion matrix."""
        baselines = [r for r in self.records if r.kind == "baseline" and r.matrix]
        first = [self.best] if self.best else []
        return first + [r for r in baselines if r is not self.best]

    @cached_property
    def tested(self) -> list[dict[str, Any]]:
        """Models on the sealed test: the chosen one, what it is compared with, the others."""
        found = self.confirmation or {"test": {"models": [], "comparisons": []}, "chosen": ""}
        against = [pair["against"] for pair in found["test"]["comparisons"]]
        places = {key: i for i, key in enumerate([found["chosen"], *against])}
        models: list[dict[str, Any]] = found["test"]["models"]
        return sorted(models, key=lambda model: places.get(model["key"], len(places)))

    @cached_property
    def counts(self) -> tuple[IntArray, IntArray]:
        """Images of each class in the search and in the sealed test."""
        images, n = self.folder.images, len(self.class_names)
        is_test = images.fold == TEST
        search = np.bincount(images.labels[~is_test], minlength=n)
        return search, np.bincount(images.labels[is_test], minlength=n)

    @cached_property
    def rarest(self) -> list[int]:
        """Classes, the rarest of the search first."""
        return [int(k) for k in np.argsort(self.counts[0], kind="stable")]

    @cached_property
    def predictions(self) -> tuple[FloatArray, FloatArray] | None:
        """Out-of-fold log probabilities of the winner and of plain cross-entropy."""
        if self.best is None or self.plain is None or self.best is self.plain:
            return None
        try:
            ours = load_log_prob(self.folder.records_path, self.best.name)
            theirs = load_log_prob(self.folder.records_path, self.plain.name)
        except StudyError as error:
            self.notes.append(f"{error.what} ({error.where})")
            return None
        shape = (len(self.folder.images.search), len(self.class_names))
        if ours is None or theirs is None or not ours.shape == theirs.shape == shape:
            return None
        return ours, theirs


def read_contents(folder: StudyFolder, *, root: Path | None) -> Contents:
    """Read a study for its report.

    Raises:
        StudyError: If a record is damaged.
    """
    notes: list[str] = []
    records = [r for r in folder.records() if r.kind != "confirm"]
    n_classes = len(folder.class_names)
    confirmation = _read(folder.path / "confirmation.json", CONFIRMATION, notes)
    if confirmation and len(confirmation["test"]["support"]) != n_classes:
        notes.append(f"confirmation.json is not of {n_classes} classes")
        confirmation = None
    free = _read(folder.path / "free.json", FREE, notes)
    return Contents(folder, records, confirmation, free, root, notes)


def _read(path: Path, form: TypeAdapter[Any], notes: list[str]) -> dict[str, Any] | None:
    """A JSON file that another command writes; None, and a note, when it cannot be used."""
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        schema = found.get("schema") if isinstance(found, dict) else None
        if schema == _SCHEMA:
            form.validate_python(found)
            return dict(found)
        notes.append(f"{path.name} has schema {schema!r}, this version reads {_SCHEMA}")
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{path.name} cannot be read: {reason_of(error)}")
    return None
