"""A backbone of the user's own: any Keras model from pixels to features, or one message."""

import importlib.util

import keras
import numpy as np
import pytest

from tuner.config import BackboneConfig, parse_study
from tuner.errors import UsageError, WeightsError
from tuner.features.backbone import Extractor, build_backbone
from tuner.features.device import find_device
from tuner.features.engines.keras_graph import keras_engine
from tuner.features.own_backbone import resolve_backbone
from tuner.features.source import open_features
from tuner.features.views import keras_transform
from tuner.home import Home

PX = 64
APPLICATIONS = ["MobileNetV3Small", "EfficientNetV2B0", "ConvNeXtTiny"]
TRANSFORMS = np.tile(keras_transform(np.array([[1, 0, 0], [0, -1, 63.0], [0, 0, 1]])), (4, 1))


@pytest.fixture(scope="module")
def pixels():
    """Four noisy pictures, uint8 (4, 64, 64, 3)."""
    return np.random.default_rng(0).integers(0, 256, (4, PX, PX, 3), dtype=np.uint8)


@pytest.fixture
def saved(tmp_path):
    """Writes a model and gives what a study would ask for it by."""

    def make(model, name="own.keras"):
        model.save(tmp_path / name)
        return BackboneConfig(model=str(tmp_path / name))

    return make


def small(shape=(None, None, 3), *, is_pooled=False, seed=0):
    """A convolution from pixels to five features, its scaling inside."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(shape)
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(5, 3, strides=2, activation="relu")(x)
    if is_pooled:
        x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize("is_pooled", [False, True])
@pytest.mark.parametrize(("shape", "side"), [((None, None, 3), None), ((PX, PX, 3), PX)])
def test_features_are_the_models_own(saved, pixels, is_pooled, shape, side):
    """Pixels reach it as they are; a feature map is averaged, a vector is taken."""
    model = small(shape, is_pooled=is_pooled)
    found = resolve_backbone(saved(model))
    assert (found.kind, found.n_features, found.side) == ("model", 5, side)
    assert "5 features" in found.source
    expected = keras.ops.convert_to_numpy(model(pixels.astype(np.float32)))
    expected = expected if is_pooled else expected.mean(axis=(1, 2))
    features = Extractor(build_backbone(found)).start(pixels)()
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


def test_it_is_frozen(saved):
    """Nothing of it is trained, whatever was trainable in the file."""
    model = build_backbone(resolve_backbone(saved(small())))
    assert model.trainable_weights == []


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
@pytest.mark.parametrize("shape", [(None, None, 3), (PX, PX, 3)])
def test_families_of_keras_applications_work_on_both_engines(saved, pixels, name, shape):
    """Networks with attention, swish, layer scale and depth-wise convolutions have one answer."""
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=shape)
    backbone = build_backbone(resolve_backbone(saved(model)))
    plain = Extractor(backbone)
    engines = [keras_engine(backbone, device="cpu", is_float32=True)]
    openvino = pytest.importorskip("openvino", reason="needs OpenVINO: pip install openvino")
    assert openvino
    from tuner.features.engines.openvino_model import OpenVinoEngine

    engines.append(OpenVinoEngine(backbone))
    for transforms in (None, TRANSFORMS):
        expected = plain.start(pixels, transforms)()
        assert len(np.unique(expected, axis=0)) == len(pixels)
        for engine in engines:
            found = engine.start(pixels, transforms)()
            np.testing.assert_allclose(found, expected, rtol=0, atol=5e-5 * abs(expected).max())


def test_arrays_that_layers_hold_beside_their_variables(saved, pixels):
    """The mean of every pixel and channel, for one: OpenVINO took it for an input of its own."""
    mean = np.random.default_rng(0).uniform(90, 150, (PX, PX, 3)).astype(np.float32)
    inputs = keras.Input((PX, PX, 3))
    x = keras.layers.Normalization(axis=(1, 2, 3), mean=mean, variance=mean)(inputs)
    outputs = keras.layers.Conv2D(5, 3, activation="relu", name="output")(x)
    backbone = build_backbone(resolve_backbone(saved(keras.Model(inputs, outputs))))
    engines = [keras_engine(backbone, device="cpu", is_float32=True)]
    if importlib.util.find_spec("openvino"):
        from tuner.features.engines.openvino_model import OpenVinoEngine

        engines.append(OpenVinoEngine(backbone))
    expected = Extractor(backbone).start(pixels)()
    assert expected.std() > 0
    for engine in engines:
        np.testing.assert_allclose(engine.start(pixels)(), expected, rtol=0, atol=1e-5)


def two_inputs():
    """A model of two pictures."""
    a, b = keras.Input((None, None, 3)), keras.Input((None, None, 3))
    return keras.Model([a, b], keras.layers.GlobalAveragePooling2D()(a + b))


def any_channels():
    """A model whose channels nobody has fixed."""
    inputs = keras.Input((None, None, None))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))


def grey():
    """A model of grey pictures."""
    inputs = keras.Input((None, None, 1))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))


def with_code():
    """A model with a function in it, which safe mode does not run."""
    inputs = keras.Input((8, 8, 3))
    return keras.Model(
        inputs, keras.layers.Lambda(lambda x: x * 2, output_shape=(8, 8, 3))(inputs)
    )


def unbuilt():
    """Layers that have never seen an input."""
    return keras.Sequential([keras.layers.GlobalAveragePooling2D()])


def flat():
    """A model of tables, not of pictures."""
    inputs = keras.Input((7,))
    return keras.Model(inputs, keras.layers.Dense(2)(inputs))


def sequence():
    """Features in a row of tokens."""
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Reshape((64, 3))(inputs))


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (two_inputs, "it has 2 inputs and 1 outputs"),
        (any_channels, "its input has the shape (any, any, any, any)"),
        (grey, "its input has the shape (any, any, any, 1)"),
        (with_code, "the model cannot be loaded safely: "),
        (unbuilt, "the shape of its input is not in the file"),
        (flat, "its input has the shape (any, 7)"),
        (sequence, "its output has the shape (any, 64, 3)"),
    ],
)
def test_what_is_no_backbone_is_one_message(saved, make, reason):
    """It says what is wrong with the model, which key names it, and what a backbone is."""
    asked = saved(make())
    with pytest.raises(WeightsError) as caught:
        resolve_backbone(asked)
    assert caught.value.what.startswith(f"not a backbone: {reason}")
    assert caught.value.where == f"backbone.model: {asked.model}"
    assert "one batch of square RGB pixels 0..255" in caught.value.do
    assert "\n" not in caught.value.what


@pytest.mark.parametrize(
    ("name", "reason"),
    [("none.keras", "does not exist"), ("x.h5", "is no .keras file"), ("x.keras", "safely: ")],
)
def test_what_is_no_model_is_one_message(tmp_path, name, reason):
    """A file that is missing, of another kind, or damaged is named."""
    if name.startswith("x"):
        (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(WeightsError, match=reason):
        resolve_backbone(BackboneConfig(model=str(tmp_path / name)))


def test_its_precision_is_its_own(saved):
    """Half-width features are ResNet50's; here they are refused, not silently left out."""
    asked = saved(small()).model_copy(update={"precision": "bfloat16"})
    with pytest.raises(UsageError, match="its own precision, not bfloat16"):
        resolve_backbone(asked)


