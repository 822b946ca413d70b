"""The settings that every study trains first, so that the winner has something to beat."""

from __future__ import annotations

from tuner.setting import Setting


def baselines(*, n_classes: int) -> dict[str, Setting]:
    """Settings by name, in the order in which they are trained.

    With two classes alpha is a class weight and 0.5 weighs both alike; with more, alpha 1 (and
    gamma 0) is cross-entropy, and the published recipe has its own alpha of 0.25.
    """
    plain_alpha, recipe_alpha = (0.5, 0.5) if n_classes == 2 else (1.0, 0.25)
    return {
        "cross_entropy": Setting(
            gamma=0.0, alpha=plain_alpha, augmentation_multiplier=0, class_weight_mode="none"
        ),
        "balanced": Setting(
            gamma=0.0, alpha=plain_alpha, augmentation_multiplier=0, class_weight_mode="balanced"
        ),
        "published_recipe": Setting(
            gamma=2.0,
            alpha=recipe_alpha,
            augmentation_multiplier=4,
            class_weight_mode="balanced",
            augmentation_policy="minority",  # as published: views of rare classes only
        ),
    }


# Names of their records.
PLAIN = "baseline-cross_entropy"
BALANCED = "baseline-balanced"
RECIPE = "baseline-published_recipe"

TITLES = {
    "cross_entropy": "cross-entropy",
    "balanced": "cross-entropy, balanced weights",
    "published_recipe": "published recipe",
}
