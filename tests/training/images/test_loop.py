"""The loop on images is the loop on the bank, with views that nobody has seen before."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from sklearn.metrics import recall_score

from tests.tiny_backbone import write_tiny_backbone
from tuner.config import AugmentationConfig, BackboneConfig, TrainingConfig
from tuner.data.digits import write_digits
from tuner.data.reading import read_image_table
from tuner.errors import DataError
from tuner.evaluation.metrics import log_softmax
from tuner.features.backbone import Extractor, build_backbone
from tuner.features.bank import FeatureBank
from tuner.features.extract import fill_bank
from tuner.features.own_backbone import resolve_backbone
from tuner.features.views import view_key
from tuner.features.wanted import ViewOf
from tuner.features.weights.resolve import resolve_weights
from tuner.imbalance.rows import training_turns, view_order
from tuner.training.bank.folds import train_trials
from tuner.training.head import FoldHead, Head
from tuner.training.images.batches import Batches, LiveImages
from tuner.training.images.loop import _FoldRun, train_trial
from tuner.training.images.model import build_live_model
from tuner.training.losses import focal_terms

IMAGE_PX, STEPS, N_CLASSES = 32, 3, 3
STEPS_AROUND = 4  # of an epoch, so that all rows come round
AUGMENTATION = AugmentationConfig()
TRAINING = TrainingConfig(hidden_units=16, batch_size=8, epochs=3, learning_rate=1e-4)
# Of a probability: the backbone adds up in another order where the batch is of another size.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The three rarest digits: 78 real images."""
    home = tmp_path_factory.mktemp("home")
    folder = write_digits(home / "digits")
    return read_image_table(
        str(folder), home=home, include=["digit_7/*", "digit_8/*", "digit_9/*"]
    )


