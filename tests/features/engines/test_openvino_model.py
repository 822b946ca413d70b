"""OpenVINO gives the features of Keras, in the order asked for, and tells nobody."""

import subprocess
import sys

import numpy as np
import pytest

from tuner.config import AugmentationConfig
from tuner.data.images import read_image
from tuner.errors import BankError
from tuner.features.backbone import N_FEATURES, apply_views, build_backbone
from tuner.features.views import affine_matrix, keras_transform, view_parameters

pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'imbalance-tuner[openvino]'")

PX, BATCH = 32, 8
# Two compilations of one float32 network; 1e-6 of the largest feature where measured.
RTOL = 1e-5
GREY_LEVELS = 0.01  # of 255: the place of a pixel is rounded otherwise, steep edges show it


@pytest.fixture(scope="module")
def engine(backbone):
    """The backbone with random weights, in OpenVINO."""
    from tuner.features.engines.openvino_model import OpenVinoEngine

    return OpenVinoEngine(backbone)


@pytest.fixture(scope="module")
def pixels(pictures):
    """Three full batches of pictures, uint8 (24, 32, 32, 3)."""
    return np.stack([read_image(path, image_px=PX) for path in pictures[: 3 * BATCH]])


@pytest.fixture(scope="module")
def transforms():
    """A view of each, float32 (24, 8)."""
    drawn = (view_parameters(f"{i}", 1, augmentation=AugmentationConfig()) for i in range(24))
    return np.stack([keras_transform(affine_matrix(view, image_px=PX)) for view in drawn])


def features_of(engine, pixels, transforms=None):
    """Features of whole batches, all of them started before the first is waited for."""
    parts = [slice(i, i + BATCH) for i in range(0, len(pixels), BATCH)]
    waits = [engine.start(pixels[p], None if transforms is None else transforms[p]) for p in parts]
    return np.concatenate([wait() for wait in waits])


@pytest.mark.parametrize("part", ["images", "views"])
def test_both_engines_agree(engine, extractor, pixels, transforms, part):
    """Images and views have the features that Keras computes, but for the last digits."""
    given = transforms if part == "views" else None
    found, expected = (features_of(e, pixels, given) for e in (engine, extractor))
    assert found.shape == (len(pixels), N_FEATURES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=RTOL * abs(expected).max())
    assert np.ptp(expected, axis=0).max() > 100 * RTOL * abs(expected).max()


@pytest.mark.parametrize("fill", ["nearest", "reflect"])
def test_views_are_resampled_alike(pixels, transforms, fill):
    """The resample is Keras's affine transform: bilinear, edges repeated or mirrored."""
    from tuner.features.engines.openvino_graph import CompiledModel, views_graph

    found = CompiledModel(views_graph(pixels.shape, fill=fill), None)(pixels, transforms)
    expected = np.asarray(apply_views(pixels, transforms, fill=fill))
    np.testing.assert_allclose(found, expected, rtol=0, atol=GREY_LEVELS)
    assert abs(expected - pixels).mean() > 1


def test_rows_do_not_depend_on_their_company(engine, pixels):
    """A row is bit-identical wherever it stands, whatever stands beside, however often asked."""
    features = features_of(engine, pixels)
    order = np.random.default_rng(1).permutation(len(pixels))
    np.testing.assert_array_equal(features_of(engine, pixels[order]), features[order])
    np.testing.assert_array_equal(features_of(engine, pixels), features)


def test_several_sizes_of_batch_are_compiled_apart(engine, pixels):
    """Another shape is another compilation of the same model."""
    np.testing.assert_allclose(
        engine.start(pixels[:3])(), engine.start(pixels[:BATCH])()[:3], rtol=0, atol=1e-4
    )
    assert engine.in_flight > 1


def test_what_openvino_cannot_do_is_one_message(engine, pixels):
    """Its own error comes out as ours, with what to do."""
    from tuner.features.engines.openvino_graph import CompiledModel

    compiled = CompiledModel(engine._graph, pixels.shape)
    with pytest.raises(BankError) as caught:
        compiled(pixels[:1, :5].astype(np.float32))
    assert caught.value.what.startswith("OpenVINO cannot compute features: ")
    assert "backbone.engine: keras" in caught.value.do


IMPORTS = """
import sys
from tuner.features.engines.silent import load_openvino
openvino = load_openvino()
openvino.Core().available_devices
print(any(name.startswith("openvino_telemetry") for name in sys.modules))
"""


def test_openvino_tells_nobody(tmp_path):
    """Its import would report to its maker and leave a file at home; ours does neither."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        env={"HOME": str(tmp_path), "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.weights
def test_real_features_are_within_the_bound(imagenet_weights, pictures):
    """With ImageNet's weights no feature differs by more than 2e-4, at a common size."""
    from tuner.features.backbone import Extractor
    from tuner.features.engines.openvino_model import OpenVinoEngine

    backbone = build_backbone(imagenet_weights)
    pixels = np.stack([read_image(path, image_px=96) for path in pictures[:BATCH]])
    found = OpenVinoEngine(backbone).start(pixels)()
    np.testing.assert_allclose(found, Extractor(backbone).start(pixels)(), rtol=0, atol=2e-4)
