"""Which trials keep their predictions, beside what every record says.

Kept in time, not trained again at the end: a trial's rank among those that have ended is known as
it ends, and later ones can only push it down. So whoever is not among the best then never will
be, and at any moment of a kill the best of what is recorded have their predictions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.files import listed
from tuner.home.records import LARGE, Record, drop_predictions, load_record, save_record
from tuner.search.state import Search


def keep(search: Search, record: Record, *, log_prob: NDArray[np.floating] | None) -> None:
    """Write a record, with its predictions if they are to be kept, and drop those that are not.

    Args:
        search: The search.
        record: What has just ended.
        log_prob: Its predictions, (n_images, n_classes); None when there are none.
    """
    folder = search.folder.records_path
    kept = search.folder.kept_predictions
    is_half = log_prob is not None and log_prob.size > LARGE and kept != "all"
    if kept == "all" or record.kind != "trial":
        save_record(folder, record, log_prob=log_prob, is_half=is_half)
        return
    others = _with_predictions(folder) if kept == "best" else []
    ranked = sorted((r for r in [*others, record] if r.state == "complete"), key=_rank)
    best = {r.name for r in ranked[: search.config.records.best]} if kept == "best" else set()
    is_kept = record.name in best
    save_record(folder, record, log_prob=log_prob if is_kept else None, is_half=is_half)
    for other in others:
        if other.name not in best:
            drop_predictions(folder, other.name)


def _with_predictions(folder: Path) -> list[Record]:
    """Trials that have theirs: few, so that not all records are read."""
    paths = (path.with_suffix(".json") for path in listed(folder, "trial-*.npz"))
    return [load_record(path) for path in paths if path.exists()]


def _rank(record: Record) -> tuple[float, float, int]:
    """As `winner` ranks, the best first."""
    return record.violation, -(record.value or 0.0), record.number or 0
