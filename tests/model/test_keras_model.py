"""The deployable model answers as bank and head do, and its file explains itself."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image

from tuner.data.images import decode_rgb, read_bytes, read_image
from tuner.errors import ExportError
from tuner.evaluation.metrics import log_softmax
from tuner.features.backbone import Extractor, build_backbone
from tuner.features.weights.resolve import resolve_weights
from tuner.model.archive import read_card
from tuner.model.keras_model import build_model, save_model
from tuner.training.head import HeadWeights

IMAGE_PX, N_CLASSES = 48, 5
CARD = {"class_names": ["é", "a/b", "[bold]", "欠陥", "-o"], "image_px": IMAGE_PX, "none": None}
TOLERANCE = 1e-4  # of a probability: the order of additions; the pixels are the same


@pytest.fixture(scope="module")
def weights():
    """Random weights, the same everywhere."""
    return resolve_weights("random")


@pytest.fixture(scope="module")
def head():
    """A head whose probabilities differ between images."""
    rng = np.random.default_rng(0)
    return HeadWeights(
        rng.normal(0, 0.05, (2048, 16)).astype(np.float32),
        rng.normal(0, 0.05, 16).astype(np.float32),
        rng.normal(0, 0.5, (16, N_CLASSES)).astype(np.float32),
        rng.normal(0, 0.5, N_CLASSES).astype(np.float32),
    )


@pytest.fixture(scope="module")
def model(head, weights):
    """The deployable model."""
    return build_model(head, weights, image_px=IMAGE_PX, dropout=0.3, name="tuner_model")


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    """Its file."""
    path = tmp_path_factory.mktemp("model") / "new folder" / "best.keras"
    save_model(model, path, card=CARD)
    return path


@pytest.fixture(scope="module")
def resizing(model):
    """The part of the model in front of the preprocessing: pixels to resized pixels."""
    return keras.Model(model.input, model.get_layer("preprocess").input)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Real pictures: photographs wide and high, in colour and gray, and a digit of 8x8."""
    folder = tmp_path_factory.mktemp("pictures")
    photo = Image.fromarray(load_sample_image("china.jpg"))
    digit = (load_digits().images[3] * (255 / 16)).astype(np.uint8)
    pictures = {
        "wide.jpg": photo,
        "high.png": photo.crop((100, 0, 250, 400)).convert("L"),
        "exact.png": photo.resize((IMAGE_PX, IMAGE_PX)),
        "digit.png": Image.fromarray(digit),
    }
    for name, picture in pictures.items():
        picture.save(folder / name)
    return [folder / name for name in pictures]


@pytest.mark.slow
def test_the_loaded_model_answers_as_bank_and_head_do(saved, files, head, weights):
    """A safe-mode load, fed whole files of any size, gives what the study's arrays give."""
    loaded = keras.saving.load_model(saved)  # safe mode: refuses code
    extractor = Extractor(build_backbone(weights))
    small = np.stack([read_image(path, image_px=IMAGE_PX) for path in files])
    features = np.asarray(extractor(small))
    hidden = np.maximum(features @ head.hidden + head.hidden_bias, 0)
    expected = np.exp(log_softmax(hidden @ head.output + head.output_bias))
    assert np.ptp(expected, axis=0).max() > 10 * TOLERANCE, "the head must tell these apart"
    for path, row in zip(files, expected, strict=True):
        pixels = np.asarray(decode_rgb(read_bytes(path), name=str(path)))
        found = np.asarray(keras.ops.convert_to_numpy(loaded(pixels[None], training=False)))
        assert found.shape == (1, N_CLASSES)
        np.testing.assert_allclose(found[0], row, atol=TOLERANCE)
        assert found.sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("kind", ["probabilities", "scores"])
def test_the_file_holds_built_in_layers_only(saved, kind, head, weights, tmp_path):
    """Nothing in the configuration names code of this package or any registered class."""
    if kind == "scores":
        saved = tmp_path / "scores.keras"
        costs = np.eye(N_CLASSES)
        made = build_model(
            head, weights, image_px=IMAGE_PX, dropout=0.3, name="tuner_model", saved=costs
        )
        save_model(made, saved, card=CARD)
    with zipfile.ZipFile(saved) as archive:
        text = archive.read("config.json").decode()

    def classes(value):
        if isinstance(value, dict):
            if "class_name" in value and "module" in value:
                yield value["module"], value["class_name"], value.get("registered_name")
            for part in value.values():
                yield from classes(part)
        elif isinstance(value, list):
            for part in value:
                yield from classes(part)

    found = set(classes(json.loads(text)))
    modules = {module.split(".")[0] for module, _, _ in found if module}
    assert modules <= {"keras", "builtins"}
    assert "Lambda" not in {name for _, name, _ in found}
    assert "tuner." not in text


def test_the_model_sees_the_pixels_that_training_saw(resizing, files):
    """Fed whole files of any size, the front of the model gives the reader's own pixels."""
    for path in files:
        pixels = np.asarray(decode_rgb(read_bytes(path), name=str(path)))
        found = np.asarray(keras.ops.convert_to_numpy(resizing(pixels[None])))[0]
        np.testing.assert_array_equal(found, read_image(path, image_px=IMAGE_PX))


def test_the_card_lies_inside_the_file(saved):
    """Class names in order and all else come back from the model's own file."""
    assert read_card(saved) == CARD


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_what_is_no_model_is_said(tmp_path, content):
    """A missing file, another file and an archive without card are one error with the path."""
    path = tmp_path / "x.keras"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ExportError, match="not a model that tuner wrote") as error:
        read_card(path)
    assert str(path) in str(error.value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ExportError, match="not a model that tuner wrote"):
        read_card(path)


@pytest.fixture
def tiny():
    """A model that is saved in no time: saving knows nothing of ResNet50."""
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(1000)(inputs))


def test_a_model_that_fails_its_check_is_not_kept(tiny, tmp_path):
    """The check reads the whole file first; what it refuses replaces nothing."""
    path = tmp_path / "best.keras"
    path.write_bytes(b"the model of yesterday")

    def refuse(written: Path) -> None:
        assert read_card(written) == CARD
        assert keras.saving.load_model(written).count_params() == tiny.count_params()
        raise ExportError("differs")

    with pytest.raises(ExportError, match="differs"):
        save_model(tiny, path, card=CARD, check=refuse)
    assert [p.name for p in tmp_path.iterdir()] == ["best.keras"]
    assert path.read_bytes() == b"the model of yesterday"
    save_model(tiny, path, card=CARD)
    assert read_card(path) == CARD


def test_the_card_is_read_without_keras():
    """A file that is no model is refused before the seconds in which Keras loads."""
    code = (
        "import sys, tuner.model.archive;"
        "print({'keras', 'tensorflow', 'jax'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_place_that_cannot_be_written_is_named(tiny, tmp_path):
    """A file where a folder should be, and a folder where the file should be."""
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.keras").mkdir()
    for target in (tmp_path / "file" / "best.keras", tmp_path / "folder.keras"):
        with pytest.raises(ExportError, match="the model cannot be written") as error:
            save_model(tiny, target, card=CARD)
        assert str(target) in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.keras"]


def test_a_full_disk_leaves_the_old_model(tiny, tmp_path):
    """When writing stops in the middle, the file of that name is what it was before."""
    path = tmp_path / "best.keras"
    path.write_bytes(b"the model of yesterday")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, limits[1]))
    try:
        with pytest.raises(ExportError, match="the model cannot be written"):
            save_model(tiny, path, card=CARD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"the model of yesterday"
    assert [p.name for p in tmp_path.iterdir()] == ["best.keras"]
