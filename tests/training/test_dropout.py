"""Dropout masks: a published hash of key, step and place, on every backend the same."""

from functools import partial
from itertools import combinations

import numpy as np
import pytest
from keras import ops

from tuner.training.bank.compiled import compile_xla
from tuner.training.dropout import dropout_key, dropout_masks


def masks(keys, *, step=0, rate=0.3, shape=(16, 64), compiled=True):
    """Dropout masks of heads with these keys, NumPy (n_heads, *shape)."""
    function = partial(dropout_masks, shape=shape, rate=rate)
    tensors = (ops.convert_to_tensor(np.array(part), "int32") for part in (keys, step))
    return ops.convert_to_numpy((compile_xla(function) if compiled else function)(*tensors))


def pcg3d(x, y, z):
    """The hash as published, in Python's own integers: all three words."""
    word = 2**32 - 1

    def mixed(x, y, z):
        x = (x + y * z) & word
        y = (y + z * x) & word
        return x, y, (z + x * y) & word

    x, y, z = mixed(*((part * 1664525 + 1013904223) & word for part in (x, y, z)))
    return mixed(*(part ^ (part >> 16) for part in (x, y, z)))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("key", "step"), [(0, 0), (7, 3), (2**31 - 1, 123_456)])
def test_masks_are_the_published_hash(key, step, compiled):
    """So they are equal on every backend, and in a model that XLA does not compile."""
    found = masks([key], step=step, shape=(3, 5), compiled=compiled)[0]
    drawn = [pcg3d(place, step, key)[0] / 2**32 for place in range(15)]
    assert np.array_equal(found.ravel() > 0, np.array(drawn) >= 0.3)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.8, 1 - 1e-12])
def test_masks_keep_the_expected_share(rate):
    """A unit is kept with probability 1 - rate and scaled so that its mean stays 1."""
    found = masks([7], rate=rate, shape=(64, 512))
    assert set(np.unique(found)) <= {0, np.float32(1 / (1 - rate))}
    share, n = (found > 0).mean(), found.size
    # Five standard errors of a share.
    assert abs(share - (1 - rate)) <= 5 * np.sqrt(rate * (1 - rate) / n)


def test_masks_follow_the_key_and_not_the_stack():
    """The same key and step give the same mask in any stack; another key or step another."""
    alone = masks([11], step=3)[0]
    together = masks([11, 5, 11, 400], step=3)
    assert np.array_equal(together[0], alone)
    assert np.array_equal(together[2], alone)
    others = [together[1], together[3], masks([11], step=4)[0]]
    # Two independent masks agree at 0.7 ** 2 + 0.3 ** 2 = 58 % of the units.
    assert all(0.5 < (other == alone).mean() < 0.66 for other in others)


@pytest.mark.slow
def test_masks_of_units_rows_steps_and_heads_are_independent():
    """No two agree more or less often than chance has it, neighbours included."""
    keys = [dropout_key((0, fold)) for fold in range(4)]
    drawn = np.stack([masks(keys, step=step, shape=(32, 512)) > 0 for step in range(64)])
    for axis in range(4):
        lines = np.moveaxis(drawn, axis, 0)[:32].reshape(min(32, drawn.shape[axis]), -1)
        n = lines.shape[1]
        centred = (lines - 0.7) / np.sqrt(0.7 * 0.3)
        z = [np.dot(a, b) / np.sqrt(n) for a, b in combinations(centred, 2)]
        # At most 496 pairs of an axis: five standard errors are 0.03 % likely in all of them.
        assert np.abs(z).max() < 5
        assert 0.8 < np.std(z) < 1.2 or len(z) < 20


def test_a_head_keeps_each_unit_as_often_as_any_other():
    """Over an epoch's steps no unit is favoured: chi-square of the counts."""
    drawn = np.stack([masks([9], step=step, shape=(32, 512))[0] > 0 for step in range(50)])
    kept, n = drawn.sum(axis=(0, 1)), 50 * 32
    chi_square = np.sum((kept - 0.7 * n) ** 2 / (n * 0.7 * 0.3))
    # Mean 512, standard deviation sqrt(2 * 512).
    assert abs(chi_square - 512) < 5 * np.sqrt(2 * 512)
