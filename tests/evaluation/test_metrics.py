"""Scores against scikit-learn and by hand, and the loss that training is monitored by."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax as scipy_log_softmax
from sklearn import metrics as sk

from tuner.evaluation.intervals import macro_recall_interval
from tuner.evaluation.metrics import (
    METRICS,
    accuracy,
    balanced_loss,
    class_table,
    confusion_matrix,
    g_mean,
    log_softmax,
    macro_f1,
    macro_recall,
    mcc,
    scores,
)

# Deadline and health check would measure the machine, not the code.
quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Both sides are short float64 sums of ratios of counts.
RTOL = 1e-12


@st.composite
def predictions(draw):
    """(y_true, y_pred, n_classes); any class may be absent from either."""
    n_classes = draw(st.integers(2, 6))
    classes = st.integers(0, n_classes - 1)
    pairs = draw(st.lists(st.tuples(classes, classes), min_size=1, max_size=60))
    y_true, y_pred = np.array(pairs, dtype=np.int64).T
    return y_true, y_pred, n_classes


def matrix_of(case):
    """Confusion matrix of a drawn case."""
    return confusion_matrix(*case[:2], n_classes=case[2])


@quick
@given(case=predictions())
def test_confusion_matrix_is_scikit_learns(case):
    """Rows are true classes, columns predicted ones, absent classes keep their place."""
    y_true, y_pred, n_classes = case
    expected = sk.confusion_matrix(y_true, y_pred, labels=range(n_classes))
    matrix = matrix_of(case)
    np.testing.assert_array_equal(matrix, expected)
    assert matrix.dtype == np.int64


@quick
@given(case=predictions())
def test_class_table_is_scikit_learns(case):
    """Recall, precision, F1 and support of each class, 0 where nothing can be divided."""
    y_true, y_pred, n_classes = case
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        y_true, y_pred, labels=range(n_classes), zero_division=0
    )
    table = class_table(matrix_of(case))
    np.testing.assert_allclose(table.recall, recall, rtol=RTOL)
    np.testing.assert_allclose(table.precision, precision, rtol=RTOL)
    np.testing.assert_allclose(table.f1, f1, rtol=RTOL)
    np.testing.assert_array_equal(table.support, support)


def test_class_never_predicted_has_precision_and_f1_zero():
    """A class that is there but never predicted scores 0, not NaN or 1."""
    table = class_table(np.array([[5, 0], [3, 0]]))
    np.testing.assert_array_equal(table.precision, [5 / 8, 0])
    np.testing.assert_array_equal(table.f1, [10 / 13, 0])


@quick
@given(case=predictions())
def test_summary_scores_are_scikit_learns(case):
    """Macro recall, macro F1 and accuracy over the classes that have images."""
    y_true, y_pred, _ = case
    matrix = matrix_of(case)
    over_all = {"labels": np.unique(y_true), "average": "macro", "zero_division": 0}
    assert macro_recall(matrix) == pytest.approx(sk.recall_score(y_true, y_pred, **over_all))
    assert macro_f1(matrix) == pytest.approx(sk.f1_score(y_true, y_pred, **over_all))
    assert accuracy(matrix) == pytest.approx(sk.accuracy_score(y_true, y_pred))


@quick
@given(case=predictions())
def test_mcc_is_scikit_learns(case):
    """The K-class Matthews correlation; 0 where one side has a single class."""
    y_true, y_pred, _ = case
    assume(len({*y_true, *y_pred}) > 1)  # scikit-learn warns of a matrix of one class
    expected = sk.matthews_corrcoef(y_true, y_pred)
    assert mcc(matrix_of(case)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_mcc_of_a_single_class_is_zero():
    """Where all images are of one class and predicted so, the correlation is undefined: 0."""
    assert mcc(np.array([[7, 0], [0, 0]])) == 0.0


@quick
@given(case=predictions(), extra=st.lists(st.integers(0, 5), min_size=6, max_size=6))
def test_macro_recall_is_balanced_accuracy_where_all_classes_are_present(case, extra):
    """With an image of each class macro recall is scikit-learn's balanced accuracy."""
    y_true, y_pred, n_classes = case
    y_true = np.concatenate([y_true, np.arange(n_classes)])
    y_pred = np.concatenate([y_pred, np.array(extra[:n_classes]) % n_classes])
    matrix = confusion_matrix(y_true, y_pred, n_classes=n_classes)
    expected = sk.balanced_accuracy_score(y_true, y_pred)
    assert macro_recall(matrix) == pytest.approx(expected, rel=RTOL)


def test_a_class_without_images_is_no_part_of_the_mean():
    """A shipped test may lack a class: nothing is known of its recall, so it is not 0 either."""
    matrix = np.array([[8, 2, 0], [1, 3, 0], [0, 0, 0]])
    found = scores(matrix)
    assert found["macro_recall"] == pytest.approx((0.8 + 0.75) / 2)
    assert found["min_recall"] == 0.75
    low, high = macro_recall_interval(matrix)
    assert (low, high) == macro_recall_interval(matrix[:2, :2])


def test_g_mean_of_a_worked_example():
    """Recalls 1/2, 1/4 and 1/1 have the geometric mean of one half."""
    matrix = np.array([[2, 2, 0], [3, 1, 0], [0, 0, 9]])
    assert g_mean(matrix) == pytest.approx((1 / 2 * 1 / 4 * 1) ** (1 / 3), rel=RTOL)
    assert g_mean(matrix) == pytest.approx(0.5, rel=RTOL)


