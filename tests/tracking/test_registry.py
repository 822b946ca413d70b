"""A registered model answers through MLflow as plain Keras does."""

from __future__ import annotations

import io
import os

import keras
import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

import tuner.training.losses  # noqa: F401  # what it might register is there, too
from tests.model.made_model import IMAGE_PX, NAMES, write_model
from tuner.model.served import CODE, columns_of
from tuner.tracking.registry import CHAMPION, register_model
from tuner.tracking.serving.log import FileExample

pytestmark = [
    pytest.mark.slow,
    # Of MLflow's and Keras's own making while an example is tried.
    pytest.mark.filterwarnings("ignore"),
]


def test_the_champion_answers_as_the_file_does(tmp_path, capfd):
    """Version, alias, signature, example and card are there; pyfunc gives Keras's numbers."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    path = write_model(tmp_path / "best.keras")
    example = np.random.default_rng(0).integers(0, 256, (1, IMAGE_PX, 40, 3), dtype=np.uint8)
    Image.fromarray(example[0]).save(stream := io.BytesIO(), "PNG")
    picture = stream.getvalue()
    versions = [
        register_model(
            path,
            "steel model",
            tracking_uri=uri,
            experiment="steel",
            artifacts=tmp_path / "artifacts",
            example=example,
            files=FileExample(CODE, picture, columns_of({"class_names": NAMES})),
            card={"class_names": NAMES},
            card_text="# the card",
        )
        for _ in range(2)
    ]
    assert versions == [1, 2]
    assert "Downloading" not in capfd.readouterr().err  # bars of files that lie here already
    # MLflow pickles whatever is registered with Keras, used or not; nothing of tuner is.
    assert not list((tmp_path / "artifacts").rglob("*pickle*"))
    found = MlflowClient(uri).get_model_version_by_alias("steel model", CHAMPION)
    assert (int(found.version), found.description) == (2, "# the card")
    assert os.environ.get("MLFLOW_TRACKING_URI") == before
    mlflow.set_tracking_uri(uri)
    try:
        loaded = mlflow.pyfunc.load_model(f"models:/steel model@{CHAMPION}")
    finally:
        mlflow.set_tracking_uri(before)
    assert loaded.metadata.metadata["tuner"]["class_names"] == NAMES
    assert loaded.input_example.shape == example.shape
    shapes = [spec.shape for spec in loaded.metadata.signature.inputs.inputs]
    assert shapes == [(-1, -1, -1, 3)]
    pixels = np.random.default_rng(1).integers(0, 256, (2, 50, 70, 3), dtype=np.uint8)
    expected = keras.ops.convert_to_numpy(keras.saving.load_model(path)(pixels))
    np.testing.assert_allclose(loaded.predict(pixels), expected, atol=1e-5)
