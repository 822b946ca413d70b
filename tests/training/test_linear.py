from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from tuner.training.free import fit_logistic_regression, fit_nearest_class_mean

X, y = load_digits(return_X_y=True)
X = X[:, 1:].astype(np.float32)  # the first pixel is always 0
train, test = np.arange(0, 1200), np.arange(1200, 1797)


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_logistic_regression_is_scikit_learns(n_classes):
    """Log probabilities are those of the pipeline that scikit-learn's users would write."""
    a, b = train[y[train] < n_classes], test[y[test] < n_classes]
    scaler = StandardScaler().fit(X[a])
    oracle = LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000)
    oracle.fit(scaler.transform(X[a]), y[a])

    found = fit_logistic_regression(X[a], y[a])(X[b])

    assert found.shape == (len(b), n_classes)
    assert np.exp(found) == pytest.approx(oracle.predict_proba(scaler.transform(X[b])), abs=1e-6)


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_")  # pixels that never change
@pytest.mark.parametrize("n_classes", [2, 10])
def test_nearest_class_mean_decides_like_scikit_learn(n_classes):
    """Decisions on standardised features are those of `NearestCentroid`."""
    a, b = train[y[train] < n_classes], test[y[test] < n_classes]
    scaler = StandardScaler().fit(X[a])
    oracle = NearestCentroid().fit(scaler.transform(X[a]).astype(np.float64), y[a])

    found = fit_nearest_class_mean(X[a], y[a])(X[b])

    agreement = (found.argmax(axis=1) == oracle.predict(scaler.transform(X[b]))).mean()
    assert agreement > 0.99  # rounding may turn a tie
    assert np.exp(found).sum(axis=1) == pytest.approx(1)


def test_constant_features_do_no_harm():
    """Features that never change, as dead channels of a backbone, leave finite numbers."""
    constant = np.hstack([X[train], np.ones((len(train), 3), np.float32)])

    for fit in (fit_logistic_regression, fit_nearest_class_mean):
        assert np.isfinite(fit(constant, y[train])(constant[:50])).all()
