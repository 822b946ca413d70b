"""The searched hyperparameters as a flat Optuna space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuner.config import StudyConfig, searched
from tuner.setting import HYPERPARAMETERS, Hyperparameter, Setting


def distributions(config: StudyConfig, *, n_classes: int) -> dict[str, BaseDistribution]:
    """Optuna's distributions of the study file's ranges."""
    found = searched(config, n_classes)
    return {name: _distribution(h, found[name]) for name, h in HYPERPARAMETERS.items()}


def is_inside(params: Setting, space: Mapping[str, BaseDistribution]) -> bool:
    """Whether a sampler of this space could have suggested the setting."""
    values = params.searched
    return all(_contains(space[name], values[name]) for name in space)


def is_own(params: Setting, config: StudyConfig) -> bool:
    """Whether a setting shows views as the study does; a baseline may have a way of its own."""
    return params.augmentation_policy in (None, config.augmentation.policy)


def _distribution(h: Hyperparameter, values: tuple[Any, ...]) -> BaseDistribution:
    if h.kind == "choice":
        return CategoricalDistribution(values)
    return FloatDistribution(*values) if h.kind == "real" else IntDistribution(*values)


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if isinstance(distribution, (FloatDistribution, IntDistribution)):
        return bool(distribution.low <= value <= distribution.high)
    raise TypeError(f"unknown distribution {distribution!r}")
