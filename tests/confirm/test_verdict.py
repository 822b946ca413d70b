from __future__ import annotations

import pytest

from tuner.confirm.decision import Judgement
from tuner.confirm.verdict import give_verdict
from tuner.evaluation.comparison import RecallDifference
from tuner.home.baselines import BALANCED, PLAIN, RECIPE

TRIAL = "trial-00007"


def gain(middle: float, half: float) -> RecallDifference:
    """A gain with a symmetric interval."""
    return RecallDifference(
        gain=middle,
        low=middle - half,
        high=middle + half,
        standard_error=half / 2,
        degrees_of_freedom=60.0,
        class_variances=(half**2 / 40, half**2 / 6),
        seed_variance=half**2 / 60,
    )


def verdict(chosen: str = TRIAL, *, is_better: bool = False, **gains: RecallDifference):
    """The verdict on comparisons with cross-entropy, recipe, balanced weights and a free one."""
    keys = {"plain": PLAIN, "recipe": RECIPE, "balanced": BALANCED, "free": "logistic_regression"}
    told = {keys[name]: difference for name, difference in gains.items()}
    return give_verdict(
        Judgement(is_better, told),
        chosen=chosen,
        best_free="logistic_regression",
        n_settings=63,
        class_names=["common", "rare"],
        support=[90, 12],
    )


def test_better_names_every_gain_with_its_interval():
    """What is better says over what, by how much, and how sure."""
    found = verdict(
        is_better=True, plain=gain(0.05, 0.02), recipe=gain(0.03, 0.02), free=gain(0.04, 0.01)
    )

    assert found.is_better
    assert found.sentence == (
        "Better than plain cross-entropy: trial #7. Gain in macro recall on the sealed test, "
        "with its 95 % interval: +5.0 points (+3.0 to +7.0) over plain cross-entropy, +3.0 "
        "points (+1.0 to +5.0) over the published recipe, +4.0 points (+3.0 to +5.0) over the "
        "best free baseline, logistic regression."
    )


def test_better_but_not_than_balanced_weights_says_so():
    """A gain that balanced weights have as well is no merit of the search."""
    found = verdict(
        is_better=True, plain=gain(0.05, 0.02), balanced=gain(0.004, 0.01), free=gain(0.04, 0.01)
    )

    assert "no better than balanced weights: +0.4 points (−0.6 to +1.4)" in found.sentence


def test_no_better_says_how_many_images_would_tell():
    """A wide interval comes with the number of rare images that would narrow it."""
    found = verdict(plain=gain(0.01, 0.05), recipe=gain(0, 0.05), free=gain(0.01, 0.05))

    assert not found.is_better
    assert found.sentence.startswith(
        "Trial #7 is no better than plain cross-entropy, as far as 102 test images can tell."
    )
    assert "of rare instead of 12" in found.sentence


def test_a_test_that_would_tell_asks_for_no_more_images():
    """Where the interval is narrower than a gain worth telling, that is said instead."""
    found = verdict(plain=gain(0.003, 0.005), recipe=gain(0, 0.005), free=gain(0.001, 0.005))

    assert found.sentence.endswith("The test is large enough to tell a gain of 2.0 points.")
    assert "instead of" not in found.sentence


def test_no_better_than_a_free_baseline_names_it():
    """A clear gain over cross-entropy that a free baseline has too is said to be free."""
    found = verdict(plain=gain(0.05, 0.02), recipe=gain(0.03, 0.02), free=gain(0.001, 0.02))

    assert found.sentence.startswith(
        "Trial #7 is better than plain cross-entropy, but no better than logistic regression, "
        "which needs no search."
    )


def test_worse_is_said():
    """A setting that loses clearly is called worse."""
    found = verdict(plain=gain(-0.05, 0.02), free=gain(-0.03, 0.02))

    assert found.sentence.startswith("Worse than plain cross-entropy: trial #7.")


@pytest.mark.parametrize(("free", "advice"), [(gain(-0.05, 0.02), True), (gain(0, 0.02), False)])
def test_cross_entropy_itself_may_lose_to_a_free_baseline(free, advice):
    """When the simplest setting is chosen, the verdict says so, and what beats even that."""
    found = verdict(PLAIN, free=free, recipe=gain(0, 0.02))

    assert found.sentence.startswith("No better than plain cross-entropy: on fresh splits none")
    assert found.sentence.endswith("Use logistic regression.") is advice
