"""Which hyperparameters mattered: those that move the decision, and those that move training.

Class weights and extra views change where the decision lies between classes; gamma and alpha
leave it where it is in the long run and change how training gets there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from tuner.config import StudyConfig
from tuner.evaluation.intervals import macro_recall_standard_error
from tuner.home.records import Record
from tuner.search.space import distributions, is_inside, is_own
from tuner.setting import HYPERPARAMETERS, Moves

GROUPS = {  # by what they move: choices, which move it most, before numbers
    moves: tuple(
        h.name
        for h in sorted(HYPERPARAMETERS.values(), key=lambda h: h.kind != "choice")
        if h.moves == moves
    )
    for moves in get_args(Moves)
}
_ENOUGH = 30  # trials; with fewer, fANOVA's forest ranks hyperparameters anew with each seed
_SEED = 0
_LEAST = 4


@dataclass(frozen=True)
class Importances:
    """Shares of the objective's variation over the complete trials, by fANOVA.

    Attributes:
        shares: By hyperparameter, the largest first; they sum to 1.
        groups: By what it moves, summed.
        n_trials: Complete trials that they rest on.
        warning: Why not to believe them, as a sentence; empty when nothing speaks against it.
    """

    shares: dict[str, float]
    groups: dict[str, float]
    n_trials: int
    warning: str

    @property
    def members(self) -> dict[str, tuple[str, ...]]:
        """Hyperparameters by what they move."""
        return dict(GROUPS)


def importances(records: Sequence[Record], config: StudyConfig) -> Importances | None:
    """What the trials say of their hyperparameters, or None with too few of them.

    Args:
        records: All records of the study; complete trials, and baselines inside the space, count.
        config: The study.

    References:
        Hutter, Hoos & Leyton-Brown, An efficient approach for assessing hyperparameter
        importance, ICML 2014.
    """
    complete = [r for r in records if r.kind != "confirm" and r.state == "complete"]
    space = distributions(config, n_classes=len(complete[0].matrix)) if complete else {}
    used = [r for r in complete if is_inside(r.params, space) and is_own(r.params, config)]
    values = np.array([r.value for r in used], dtype=np.float64)
    if len(used) < _LEAST or np.ptp(values) == 0:
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for record in used:
        trial = create_trial(
            value=record.value,
            params=record.params.searched,
            distributions=dict(space),
        )
        study.add_trial(trial)
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=_SEED))
    shares = {name: float(share) for name, share in found.items()}
    groups = {name: sum(shares.get(p, 0.0) for p in members) for name, members in GROUPS.items()}
    return Importances(
        shares=shares, groups=groups, n_trials=len(used), warning=_warning(used, values)
    )


def _warning(used: Sequence[Record], values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    error = float(np.mean([macro_recall_standard_error(np.array(r.matrix)) for r in used]))
    if len(used) < _ENOUGH:
        return (
            f"{len(used)} complete trials cannot tell which hyperparameters matter; "
            f"about {_ENOUGH} are needed."
        )
    if values.std(ddof=1) <= error:
        return (
            f"The trials differ by {values.std(ddof=1):.3f}, no more than chance makes one "
            f"setting differ from itself ({error:.3f}): there is nothing to explain."
        )
    return ""
