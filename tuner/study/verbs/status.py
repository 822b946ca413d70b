"""How far studies are: finished trials, the best so far, whether one runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuner.files import is_held
from tuner.home.near_duplicates import leak_of
from tuner.home.records import Record, finished_trials, winner
from tuner.home.study_folder import StudyFolder
from tuner.report.views import views_sentence


def status_of(folder: StudyFolder) -> dict[str, Any]:
    """The state of a study as plain values, as ``tuner status --json`` prints it.

    Raises:
        StudyError: If it cannot be read.
    """
    records = folder.records()
    n_trials = sum(record.kind == "trial" for record in records)
    n_finished = len(finished_trials(records))
    wanted = max(folder.config.search.trials, n_finished)  # a later start may have asked for more
    best = winner(records)
    leak, views = leak_of(folder), views_sentence(folder, records)
    return {
        "study": folder.name,
        "state": _state(folder, n_records=len(records), is_done=n_finished >= wanted),
        "finished": n_finished,
        "failed": n_trials - n_finished,
        "trials": wanted,
        "metric": folder.config.objective.metric,
        "best": _best(best, folder.class_names) if best else None,
        "test_openings": len(folder.seal),
        **({"leak": leak} if leak else {}),
        **({"views": views} if views else {}),
    }


def _state(folder: StudyFolder, *, n_records: int, is_done: bool) -> str:
    if is_held(folder.lock_path):
        return "running"
    if is_done:
        return "finished"
    return "stopped" if n_records else "not started"


def _best(record: Record, class_names: Sequence[str]) -> dict[str, Any]:
    return {
        "name": record.name,
        "title": record.title,
        "value": record.value,
        "setting": str(record.params),
        "params": record.params.as_dict(),
        "scores": record.scores,
        "recall": dict(zip(class_names, record.recall, strict=True)),
        "is_feasible": record.is_feasible,
    }
