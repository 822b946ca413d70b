import hashlib
from dataclasses import replace

import keras
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from tuner.config import TrainingConfig
from tuner.evaluation.metrics import balanced_loss, log_softmax
from tuner.training.bank import steps as steps_module
from tuner.training.bank.heads import StackedHeads
from tuner.training.bank.schedule import Schedule
from tuner.training.bank.steps import ADAM_EPSILON
from tuner.training.head import Head, RowOrder, initial_weights
from tuner.training.losses import FocalLoss, focal_terms

N_ROWS, N_FEATURES, N_CLASSES, STEPS, EPOCHS = 90, 24, 3, 10, 10
TRAINING = TrainingConfig(hidden_units=16, batch_size=8, learning_rate=1e-3)
WITHOUT_DROPOUT = TRAINING.model_copy(update={"dropout": 0.0})
# Largest difference of a probability after 100 steps: the order of float32 sums differs between
# stack sizes, and between this engine and `Model.fit`.
SAME_ENGINE, SAME_AS_FIT = 1e-5, 1e-4

slow = pytest.mark.slow
on_cpu = pytest.mark.skipif(
    "cpu" not in keras.distribution.list_devices()[0], reason="bits are promised on a CPU only"
)


def problem(n_classes=N_CLASSES):
    """Overlapping classes, so that losses stay away from zero."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, n_classes, N_ROWS)
    return (rng.normal(size=(N_ROWS, N_FEATURES)) + y[:, None] / 3).astype(np.float32), y


X, Y = problem()


def make_head(k, n_classes=N_CLASSES):
    """A head that differs from every other in all it can; folds repeat after three."""
    weight = np.random.default_rng(k).uniform(0.3, 3, n_classes)
    terms = focal_terms(0.1 + 0.1 * k, n_classes=n_classes, rarer_class=1)
    rows = np.flatnonzero(np.arange(N_ROWS) % 3 != k % 3)
    return Head(rows, 0.6 * k, terms, weight, (5, k % 3))


HEADS = [make_head(k) for k in range(9)]
RATES = np.geomspace(1e-4, 3e-3, 9)


def stacked(heads, *, features=X, labels=Y, training=TRAINING, steps=STEPS, **options):
    """`StackedHeads` on the images above."""
    return StackedHeads(
        heads,
        ops.convert_to_tensor(features),
        ops.convert_to_tensor(labels, "int32"),
        n_classes=int(labels.max()) + 1,
        steps=steps,
        training=training,
        **options,
    )


def all_logits(stack):
    """Logits of every living head on every row."""
    return stack.logits([np.arange(N_ROWS)] * len(stack.alive))


def trained(numbers, **options):
    """Logits on all rows of some of HEADS after 100 steps together, by number."""
    stack = stacked([HEADS[k] for k in numbers], **options)
    for _ in range(EPOCHS):
        stack.train_epoch(RATES[numbers])
    return dict(zip(numbers, all_logits(stack), strict=True))


def probabilities(logits):
    """Softmax of logits."""
    return np.exp(log_softmax(logits))


@pytest.fixture(scope="module")
def alone():
    """Each head trained with no other."""
    return [trained([k])[k] for k in range(len(HEADS))]


def by_model_fit(head, features, labels):
    """Logits on all rows, and mean loss, of `Model.fit` over 100 batches of the head's rows."""
    shape = {"n_features": N_FEATURES, "hidden_units": 16, "n_classes": int(labels.max()) + 1}
    model = keras.Sequential(
        [
            keras.Input((N_FEATURES,)),
            keras.layers.Dense(shape["hidden_units"], activation="relu"),
            keras.layers.Dropout(0.0),
            keras.layers.Dense(shape["n_classes"]),
        ]
    )
    model.set_weights(initial_weights(head.key, **shape))
    loss = FocalLoss(head.gamma, head.terms.true_factor, head.terms.other_factor)
    # Compiling with XLA takes longer than the 100 steps.
    model.compile(keras.optimizers.Adam(TRAINING.learning_rate), loss, jit_compile=False)
    rows = RowOrder(head.rows, head.key).take(EPOCHS * STEPS * TRAINING.batch_size)
    history = model.fit(
        features[rows],
        labels[rows],
        sample_weight=head.class_weight[labels[rows]],
        batch_size=TRAINING.batch_size,
        shuffle=False,
        verbose=0,
    )
    return ops.convert_to_numpy(model(features)), history.history["loss"][0]


