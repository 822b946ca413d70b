import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.config import TrainingConfig
from tuner.training.bank.schedule import Schedule

# Few levels, so that ties and plateaus are common; float32 holds each exactly, as Keras needs.
LEVELS = st.integers(1, 6).map(lambda level: level / 8)
RTOL = 1e-5  # Keras keeps the learning rate in float32


@pytest.fixture(scope="module")
def model():
    """A model as small as they come; each use sets its learning rate anew."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(1.0), "mse")
    return model


def by_keras(model, values, training):
    """Learning rate of each epoch and restored epoch, by Keras's own two callbacks.

    The weights stand for the epoch, which tells what was restored.
    """
    stop = keras.callbacks.EarlyStopping(
        "val_balanced_loss", patience=training.patience, mode="min", restore_best_weights=True
    )
    cut = keras.callbacks.ReduceLROnPlateau(
        "val_balanced_loss",
        mode="min",
        min_delta=0.0,
        factor=training.lr_factor,
        patience=training.lr_patience,
        min_lr=training.min_learning_rate,
    )
    callbacks = keras.callbacks.CallbackList([cut, stop], model=model)
    model.stop_training, rates = False, []
    model.optimizer.learning_rate = training.learning_rate
    callbacks.on_train_begin()
    for epoch, value in enumerate(values):
        rates.append(float(model.optimizer.learning_rate))
        model.set_weights([np.full((1, 1), epoch), np.zeros(1)])
        callbacks.on_epoch_end(epoch, {"val_balanced_loss": value})
        if model.stop_training:
            break
    callbacks.on_train_end()
    return rates, int(model.get_weights()[0].item())


def by_schedule(values, training):
    """The same by `Schedule`."""
    schedule, rates = Schedule(training), []
    for epoch, value in enumerate(values):
        rates.append(schedule.learning_rate)
        schedule.update(epoch, value)
        if schedule.is_stopped:
            break
    return rates, schedule.best_epoch


@settings(deadline=None, max_examples=100)
@given(
    values=st.lists(LEVELS, min_size=1, max_size=30),
    patience=st.integers(1, 6),
    lr_patience=st.integers(1, 4),
    start=st.sampled_from([1e-2, 1e-4, 3e-6, 1e-6, 5e-7]),
)
def test_keras_callbacks_agree(model, values, patience, lr_patience, start):
    """Learning rates, stop and restored epoch are those of Keras's two callbacks."""
    training = TrainingConfig(patience=patience, lr_patience=lr_patience, learning_rate=start)
    rates, best_epoch = by_schedule(values, training)
    expected_rates, expected_best = by_keras(model, values, training)
    assert len(rates) == len(expected_rates)
    np.testing.assert_allclose(rates, expected_rates, rtol=RTOL)
    assert best_epoch == expected_best


def test_first_of_equal_epochs_is_the_best():
    """A tie is no improvement, so the first of equal epochs stays the best."""
    schedule = Schedule(TrainingConfig())
    assert [schedule.update(i, value) for i, value in enumerate([0.5, 0.5, 0.4, 0.4])] == [
        True,
        False,
        True,
        False,
    ]
    assert (schedule.best_epoch, schedule.best) == (2, 0.4)


def test_smallest_gain_counts():
    """There is no threshold: the next float below is an improvement."""
    schedule = Schedule(TrainingConfig(patience=1))
    schedule.update(0, 1e-6)
    assert schedule.update(1, float(np.nextafter(1e-6, 0)))
    assert not schedule.is_stopped


def test_cut_at_the_epoch_of_the_stop():
    """When cut and stop fall together the cut rate is set, but no epoch uses it."""
    training = TrainingConfig(patience=3, lr_patience=3)
    schedule = Schedule(training)
    for epoch, value in enumerate([0.5, 0.6, 0.6, 0.6]):
        assert schedule.learning_rate == training.learning_rate
        schedule.update(epoch, value)
    assert schedule.is_stopped
    assert schedule.learning_rate == pytest.approx(2e-5)
    assert schedule.best_epoch == 0


def test_floor_is_reached_and_kept():
    """Cuts end exactly at the floor, and a rate below the floor is left alone."""
    training = TrainingConfig(lr_patience=1, patience=99)
    schedule = Schedule(training)
    schedule.update(0, 1.0)
    for epoch in range(1, 6):
        schedule.update(epoch, 1.0)
    assert schedule.learning_rate == training.min_learning_rate
    below = Schedule(TrainingConfig(lr_patience=1, learning_rate=1e-7, min_learning_rate=1e-6))
    below.update(0, 1.0)
    below.update(1, 1.0)
    assert below.learning_rate == 1e-7


def test_nan_is_never_the_best():
    """A value that is not a number counts as no improvement."""
    schedule = Schedule(TrainingConfig(patience=2))
    assert not schedule.update(0, float("nan"))
    assert schedule.update(1, 0.3)
    assert not schedule.update(2, float("nan"))
    assert schedule.best_epoch == 1
