"""Files of any size and kind are classified as the model itself would, and faults are named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from tests.model.made_model import NAMES, write_model, write_photos
from tuner.data.decoding.resize import DECODE
from tuner.data.images import decode_rgb, read_bytes
from tuner.errors import ExportError
from tuner.features.device import has_card
from tuner.model.formats import keras_file
from tuner.model.keras_model import save_model
from tuner.model.predict import list_images, load_classifier, predict_files

# Of a probability: a batch of another size is added up in another order.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    """A model of random weights that tells pictures apart."""
    return write_model(tmp_path_factory.mktemp("model") / "best.keras")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Pictures of several sizes, one of them damaged, and a text."""
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def classifier(model_path):
    """The loaded model."""
    return load_classifier(model_path)


def test_probabilities_are_those_of_plain_keras(classifier, model_path, photos):
    """Whatever the sizes, `keras.saving.load_model` gives the same numbers file by file."""
    plain = keras.saving.load_model(model_path)
    files, missing, notes = list_images([str(photos)])
    assert missing == []
    assert notes == [f"{photos}: no images by their suffix, not read: notes.txt"]
    found = list(predict_files(classifier, files))
    assert [p.path for p in found] == files
    good = [p for p in found if p.probabilities is not None]
    assert [p.path.rsplit("/", 1)[1] for p in good] == ["a.png", "C.JPG", "b.png"]
    for p in good:
        pixels = np.asarray(decode_rgb(read_bytes(photos / p.path), name=p.path))
        expected = keras.ops.convert_to_numpy(plain(pixels[None], training=False))[0]
        np.testing.assert_allclose(p.probabilities, expected, atol=TOLERANCE)
    assert max(np.ptp([p.probabilities for p in good], axis=0)) > 100 * TOLERANCE


def test_more_files_than_a_batch_keep_their_order(classifier, photos, tmp_path):
    """Files beyond the first batch answer as they do alone."""
    alone = next(iter(predict_files(classifier, [str(photos / "a.png")]))).probabilities
    many = [str(photos / name) for name in ["a.png", "more/b.png", "broken.jpg"] * 15]
    found = list(predict_files(classifier, many))
    assert [p.path for p in found] == many
    for p in found[::3]:
        np.testing.assert_allclose(p.probabilities, alone, atol=TOLERANCE)
    assert all("cannot be decoded" in p.reason for p in found[2::3])


def test_files_folders_and_patterns_are_listed_once(photos):
    """A folder gives its images with all below, a pattern what it matches, a name itself."""
    a, b = str(photos / "a.png"), str(photos / "more" / "b.png")
    assert list_images([a, f"{photos}/**/*.png"]) == ([a, b], [], [])
    assert list_images([str(photos / "notes.txt")]) == ([str(photos / "notes.txt")], [], [])
    (nothing,) = list_images([f"{photos}/*.gif"])[1]
    assert nothing.probabilities is None
    assert "no such file" in nothing.reason


def test_a_folder_is_read_as_a_data_folder_is(photos, tmp_path):
    """What init skips is skipped; linked folders and other suffixes are named."""
    (tmp_path / ".ipynb_checkpoints").mkdir()
    for name in (".ipynb_checkpoints/a.png", "a.png", "nosuffix", "phone.heic9"):
        (tmp_path / name).write_bytes((photos / "a.png").read_bytes())
    (tmp_path / "linked").symlink_to(photos)
    (tmp_path / "b.png").symlink_to(photos / "a.png")
    listed = list_images([str(tmp_path)])
    assert listed.files == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert listed.notes == [
        f"{tmp_path}/linked: link to a folder is not followed",
        f"{tmp_path}: no images by their suffix, not read: nosuffix, phone.heic9",
        f"{tmp_path}: hidden or system files, not read: .ipynb_checkpoints",
    ]


def test_pixels_in_flight_are_bounded(classifier, photos, monkeypatch):
    """Not the number of pictures but their pixels decide how many are decoded ahead."""
    held, most = [], []

    def decode(path, classifier):
        pixels = np.zeros((60, 90, 3), np.uint8)
        held.append(path)
        most.append(len(held))
        return pixels

    def resized(classifier, pixels):
        held.pop()
        return np.zeros((32, 32, 3), np.float32)

    monkeypatch.setattr("tuner.model.predict._decode", decode)
    monkeypatch.setattr("tuner.model.predict.as_input", resized)
    monkeypatch.setattr("tuner.model.predict._MOST_PIXELS", 3 * 60 * 90)
    found = list(predict_files(classifier, [str(photos / "a.png")] * 40))
    assert len(found) == 40
    assert 1 < max(most) <= 3 + 1