def test_images_of_another_size_are_refused(saved, tmp_path):
    """A backbone of one size says which, and which key to set."""
    asked = saved(small((PX, PX, 3)))
    with pytest.raises(WeightsError) as caught:
        bank_of(asked, tmp_path, image_px=32)
    assert caught.value.what == "the backbone takes 64 x 64 pixels, images have 32"
    assert caught.value.do == "set data.image_px: 64"


def bank_of(backbone, tmp_path, *, image_px=PX):
    """The bank of a study with this backbone."""
    study = f"name: s\ndata: {{source: x, image_px: {image_px}}}\n"
    config = parse_study(study, source="s.yaml").model_copy(update={"backbone": backbone})
    found = resolve_backbone(backbone)
    return open_features(config, Home(tmp_path), weights=found, device=find_device()).bank


def test_its_file_is_in_the_banks_name(saved, tmp_path):
    """Another file makes another bank, under the same name, too; ResNet50's is a third."""
    first = bank_of(saved(small(seed=1)), tmp_path)
    second = bank_of(saved(small(seed=2)), tmp_path)
    third = bank_of(BackboneConfig(weights="random"), tmp_path)
    assert len({bank.folder for bank in (first, second, third)}) == 3
    assert first.identity["weights"] != second.identity["weights"]
    assert first.identity["backbone"] == "own model"
