"""From what came of a setting to its record."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tuner.config import StudyConfig
from tuner.home.records import Kind, Record
from tuner.setting import Setting
from tuner.training.outcome import Outcome


def make_record(
    outcome: Outcome,
    *,
    kind: Kind,
    name: str,
    setting: Setting,
    number: int | None = None,
    attempt: int = 1,
    of: str | None = None,
    config: StudyConfig,
    environment: Mapping[str, str],
    started_s: float,
) -> Record:
    """The record of a setting that has just ended.

    Args:
        outcome: What came of it.
        kind: What it was trained for.
        name: Of the record.
        setting: What was trained.
        number: Optuna's trial number.
        attempt: 1 unless earlier attempts died.
        of: Record that is trained again.
        config: The study, with the seed that was trained with.
        environment: Backend, device, precision, versions.
        started_s: Unix time.
    """
    return Record(
        kind=kind,
        name=name,
        number=number,
        params=setting,
        state=outcome.state,
        reason=outcome.reason,
        value=outcome.value,
        matrix=outcome.matrix,
        scores=outcome.scores,
        curves=outcome.curves,
        best_epochs=outcome.best_epochs,
        learning_rates=outcome.learning_rates,
        rows=outcome.rows,
        class_weights=outcome.class_weights,
        constraints=constraints_of(outcome.scores, config=config),
        seeds={"study_seed": config.seed, "view_seed": config.augmentation.view_seed},
        environment=dict(environment),
        started_s=started_s,
        ended_s=time.time(),
        attempt=attempt,
        of=of,
    )


def constraints_of(scores: dict[str, float], *, config: StudyConfig) -> dict[str, float]:
    """Optuna constraints of a trial, feasible at <= 0."""
    floor = config.objective.recall_floor
    return {} if floor is None or not scores else {"recall_floor": floor - scores["min_recall"]}
