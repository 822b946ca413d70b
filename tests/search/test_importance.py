from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.cli.made import make_record
from tests.small_study import small_config
from tuner.imbalance.weights import CLASS_WEIGHT_MODES as MODES
from tuner.search.importance import importances
from tuner.setting import Setting


def trials(n, value):
    """Records of `n` random settings with values by a function of the setting."""
    rng = np.random.default_rng(0)
    for number in range(n):
        params = Setting(
            rng.uniform(0, 5), rng.uniform(0.05, 1), int(rng.integers(0, 9)), rng.choice(MODES)
        )
        record = make_record(((800, 200), (100, 300)), number, params=params)
        yield replace(record, value=value(params))


def test_what_the_objective_depends_on_gets_the_share():
    """With an objective of the weights alone, the operating point explains nearly everything."""
    found = importances(
        [*trials(60, lambda p: 0.5 + 0.1 * MODES.index(p.class_weight_mode))], small_config()
    )

    assert found is not None
    assert found.groups["operating point"] > 0.9
    assert next(iter(found.shares)) == "class_weight_mode"
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.warning == ""


def test_few_trials_are_warned_of():
    """A dozen trials give numbers, and the sentence that they mean little."""
    found = importances([*trials(12, lambda p: p.gamma / 10)], small_config())

    assert found is not None
    assert found.n_trials == 12
    assert "cannot tell" in found.warning


def test_differences_below_the_noise_are_warned_of():
    """Trials that differ by less than the images alone would make them differ explain nothing."""
    found = importances([*trials(40, lambda p: 0.8 + 1e-4 * p.gamma)], small_config())

    assert found is not None
    assert "no more than chance" in found.warning


@pytest.mark.parametrize("n", [0, 3])
def test_there_is_nothing_to_say_with_hardly_a_trial(n):
    """Below four trials there are no importances, and equal values have none either."""
    assert importances([*trials(n, lambda p: p.gamma)], small_config()) is None
    assert importances([*trials(20, lambda p: 0.5)], small_config()) is None