@quick
@given(case=predictions())
def test_g_mean_is_the_root_of_the_product(case):
    """The geometric mean over the recalls, and 0 when a class is never found."""
    table = class_table(matrix_of(case))
    recall = table.recall[table.support > 0]
    expected = math.prod(recall) ** (1 / len(recall))
    assert g_mean(matrix_of(case)) == pytest.approx(expected, rel=1e-9)


def test_g_mean_of_a_missed_class_is_exactly_zero():
    """One class without a hit makes the geometric mean 0, without a warning of log(0)."""
    assert g_mean(np.array([[9, 1], [4, 0]])) == 0.0


@quick
@given(case=predictions(), data=st.data())
def test_scores_ignore_the_order_of_samples(case, data):
    """Shuffling the images changes no score at all."""
    y_true, y_pred, n_classes = case
    order = np.array(data.draw(st.permutations(range(len(y_true)))))
    shuffled = confusion_matrix(y_true[order], y_pred[order], n_classes=n_classes)
    assert scores(shuffled) == scores(matrix_of(case))


@quick
@given(case=predictions(), data=st.data())
def test_scores_ignore_the_order_of_classes(case, data):
    """Renaming the classes changes no summary score."""
    y_true, y_pred, n_classes = case
    names = np.array(data.draw(st.permutations(range(n_classes))))
    renamed = confusion_matrix(names[y_true], names[y_pred], n_classes=n_classes)
    # The sums run in another order.
    assert scores(renamed) == pytest.approx(scores(matrix_of(case)), rel=1e-9, abs=1e-12)


@quick
@given(case=predictions(), times=st.integers(2, 1000))
def test_scores_ignore_the_scale_of_counts(case, times):
    """Repeating every image alike changes no score."""
    matrix = matrix_of(case)
    assert scores(matrix * times) == pytest.approx(scores(matrix), rel=1e-9, abs=1e-12)


def test_perfect_predictions_score_one():
    """Every metric is 1 when all images are right, whatever the imbalance."""
    assert scores(np.diag([9000, 30, 1])) == pytest.approx(
        dict.fromkeys([*METRICS, "min_recall"], 1)
    )


def test_min_recall_is_that_of_the_worst_class():
    """The summary names the recall of the class that is found least."""
    assert scores(np.array([[8, 2], [3, 1]]))["min_recall"] == 0.25


def test_scores_of_large_counts_do_not_overflow():
    """A hundred million images stay exact where int32 products would wrap around."""
    matrix = np.array([[90_000_000, 1], [3, 10_000_000]])
    assert mcc(matrix) == pytest.approx(1, abs=1e-6)
    assert macro_recall(matrix) == pytest.approx(1, abs=1e-6)


logits = st.lists(
    st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), min_size=1, max_size=20
).map(np.array)


@quick
@given(z=logits)
def test_log_softmax_is_scipys(z):
    """Log probabilities agree with SciPy's for any logits up to a thousand."""
    np.testing.assert_allclose(
        log_softmax(z), scipy_log_softmax(z, axis=-1), rtol=RTOL, atol=1e-12
    )


def test_log_softmax_keeps_extreme_logits():
    """Logits of ±1e3 lose no log probability to underflow, and float32 is widened first."""
    found = log_softmax(np.array([[1e3, -1e3], [-1e3, -1e3], [1e3, 1e3]], dtype=np.float32))
    np.testing.assert_allclose(
        found, [[0, -2000], [-np.log(2)] * 2, [-np.log(2)] * 2], rtol=RTOL, atol=0
    )
    assert found.dtype == np.float64


def test_log_softmax_leaves_its_input_alone():
    """The logits are not changed in place."""
    z = np.array([[3.0, 1.0]])
    log_softmax(z)
    np.testing.assert_array_equal(z, [[3.0, 1.0]])


@quick
@given(z=logits, data=st.data())
def test_balanced_loss_is_weighted_log_loss(z, data):
    """The monitor is scikit-learn's log loss with each class weighing the same."""
    n = len(z)
    classes = st.lists(st.integers(0, 2), min_size=n, max_size=n)
    y_true = np.concatenate([np.array(data.draw(classes), dtype=np.int64), [0, 1, 2]])
    # Within what scikit-learn's clipping at the float64 epsilon leaves untouched.
    log_prob = log_softmax(np.concatenate([z / 100, np.eye(3)]))
    weight = 1 / np.bincount(y_true)[y_true]
    expected = sk.log_loss(y_true, np.exp(log_prob), sample_weight=weight, labels=[0, 1, 2])
    assert balanced_loss(log_prob, y_true) == pytest.approx(expected, rel=1e-9)


def test_balanced_loss_ignores_class_sizes_and_order():
    """A class of one image counts as much as one of many, in whatever order they come."""
    log_prob = np.log([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.9, 0.1]])
    y_true = np.array([0, 0, 0, 1])
    expected = (math.log(2) + math.log(10)) / 2
    assert balanced_loss(log_prob, y_true) == pytest.approx(expected, rel=RTOL)
    order = np.array([3, 1, 0, 2])
    assert balanced_loss(log_prob[order], y_true[order]) == pytest.approx(expected, rel=RTOL)


def test_balanced_loss_leaves_absent_classes_out():
    """A class without images has no loss to average."""
    log_prob = np.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    expected = -(math.log(0.5) + math.log(0.8)) / 2
    assert balanced_loss(log_prob, np.array([0, 1])) == pytest.approx(expected, rel=RTOL)


def test_balanced_loss_of_hopeless_logits_is_finite():
    """A confidently wrong head costs its logit gap, not infinity."""
    assert balanced_loss(log_softmax([[1e3, -1e3]]), np.array([1])) == pytest.approx(2000)
