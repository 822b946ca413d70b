"""What a report shows of a study, read from its folder once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tuner.arrays import Float32, Int64
from tuner.errors import StudyError
from tuner.evaluation.intervals import macro_recall_standard_error
from tuner.home.baselines import PLAIN
from tuner.home.confirmation import Confirmation, Tested, load_confirmation
from tuner.home.free import FreeBaseline, read_free
from tuner.home.near_duplicates import leak_of
from tuner.home.records import Record, best_baseline, load_log_prob, winner
from tuner.home.study_folder import StudyFolder
from tuner.report.figures.labels import short_labels

Found = TypeVar("Found")

_LABEL = 40  # characters of a class name in a table; whole names are among the data
_RARE_SHOWN = 3  # classes in tables of many settings


class Score(NamedTuple):
    """What a confusion matrix says: macro recall with its standard error, and the worst class."""

    macro_recall: float
    error: float
    worst: float
    worst_class: str


@dataclass(frozen=True)
class Contents:
    """A study as a report sees it.

    Attributes:
        folder: The study's folder.
        records: Baselines and trials, in the folder's order.
        confirmation: What `tuner confirm` has found, or None.
        free: The free baselines, or None.
        root: Folder of the images, or None where it is not known.
        notes: What could not be read, in words.
    """

    folder: StudyFolder
    records: list[Record]
    confirmation: Confirmation | None
    free: list[FreeBaseline] | None
    root: Path | None
    notes: list[str] = field(default_factory=list)

    @cached_property
    def about(self) -> dict[str, Any]:
        """What the study is about, with nothing where nothing was noted."""
        empty = {"question": "", "created_at": "", "git": {}, "versions": {}, "problems": []}
        return empty | {key: found for key, found in self.folder.about.items() if found}

    @cached_property
    def leak(self) -> str:
        """What the split does to near-duplicates, in a sentence; empty where it parts none."""
        return leak_of(self.folder)

    @property
    def metric(self) -> str:
        """The objective, as people write it."""
        return self.folder.config.objective.metric.replace("_", " ")

    @property
    def class_names(self) -> list[str]:
        """In the order of every per-class array."""
        return self.folder.class_names

    @cached_property
    def labels(self) -> list[str]:
        """Class names for tables and lists: distinct, without the middle of the long ones."""
        return short_labels(self.class_names, longest=_LABEL)

    @cached_property
    def best(self) -> Record | None:
        """The winner of the search."""
        return winner(self.records)

    @cached_property
    def plain(self) -> Record | None:
        """Plain cross-entropy, where it has not failed."""
        found = (r for r in self.records if r.name == PLAIN and r.matrix)
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

    @property
    def failed_baselines(self) -> list[Record]:
        """Baselines without a confusion matrix."""
        return [r for r in self.records if r.kind == "baseline" and not r.matrix]

    @cached_property
    def tested(self) -> list[Tested]:
        """Models on the sealed test: the chosen one, what it is compared with, the others."""
        if (found := self.confirmation) is None:
            return []
        against = [pair.against for pair in found.test.comparisons]
        places = {key: i for i, key in enumerate([found.chosen, *against])}
        return sorted(found.test.models, key=lambda model: places.get(model.key, len(places)))

    @cached_property
    def counts(self) -> tuple[Int64, Int64]:
        """Images of each class in the search and in the sealed test."""
        images = self.folder.images
        return images.search_counts, images.test_counts

    @cached_property
    def rarest(self) -> list[int]:
        """Classes, the rarest of the search first."""
        return [int(k) for k in np.argsort(self.counts[0], kind="stable")]

    @property
    def shown_rare(self) -> list[int]:
        """The rarest of them: those that have room in a table of many settings."""
        return self.rarest[:_RARE_SHOWN]

    def score(self, matrix: Sequence[Sequence[int]]) -> Score:
        """Macro recall and worst class of a confusion matrix, rows true."""
        counts = np.asarray(matrix, dtype=np.int64)
        recall = counts.diagonal() / np.maximum(counts.sum(axis=1), 1)
        k, error = int(recall.argmin()), macro_recall_standard_error(counts)
        return Score(float(recall.mean()), error, float(recall[k]), self.labels[k])

    @cached_property
    def predictions(self) -> tuple[Float32, Float32] | None:
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
    confirmation = _noted(lambda: load_confirmation(folder), "confirmation.json", notes)
    free = _noted(lambda: read_free(folder.path), "free.json", notes)
    n_classes = len(folder.class_names)
    if folder.sample_sentence:
        notes.append(folder.sample_sentence)
    if any(len(baseline.matrix) != n_classes for baseline in free or []):
        notes.append(f"free.json is not of {n_classes} classes")
        free = None
    return Contents(
        folder=folder,
        records=records,
        confirmation=confirmation,
        free=free,
        root=root,
        notes=notes,
    )


def _noted(read: Callable[[], Found | None], file: str, notes: list[str]) -> Found | None:
    """What another command has left; None, and a note, when it cannot be used."""
    try:
        return read()
    except StudyError as error:
        notes.append(f"{file} cannot be read: {error.what.partition(': ')[2]}")
        return None
