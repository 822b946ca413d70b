"""The searched hyperparameters: the one table of them, and a setting, which has a value of each.

Study file, search space, report, MLflow's views and importances read the table; a hyperparameter
that is added here is searched, shown and recorded once `training` makes something of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self, get_args

from tuner.imbalance.rows import Policy
from tuner.imbalance.weights import CLASS_WEIGHT_MODES

Moves = Literal["operating point", "training"]


def in_words(count: int) -> str:
    """A small number as texts have it."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[count] if count < len(words) else str(count)


class Hyperparameter(NamedTuple):
    """What is known of one searched hyperparameter.

    Attributes:
        name: In study files, records, Optuna and MLflow.
        kind: Type of its values.
        symbol: Before its value in short texts.
        moves: What it changes: where the decision lies between classes, or how training goes.
        bounds: The least and the largest value that a study may search; of a choice, the places
            of the first and the last.
        default: Limits of a study that names none; of a choice, all that there are.
        meaning: For the comment in a study file.
        default_two_classes: The default with two classes, where that is another.
    """

    name: str
    kind: Literal["real", "whole", "choice"]
    symbol: str
    moves: Moves
    bounds: tuple[float, float]
    default: tuple[Any, ...]
    meaning: str
    default_two_classes: tuple[float, float] | None = None

    def default_for(self, n_classes: int) -> tuple[Any, ...]:
        """Limits, or choices, of a study of this many classes that names none."""
        return (n_classes == 2 and self.default_two_classes) or self.default

    def checked(self, value: Any) -> Any:
        """A value as a setting holds it, never a rounded one.

        Raises:
            ValueError: If it is none that a study may search.
            TypeError: If it is no number where one is due.
        """
        if self.kind == "choice":
            if (text := str(value)) not in self.default:
                raise ValueError(f"{self.name} {text!r} is unknown")
            return text
        is_whole, (low, high) = self.kind == "whole", self.bounds
        try:
            number = int(value) if is_whole else float(value)
        except OverflowError:  # infinity as a whole number, or more digits than a float has
            number = math.inf
        # A file may have been edited or damaged; NaN fails every comparison.
        if not low <= number <= high or (is_whole and number != value):
            rule = "a whole number from" if is_whole else "in"
            shown = value if is_whole else number
            raise ValueError(f"{self.name} {shown} is not {rule} {low:g} to {high:g}")
        return number


_ALPHA, _ALPHA_TWO = (0.05, 1.0), (0.05, 0.95)

HYPERPARAMETERS = {
    h.name: h
    for h in (
        Hyperparameter(
            "gamma", "real", "γ", "training", (0, 5), (0.0, 5.0),
            "focusing of the focal loss; 0 is cross-entropy",
        ),
        Hyperparameter(
            "alpha", "real", "α", "training", (0, 1), _ALPHA,
            f"balance of the focal loss; null: {_ALPHA[0]} to {_ALPHA[1]}, "
            f"two classes {_ALPHA_TWO[1]}",
            default_two_classes=_ALPHA_TWO,
        ),
        Hyperparameter(
            "augmentation_multiplier", "whole", "×", "operating point", (0, 8), (0, 8),
            "views added for each image of a rare class",
        ),
        Hyperparameter(
            "class_weight_mode", "choice", "", "operating point",
            (0, len(CLASS_WEIGHT_MODES) - 1), CLASS_WEIGHT_MODES,
            f"any of these {in_words(len(CLASS_WEIGHT_MODES))}",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One value of each searched hyperparameter.

    Attributes:
        gamma: Focusing exponent of the focal loss.
        alpha: Weight of the true-class term; with two classes, of the rarer class.
        augmentation_multiplier: Extra views per minority image.
        class_weight_mode: One of `imbalance.weights.CLASS_WEIGHT_MODES`.
        augmentation_policy: Who is shown as views, of a baseline that has its own way; None for
            that of the study.
    """

    gamma: float
    alpha: float
    augmentation_multiplier: int
    class_weight_mode: str
    augmentation_policy: Policy | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name, the policy only where it is not the study's."""
        own = {"augmentation_policy": self.augmentation_policy}
        return self.searched | (own if self.augmentation_policy else {})

    @property
    def searched(self) -> dict[str, Any]:
        """Values of the searched hyperparameters by name, in their order."""
        return {name: getattr(self, name) for name in HYPERPARAMETERS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `as_dict`; other keys are ignored.

        Raises:
            KeyError: If one is missing.
            ValueError: If a value is none that a study may search.
            TypeError: If one is no number.
        """
        found = {name: h.checked(values[name]) for name, h in HYPERPARAMETERS.items()}
        own = values.get("augmentation_policy")
        if own is not None and own not in get_args(Policy):
            raise ValueError(f"augmentation_policy {own!r} is unknown")
        return cls(**found, augmentation_policy=own)

    def __str__(self) -> str:
        """Short form for tables and run names, ``γ1.80 α0.40 ×3 balanced``."""
        return " ".join(
            f"{h.symbol}{value:.2f}" if h.kind == "real" else f"{h.symbol}{value}"
            for h, value in zip(HYPERPARAMETERS.values(), self.searched.values(), strict=True)
        )