@pytest.mark.parametrize(
    ("n_classes", "heads_per_stack"),
    [(2, 1), (3, 2), pytest.param(2, 2, marks=slow), pytest.param(3, 1, marks=slow)],
)
def test_equals_model_fit(n_classes, heads_per_stack):
    """After 100 steps each head predicts as one that `Model.fit` trained on the same rows."""
    features, labels = problem(n_classes)
    heads = [make_head(k, n_classes) for k in (1, 5)]
    expected = [by_model_fit(head, features, labels) for head in heads]
    options = {"features": features, "labels": labels, "training": WITHOUT_DROPOUT}
    stack = stacked(heads, heads_per_stack=heads_per_stack, **options)
    rate = np.full(2, TRAINING.learning_rate)
    losses = np.concatenate([stack.train_epoch(rate) for _ in range(EPOCHS)])
    for k, (logits, loss) in enumerate(expected):
        found = probabilities(all_logits(stack)[k])
        np.testing.assert_allclose(found, probabilities(logits), atol=SAME_AS_FIT)
        assert losses[:, k].mean() == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("n_heads", [2, 4, pytest.param(9, marks=slow)])
def test_one_stack_equals_alone(alone, n_heads):
    """Stacked in one compiled call, each head predicts as it does alone."""
    together = trained(list(range(n_heads)), heads_per_stack=n_heads)
    for k, logits in together.items():
        np.testing.assert_allclose(
            probabilities(logits), probabilities(alone[k]), atol=SAME_ENGINE
        )


def test_small_stacks_equal_alone(alone):
    """Five heads in stacks of two predict as they do alone."""
    for k, logits in trained(list(range(5)), heads_per_stack=2).items():
        np.testing.assert_allclose(
            probabilities(logits), probabilities(alone[k]), atol=SAME_ENGINE
        )


@on_cpu
@pytest.mark.parametrize("n_heads", [2, 3, 4, 8])
def test_same_bits_in_any_company(alone, n_heads):
    """On a CPU each head has the bits that it has alone."""
    for k, logits in trained(list(range(n_heads))).items():
        assert np.array_equal(logits, alone[k])


@on_cpu
def test_same_bits_at_full_size():
    """The bits are kept at 2048 features, 512 units and 20 classes, where a stack loses them."""
    rng = np.random.default_rng(0)
    features, labels = rng.random((200, 2048), dtype=np.float32), np.arange(200) % 20
    terms, training = focal_terms(0.25, n_classes=20), TrainingConfig()
    heads = [Head(np.arange(200), 2.0, terms, np.ones(20), (0, k)) for k in range(8)]
    options = {"features": features, "labels": labels, "training": training, "steps": 2}
    together, one = stacked(heads, **options), stacked(heads[:1], **options)
    together.train_epoch(np.full(8, 1e-3))
    one.train_epoch(np.array([1e-3]))
    rows = np.arange(200)
    assert np.array_equal(together.logits([rows] * 8)[0], one.logits([rows])[0])


@on_cpu
def test_keep_leaves_the_bits_of_others(alone):
    """Heads that stay after others have left have the bits that they have alone."""
    stack = stacked(HEADS[:6])
    for epoch in range(EPOCHS):
        stack.train_epoch(RATES[stack.alive])
        if epoch == 2:
            stack.keep([1, 3, 4])
        if epoch == 5:
            stack.keep([3])
    assert stack.alive == [3]
    assert np.array_equal(all_logits(stack)[0], alone[3])
    stack.keep([])
    assert stack.alive == []


def test_keep_in_one_stack(alone):
    """Compacting a stack moves weights without touching them, and training goes on as before."""
    stack = stacked(HEADS[:4], heads_per_stack=4)
    for epoch in range(EPOCHS):
        stack.train_epoch(RATES[stack.alive])
        if epoch == 4:
            before = [stack.weights(k) for k in (1, 3)]
            stack.keep([1, 3])
            after = [stack.weights(k) for k in stack.alive]
            for old, new in zip(before, after, strict=True):
                assert all(map(np.array_equal, old, new))
    for k, logits in zip([1, 3], all_logits(stack), strict=True):
        np.testing.assert_allclose(
            probabilities(logits), probabilities(alone[k]), atol=SAME_ENGINE
        )


