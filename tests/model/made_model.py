"""A model and pictures, small and quickly made, for the tests of what is done with models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from tuner.features.weights.resolve import resolve_weights
from tuner.model.keras_model import build_model, save_model
from tuner.training.head import HeadWeights

NAMES = ["a,b", "[bold]", "欠陥"]
IMAGE_PX = 32


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
