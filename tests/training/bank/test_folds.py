import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import confusion_matrix

from tuner.config import TrainingConfig
from tuner.evaluation.metrics import balanced_loss, log_softmax
from tuner.training.bank.folds import train_trials
from tuner.training.bank.heads import StackedHeads
from tuner.training.bank.schedule import Schedule
from tuner.training.head import FoldHead, Head, RowOrder
from tuner.training.losses import focal_terms
from tuner.training.outcome import pooled_matrix

N_IMAGES, N_FEATURES, N_CLASSES, N_FOLDS, STEPS = 90, 24, 3, 3, 5
# Restless enough for cuts and stops at different epochs.
TRAINING = TrainingConfig(
    hidden_units=16,
    batch_size=8,
    learning_rate=2e-2,
    epochs=14,
    patience=3,
    lr_patience=2,
    min_learning_rate=1e-3,
)
IS_CPU = "cpu" in keras.distribution.list_devices()[0]
TOLERANCE = 0.0 if IS_CPU else 1e-3  # bits are promised on a CPU only

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, N_CLASSES, N_IMAGES)
# The last row is an image's second view and not a number.
X = (RNG.normal(size=(N_IMAGES + 1, N_FEATURES)) + np.append(LABELS, 0)[:, None] / 3).astype(
    np.float32
)
X[-1] = np.nan
Y = np.append(LABELS, 0)


def make_trial(gamma, *, extra_rows=(), weight=1.0):
    """Three folds; image i is validated in fold i % 3."""
    trial = []
    for k in range(N_FOLDS):
        held_out = np.flatnonzero(np.arange(N_IMAGES) % N_FOLDS == k)
        rows = np.setdiff1d(np.arange(N_IMAGES), held_out)
        head = Head(
            np.append(rows, np.array(extra_rows, dtype=np.int64)),
            gamma,
            focal_terms(0.6, n_classes=N_CLASSES),
            np.array([1.0, 0.5, 1.5]) * weight,
            (3, k),
        )
        trial.append(FoldHead(head, held_out, held_out))
    return trial


def train(trials, *, training=TRAINING, steps=STEPS, on_epoch=lambda trial, report: False):
    """`train_trials` on the images above."""
    return train_trials(
        trials,
        X,
        Y,
        labels=LABELS,
        n_classes=N_CLASSES,
        steps=steps,
        training=training,
        on_epoch=on_epoch,
    )


def assert_same(found, expected):
    """Two results of one trial agree in everything, to the bit on a CPU."""
    np.testing.assert_allclose(found.log_prob, expected.log_prob, atol=TOLERANCE, rtol=0)
    assert found.state == expected.state
    assert found.best_epochs == expected.best_epochs
    assert found.learning_rates == expected.learning_rates
    for a, b in zip(found.epochs, expected.epochs, strict=True):
        assert np.array_equal(a.matrix, b.matrix)
        np.testing.assert_allclose(a[2:], b[2:], atol=TOLERANCE, rtol=0)


@pytest.fixture(scope="module")
def undisturbed():
    """Trial A, trained with no other."""
    return train([make_trial(0.5)])[0]


def one_fold(fold):
    """Learning rate, training loss, monitor and log probabilities of each epoch of a fold."""
    stack = StackedHeads(
        [fold.head],
        ops.convert_to_tensor(X),
        ops.convert_to_tensor(Y, "int32"),
        n_classes=N_CLASSES,
        steps=STEPS,
        training=TRAINING,
    )
    schedule, seen = Schedule(TRAINING), []
    while len(seen) < TRAINING.epochs and not schedule.is_stopped:
        rate = schedule.learning_rate
        losses = stack.train_epoch(np.array([rate]))
        log_prob = log_softmax(stack.logits([fold.validation_rows])[0])
        monitored = balanced_loss(log_prob, LABELS[fold.validation_places])
        schedule.update(len(seen), monitored)
        seen.append((rate, losses.mean(dtype=np.float64), monitored, log_prob))
    return seen


@pytest.mark.skipif(not IS_CPU, reason="compares bits, which are promised on a CPU only")
def test_reports_pool_each_fold_at_its_best_epoch():
    """Each report is of every fold's best epoch so far; means are over folds still training."""
    trials = [make_trial(gamma) for gamma in (0.0, 0.5, 3.0)]
    results = train(trials)
    stopped_apart = 0
    for trial, result in zip(trials, results, strict=True):
        folds = [one_fold(fold) for fold in trial]
        check_reports(result, trial, folds)
        stopped_apart += len({len(seen) for seen in folds}) > 1
    assert stopped_apart > 0


def check_reports(result, trial, folds):
    """Hold a trial's result against its folds, each trained with no other."""
    assert len(result.epochs) == max(len(seen) for seen in folds)
    for report in result.epochs:
        predicted = np.empty(N_IMAGES, dtype=np.int64)
        for fold, seen in zip(trial, folds, strict=True):
            # argmin gives the first of equal values.
            best = np.argmin([monitored for _, _, monitored, _ in seen[: report.epoch + 1]])
            predicted[fold.validation_places] = seen[best][3].argmax(axis=1)
        expected = confusion_matrix(LABELS, predicted, labels=range(N_CLASSES))
        assert np.array_equal(report.matrix, expected)
        now = [seen[report.epoch] for seen in folds if len(seen) > report.epoch]
        rate, loss, monitored = np.mean([part[:3] for part in now], axis=0)
        assert report.learning_rate == pytest.approx(rate)
        assert report.train_loss == pytest.approx(loss, rel=1e-5)
        assert report.balanced_loss == pytest.approx(monitored)
    assert result.learning_rates == [[part[0] for part in seen] for seen in folds]
    best = [int(np.argmin([part[2] for part in seen])) for seen in folds]
    assert result.best_epochs == best
    for fold, seen, epoch in zip(trial, folds, best, strict=True):
        assert np.array_equal(result.log_prob[fold.validation_places], seen[epoch][3])


