"""Class weights against scikit-learn, the paper's limits, and their own normalisation."""

import doctest

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from tuner.imbalance import weights as weights_module
from tuner.imbalance.rows import training_rows
from tuner.imbalance.weights import CLASS_WEIGHT_MODES, class_weights, effective_number

# Deadline and health check would measure the machine, not the code.
quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Sums of at most 1e6 float64 terms keep about 1e-10; 1e-9 leaves room and hides no real error.
RTOL = 1e-9

a_count = st.integers(1, 100_000)
counts_of_classes = st.lists(a_count, min_size=2, max_size=12).map(np.array)
modes = st.sampled_from(CLASS_WEIGHT_MODES)


@quick
@given(counts=st.lists(st.integers(1, 300), min_size=2, max_size=8).map(np.array))
def test_balanced_is_scikit_learns(counts):
    """Mode "balanced" gives the numbers of scikit-learn's compute_class_weight."""
    y = np.repeat(np.arange(len(counts)), counts)
    expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=y)
    np.testing.assert_allclose(class_weights(counts, "balanced"), expected, rtol=RTOL)


@quick
@given(counts=counts_of_classes, mode=modes, beta=st.floats(0, 0.9999))
def test_mean_over_training_rows_is_one(counts, mode, beta):
    """In every mode the weights of the training rows, not of the classes, average to 1."""
    weight_of_each_row = np.average(class_weights(counts, mode, beta=beta), weights=counts)
    assert weight_of_each_row == pytest.approx(1, rel=RTOL)


@quick
@given(counts=counts_of_classes, mode=modes, data=st.data())
def test_relabelling_classes_permutes_weights(counts, mode, data):
    """The weight of a class depends on the counts, not on its place in the class order."""
    order = np.array(data.draw(st.permutations(range(len(counts)))))
    np.testing.assert_allclose(
        class_weights(counts[order], mode), class_weights(counts, mode)[order], rtol=RTOL
    )


@quick
@given(counts=counts_of_classes, mode=modes)
def test_rarer_classes_never_weigh_less(counts, mode):
    """No mode gives a rarer class a smaller weight than a more frequent one."""
    in_order = class_weights(np.sort(counts), mode)
    assert (np.diff(in_order) <= RTOL * in_order[:-1]).all()


@quick
@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=6),
    multiplier=st.integers(0, 8),
    capped=st.booleans(),
)
def test_balanced_after_augmentation_has_uniform_mass(counts, multiplier, capped):
    """Balanced weights of augmented counts give each class the same mass at any multiplier."""
    n_classes = len(counts)
    labels = np.repeat(np.arange(n_classes), counts)
    rows = training_rows(
        labels,
        np.arange(len(labels)),
        n_classes=n_classes,
        multiplier=multiplier,
        capped=capped,
    )
    after = np.bincount(labels[rows.images], minlength=n_classes)
    mass = class_weights(after, "balanced") * after / after.sum()
    np.testing.assert_allclose(mass, 1 / n_classes, rtol=RTOL)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("none", [0.677, 0.226, 0.075, 0.023]),
        ("sqrt", [0.478, 0.276, 0.159, 0.087]),
        ("balanced", [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_mass_of_a_worked_example(mode, expected):
    """Effective class masses of counts 900, 300, 100, 30 are those worked out by hand."""
    counts = np.array([900, 300, 100, 30])
    mass = class_weights(counts, mode) * counts / counts.sum()
    np.testing.assert_allclose(mass, expected, atol=5e-4)  # given to three places


@quick
@given(counts=counts_of_classes)
def test_beta_zero_is_no_weighting(counts):
    """With beta 0 every image of a class repeats the first, so all classes weigh alike."""
    np.testing.assert_array_equal(effective_number(counts, beta=0.0), np.ones(len(counts)))
    np.testing.assert_allclose(
        class_weights(counts, "effective_number", beta=0.0),
        class_weights(counts, "none"),
        rtol=RTOL,
    )


@quick
@given(counts=st.lists(st.integers(1, 1000), min_size=2, max_size=8).map(np.array))
def test_beta_near_one_is_balanced(counts):
    """As beta goes to 1 the effective number becomes the count, and the weights balanced."""
    beta = 1 - 1e-9
    # (1 - beta**n) / (1 - beta) = n (1 - n 1e-9 / 2 + ...), and 1 - beta keeps 7 digits.
    np.testing.assert_allclose(effective_number(counts, beta=beta), counts, rtol=2e-6)
    np.testing.assert_allclose(
        class_weights(counts, "effective_number", beta=beta),
        class_weights(counts, "balanced"),
        rtol=2e-6,
    )


@quick
@given(n=st.integers(1, 400), beta=st.floats(0, 0.999))
def test_effective_number_is_the_geometric_sum(n, beta):
    """The closed form equals the sum 1 + beta + beta^2 + ... of n terms (Cui et al. 2019)."""
    terms = sum(beta**i for i in range(n))
    assert effective_number(np.array([n]), beta=beta)[0] == pytest.approx(terms, rel=RTOL)


def test_effective_number_stays_finite_for_many_images():
    """A class of ten million images has the limit 1 / (1 - beta), without overflow."""
    assert effective_number(np.array([10**7]), beta=0.999)[0] == pytest.approx(1000, rel=RTOL)


@pytest.mark.parametrize("mode", CLASS_WEIGHT_MODES)
def test_absent_class_is_refused(mode):
    """A class without training rows has no weight; it is named instead of guessed."""
    with pytest.raises(ValueError, match="class 2 has no training rows"):
        class_weights(np.array([5, 1, 0, 3]), mode)


def test_counts_may_be_a_list():
    """What `collections.Counter` or pandas count needs no conversion."""
    assert class_weights([30, 10], "balanced").tolist() == pytest.approx([2 / 3, 2.0])


def test_unknown_mode_lists_the_known_ones():
    """A misspelt mode is refused with the modes that exist."""
    with pytest.raises(ValueError, match=f"'balance'.*{', '.join(CLASS_WEIGHT_MODES)}"):
        class_weights(np.array([5, 1]), "balance")


@pytest.mark.parametrize("beta", [-0.1, 1.0, 1.5, float("nan")])
def test_beta_outside_its_range_is_refused(beta):
    """Beta must lie in [0, 1)."""
    with pytest.raises(ValueError, match=r"beta must lie in \[0, 1\)"):
        effective_number(np.array([5, 1]), beta=beta)


def test_examples_in_docstrings_run():
    """The examples in the module's docstrings print what they say."""
    result = doctest.testmod(weights_module)
    assert result.attempted >= 2
    assert result.failed == 0
