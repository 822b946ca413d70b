"""From what was trained to its record."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tuner.config import StudyConfig
from tuner.home.records import Record
from tuner.search.state import Slot
from tuner.training.trial import Evaluated, Prepared, constraints_of


def make_record(
    slot: Slot,
    outcome: Evaluated | None,
    prepared: Prepared | None,
    *,
    config: StudyConfig,
    environment: Mapping[str, str],
    started_s: float,
    reason: str | None = None,
) -> Record:
    """The record of a setting that has just ended.

    Args:
        slot: What was trained.
        outcome: How it ended, or None with a `reason`.
        prepared: Its rows and weights, where they are known.
        config: The study, with the seed that was trained with.
        environment: Backend, device, precision, versions.
        started_s: Unix time.
        reason: Why there is no outcome.
    """
    result = outcome.result if outcome else None
    return Record(
        kind=slot.kind,
        name=slot.name,
        number=slot.trial.number if slot.trial else None,
        params=slot.params,
        state=result.state if result else "failed",
        reason=result.reason if result else reason,
        value=outcome.value if outcome else None,
        matrix=outcome.matrix if outcome else [],
        scores=outcome.scores if outcome else {},
        curves=outcome.curves if outcome else {},
        best_epochs=result.best_epochs if result else [],
        learning_rates=result.learning_rates if result else [],
        rows=prepared.rows if prepared else [],
        class_weights=prepared.class_weights if prepared else [],
        constraints=constraints_of(outcome.scores if outcome else {}, config=config),
        seeds={"study_seed": config.seed, "view_seed": config.augmentation.view_seed},
        environment=dict(environment),
        started_s=started_s,
        ended_s=time.time(),
        attempt=slot.attempt,
        of=slot.of,
    )
