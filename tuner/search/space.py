"""The four hyperparameters and their flat Optuna space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuner.config import StudyConfig, resolve_alpha
from tuner.setting import Setting


def distributions(config: StudyConfig, *, n_classes: int) -> dict[str, BaseDistribution]:
    """Optuna's distributions of the study file's ranges."""
    search, alpha = config.search, resolve_alpha(config, n_classes)
    return {
        "gamma": FloatDistribution(*search.gamma),
        "alpha": FloatDistribution(*alpha),
        "augmentation_multiplier": IntDistribution(*search.augmentation_multiplier),
        "class_weight_mode": CategoricalDistribution(search.class_weight_mode),
    }


def is_inside(params: Setting, space: Mapping[str, BaseDistribution]) -> bool:
    """Whether a sampler of this space could have suggested the setting."""
    values = params.as_dict()
    return all(_contains(space[name], values[name]) for name in space)


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if isinstance(distribution, (FloatDistribution, IntDistribution)):
        return bool(distribution.low <= value <= distribution.high)
    raise TypeError(f"unknown distribution {distribution!r}")
