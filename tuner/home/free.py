"""Free baselines: what costs no search and no training of heads.

A search that does not beat them was not needed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, model_validator

from tuner.errors import StudyError
from tuner.files import write_whole
from tuner.home.stored import UNREADABLE, parse_form, reason_of

_FILE = "free.json"
_SCHEMA = 1

ADJUSTED = "logit_adjustment_1"
TUNED = "logit_adjustment_tuned"
RULE = "decision_rule"  # no baseline; as these, it stands behind a setting's name and a plus


def rule_key(setting: str) -> str:
    """Key of a setting with its decision rule."""
    return f"{setting}+{RULE}"


@dataclass(frozen=True)
class FreeBaseline:
    """One free baseline on the study's own folds.

    Attributes:
        key: One of `FREE_TITLES`.
        title: How people call it.
        tau: Strength of a logit adjustment, or None.
        value: The objective.
        scores: Summary metrics of the matrix.
        matrix: Pooled out-of-fold confusion matrix, rows true.
    """

    key: str
    title: str
    tau: float | None
    value: float
    scores: dict[str, float]
    matrix: list[list[int]]

    def __repr__(self) -> str:
        """Title and objective."""
        return f"<{self.title}: {self.value:.4f}>"


FREE_TITLES = {
    ADJUSTED: "logit adjustment, τ=1",
    TUNED: "logit adjustment, τ tuned",
    "logistic_regression": "logistic regression",
    "nearest_class_mean": "nearest class mean",
}


def save_free(folder: Path, baselines: Sequence[FreeBaseline]) -> None:
    """Keep them beside the records."""
    content = {"schema": _SCHEMA, "baselines": [asdict(baseline) for baseline in baselines]}
    write_whole(folder / _FILE, json.dumps(content, indent=1, allow_nan=False))


def read_free(folder: Path) -> list[FreeBaseline] | None:
    """What `save_free` has kept, or None.

    Raises:
        StudyError: If the file is damaged or from a newer version.
    """
    path = folder / _FILE
    if not path.exists():
        return None
    try:
        return parse_form(path, _Free, schema=_SCHEMA).baselines
    except UNREADABLE as error:
        raise StudyError(
            f"the free baselines cannot be read: {reason_of(error)}",
            where=str(path),
            do="delete it: the next tuner run computes it again",
        ) from error


def load_free(folder: Path) -> list[FreeBaseline]:
    """What `save_free` has kept, or nothing; a damaged file is as good as none."""
    try:
        return read_free(folder) or []
    except StudyError:
        return []


class _Free(BaseModel):
    baselines: list[FreeBaseline]

    @model_validator(mode="after")
    def _has_scores(self) -> Self:
        for baseline in self.baselines:
            if "macro_recall" not in baseline.scores:
                raise ValueError(f"{baseline.key!r} has no macro recall")
            if {len(row) for row in baseline.matrix} != {len(baseline.matrix)}:
                raise ValueError(f"the confusion matrix of {baseline.key!r} is not square")
        return self
