"""The four hyperparameters: the one table of them, and a setting, which has a value of each.

Study file, search space, report, MLflow's views and importances read the table; a hyperparameter
that is added here is searched, shown and recorded once `training` makes something of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Self

from tuner.imbalance.weights import CLASS_WEIGHT_MODES

Moves = Literal["operating point", "training"]


class Hyperparameter(NamedTuple):
    """What is known of one searched hyperparameter.

    Attributes:
        name: In study files, records, Optuna and MLflow.
        kind: Type of its values.
        symbol: Before its value in short texts.
        moves: What it changes: where the decision lies between classes, or how training goes.
        low: The least value that a study may search; None of a choice.
        high: The largest; None of a choice.
        default: Range, or choices, of a study that names none. With two classes `alpha` has a
            default of its own (`config.resolve_alpha`).
        meaning: For the comment in a study file.
    """

    name: str
    kind: Literal["real", "whole", "choice"]
    symbol: str
    moves: Moves
    low: float | None
    high: float | None
    default: tuple[Any, ...]
    meaning: str

    def checked(self, value: Any) -> Any:
        """A value as a setting holds it.

        Raises:
            ValueError: If it is none that a study may search.
            TypeError: If it is no number where one is due.
        """
        if self.kind == "choice":
            if (text := str(value)) not in self.default:
                raise ValueError(f"{self.name} {text!r} is unknown")
            return text
        number = float(value) if self.kind == "real" else int(value)
        low, high = self.low or 0.0, self.high or 0.0
        # A file may have been edited or damaged; NaN fails every comparison.
        if number != value or not low <= number <= high:
            what = "in" if self.kind == "real" else "a whole number from"
            raise ValueError(f"{self.name} {value} is not {what} {low:g} to {high:g}")
        return number


HYPERPARAMETERS = {
    h.name: h
    for h in (
        Hyperparameter(
            "gamma", "real", "γ", "training", 0.0, 5.0, (0.0, 5.0),
            "focusing of the focal loss; 0 is cross-entropy",
        ),
        Hyperparameter(
            "alpha", "real", "α", "training", 0.0, 1.0, (0.05, 1.0),
            "balance of the focal loss; null: 0.05 to 1.0, two classes 0.95",
        ),
        Hyperparameter(
            "augmentation_multiplier", "whole", "×", "operating point", 0, 8, (0, 8),
            "views added for each image of a rare class",
        ),
        Hyperparameter(
            "class_weight_mode", "choice", "", "operating point", None, None, CLASS_WEIGHT_MODES,
            "any of these four",
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
        return cls(**{name: h.checked(values[name]) for name, h in HYPERPARAMETERS.items()})

    def __str__(self) -> str:
        """Short form for tables and run names, ``γ1.80 α0.40 ×3 balanced``."""
        return " ".join(
            f"{h.symbol}{value:.2f}" if h.kind == "real" else f"{h.symbol}{value}"
            for h, value in zip(HYPERPARAMETERS.values(), self.as_dict().values(), strict=True)
        )
