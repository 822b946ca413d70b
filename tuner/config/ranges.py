"""What a study searches, once the number of its classes is known."""

from __future__ import annotations

from typing import Any

from tuner.config.models import StudyConfig
from tuner.config.yaml_text import to_flow
from tuner.errors import StudyFileError
from tuner.setting import HYPERPARAMETERS


def resolve_alpha(config: StudyConfig, n_classes: int) -> tuple[float, float]:
    """Limits of `alpha` for this many classes.

    With two classes alpha weighs the rarer one and ``1 - alpha`` the other, so neither 0 nor 1
    leaves both in the loss; the default of two classes spares 1, too.

    Raises:
        StudyFileError: If the study sets 0 or 1 for two classes.
        ValueError: If there are fewer than two classes.
    """
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2, not {n_classes}")
    default = HYPERPARAMETERS["alpha"].default_for(n_classes)
    limits: tuple[float, float] = config.search.alpha or default
    if n_classes == 2 and (limits[0] <= 0 or limits[1] >= 1):
        raise StudyFileError(
            f"search.alpha: {to_flow(limits)} must lie above 0 and below 1 with two classes",
            where="there alpha weighs the rarer class and 1 - alpha the other",
            do=f"write 'alpha: {to_flow(default)}' or leave it out",
        )
    return limits


def searched(config: StudyConfig, n_classes: int) -> dict[str, tuple[Any, ...]]:
    """What a study searches of each hyperparameter: ``(low, high)``, or its choices.

    Raises:
        StudyFileError: If the study sets an alpha of 0 or 1 for two classes.
    """
    found = {name: getattr(config.search, name) for name in HYPERPARAMETERS}
    return found | {"alpha": resolve_alpha(config, n_classes)}
