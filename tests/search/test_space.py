from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.small_study import small_config
from tuner.home.baselines import TITLES, baselines
from tuner.imbalance.weights import CLASS_WEIGHT_MODES
from tuner.search.space import distributions, is_inside
from tuner.setting import Setting

PARAMS = st.builds(
    Setting,
    gamma=st.floats(0, 5),
    alpha=st.floats(0.05, 1),
    augmentation_multiplier=st.integers(0, 8),
    class_weight_mode=st.sampled_from(CLASS_WEIGHT_MODES),
)


@given(params=PARAMS)
def test_params_and_plain_values_are_inverse(params: Setting) -> None:
    """`from_dict` undoes `as_dict` and ignores what else it is given."""
    assert Setting.from_dict({**params.as_dict(), "seed": 3}) == params


def test_missing_hyperparameter_is_a_key_error() -> None:
    """Three of the four are not a setting."""
    with pytest.raises(KeyError, match="alpha"):
        Setting.from_dict({"gamma": 1.0, "augmentation_multiplier": 0})


def test_params_read_as_one_short_line() -> None:
    """The short form of tables shows all four."""
    assert str(Setting(1.8, 0.4, 3, "balanced")) == "γ1.80 α0.40 ×3 balanced"


def test_space_is_what_the_study_file_says() -> None:
    """Ranges and choices reach Optuna as they are written."""
    config = small_config("search.gamma=[1, 2]", "search.class_weight_mode=[sqrt, none]")
    space = distributions(config, n_classes=5)
    assert list(space) == ["gamma", "alpha", "augmentation_multiplier", "class_weight_mode"]
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


@pytest.mark.parametrize("name", ["gamma", "alpha", "augmentation_multiplier"])
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
        ("published_recipe", Setting(2.0, recipe, 4, "balanced")),
    ]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_default_space_holds_every_baseline(n_classes: int) -> None:
    """With the default ranges the sampler learns from all baselines."""
    space = distributions(small_config(), n_classes=n_classes)
    assert all(is_inside(params, space) for params in baselines(n_classes=n_classes).values())


def test_every_baseline_has_a_title_in_order() -> None:
    """Titles name exactly the baselines, in the order in which they are trained."""
    assert list(TITLES) == list(baselines(n_classes=3))
