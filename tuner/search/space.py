"""The four hyperparameters and their flat Optuna space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuner.config import StudyConfig, resolve_alpha
from tuner.imbalance.weights import CLASS_WEIGHT_MODES

MAX_GAMMA, MAX_MULTIPLIER = 5, 8  # bounds that a study file has for the search


@dataclass(frozen=True)
class Params:
    """One setting of the searched hyperparameters.

    Attributes:
        gamma: Focusing exponent of the focal loss.
        alpha: Weight of the true-class term; with two classes, of the rarer class.
        augmentation_multiplier: Extra views per minority image.
        class_weight_mode: One of `imbalance.weights.CLASS_WEIGHT_MODES`.
    """

    gamma: float
    alpha: float
    augmentation_multiplier: int
    class_weight_mode: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `as_dict`; other keys are ignored.

        Raises:
            KeyError: If one of the four is missing.
            ValueError: If a value is none that a study may search.
            TypeError: If one is no number.
        """
        multiplier = values["augmentation_multiplier"]
        found = cls(
            gamma=float(values["gamma"]),
            alpha=float(values["alpha"]),
            augmentation_multiplier=int(multiplier),
            class_weight_mode=str(values["class_weight_mode"]),
        )
        # A file may have been edited or damaged; NaN fails every comparison.
        if not 0 <= found.gamma <= MAX_GAMMA:
            raise ValueError(f"gamma {found.gamma} is not in 0 to {MAX_GAMMA}")
        if not 0 <= found.alpha <= 1:
            raise ValueError(f"alpha {found.alpha} is not in 0 to 1")
        if found.augmentation_multiplier != multiplier or not 0 <= multiplier <= MAX_MULTIPLIER:
            most = f"a whole number from 0 to {MAX_MULTIPLIER}"
            raise ValueError(f"augmentation_multiplier {multiplier} is not {most}")
        if found.class_weight_mode not in CLASS_WEIGHT_MODES:
            raise ValueError(f"class_weight_mode {found.class_weight_mode!r} is unknown")
        return found

    def __str__(self) -> str:
        """Short form for tables and run names, ``γ1.80 α0.40 ×3 balanced``."""
        return (
            f"γ{self.gamma:.2f} α{self.alpha:.2f} ×{self.augmentation_multiplier} "
            f"{self.class_weight_mode}"
        )


def distributions(config: StudyConfig, *, n_classes: int) -> dict[str, BaseDistribution]:
    """Optuna's distributions of the study file's ranges."""
    search, alpha = config.search, resolve_alpha(config, n_classes)
    return {
        "gamma": FloatDistribution(*search.gamma),
        "alpha": FloatDistribution(*alpha),
        "augmentation_multiplier": IntDistribution(*search.augmentation_multiplier),
        "class_weight_mode": CategoricalDistribution(search.class_weight_mode),
    }


def is_inside(params: Params, space: Mapping[str, BaseDistribution]) -> bool:
    """Whether a sampler of this space could have suggested the setting."""
    values = params.as_dict()
    return all(_contains(space[name], values[name]) for name in space)


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if isinstance(distribution, (FloatDistribution, IntDistribution)):
        return bool(distribution.low <= value <= distribution.high)
    raise TypeError(f"unknown distribution {distribution!r}")