@pytest.fixture(scope="module")
def resnet():
    """Random weights, the same everywhere."""
    return build_backbone(resolve_weights("random"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Two convolutions, where another backbone would say no more."""
    path = write_tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny.keras")
    return build_backbone(resolve_backbone(BackboneConfig(model=str(path))))


@pytest.fixture(scope="module")
def live(images, tiny):
    """Every image and its first three views, kept to the views of the bank."""
    return live_images(images, tiny)


def live_images(images, backbone):
    """As `live`, on a backbone."""
    files = [
        ViewOf(images.root / path, sha256, 0)
        for path, sha256 in zip(images.paths, images.sha256, strict=True)
    ]
    row_place, row_view = np.tile(np.arange(78), 4), np.repeat(np.arange(4), 78)
    return LiveImages(files, row_place, row_view, IMAGE_PX, AUGMENTATION, backbone, is_fresh=False)


def make_folds(images, *, multiplier=2, gamma=1.5, weight=(0.5, 1.0, 1.5), policy="minority"):
    """Two folds of every third image against the others."""
    rank = view_order(images.sha256, view_seed=0)
    folds = []
    for k in range(2):
        held_out = np.flatnonzero(np.arange(78) % 3 == k)
        mine = np.flatnonzero(np.arange(78) % 3 != k)
        turns = training_turns(
            images.labels[mine],
            rank[mine],
            n_classes=N_CLASSES,
            multiplier=multiplier,
            capped=True,
            policy=policy,
        )
        head = Head(
            np.stack([mine[turn.images] + 78 * turn.views for turn in turns]),
            gamma,
            focal_terms(0.4, n_classes=N_CLASSES),
            np.array(weight),
            (0, k),
        )
        folds.append(FoldHead(head, held_out, held_out))
    return folds


def train(folds, live, images, *, training=TRAINING, steps=STEPS, on_epoch=lambda epoch: False):
    """`train_trial` on these images."""
    return train_trial(
        folds,
        live,
        images.labels[live.row_place],
        labels=images.labels,
        n_classes=N_CLASSES,
        steps=steps,
        training=training,
        on_epoch=on_epoch,
    )


@pytest.fixture(scope="module")
def on_images(images, live):
    """The loop on images with the views of the bank."""
    return train(make_folds(images), live, images)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["minority", "shared"])
def test_with_the_views_of_the_bank_both_ways_are_one(images, resnet, policy, tmp_path):
    """Heads on the bank and the loop on images give the same probabilities, reports and rates.

    Dropout is on: both draw the same masks. Steps are enough for the rows to come round.
    """
    assert TRAINING.dropout > 0
    live = live_images(images, resnet)
    folds = make_folds(images, policy=policy)
    assert len(folds[0].head.turns) == (1 if policy == "minority" else 2)
    n_seen = TRAINING.epochs * STEPS_AROUND * TRAINING.batch_size
    assert n_seen > folds[0].head.turns.shape[1]
    on_images = train(folds, live, images, steps=STEPS_AROUND)
    bank = FeatureBank(tmp_path, {"test": "loop"}, n_features=2048)
    wanted = [
        ViewOf(live.files[i].path, live.files[i].sha256, int(k))
        for i, k in zip(live.row_place, live.row_view, strict=True)
    ]
    fill_bank(
        bank,
        wanted,
        lambda: Extractor(resnet),
        image_px=IMAGE_PX,
        augmentation=AUGMENTATION,
        batch_size=TRAINING.batch_size,
    )
    X = bank.read([view_key(w.sha256, w.view, augmentation=AUGMENTATION) for w in wanted])
    on_bank = train_trials(
        [folds],
        X,
        images.labels[live.row_place],
        labels=images.labels,
        n_classes=N_CLASSES,
        steps=STEPS_AROUND,
        training=TRAINING,
        on_epoch=lambda trial, epoch: False,
    )[0]
    seen = np.isfinite(on_bank.log_prob[:, 0])
    assert np.exp(on_bank.log_prob[seen]).std(axis=0).min() > 0.01, "nothing was learned"
    np.testing.assert_allclose(
        np.exp(on_images.log_prob[seen]), np.exp(on_bank.log_prob[seen]), atol=TOLERANCE, rtol=0
    )
    assert on_images.best_epochs == on_bank.best_epochs
    assert on_images.learning_rates == on_bank.learning_rates
    for mine, theirs in zip(on_images.epochs, on_bank.epochs, strict=True):
        np.testing.assert_array_equal(mine.matrix, theirs.matrix)
        np.testing.assert_allclose(mine[2:], theirs[2:], atol=1e-4, rtol=0)


def make_run(images, live, training=TRAINING):
    """The first fold, ready to train."""
    (fold, _) = make_folds(images)
    y = images.labels[live.row_place]
    return _FoldRun(fold, live, y, images.labels, N_CLASSES, STEPS, training)


@pytest.mark.slow
def test_the_best_weights_come_back(images, live):
    """In the end the model predicts what it did in its best epoch; recall is in the logs."""
    run = make_run(images, live, TRAINING.model_copy(update={"learning_rate": 0.05}))
    logs, predicted, losses = [], [], []
    while not losses or losses[-1] == min(losses):  # until an epoch is worse than the best
        logs.append(run.train_epoch(len(logs)))
        predicted.append(run.validation.log_prob)
        losses.append(logs[-1]["val_balanced_loss"])
        assert len(logs) < 20, "the rate is meant to overshoot"
    run.callbacks.finish()
    best = int(np.argmin(losses))
    assert run.stopping.best_epoch == best < len(logs) - 1
    batches = Batches(live, run.fold.validation_rows, 0 * run.fold.validation_rows, batch_size=8)
    again = log_softmax(run.model.predict(batches, verbose=0)[: batches.n_rows])
    np.testing.assert_allclose(again, predicted[best], atol=1e-4)
    truth = images.labels[run.fold.validation_places]
    for log, table in zip(logs, predicted, strict=True):
        recall = recall_score(truth, table.argmax(axis=1), average=None, labels=range(N_CLASSES))
        assert [log[f"val_recall/{k}"] for k in range(N_CLASSES)] == pytest.approx(list(recall))


@pytest.mark.slow
def test_fresh_views_and_seeds_decide_and_nothing_else(images, live):
    """The same key gives the same numbers twice, dropout included; fresh views give others."""
    (fold, _) = make_folds(images)
    steps = (
        fold.head.turns.shape[1] // TRAINING.batch_size
    )  # in the first epoch no row comes round
    training = TRAINING.model_copy(update={"epochs": 2})
    fresh = replace(live, is_fresh=True)
    first, again, kept = (
        train([fold], x, images, training=training, steps=steps) for x in (fresh, fresh, live)
    )
    np.testing.assert_array_equal(first.log_prob, again.log_prob)
    assert first.epochs[1].train_loss == again.epochs[1].train_loss
    assert first.epochs[0].train_loss == kept.epochs[0].train_loss
    assert first.epochs[1].train_loss != kept.epochs[1].train_loss


@pytest.mark.slow
def test_a_pruned_trial_ends_there(images, live):
    """True from `on_epoch` ends the trial with the reports so far."""
    result = train(make_folds(images), live, images, on_epoch=lambda epoch: epoch.epoch == 1)
    assert (result.state, len(result.epochs)) == ("pruned", 2)
    assert [len(rates) for rates in result.learning_rates] == [2, 2]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_fails_the_trial(images, live):
    """The reason names the quantity and the steps."""
    training = TRAINING.model_copy(update={"learning_rate": 1e30})
    result = train(make_folds(images)[:1], live, images, training=training)
    assert result.state == "failed"
    assert "is nan in steps" in result.reason or "not finite at epoch" in result.reason


@pytest.mark.slow
def test_an_image_that_goes_missing_stops_with_its_name(images, live):
    """What a reading thread meets comes out as the error of the file, not of the backend."""
    files = [f._replace(path=f.path.with_name("gone.png")) for f in live.files]
    # On JAX a `fit` that ends in an error takes the variables of its model with it.
    mine = keras.models.clone_model(live.backbone)
    with pytest.raises(DataError, match="cannot be opened"):
        train(make_folds(images), replace(live, files=files, kept={}, backbone=mine), images)


def test_bfloat16_keeps_logits_and_head_in_float32(live):
    """Under mixed precision only the backbone computes in bfloat16."""
    mixed = build_backbone(resolve_weights("random"), precision="bfloat16")
    head = Head(np.arange(3), 0.0, focal_terms(1.0, n_classes=3), np.ones(3), (0, 0))
    model = build_live_model(head, replace(live, backbone=mixed), n_classes=3, training=TRAINING)
    assert model.output.dtype == "float32"
    assert model.get_layer("hidden").compute_dtype == "float32"
    assert mixed.get_layer("conv1_conv").compute_dtype == "bfloat16"
    assert {w.dtype for w in model.trainable_weights} == {"float32"}
    assert len(model.trainable_weights) == 4
