"""The bank is no approximation: a head trained on it is the head trained on live images."""

import keras
import numpy as np
import pytest
from keras import ops

from tuner.config import AugmentationConfig, TrainingConfig
from tuner.data.digits import write_digits
from tuner.data.images import read_image
from tuner.data.reading import read_image_table
from tuner.evaluation.metrics import log_softmax
from tuner.features.backbone import Extractor, apply_views, build_backbone, preprocess
from tuner.features.bank import FeatureBank
from tuner.features.extract import fill_bank
from tuner.features.views import affine_matrix, keras_transform, view_key, view_parameters
from tuner.features.wanted import ViewOf
from tuner.features.weights.resolve import resolve_weights
from tuner.imbalance.rows import training_rows, view_order
from tuner.training.bank.heads import StackedHeads
from tuner.training.head import Head, RowOrder, initial_weights
from tuner.training.losses import FocalLoss, focal_terms

IMAGE_PX, EPOCHS, STEPS = 32, 3, 4
AUGMENTATION = AugmentationConfig()
TRAINING = TrainingConfig(dropout=0.0, hidden_units=16, batch_size=8, learning_rate=1e-3)
# Of a probability: features of one image differ by up to 1e-6 (relative) with the batch it is
# computed in, and three epochs of Adam let that grow.
TOLERANCE = 1e-4


class LiveHead(keras.Model):
    """Pixels, one affine view, preprocessing, frozen ResNet50 and the head, in every step."""

    def __init__(self, backbone, weights):
        super().__init__()
        self.backbone = backbone
        self.hidden = keras.layers.Dense(len(weights.hidden_bias), activation="relu")
        self.out = keras.layers.Dense(len(weights.output_bias))
        self.call(np.zeros((1, IMAGE_PX, IMAGE_PX, 3)), np.zeros((1, 8), "float32"))
        self.hidden.set_weights([weights.hidden, weights.hidden_bias])
        self.out.set_weights([weights.output, weights.output_bias])

    def call(self, pixels, transforms):
        x = preprocess(apply_views(pixels, transforms))
        return self.out(self.hidden(self.backbone(x, training=False)))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The three rarest digits: 78 real images, 33, 25 and 20 a class."""
    home = tmp_path_factory.mktemp("home")
    folder = write_digits(home / "digits")
    return read_image_table(
        str(folder), home=home, include=["digit_7/*", "digit_8/*", "digit_9/*"]
    )


@pytest.mark.slow
def test_a_head_on_the_bank_is_the_head_on_live_images(images, tmp_path):
    """Training on cached views gives the predictions of running the backbone in every step."""
    backbone = build_backbone(resolve_weights("random"))
    rank = view_order(images.sha256, view_seed=0)
    rows = training_rows(images.labels, rank, n_classes=3, multiplier=2)
    wanted = [
        ViewOf(images.root / images.paths[i], images.sha256[i], int(k))
        for i, k in zip(*rows, strict=True)
    ]
    bank = FeatureBank(tmp_path, {"test": "live"}, n_features=2048)
    fill_bank(
        bank,
        wanted,
        lambda: Extractor(backbone),
        image_px=IMAGE_PX,
        augmentation=AUGMENTATION,
        batch_size=16,
    )
    keys = [view_key(w.sha256, w.view, augmentation=AUGMENTATION) for w in wanted]
    features, labels = bank.read(keys), images.labels[rows.images]
    terms = focal_terms(0.4, n_classes=3)
    weight = np.array([0.5, 1.0, 1.5])
    head = Head(np.arange(len(keys)), 1.5, terms, weight, (0, 0))

    stack = StackedHeads(
        [head],
        ops.convert_to_tensor(features),
        ops.convert_to_tensor(labels, "int32"),
        n_classes=3,
        steps=STEPS,
        training=TRAINING,
    )
    for _ in range(EPOCHS):
        stack.train_epoch(np.array([TRAINING.learning_rate]))
    on_bank = np.exp(log_softmax(stack.logits([np.arange(images.n_images)])[0]))

    live = LiveHead(
        backbone, initial_weights((0, 0), n_features=2048, hidden_units=16, n_classes=3)
    )
    pixels = np.stack([read_image(w.path, image_px=IMAGE_PX) for w in wanted])
    transforms = np.stack([_transform(w) for w in wanted])
    loss = FocalLoss(1.5, terms.true_factor, terms.other_factor)
    optimizer = keras.optimizers.Adam(TRAINING.learning_rate)
    _fit(live, loss, optimizer, pixels, transforms, labels, weight, len(keys))
    logits = live(pixels[: images.n_images], transforms[: images.n_images])
    on_live = np.exp(log_softmax(ops.convert_to_numpy(logits)))

    np.testing.assert_allclose(on_bank, on_live, atol=TOLERANCE)


def _transform(wanted):
    if wanted.view == 0:
        return np.array([1, 0, 0, 0, 1, 0, 0, 0], dtype=np.float32)
    found = view_parameters(wanted.sha256, wanted.view, augmentation=AUGMENTATION)
    return keras_transform(affine_matrix(found, image_px=IMAGE_PX))


def _fit(live, loss, optimizer, pixels, transforms, labels, weight, n_rows):
    """`Model.fit` on (image, transform) pairs in the engine's row order, nothing cached."""
    order = RowOrder(np.arange(n_rows), (0, 0)).take(EPOCHS * STEPS * TRAINING.batch_size)
    inner_x = keras.Input((IMAGE_PX, IMAGE_PX, 3))
    inner_t = keras.Input((8,))
    live.backbone.trainable = False
    model = keras.Model([inner_x, inner_t], live(inner_x, inner_t))
    model.compile(optimizer=optimizer, loss=loss)
    model.fit(
        [pixels[order].astype("float32"), transforms[order]],
        labels[order],
        sample_weight=weight[labels[order]],
        batch_size=TRAINING.batch_size,
        shuffle=False,
        verbose=0,
    )
