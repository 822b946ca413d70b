"""`tuner export MODEL --format` writes what `tuner predict` takes, and refuses other words."""

from __future__ import annotations

import csv
import io

import pytest

from tests.model.made_model import NAMES, need_runtimes, write_photos, write_small_model


@pytest.mark.slow
def test_a_model_leaves_in_another_format_and_classifies(tuner, tmp_path) -> None:
    """Written beside it, compared on the user's pictures, used by the command that is printed."""
    need_runtimes()
    model = write_small_model(tmp_path / "best.keras")
    photos = write_photos(tmp_path)
    done = tuner("export", model, "--format", "onnx", "--images", photos / "a.png")
    assert done.code == 0, done.err
    assert "onnx written to" in done.out
    assert "�" not in done.out  # a result is one line
    assert "its probabilities differ from Keras by at most" in " ".join(done.out.split())
    assert "tuner predict" in done.out
    found = [tuner("predict", model.with_suffix(s), photos) for s in (".onnx", ".keras")]
    rows = [list(csv.DictReader(io.StringIO(one.out))) for one in found]
    assert [one.code for one in found] == [1, 1]  # one of them is damaged
    assert [row["path"] for row in rows[0]] == [row["path"] for row in rows[1]]
    for row, other in zip(*rows, strict=True):
        for name in NAMES:
            key = f"probability/{name}"
            assert float(row[key]) == pytest.approx(float(other[key]), abs=1e-5)
    assert "3 images in" in found[0].err
    assert "a second" in found[0].err


@pytest.mark.parametrize(
    ("words", "what", "do"),
    [
        (["best.keras"], "is a model, and no --format is named", "--format onnx"),
        (["best.keras", "--format", "onnx", "--tau", "1"], "--tau is for the export of", "beside"),
        (["best.keras", "--format", "tflite"], "is no format of a model", "litert"),
        (["best.keras", "--format", "saved_model"], "is no Keras model", "tuner train"),
        (["steel", "--format", "onnx"], "a study is no model", "tuner train best.yaml --format"),
    ],
)
def test_what_cannot_be_meant_says_what_to_write(tuner, words, what, do) -> None:
    """A command line of two minds is one message with exit code 2."""
    done = tuner("export", *words)
    assert done.code == 2
    said = " ".join(done.err.split())
    assert what in said
    assert do in said
