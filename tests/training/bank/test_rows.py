"""Heads train alike on features in memory and in files, and when memory runs out half way."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from tests.training.bank.test_heads import (
    HEADS,
    N_CLASSES,
    N_FEATURES,
    N_ROWS,
    RATES,
    SAME_ENGINE,
    STEPS,
    TRAINING,
    X,
    Y,
    all_logits,
    probabilities,
    stacked,
)
from tuner.features.bank import BankRows, FeatureBank
from tuner.features.device import free_bytes
from tuner.training.bank import rows as rows_module
from tuner.training.bank.heads import StackedHeads, heads_that_fit
from tuner.training.bank.rows import FeatureRows

NUMBERS = [0, 1, 2, 3, 4]


@pytest.fixture
def in_files(tmp_path):
    """The features of the tests, in a bank of chunks of 25 rows."""
    bank = FeatureBank(tmp_path, {"made": "rows"}, n_features=N_FEATURES)
    keys = [f"{i:064x}:0" for i in range(N_ROWS)]
    for first in range(0, N_ROWS, 25):
        part = slice(first, first + 25)
        bank.add(keys[part], X[part])
    return bank.open_rows(keys)


def stack_on(features, **options):
    """Five of the heads on features wherever they lie."""
    return StackedHeads(
        [HEADS[k] for k in NUMBERS],
        features,
        ops.convert_to_tensor(Y, "int32"),
        n_classes=N_CLASSES,
        steps=STEPS,
        training=TRAINING,
        **options,
    )


def run(stack, epochs=3):
    """Losses of some epochs, and probabilities on all rows."""
    losses = [stack.train_epoch(RATES[NUMBERS]) for _ in range(epochs)]
    return np.concatenate(losses), np.stack([probabilities(x) for x in all_logits(stack)])


def test_rows_of_a_bank_come_by_number(in_files):
    """Rows come by number, in any order, as often as they are named."""
    assert isinstance(in_files, BankRows)
    assert in_files.shape == X.shape
    asked = np.array([3, 89, 26, 3])
    np.testing.assert_array_equal(in_files.take(asked), X[asked])


@pytest.mark.slow
@pytest.mark.parametrize("heads_per_stack", [1, 5])
@pytest.mark.parametrize("rows_a_call", [16, 100, 10_000])
def test_features_in_files_train_the_same_heads(
    in_files, monkeypatch, heads_per_stack, rows_a_call
):
    """Whatever a call may hold, losses and probabilities are those of features in memory."""
    expected = run(stacked([HEADS[k] for k in NUMBERS], heads_per_stack=heads_per_stack))
    monkeypatch.setattr(rows_module, "ROWS_A_CALL", rows_a_call)
    monkeypatch.setattr("tuner.training.bank.heads.ROWS_A_CALL", rows_a_call)
    found = run(stack_on(in_files, heads_per_stack=heads_per_stack))
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], atol=SAME_ENGINE)


def test_a_call_gets_the_rows_that_it_names(in_files):
    """Numbers are renumbered, classes follow, and the size is that of the rows named."""
    asked = np.array([[80, 3], [3, 41]])
    features, y, local = FeatureRows(in_files, ops.convert_to_tensor(Y, "int32")).pick(asked)
    assert tuple(features.shape) == (4, N_FEATURES)
    local = ops.convert_to_numpy(local)
    np.testing.assert_array_equal(ops.convert_to_numpy(features)[local], X[asked])
    np.testing.assert_array_equal(ops.convert_to_numpy(y)[local], Y[asked])


@pytest.mark.slow
@pytest.mark.parametrize("fits", [1, 2, 3])
def test_a_stack_without_memory_is_halved_and_goes_on(fits):
    """When a call of more heads than fit fails, none loses a step, and results stay the same."""
    expected = run(stack_on(ops.convert_to_tensor(X), heads_per_stack=5))
    stack = stack_on(ops.convert_to_tensor(X), heads_per_stack=5)
    functions, sizes = stack._functions, []

    def limited(state, *args):
        sizes.append(state.weights.hidden.shape[0])
        if sizes[-1] > fits:
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory while trying to allocate")
        return functions.train_epoch(state, *args)

    stack._functions = functions._replace(train_epoch=limited)
    found = run(stack)
    assert max(sizes) == 5
    assert max(sizes[-2:]) <= fits
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], atol=SAME_ENGINE)


def test_one_head_without_memory_is_an_error():
    """What cannot be halved is said as it is."""
    stack = stack_on(ops.convert_to_tensor(X), heads_per_stack=2)

    def never(*args):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    stack._functions = stack._functions._replace(train_epoch=never)
    with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED"):
        stack.train_epoch(RATES[NUMBERS])


def test_heads_that_fit_follow_the_free_memory(monkeypatch):
    """A head of a million parameters takes 42 MB of a step; unknown memory stops at the most."""
    shape = {"n_features": 2048, "hidden_units": 512, "n_classes": 7}
    for free, n in [(None, 256), (10**12, 256), (4 * 10**9, 94), (10**6, 1)]:
        monkeypatch.setattr("tuner.training.bank.heads.free_bytes", lambda free=free: free)
        assert heads_that_fit(**shape) == n


def test_free_memory_is_less_than_there_is():
    """What the system tells, in bytes."""
    psutil = pytest.importorskip("psutil")
    assert 2**20 < free_bytes() <= psutil.virtual_memory().total
