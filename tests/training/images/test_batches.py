"""Batches show each row when the stacked heads would, and each view once."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tuner.config import AugmentationConfig
from tuner.data.images import read_image
from tuner.errors import DataError
from tuner.features.views import affine_matrix, keras_transform, view_parameters
from tuner.features.wanted import ViewOf
from tuner.training.head import Head, RowOrder
from tuner.training.images.batches import Batches, Draws, LiveImages
from tuner.training.losses import focal_terms

AUGMENTATION = AugmentationConfig()
N_IMAGES, IMAGE_PX, STEPS, BATCH = 5, 32, 3, 4
ROWS = np.array([0, 1, 2, 3, 4, 8, 9, 13])  # all images, two views of image 3 and one of image 4


@pytest.fixture
def live(tmp_path):
    """Five pictures of one gray each; rows are (image, view) in view-major order."""
    files = []
    for i in range(N_IMAGES):
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (40, 30), (50 * i,) * 3).save(path)
        files.append(ViewOf(path, hashlib.sha256(path.read_bytes()).hexdigest(), 0))
    row_place, row_view = np.tile(np.arange(N_IMAGES), 3), np.repeat(np.arange(3), N_IMAGES)
    return LiveImages(files, row_place, row_view, IMAGE_PX, AUGMENTATION, backbone=None)


@pytest.fixture
def head():
    """Three images are of class 0, two of class 1."""
    return Head(ROWS, 0.0, focal_terms(0.5, n_classes=3), np.array([0.5, 2.0, 1.0]), (7, 1))


Y = np.tile([0, 0, 0, 1, 1], 3)


def drawn(head, live, *, epochs):
    """(image, view) of every row of some epochs, in order."""
    draws, found = Draws(head, live, Y), []
    for _ in range(epochs):
        batches = draws.epoch(steps=STEPS, batch_size=BATCH)
        assert len(batches) == STEPS
        found += list(zip(batches._places.tolist(), batches._views.tolist(), strict=True))
    return found


def test_rows_come_in_the_order_of_the_stacked_heads(head, live):
    """Epoch after epoch, each row is the one that a head of this key would see."""
    found = drawn(head, replace(live, is_fresh=False), epochs=4)
    rows = RowOrder(ROWS, head.key).take(4 * STEPS * BATCH)
    assert found == list(zip(live.row_place[rows], live.row_view[rows], strict=True))


def test_no_view_is_drawn_twice(head, live):
    """Fresh views never repeat, begin with the bank's, and originals stay themselves."""
    found = drawn(head, live, epochs=8)
    assert [image for image, _ in found] == [
        image for image, _ in drawn(head, replace(live, is_fresh=False), epochs=8)
    ]
    views = Counter((image, view) for image, view in found if view)
    assert set(views.values()) == {1}
    assert {image for image, _ in views} == {3, 4}
    first = [row for row in found[: len(ROWS)] if row[1]]
    assert sorted(first) == [(3, 1), (3, 2), (4, 1)]
    assert {view for image, view in found if image < 3} == {0}


def test_a_batch_holds_pixels_transforms_classes_and_weights(head, live):
    """Pixels are the reader's, transforms the bank's for that view, weights those of the class."""
    batches = Draws(head, live, Y).epoch(steps=STEPS, batch_size=BATCH)
    for step in range(STEPS):
        (pixels, transforms), y, weight = batches[step]
        part = slice(step * BATCH, (step + 1) * BATCH)
        rows = list(zip(batches._places[part], batches._views[part], strict=True))
        for i, (image, view) in enumerate(rows):
            file = live.files[image]
            np.testing.assert_array_equal(pixels[i], read_image(file.path, image_px=IMAGE_PX))
            expected = np.array([1, 0, 0, 0, 1, 0, 0, 0])
            if view:
                found = view_parameters(file.sha256, int(view), augmentation=AUGMENTATION)
                expected = keras_transform(affine_matrix(found, image_px=IMAGE_PX))
            np.testing.assert_array_equal(transforms[i], expected)
            assert y[i] == Y[image]
            assert weight[i] == head.class_weight[Y[image]]


def test_the_last_batch_is_filled_up(live):
    """Validation comes in full batches of its own images."""
    batches = Batches(live, np.arange(N_IMAGES), np.zeros(N_IMAGES, dtype=int), batch_size=BATCH)
    assert (len(batches), batches.n_rows) == (2, N_IMAGES)
    (((pixels, _),),) = (batches[1],)
    assert pixels.shape == (BATCH, IMAGE_PX, IMAGE_PX, 3)
    assert pixels[:, 0, 0, 0].tolist() == [200, 0, 50, 100]


def test_a_file_that_has_changed_is_named(live):
    """Another picture under the old name stops the training, with the file's path."""
    path = live.files[2].path
    Image.new("RGB", (40, 30), (9, 9, 9)).save(path)
    batches = Batches(live, np.arange(N_IMAGES), np.zeros(N_IMAGES, dtype=int), batch_size=BATCH)
    with pytest.raises(DataError, match="changed since it was indexed") as error:
        batches[0]
    assert str(path) in str(error.value)
    assert batches.error is error.value
