from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
from hypothesis import given

from tests.settings import a_setting
from tests.small_study import small_config
from tuner.home.baselines import TITLES, baselines
from tuner.search.space import distributions, is_inside
from tuner.setting import HYPERPARAMETERS, Setting

PARAMS = a_setting()


def test_space_is_what_the_study_file_says() -> None:
    """Ranges and choices reach Optuna as they are written."""
    config = small_config("search.gamma=[1, 2]", "search.class_weight_mode=[sqrt, none]")
    space = distributions(config, n_classes=5)
    assert list(space) == list(HYPERPARAMETERS)
    assert (space["gamma"].low, space["gamma"].high) == (1.0, 2.0)
    assert (space["alpha"].low, space["alpha"].high) == (0.05, 1.0)
    assert (space["augmentation_multiplier"].low, space["augmentation_multiplier"].high) == (0, 8)
    assert space["class_weight_mode"].choices == ("sqrt", "none")


def test_alpha_of_two_classes_stops_short_of_one() -> None:
    """With two classes alpha is a class weight, and 1 would leave one class out of the loss."""
    assert distributions(small_config(), n_classes=2)["alpha"].high == 0.95


@given(params=PARAMS)
def test_inside_is_what_optuna_accepts(params: Setting) -> None:
    """A setting is inside exactly when Optuna takes it as a trial of the space."""
    config = small_config(
        "search.gamma=[1, 3]",
        "search.alpha=[0.2, 0.8]",
        "search.augmentation_multiplier=[1, 4]",
        "search.class_weight_mode=[none, sqrt]",
    )
    space = distributions(config, n_classes=5)
    try:
        optuna.trial.create_trial(value=0.5, params=params.as_dict(), distributions=space)
        accepted = True
    except ValueError:
        accepted = False
    assert is_inside(params, space) == accepted


@pytest.mark.parametrize("name", [n for n, h in HYPERPARAMETERS.items() if h.kind != "choice"])
def test_borders_belong_to_the_space(name: str) -> None:
    """Both ends of a range are inside, and what lies beyond is not."""
    space = distributions(small_config(), n_classes=5)
    middle = Setting(2.0, 0.5, 3, "none")
    low, high = space[name].low, space[name].high
    assert is_inside(replace(middle, **{name: low}), space)
    assert is_inside(replace(middle, **{name: high}), space)
    assert not is_inside(replace(middle, **{name: high + 1}), space)


def test_unknown_distribution_is_a_bug() -> None:
    """A kind of distribution that nobody thought of is not taken for inside."""
    with pytest.raises(TypeError, match="unknown distribution"):
        is_inside(Setting(0.0, 1.0, 0, "none"), {"gamma": object()})


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_baselines_are_the_three_of_the_design(n_classes: int) -> None:
    """Cross-entropy, balanced and published recipe; with two classes alpha 0.5 in all."""
    plain, recipe = (0.5, 0.5) if n_classes == 2 else (1.0, 0.25)
    assert list(baselines(n_classes=n_classes).items()) == [
        ("cross_entropy", Setting(0.0, plain, 0, "none")),
        ("balanced", Setting(0.0, plain, 0, "balanced")),
        ("published_recipe", Setting(2.0, recipe, 4, "balanced", "minority")),
    ]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_default_space_holds_every_baseline(n_classes: int) -> None:
    """With the default ranges the sampler learns from all baselines."""
    space = distributions(small_config(), n_classes=n_classes)
    assert all(is_inside(params, space) for params in baselines(n_classes=n_classes).values())


def test_every_baseline_has_a_title_in_order() -> None:
    """Titles name exactly the baselines, in the order in which they are trained."""
    assert list(TITLES) == list(baselines(n_classes=3))