@pytest.mark.parametrize("heads_per_stack", [1, 4])
def test_settings_do_not_leak(heads_per_stack):
    """Another gamma, alpha, weight, row or rate of one head changes no bit of its neighbours."""

    def run(middle, rate):
        heads, rates = [HEADS[0], middle, *HEADS[2:4]], np.array([1e-3, rate, 1e-3, 1e-3])
        stack = stacked(heads, heads_per_stack=heads_per_stack)
        losses = np.concatenate([stack.train_epoch(rates) for _ in range(2)])
        return losses, all_logits(stack)

    losses, logits = run(HEADS[1], 1e-3)
    changes = {
        "gamma": 4.0,
        "terms": focal_terms(0.9, n_classes=N_CLASSES),
        "class_weight": np.array([9.0, 0.1, 1.0]),
        "rows": np.arange(7),
        "key": (99, 99),
    }
    middles = [replace(HEADS[1], **{name: value}) for name, value in changes.items()]
    runs = [run(middle, 1e-3) for middle in middles] + [run(HEADS[1], 1e-2)]
    for other_losses, other_logits in runs:
        for k in (0, 2, 3):
            assert np.array_equal(losses[:, k], other_losses[:, k])
            assert np.array_equal(logits[k], other_logits[k])
        assert not np.array_equal(logits[1], other_logits[1])


@pytest.mark.parametrize("heads_per_stack", [1, 4])
def test_one_key_one_trial_of_dice(heads_per_stack):
    """Heads of one key share initial weights, rows and dropout, so equal heads stay equal."""
    other = replace(HEADS[1], key=(5, 2))
    stack = stacked([HEADS[1], HEADS[1], other, HEADS[0]], heads_per_stack=heads_per_stack)
    losses = stack.train_epoch(np.full(4, 1e-3))
    assert np.array_equal(losses[:, 0], losses[:, 1])
    assert (losses[:, 0] != losses[:, 2]).all()


def test_logits_are_without_dropout():
    """Logits are the plain product of the weights, drop nothing and disturb no training."""
    disturbed, left_alone = (stacked(HEADS[:2]) for _ in range(2))
    for _ in range(3):
        for stack in (disturbed, left_alone):
            stack.train_epoch(np.full(2, 1e-3))
        found = disturbed.logits([np.arange(5), np.array([80, 3])])
    assert [part.shape for part in found] == [(5, N_CLASSES), (2, N_CLASSES)]
    for k, rows in enumerate([np.arange(5), np.array([80, 3])]):
        weights = disturbed.weights(k)
        hidden = np.maximum(X[rows] @ weights.hidden + weights.hidden_bias, 0)
        np.testing.assert_allclose(
            found[k], hidden @ weights.output + weights.output_bias, rtol=1e-5, atol=1e-6
        )
        assert all(map(np.array_equal, weights, left_alone.weights(k)))


def test_initial_weights_are_the_same_everywhere():
    """Initial weights are these very bits, on every backend and machine."""
    shape = {"n_features": 24, "hidden_units": 16, "n_classes": 3}
    weights = initial_weights((5, 1), **shape)
    digest = hashlib.sha256(b"".join(part.tobytes() for part in weights)).hexdigest()
    assert digest[:16] == "0c12d70c58affbbd"
    limit = np.sqrt(6 / (24 + 16))
    assert limit * 0.98 < np.abs(weights.hidden).max() <= limit
    assert not weights.hidden_bias.any()
    assert not weights.output_bias.any()
    assert not np.array_equal(weights.hidden, initial_weights((5, 2), **shape).hidden)
    stack = stacked([replace(HEADS[1], key=(5, 1))])
    assert all(map(np.array_equal, stack.weights(0), weights))


@given(
    n_rows=st.integers(1, 40),
    takes=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    seed=st.integers(0, 2**31 - 1),
)
def test_row_order_is_permutations_end_to_end(n_rows, takes, seed):
    """Rows come in whole permutations one after another, however they are taken."""
    rows = np.random.default_rng(1).choice(1000, n_rows, replace=False)
    order = RowOrder(rows, (seed, 0))
    parts = [order.take(n) for n in takes]
    assert [len(part) for part in parts] == takes
    everything = np.concatenate(parts)
    for first in range(0, len(everything), n_rows):
        part = everything[first : first + n_rows]
        assert len(np.unique(part)) == len(part)
        assert np.isin(part, rows).all()
    assert np.array_equal(RowOrder(rows, (seed, 0)).take(sum(takes)), everything)


def test_row_order_changes_with_key_and_permutation():
    """Another key, and the next permutation, give another order."""
    rows = np.arange(50)
    first, second = RowOrder(rows, (0, 1)).take(100).reshape(2, 50)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, RowOrder(rows, (0, 2)).take(50))


