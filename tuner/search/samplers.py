"""Samplers and pruners by name."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Container, Mapping
from itertools import islice
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from tuner.errors import StudyError
from tuner.search.state import DONE, N_GOOD, best_of, look

_MOST = 250  # finished trials that TPE looks at


def make_sampler(
    name: str, *, seed: int, place: int, space: Mapping[str, BaseDistribution]
) -> optuna.samplers.BaseSampler:
    """A fresh sampler for one ask.

    Optuna does not store a sampler's state, so one that lives on after a restart would draw
    its first points again. A new one for every ask, keyed by the study seed and the number of
    ended trials, draws the same points whether or not the study was interrupted.

    Args:
        name: "tpe", "random", "qmc" or "gp".
        seed: Study seed.
        place: Trials that have ended plus the place in the batch, baselines not counted.
        space: What will be asked for.

    Raises:
        StudyError: If a package that the sampler needs is missing.
    """
    key = int(np.random.SeedSequence([seed, place]).generate_state(1)[0])
    if name == "gp":
        return _gp_sampler(key)
    if name == "qmc":
        return _PlacedQMC(seed, place, space)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=key)
    return _BoundedTPE(seed=key)


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    """The pruner of a study: "median" (after 5 trials and 15 epochs) or "none"."""
    if name == "none":
        return optuna.pruners.NopPruner()
    # 15 epochs, not 5: before, the order of trials says how fast they train, not how well they
    # end, and the best are pruned (docs/notes/004-pruner-warm-up.md).
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=15)


def unfit_pruner(sampler: str, pruner: str) -> str:
    """Why a pruner keeps a sampler from learning, as a sentence; "" where it does not.

    Optuna's GPSampler models complete trials only and draws at random until it has ten of them
    (``n_startup_trials``), where TPE ranks pruned ones, too.
    """
    if sampler != "gp" or pruner == "none":
        return ""
    return (
        "sampler 'gp' learns from complete trials only and draws at random until there are ten: "
        f"pruner '{pruner}' keeps most of them from it; better search.pruner: none"
    )


class _BoundedTPE(optuna.samplers.TPESampler):
    """Optuna's TPE on the best trials and the newest ones, so that an ask costs the same for ever.

    TPE parts the trials into a few good ones, 25 at most, and the others, and looks at all of
    them. Up to `_MOST` trials it is Optuna's own; beyond, the good ones are the same and the
    newest stand for the others, which Optuna gives less weight the older they are.
    """

    def __init__(self, *, seed: int) -> None:
        super().__init__(seed=seed)
        self._seen: optuna.Study | None = None  # a sampler lives for one ask

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(self._part(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return super().sample_relative(self._part(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, distribution: Any
    ) -> Any:
        return super().sample_independent(self._part(study), trial, param_name, distribution)

    def _part(self, study: optuna.Study) -> optuna.Study:
        self._seen = self._seen or bounded(study)
        return self._seen


def bounded(study: optuna.Study) -> optuna.Study:
    """The study; where it has many finished trials, a copy that has the best and the newest."""
    past, trials = look(study)
    present = [trial for trial in trials[past.n :] if trial.state in DONE]
    if past.n_done + len(present) <= _MOST:
        return study
    done = (trial for trial in reversed(trials) if trial.state in DONE)
    newest = list(islice(done, _MOST - N_GOOD))
    running = (trial for trial in trials[past.n :] if trial.state == TrialState.RUNNING)
    kept = {trial.number: trial for trial in (*best_of(past, present), *newest, *running)}
    part = [kept[number] for number in sorted(kept)]

    def of_part(
        deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in part if states is None or trial.state in states]

    found = copy.copy(study)
    found._get_trials = of_part  # type: ignore[method-assign]  # all that TPE asks a study for
    return found


class _PlacedQMC(optuna.samplers.QMCSampler):
    """Optuna's QMC sampler at a given place of the study's one sequence.

    Optuna counts the place in its store before it stores the parameters, so a kill between
    both would lose a point; and it draws the first point of a study at random.
    """

    def __init__(self, seed: int, place: int, space: Mapping[str, BaseDistribution]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(seed=seed, scramble=True)
        self._place, self._space = place, dict(space)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._space

    def _find_sample_id(self, study: optuna.Study, search_space: Any) -> int:
        return self._place


def _gp_sampler(seed: int) -> optuna.samplers.BaseSampler:
    try:
        # Optuna imports both on first use, deep inside an ask.
        import scipy  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise StudyError(
            f"sampler 'gp' needs a package that is not installed: {error.name}",
            where="search.sampler",
            do="pip install 'imbalance-tuner[samplers]', or choose tpe, random or qmc",
        ) from error
    return optuna.samplers.GPSampler(seed=seed)
