"""A trial or baseline as people look at it: its record with the names of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from tuner.arrays import Float32
from tuner.evaluation.intervals import macro_recall_standard_error
from tuner.home.records import Record, load_log_prob
from tuner.home.study_folder import StudyFolder
from tuner.notebook import page, paragraph, table

_SHOWN = 10  # settings in a notebook


@dataclass(frozen=True)
class Trial:
    """One setting and what came of it.

    Attributes:
        record: All that was recorded.
        class_names: In the order of every per-class array.
    """

    record: Record
    class_names: tuple[str, ...]

    @property
    def name(self) -> str:
        """Unique within the study, e.g. "trial-00012" or "baseline-balanced"."""
        return self.record.name

    @property
    def title(self) -> str:
        """How people call it: a baseline's title, or a trial's number."""
        return self.record.title

    @property
    def number(self) -> int | None:
        """Optuna's number; None of a baseline."""
        return self.record.number

    @property
    def state(self) -> str:
        """How it ended: "complete", "pruned" or "failed"."""
        return self.record.state

    @property
    def params(self) -> dict[str, Any]:
        """The hyperparameters by name."""
        return self.record.params.as_dict()

    @property
    def value(self) -> float | None:
        """The study's objective; None when it failed before the first report."""
        return self.record.value

    @property
    def scores(self) -> dict[str, float]:
        """Macro recall, the worst class's recall and other summaries, by name."""
        return dict(self.record.scores)

    @property
    def standard_error(self) -> float:
        """Of the macro recall, of the images alone; NaN when it failed before the first report."""
        matrix = np.array(self.record.matrix)
        return macro_recall_standard_error(matrix) if matrix.size else float("nan")

    @property
    def recall(self) -> pd.Series[float]:
        """Recall of each class, of the out-of-fold predictions; NaN without any."""
        names = list(self.class_names)
        return pd.Series(self.record.recall or float("nan"), index=names, name="recall")

    @property
    def confusion_matrix(self) -> pd.DataFrame:
        """Counts of the out-of-fold predictions, rows true, columns predicted; 0 without any."""
        names = list(self.class_names)
        return pd.DataFrame(
            np.array(self.record.matrix or np.zeros((len(names), len(names))), dtype=np.int64),
            index=pd.Index(names, name="true"),
            columns=pd.Index(names, name="predicted"),
        )

    @property
    def curves(self) -> dict[str, list[Any]]:
        """Values of each epoch by name."""
        return dict(self.record.curves)

    def __repr__(self) -> str:
        """Title, setting and objective in a line."""
        value = "failed" if self.value is None else f"{self.value:.4f}"
        return f"<{self.title}: {self.record.params}, {value}, {self.state}>"

    def _repr_html_(self) -> str:
        title = f"{self.title}: {self.record.params}"
        matrix = np.array(self.record.matrix, dtype=np.int64)
        if not matrix.size:
            return page(title, paragraph(f"{self.state}: {self.record.reason}"))
        rows = [
            (name, self.record.recall[k], f"{matrix[k, k]:,} of {matrix[k].sum():,}")
            for k, name in enumerate(self.class_names)
        ]
        macro = f"{self.scores['macro_recall']:.3f} ± {self.standard_error:.3f}"
        return page(
            title,
            paragraph(f"macro recall {macro} on the validation folds, {self.state}"),
            table(("class", "recall", "found"), rows, bars={"recall": 1.0}),
        )


def trials_of(folder: StudyFolder) -> list[Trial]:
    """Baselines, then trials by number."""
    names = tuple(folder.class_names)
    return [Trial(record, names) for record in folder.records() if record.kind != "confirm"]


def frame_of(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row a setting: what it is, how it ended, its parameters, scores and recalls."""
    frame = pd.DataFrame([_row(trial) for trial in trials])
    return frame.astype({"number": "Int64"}) if len(frame) else frame  # baselines have none


def _rank(trial: Trial) -> float:
    """The best first, what has no value last; an objective may be negative."""
    return float("inf") if trial.value is None else -trial.value


def ranking(trials: Sequence[Trial], *, best: Record | None) -> list[Markup]:
    """The best of some settings by their objective, as a notebook shows them."""
    if not trials:
        return [paragraph("Nothing has ended yet.")]
    ranked = sorted(trials, key=_rank)[:_SHOWN]
    rows = [
        (
            trial.title,
            str(trial.record.params),
            trial.value,
            trial.scores.get("min_recall"),
            len(trial.record.curves.get("objective", [])),
            trial.state,
        )
        for trial in ranked
    ]
    strong = [i for i, trial in enumerate(ranked) if best and trial.name == best.name]
    header = ("title", "setting", "value", "min_recall", "epochs", "state")
    shown = table(header, rows, bars={"value": 1.0}, strong=strong)
    if len(trials) <= _SHOWN:
        return [shown]
    return [shown, paragraph(f"The best {_SHOWN} of {len(trials)}; all: trials_dataframe()")]


def _row(trial: Trial) -> Mapping[str, Any]:
    record = trial.record
    recalls = dict(zip(trial.class_names, record.recall, strict=False))
    return {
        "name": record.name,
        "title": record.title,
        "kind": record.kind,
        "number": record.number,
        "state": record.state,
        **record.params.searched,
        "value": record.value,
        **record.scores,
        **{f"recall/{name}": value for name, value in recalls.items()},
        "epochs": len(record.curves.get("objective", [])),
        "seconds": round(record.ended_s - record.started_s, 3),
    }


def predictions_of(folder: StudyFolder, trial: Trial) -> pd.DataFrame:
    """Out-of-fold probabilities of each image outside the test, with its path and class.

    Raises:
        StudyError: If the file is damaged.
        ValueError: If none were kept.
    """
    log_prob: Float32 | None = load_log_prob(folder.records_path, trial.name)
    if log_prob is None:
        raise ValueError(f"{trial.name} has no predictions")
    table, names = folder.images, trial.class_names
    frame = pd.DataFrame(np.exp(log_prob), columns=[f"probability/{name}" for name in names])
    frame.insert(0, "path", list(table.paths.take(table.search)))
    frame.insert(1, "class", [names[table.labels[i]] for i in table.search])
    frame.insert(2, "predicted", [names[k] for k in log_prob.argmax(axis=1)])
    frame.insert(3, "fold", table.fold[table.search])
    return frame