def test_last_report_is_the_matrix_of_the_result(undisturbed):
    """The last report is the pooled matrix of the returned probabilities."""
    result = undisturbed
    assert result.state == "complete"
    predicted = result.log_prob.argmax(axis=1)
    expected = confusion_matrix(LABELS, predicted, labels=range(N_CLASSES))
    assert np.array_equal(result.epochs[-1].matrix, expected)
    assert np.array_equal(pooled_matrix(result.log_prob, LABELS, n_classes=N_CLASSES), expected)
    np.testing.assert_allclose(np.exp(result.log_prob).sum(axis=1), 1.0)


def test_ties_keep_the_first_epoch():
    """When no step moves a weight all epochs tie, and the first is restored."""
    training = TRAINING.model_copy(update={"learning_rate": 1e-30})
    result = train([make_trial(0.5)], training=training)[0]
    assert result.best_epochs == [0, 0, 0]
    assert result.learning_rates == [[1e-30] * 4] * 3  # the first epoch and three of patience


def test_epochs_end_training():
    """Training ends after the last epoch although nothing has stopped."""
    training = TRAINING.model_copy(update={"epochs": 3, "patience": 99, "lr_patience": 99})
    result = train([make_trial(0.5)], training=training)[0]
    assert (result.state, len(result.epochs)) == ("complete", 3)
    assert result.learning_rates == [[2e-2] * 3] * 3


def test_companions_change_nothing(undisturbed):
    """A trial's result is the same alone, before and after other trials."""
    others = [make_trial(3.0), make_trial(0.0, weight=2.0)]
    assert_same(train([make_trial(0.5), *others])[0], undisturbed)
    assert_same(train([*others, make_trial(0.5)])[2], undisturbed)


def test_pruned_trial_leaves_the_others_alone(undisturbed):
    """A trial pruned after an epoch keeps that report and is asked no more; others go on."""
    asked = []

    def on_epoch(trial, report):
        asked.append((trial, report.epoch))
        return trial == 0 and report.epoch == 2

    pruned, other = train([make_trial(3.0), make_trial(0.5)], on_epoch=on_epoch)
    assert_same(other, undisturbed)
    assert pruned.state == "pruned"
    assert pruned.reason is None
    assert [report.epoch for report in pruned.epochs] == [0, 1, 2]
    assert [len(rates) for rates in pruned.learning_rates] == [3, 3, 3]
    assert asked == [(t, e) for e in range(3) for t in (0, 1)] + [
        (1, e) for e in range(3, len(other.epochs))
    ]
    matrix = pooled_matrix(pruned.log_prob, LABELS, n_classes=N_CLASSES)
    assert np.array_equal(pruned.epochs[-1].matrix, matrix)


def test_bad_training_row_fails_its_trial_only(undisturbed):
    """A row that is not a number fails the trial that trains on it, naming the step."""
    bad = make_trial(3.0, extra_rows=[N_IMAGES])
    failed, other = train([bad, make_trial(0.5)])
    assert_same(other, undisturbed)
    n_seen = TRAINING.epochs * STEPS * TRAINING.batch_size
    orders = [RowOrder(fold.head.rows, fold.head.key).take(n_seen) for fold in bad]
    met = min(int(np.argmax(order == N_IMAGES)) for order in orders)
    step = met // TRAINING.batch_size + 1
    assert failed.state == "failed"
    assert failed.reason == f"training loss is nan at step {step}"
    assert len(failed.epochs) == (step - 1) // STEPS


def test_bad_validation_row_fails_its_trial_only(undisturbed):
    """A validation row that is not a number fails its trial, naming quantity and epoch."""
    bad = make_trial(3.0)
    rows = np.append(bad[1].validation_rows[:-1], N_IMAGES)
    bad[1] = bad[1]._replace(validation_rows=rows)
    failed, other = train([bad, make_trial(0.5)])
    assert_same(other, undisturbed)
    assert failed.state == "failed"
    assert failed.reason == "val/balanced_loss is not finite at epoch 0"
    assert failed.epochs == []


def test_overflow_fails_its_trial_only(undisturbed):
    """A loss that overflows fails its trial at its first step."""
    failed, other = train([make_trial(0.0, weight=2e38), make_trial(0.5)])
    assert_same(other, undisturbed)
    assert failed.state == "failed"
    assert failed.reason == "training loss is inf at step 1"


@pytest.mark.parametrize(
    ("steps", "reason"),
    [(STEPS, "training loss is nan at step 2"), (1, "val/balanced_loss is not finite at epoch 0")],
)
def test_huge_learning_rate_fails_with_a_reason(steps, reason):
    """Weights that blow up end in a reason that says where, not in a warning or a crash."""
    training = TRAINING.model_copy(update={"learning_rate": 1e38})
    failed = train([make_trial(1.0)], training=training, steps=steps)[0]
    assert (failed.state, failed.reason) == ("failed", reason)
    assert failed.best_epochs == [-1, -1, -1]


def test_all_failed_ends_early():
    """When every trial has failed, no epoch is trained for nothing."""
    results = train([make_trial(0.0, weight=2e38), make_trial(1.0, weight=2e38)])
    assert [len(rates) for result in results for rates in result.learning_rates] == [1] * 6
