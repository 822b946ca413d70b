"""A model and pictures, small and quickly made, for the tests of what is done with models."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from tuner.data.decoding.resize import DECODE
from tuner.features.weights.resolve import resolve_weights
from tuner.model.formats.forms import FORMS
from tuner.model.keras_model import build_model, save_model
from tuner.training.head import HeadWeights

NAMES = ["a,b", "[bold]", "欠陥"]
IMAGE_PX = 32


def need_runtimes() -> None:
    """Skip where a runtime of a format, or what writes it, is not installed."""
    needed = [name for form in FORMS.values() for name in (form.runtime, *form.writes)]
    if missing := [name for name in needed if find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")


def make_head() -> HeadWeights:
    """A head that tells pictures apart."""
    rng = np.random.default_rng(0)
    return HeadWeights(
        rng.normal(0, 0.05, (2048, 16)).astype(np.float32),
        rng.normal(0, 0.05, 16).astype(np.float32),
        rng.normal(0, 0.5, (16, 3)).astype(np.float32),
        rng.normal(0, 0.5, 3).astype(np.float32),
    )


def make_model() -> Any:
    """A deployable model of random weights."""
    weights = resolve_weights("random")
    return build_model(make_head(), weights, image_px=IMAGE_PX, dropout=0.3, name="model")


def write_model(path: Path) -> Path:
    """Write that model; returns `path`."""
    save_model(make_model(), path, card={"class_names": NAMES})
    return path


def write_small_model(path: Path, **card: Any) -> Path:
    """A model that is converted in seconds: all layers but a backbone of one convolution."""
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    pixels = keras.Input((IMAGE_PX, IMAGE_PX, 3))
    x = keras.layers.Conv2D(64, 3, strides=2, activation="relu", name="conv1")(pixels)
    backbone = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x))
    head = HeadWeights(
        rng.normal(0, 0.05, (64, 16)).astype(np.float32),
        rng.normal(0, 0.05, 16).astype(np.float32),
        rng.normal(0, 0.5, (16, 3)).astype(np.float32),
        rng.normal(0, 0.5, 3).astype(np.float32),
    )
    weights = resolve_weights("random")
    model = build_model(
        head, weights, image_px=IMAGE_PX, dropout=0.3, name="small", backbone=backbone
    )
    known = {"class_names": NAMES, "image_px": IMAGE_PX, "decode": DECODE}
    save_model(model, path, card=known | card)
    return path


def write_photos(folder: Path) -> Path:
    """Fill a folder with real pictures of several sizes, a damaged one and a text."""
    photo = Image.fromarray(load_sample_image("flower.jpg"))
    (folder / "more").mkdir()
    photo.resize((90, 60)).save(folder / "a.png")
    photo.resize((40, 70)).convert("L").save(folder / "more" / "b.png")
    photo.crop((200, 100, 300, 300)).save(folder / "more" / "C.JPG")
    (folder / "broken.jpg").write_bytes((folder / "more" / "C.JPG").read_bytes()[:500])
    (folder / "notes.txt").write_text("no image")
    return folder