def test_a_model_with_code_in_it_is_refused(tmp_path, monkeypatch):
    """Safe mode loads no Lambda even with a card: one message says so, and nothing has run."""
    monkeypatch.chdir(tmp_path)
    inputs = keras.Input((None, None, 3))
    code = keras.layers.Lambda(lambda x: __import__("pathlib").Path("ran").touch() or x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(code(inputs)))
    (tmp_path / "ran").unlink()
    path = tmp_path / "hostile.keras"
    save_model(model, path, card={"class_names": NAMES})
    with pytest.raises(ExportError, match="cannot be loaded safely") as error:
        load_classifier(path)
    assert str(path) in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_another_archive_is_no_model(tmp_path):
    """A file without tuner's card is refused by name before Keras opens it."""
    path = tmp_path / "other.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ExportError, match="not a model that tuner wrote"):
        load_classifier(path)


FRESH = """
import json, sys
from pathlib import Path
from tuner.model.predict import load_classifier, predict_files
found = list(predict_files(load_classifier(Path(sys.argv[1])), sys.argv[2:]))
loaded = sorted({"keras", "tensorflow", "pandas", "sklearn"} & sys.modules.keys())
print(json.dumps([loaded, [p.probabilities.tolist() for p in found]]))
"""


def answered_afresh(path, files, **options):
    """What a process that has not loaded Keras loads and answers."""
    words = [sys.executable, "-P", "-c", FRESH, str(path), *files]
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=True, **options
    )
    return json.loads(done.stdout.splitlines()[-1])


def convolution(path, *, side=32, name="conv", dtype="float32"):
    """The smallest model of pictures there is."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((side, side, 3), dtype="uint8")
    x = keras.layers.Rescaling(1.0)(pixels)
    x = keras.layers.Activation("linear", name="preprocess")(x)
    x = keras.layers.Conv2D(len(NAMES), 3, name=name, dtype=dtype)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 16)(x))
    model = keras.Model(pixels, keras.layers.Softmax(dtype="float32")(x))
    save_model(model, path, card={"class_names": NAMES, "image_px": 32, "decode": DECODE})
    return path


def spoilt(path):
    """The same file with an unreadable description of its layers."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        at = archive.getinfo("config.json").header_offset + 80
    data = bytearray(path.read_bytes())
    data[at : at + 60] = bytes(byte ^ 255 for byte in data[at : at + 60])
    path.write_bytes(data)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "is_spared"),
    [
        ({}, True),
        ({"side": None}, True),
        ({"name": "mixed_7a"}, True),
        ({"dtype": "mixed_bfloat16"}, False),
        ({"dtype": "bfloat16"}, False),
    ],
    ids=str,
)
def test_openvino_answers_without_keras(tmp_path, photos, options, is_spared):
    """A process that has not loaded Keras never does, unless other precisions ask for it."""
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install openvino")
    path = convolution(tmp_path / "small.keras", **options)
    files = [str(photos / name) for name in ("a.png", "more/C.JPG", "more/b.png")]
    loaded, found = answered_afresh(path, files)
    expected = [p.probabilities for p in predict_files(load_classifier(path), files)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    assert np.ptp(expected, axis=0).max() > 100 * TOLERANCE
    assert ("keras" not in loaded) == (is_spared and not has_card())
    assert loaded == [] or "keras" in loaded


@pytest.mark.slow
def test_modules_of_the_current_folder_are_nobodys(tmp_path, photos):
    """A model may lie beside a file that is called like a library; it is not run."""
    path = convolution(tmp_path / "small.keras")
    (tmp_path / "h5py.py").write_text("open('ran', 'w')")
    _, found = answered_afresh(path, [str(photos / "a.png")], cwd=tmp_path)
    assert sum(found[0]) == pytest.approx(1, abs=1e-5)
    assert not (tmp_path / "ran").exists()


def test_another_process_that_fails_is_nobodys_error(tmp_path, photos, monkeypatch):
    """Without a Python to start, with one that fails, of a damaged file Keras has the word."""
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install openvino")
    path, files = convolution(tmp_path / "small.keras"), [str(photos / "a.png")]
    (expected,) = predict_files(load_classifier(path), files)
    monkeypatch.setattr(keras_file, "_is_spared", lambda: True)
    for python in ("", "/nowhere/python", "/bin/false"):
        monkeypatch.setattr(sys, "executable", python)
        assert keras_file.open_elsewhere(path) is None
        (found,) = predict_files(load_classifier(path), files)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=TOLERANCE)
    with pytest.raises(ExportError, match="cannot be loaded safely"):
        load_classifier(spoilt(path))
