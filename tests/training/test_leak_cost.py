"""What a leak is worth: memory of twins counts where they are parted, and not together."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.data.near_duplicates.groups import joined_groups
from tuner.training.leak_cost import leak_costs, some_groups


def test_twins_are_worth_all_where_labels_say_nothing():
    """Pictures in pairs, labels by chance: parted they are remembered, together nobody knows."""
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(120, 60)), 2, axis=0).astype(np.float32)
    labels = np.repeat(rng.integers(0, 2, 120), 2)
    parted, together = np.arange(240) % 2, np.arange(240) // 2 % 2
    found = leak_costs(features, labels, parted=parted, together=together, n_classes=2)
    assert set(found) == {"logistic_regression", "nearest_class_mean"}
    for cost in found.values():
        assert cost.parted > 0.8
        assert 0.3 < cost.together < 0.7


def test_what_is_sealed_is_neither_trained_on_nor_asked():
    """Images of a fold below 0 change nothing."""
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(60, 8)).astype(np.float32), np.arange(60) % 2
    fold = np.arange(60) // 2 % 3
    alone = leak_costs(features, labels, parted=fold, together=fold, n_classes=2)
    more = np.vstack([features, 100 * features[:10]])
    beside = leak_costs(
        more,
        np.append(labels, 1 - labels[:10]),
        parted=np.append(fold, np.full(10, -1)),
        together=np.append(fold, np.full(10, -1)),
        n_classes=2,
    )
    assert beside == alone


@settings(max_examples=30, deadline=None)
@given(n=st.integers(50, 400), seed=st.integers(0, 2**32))
def test_some_groups_are_whole_and_hold_all_of_the_rare(n, seed):
    """No group is cut, no rare image is left out, and the rest is not more than was wanted."""
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(n) < n // 10, 1, 0)
    joined = joined_groups(rng.integers(0, n, n))
    groups = np.arange(n) if joined is None else joined
    chosen = some_groups(labels, groups, most=n // 2)
    is_chosen = np.isin(np.arange(n), chosen)
    assert all(len(set(is_chosen[groups == g].tolist())) == 1 for g in np.unique(groups))
    assert is_chosen[np.bincount(labels)[labels] <= 100].all()
    assert (np.diff(chosen) > 0).all()
