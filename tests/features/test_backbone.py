"""The backbone is Keras's ResNet50, frozen, and its features do not depend on how it is asked."""

import keras
import numpy as np
import pytest
from keras import ops

from tuner.data.images import read_image
from tuner.errors import WeightsError
from tuner.features.backbone import N_FEATURES, Extractor, build_backbone, preprocess
from tuner.features.views import affine_matrix, keras_transform, view_parameters
from tuner.features.weights.resolve import ResolvedWeights, resolve_weights

PX, BATCH = 32, 8

# Two compilations of the same float32 network: other fusion, other summation order. Measured
# 3e-7 of the largest feature; the design's evidence has 6e-7 for other batch sizes.
RTOL = 5e-6


@pytest.fixture(scope="module")
def pixels(pictures):
    """One full batch of pictures, uint8 (8, 32, 32, 3)."""
    return np.stack([read_image(path, image_px=PX) for path in pictures[:BATCH]])


def assert_features_close(found, expected, *, rtol=RTOL):
    """Compare on the scale of the largest feature: single ones may be near 0."""
    found, expected = ops.convert_to_numpy(found), ops.convert_to_numpy(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * abs(expected).max())


def test_preprocess_is_keras_own(pixels):
    """Pixels become BGR minus the ImageNet means, as Keras does for ResNet50, unscaled."""
    by_hand = pixels[..., ::-1].astype(np.float32) - [103.939, 116.779, 123.68]
    found = ops.convert_to_numpy(preprocess(pixels))
    # One rounding of the mean to float32 and one of the difference.
    np.testing.assert_allclose(found, by_hand, rtol=0, atol=1e-4)
    keras_own = keras.applications.resnet50.preprocess_input(pixels.astype(np.float32))
    np.testing.assert_allclose(found, keras_own, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_preprocess_leaves_its_input_alone(pixels, dtype):
    """The pixels are not changed in place, which Keras's own function does to float arrays."""
    given = pixels.astype(dtype)
    preprocess(given)
    np.testing.assert_array_equal(given, pixels)


def test_features_are_finite_and_wide(extractor, pixels):
    """A batch of bytes gives 2,048 finite float32 features each, not alike for any two."""
    features = np.asarray(extractor(pixels))
    assert features.shape == (BATCH, N_FEATURES)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert len(np.unique(features, axis=0)) == BATCH


def test_extractor_is_the_backbone_on_preprocessed_pixels(backbone, extractor, pixels):
    """The compiled pass gives what the Keras model gives on Keras's own preprocessing."""
    x = keras.applications.resnet50.preprocess_input(pixels.astype(np.float32))
    assert_features_close(extractor(pixels), backbone.predict_on_batch(x))


def test_views_are_made_on_the_way(extractor, pixels):
    """A pass with transforms resamples first; the unit transform changes nothing."""
    identity = np.tile(keras_transform(np.eye(3)), (BATCH, 1))
    unchanged = np.asarray(extractor(pixels, identity))
    np.testing.assert_array_equal(unchanged, np.asarray(extractor(pixels)))
    flip = view_parameters("", 1, augmentation=_still())._replace(is_flipped=True)
    transforms = np.tile(keras_transform(affine_matrix(flip, image_px=PX)), (BATCH, 1))
    assert_features_close(extractor(pixels, transforms), extractor(pixels[:, :, ::-1]))


def _still():
    from tuner.config import AugmentationConfig

    return AugmentationConfig(rotation_deg=0.0, shift=0.0, zoom=(1.0, 1.0), flip=False)


def test_features_of_an_image_ignore_its_batch(extractor, pixels):
    """At one batch size a row is bit-identical wherever it stands and whatever stands beside."""
    features = np.asarray(extractor(pixels))
    order = np.random.default_rng(1).permutation(BATCH)
    np.testing.assert_array_equal(np.asarray(extractor(pixels[order])), features[order])
    padded = pixels.copy()
    padded[3:] = 0
    np.testing.assert_array_equal(np.asarray(extractor(padded))[:3], features[:3])


def test_backbone_stays_frozen_under_training(backbone, pixels):
    """Training a head on top moves the head and not one bit of the backbone."""
    before = [np.array(w) for w in backbone.get_weights()]
    assert backbone.trainable_weights == []
    inputs = keras.Input((PX, PX, 3))
    head = keras.layers.Dense(3)
    model = keras.Model(inputs, head(backbone(inputs)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=False)
    kernel = np.array(head.get_weights()[0])
    x = ops.convert_to_numpy(preprocess(pixels))
    model.train_on_batch(x, np.arange(BATCH) % 3)
    assert (head.get_weights()[0] != kernel).any()
    for now, then in zip(backbone.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_training_flag_makes_no_difference(backbone, pixels):
    """Batch normalisation is in inference mode even where somebody says training=True."""
    x = ops.convert_to_numpy(preprocess(pixels[:2]))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(backbone(x, training=True)),
        ops.convert_to_numpy(backbone(x, training=False)),
    )


@pytest.mark.slow
def test_bfloat16_features_are_close_and_leave_the_policy(extractor, pixels):
    """Half-width features differ by a few per cent, come as float32, and are no side effect."""
    before = keras.config.dtype_policy().name
    half = Extractor(build_backbone(resolve_weights("random"), precision="bfloat16"))
    assert keras.config.dtype_policy().name == before
    full, found = np.asarray(extractor(pixels)), np.asarray(half(pixels))
    assert found.dtype == np.float32
    # 8 bits of mantissa through 50 layers: a few per cent of a feature's own spread.
    error = np.linalg.norm(found - full, axis=1) / np.linalg.norm(full, axis=1)
    assert 1e-4 < error.max() < 0.05


def test_policy_is_restored_after_an_error(tmp_path):
    """Weights that cannot be loaded leave the dtype policy as it was."""
    before = keras.config.dtype_policy().name
    (tmp_path / "x.weights.h5").write_bytes(b"no weights")
    broken = ResolvedWeights("file", tmp_path / "x.weights.h5", "a test", "0" * 64)
    with pytest.raises(WeightsError):
        build_backbone(broken, precision="bfloat16")
    assert keras.config.dtype_policy().name == before


@pytest.mark.slow
@pytest.mark.weights
def test_real_weights_are_those_of_keras(pixels, imagenet_weights):
    """With ImageNet's weights the features are those of Keras's own model of that file."""
    reference = keras.applications.ResNet50(
        include_top=False,
        weights=str(imagenet_weights.path),
        pooling="avg",
        input_shape=(PX, PX, 3),
    )
    x = keras.applications.resnet50.preprocess_input(pixels.astype(np.float32))
    found = np.asarray(Extractor(build_backbone(imagenet_weights))(pixels))
    assert_features_close(found, reference.predict_on_batch(x))
    # ReLU features of a trained network: non-negative, many silent, mean near one half.
    assert found.min() >= 0
    assert 0.1 < found.mean() < 2