def test_no_rows_are_refused():
    """A head without rows is refused, since no batch could ever be filled."""
    with pytest.raises(ValueError, match="at least one row"):
        RowOrder(np.arange(0), (0, 0))


def test_overfits_sixteen_images():
    """Sixteen random images with random labels are learnt by heart."""
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(16, N_FEATURES)).astype(np.float32), np.arange(16) % 3
    head = Head(np.arange(16), 0.0, focal_terms(1.0, n_classes=3), np.ones(3), (0, 0))
    stack = stacked([head], features=features, labels=labels, training=WITHOUT_DROPOUT)
    losses = [stack.train_epoch(np.array([1e-2])) for _ in range(40)]
    assert np.mean(losses[-1]) < 1e-2 < 1.0 < np.mean(losses[0][:2])
    logits = stack.logits([np.arange(16)])[0]
    assert balanced_loss(log_softmax(logits), labels) < 1e-3


@pytest.mark.parametrize(("heads_per_stack", "sizes"), [(1, 1), (4, 3)])
def test_little_is_compiled(monkeypatch, heads_per_stack, sizes):
    """A head alone has one size and four in a stack 4, 2 and 1; later trials compile nothing."""
    traced = []
    focal_loss = steps_module.focal_loss

    def counted(*args, **kwargs):
        traced.append(args)
        return focal_loss(*args, **kwargs)

    monkeypatch.setattr(steps_module, "focal_loss", counted)

    def trial(gamma):
        # An epsilon of its own keeps other tests' compiled functions out of this one.
        heads = [replace(head, gamma=gamma) for head in HEADS[:4]]
        options = {"epsilon": 1e-7 + heads_per_stack, "training": WITHOUT_DROPOUT}
        stack = stacked(heads, heads_per_stack=heads_per_stack, **options)
        counts = []
        for n_left in (3, 2, 1, 0):
            stack.train_epoch(np.full(len(stack.alive), 1e-3))
            counts.append(len(traced))
            stack.keep(stack.alive[:n_left])
        return counts

    counts = trial(0.0)
    assert counts[-1] == sizes * counts[0] > 0
    for gamma in (0.5, 2.0):
        assert trial(gamma)[-1] == counts[-1]


def test_memory_is_given_back():
    """Trials after trials hold no more memory than the first few."""
    training = TrainingConfig(hidden_units=512, batch_size=2)
    features = np.random.default_rng(0).random((20, 256), dtype=np.float32)
    head = Head(np.arange(20), 1.0, focal_terms(0.5, n_classes=3), np.ones(3), (0, 0))

    def trial():
        stack = stacked([head] * 3, features=features, labels=Y[:20], training=training, steps=2)
        stack.train_epoch(np.full(3, 1e-3))
        stack.logits([np.arange(20)] * 3)

    for _ in range(10):
        trial()
    before = psutil.Process().memory_info().rss
    for _ in range(20):
        trial()
    grown = psutil.Process().memory_info().rss - before
    # Weights and moments of one trial are 4.7 MB: 95 MB if they stayed.
    assert grown < 40e6


def test_scale_of_the_loss_is_not_felt():
    """A loss a thousandth as large, and Adam's epsilon with it, changes neither cuts nor stop.

    2 ** -10 rather than a thousandth: no rounding, so that the numbers must be the same.
    """
    training = TRAINING.model_copy(update={"patience": 6, "lr_patience": 2})
    validation = np.flatnonzero(np.arange(N_ROWS) % 3 == 1)

    def run(scale):
        head = replace(HEADS[1], class_weight=HEADS[1].class_weight * scale)
        stack = stacked([head], epsilon=ADAM_EPSILON * scale)
        schedule, seen = Schedule(training.model_copy(update={"learning_rate": 1e-2})), []
        for epoch in range(30):
            stack.train_epoch(np.array([schedule.learning_rate]))
            log_prob = log_softmax(stack.logits([validation])[0])
            seen.append((schedule.learning_rate, balanced_loss(log_prob, Y[validation])))
            schedule.update(epoch, seen[-1][1])
            if schedule.is_stopped:
                break
        return np.array(seen), schedule.best_epoch

    (plain, best), (scaled, scaled_best) = run(1.0), run(2.0**-10)
    assert np.array_equal(plain[:, 0], scaled[:, 0])
    assert best == scaled_best
    np.testing.assert_allclose(plain[:, 1], scaled[:, 1], rtol=1e-5)
    assert len(set(plain[:, 0])) > 2  # the rate was cut, and more than once
    assert len(plain) < 30
