"""The Keras snippet of docs/model.md, which needs nothing of tuner, answers as `predict` does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from tests.model.made_model import IMAGE_PX, NAMES, make_model
from tuner.data.decoding.resize import DECODE
from tuner.model.keras_model import save_model
from tuner.model.predict import load_classifier, predict_files

PAGE = (Path(__file__).parents[2] / "docs" / "model.md").read_text("utf-8")
(SNIPPET,) = re.findall(r"^```python\n(import json.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A real photograph, wider than high."""
    return Image.fromarray(load_sample_image("china.jpg")).resize((120, 80))


def odd_files(folder: Path, photo: Image.Image) -> list[Path]:
    """The photograph in ways that a plain `convert("RGB")` gets wrong, and in plain ones."""
    gray = np.asarray(photo.convert("L")).astype(np.uint16)
    Image.fromarray(gray * 257).save(folder / "gray16.png")
    Image.fromarray(gray * 16).save(folder / "gray12.png")
    clear = photo.convert("RGBA")
    clear.putalpha(Image.fromarray((gray // 2).astype(np.uint8)))
    clear.save(folder / "clear.png")
    photo.quantize(16).save(folder / "palette.gif", transparency=3)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(folder / "turned.jpg", exif=exif)
    photo.rotate(90, expand=True).save(folder / "tall.webp", lossless=True)
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.save(folder / "photo.jpg")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("limits", [None, [0.0, 4095.0]])
def test_the_snippet_answers_as_predict_does(
    limits: list[float] | None,
    photo: Image.Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Files of 16 bits, turned and transparent ones get the same probabilities."""
    card = {"class_names": NAMES, "image_px": IMAGE_PX, "decode": DECODE, "range": limits}
    save_model(make_model(), tmp_path / "best.keras", card=card)
    (tmp_path / "files").mkdir()
    files = odd_files(tmp_path / "files", photo)
    photo.save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(SNIPPET, names)

    expected = list(predict_files(load_classifier(Path("best.keras")), map(str, files)))

    assert len(expected) == 8
    for one in expected:
        pixels = names["read"](one.path)
        found = np.asarray(names["model"](pixels[None], training=False))[0]
        np.testing.assert_allclose(found, one.probabilities, atol=1e-5, err_msg=one.path)
