"""Samplers and pruners by name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution

from tuner.errors import StudyError


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
    return optuna.samplers.TPESampler(seed=key)


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
