"""Wilson's interval against statsmodels, and its ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from tuner.evaluation.intervals import wilson_interval

# Both sides are short float64 formulas.
RTOL = 1e-10


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_statsmodels(confidence):
    """For every k of every n up to 40 the limits are those of statsmodels."""
    pairs = [(k, n) for n in range(1, 41) for k in range(n + 1)]
    k, n = np.array(pairs).T
    low, high = wilson_interval(k, n, confidence=confidence)
    expected = proportion_confint(k, n, alpha=1 - confidence, method="wilson")
    np.testing.assert_allclose(low, expected[0], rtol=RTOL, atol=1e-12)
    np.testing.assert_allclose(high, expected[1], rtol=RTOL, atol=1e-12)


@given(n=st.integers(1, 10_000), share=st.floats(0, 1))
def test_wilson_holds_the_share_and_stays_within_0_and_1(n, share):
    """The observed share lies inside, no limit leaves [0, 1], all or none reach the end."""
    k = round(share * n)
    low, high = wilson_interval(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert (low == 0) == (k == 0)
    assert (high == 1) == (k == n)


def test_wilson_without_images_knows_nothing():
    """Nothing of nothing may be any share."""
    low, high = wilson_interval(np.array([0, 5]), np.array([0, 10]))
    assert (low[0], high[0]) == (0, 1)
    assert low[1] > 0


@pytest.mark.parametrize(("k", "n"), [(3, 2), (-1, 2)])
def test_wilson_refuses_impossible_counts(k, n):
    """More found than there are, or fewer than none, is a mistake of the caller."""
    with pytest.raises(ValueError, match=r"k must lie in 0\.\.n"):
        wilson_interval(k, n)
