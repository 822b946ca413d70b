"""Free baselines: what costs no search and no training of heads.

A search that does not beat them was not needed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from tuner.files import write_whole

ADJUSTED = "logit_adjustment_1"
TUNED = "logit_adjustment_tuned"


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


FREE_TITLES = {
    ADJUSTED: "logit adjustment, τ=1",
    TUNED: "logit adjustment, τ tuned",
    "logistic_regression": "logistic regression",
    "nearest_class_mean": "nearest class mean",
}


def save_free(folder: Path, baselines: Sequence[FreeBaseline]) -> None:
    """Keep them beside the records."""
    content = {"schema": 1, "baselines": [asdict(baseline) for baseline in baselines]}
    write_whole(folder / "free.json", json.dumps(content, indent=1, allow_nan=False))


def load_free(folder: Path) -> list[FreeBaseline]:
    """What `save_free` has kept, or nothing; a damaged file is as good as none."""
    try:
        content = FREE.validate_python(json.loads((folder / "free.json").read_text("utf-8")))
    except (OSError, ValueError, RecursionError):
        return []
    return content.baselines if all("macro_recall" in b.scores for b in content.baselines) else []


class _Free(BaseModel):
    baselines: list[FreeBaseline]


FREE = TypeAdapter(_Free)
