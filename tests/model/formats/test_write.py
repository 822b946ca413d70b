"""Files of other formats answer as Keras does, in their own runtimes, or are not written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tests.model.made_model import IMAGE_PX, NAMES, need_runtimes, write_photos, write_small_model
from tuner.errors import ExportError, UsageError
from tuner.model.archive import read_card
from tuner.model.formats.forms import FORMS, check_forms, check_installed
from tuner.model.formats.opened import open_file
from tuner.model.formats.pictures import of_all_forms, photographs
from tuner.model.formats.write import LARGEST_DIFFERENCE, write_formats
from tuner.model.predict import load_classifier, predict_files
from tuner.study import Model

SUFFIXES = [form.suffix for form in FORMS.values()]
TOLERANCE = 1e-5  # of a probability: the order of additions


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A small model in all formats."""
    need_runtimes()
    path = write_small_model(tmp_path_factory.mktemp("model") / "best.keras")
    written = Model(path).export(list(FORMS), listener=None)
    assert [file.suffix for file in written] == SUFFIXES
    return path


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_answers_as_keras_does(model: Path, suffix: str, tmp_path: Path) -> None:
    """`predict` gives the same rows by each runtime, and names the same damaged file."""
    photos = write_photos(tmp_path)
    names = sorted(str(path) for path in photos.rglob("*.*") if path.suffix != ".txt")
    by_keras = list(predict_files(load_classifier(model), names))
    found = list(predict_files(load_classifier(model.with_suffix(suffix)), names))
    assert [(p.path, p.reason) for p in found] == [(p.path, p.reason) for p in by_keras]
    good = [k for k, p in enumerate(found) if p.probabilities is not None]
    assert len(good) == 3
    expected = np.stack([by_keras[k].probabilities for k in good])
    assert np.ptp(expected, axis=0).max() > 100 * TOLERANCE, "the model must tell these apart"
    np.testing.assert_allclose(
        np.stack([found[k].probabilities for k in good]), expected, atol=TOLERANCE
    )


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whole_pictures_of_all_forms_are_taken(model: Path, suffix: str) -> None:
    """A file resizes by itself, exactly as the reader: tall, wide, tiny, huge, and batches."""
    opened = open_file(model.with_suffix(suffix))
    by_keras = keras.saving.load_model(model, compile=False)
    for pixels in of_all_forms(photographs()[:2], image_px=IMAGE_PX):
        expected = by_keras.predict_on_batch(pixels[None])[0]
        found = opened.run(np.stack([pixels, pixels]))
        np.testing.assert_allclose(found, np.stack([expected, expected]), atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_card_is_inside(model: Path, suffix: str) -> None:
    """Class names of any letters and all else come back from every file, by way of its runtime."""
    assert read_card(model.with_suffix(suffix)) == read_card(model)
    assert Model(model.with_suffix(suffix)).class_names == tuple(NAMES)


@pytest.mark.slow
def test_what_was_proved_lies_beside(model: Path) -> None:
    """The card for programs holds the card, and of every file what its runtime was found to do."""
    beside = json.loads(model.with_name("best.card.json").read_text("utf-8"))
    assert beside["class_names"] == NAMES
    assert list(beside["files"]) == [f"best{suffix}" for suffix in SUFFIXES]
    for name, facts in beside["files"].items():
        assert facts["largest_difference"] <= LARGEST_DIFFERENCE
        assert facts["pictures"] >= 20
        assert facts["bytes"] >= (model.parent / name).stat().st_size
        assert facts["runtime"].split()[1][0].isdigit()


@pytest.mark.slow
def test_a_model_of_older_pictures_resizes_itself(tmp_path: Path) -> None:
    """Where the card names another decoding, whole pictures go to the file, one at a time."""
    need_runtimes()
    path = write_small_model(tmp_path / "old.keras", decode="tuner 1, Pillow bilinear antialiased")
    Model(path).export(["onnx"], listener=None)
    photos = write_photos(tmp_path)
    files = [str(photos / name) for name in ("a.png", "more/b.png")]
    expected = list(predict_files(load_classifier(path), files))
    found = list(predict_files(load_classifier(path.with_suffix(".onnx")), files))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=TOLERANCE)


@pytest.mark.slow
def test_a_file_that_answers_otherwise_is_not_written(tmp_path: Path, monkeypatch) -> None:
    """Beyond the bound there is no file, an older one stays, and the others are written."""
    need_runtimes()
    path = write_small_model(tmp_path / "best.keras")
    path.with_suffix(".onnx").write_text("of yesterday")
    monkeypatch.setattr("tuner.model.formats.write.LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(
        ExportError, match=r"onnx float32: its runtime differs from Keras by .* picture"
    ):
        list(write_formats(path, check_forms(["onnx"]), photographs()[:1]))
    assert path.with_suffix(".onnx").read_text() == "of yesterday"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best.keras", "best.onnx"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_what_is_no_model_is_one_message(
    tmp_path: Path, suffix: str, content: bytes | None
) -> None:
    """An empty, another and a missing file are refused with path and command."""
    path = tmp_path / f"x{suffix}"
    need_runtimes()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ExportError, match="not a model that tuner wrote") as error:
        load_classifier(path)
    assert str(path) in str(error.value)


def test_what_is_missing_is_named_with_its_command() -> None:
    """An unknown format lists the known ones; a missing package says how to install it."""
    with pytest.raises(UsageError, match="write keras, saved_model, onnx, openvino or litert"):
        check_forms(["tflite"])
    with pytest.raises(UsageError, match=r"needs no_such_module.*\n.*imbalance-tuner\[onnx\]"):
        check_installed(FORMS["onnx"], ["json", "no_such_module"])
    assert [form.name for form in check_forms(["litert", "keras", "litert"])] == ["litert"]


@pytest.mark.slow
def test_other_formats_are_read_without_keras(model: Path, tmp_path: Path) -> None:
    """No Keras, no TensorFlow: a small machine starts in a moment."""
    Image.fromarray(photographs()[0]).save(tmp_path / "a.png")
    code = (
        "import sys; from pathlib import Path;"
        "from tuner.model.predict import load_classifier, predict_files;"
        f"paths = [Path({str(model)!r}).with_suffix(s) for s in {SUFFIXES}];"
        f"found = [list(predict_files(load_classifier(p), [{str(tmp_path / 'a.png')!r}]))"
        " for p in paths];"
        "print(len(found), {'keras', 'tensorflow', 'jax'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "3 set()"
