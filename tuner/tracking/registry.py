"""Put a trained model into MLflow's model registry."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tuner.arrays import UInt8
from tuner.tracking.connection import (
    connect,
    keeps_its_own_artifacts,
    open_experiment,
    tracking_errors,
)
from tuner.tracking.serving.log import PACKAGES, FileExample, log_file_model

CHAMPION = "champion"
FILES = "-files"  # behind a name: the same model of picture files


def register_model(
    path: Path,
    name: str,
    *,
    tracking_uri: str,
    experiment: str,
    artifacts: Path,
    example: UInt8,
    files: FileExample,
    card: Mapping[str, Any],
    card_text: str,
) -> int:
    """Log a model with signature and example, register it, and make it the champion.

    Args:
        path: The ``.keras`` file.
        name: In the registry; a new version is added to one that is there.
        tracking_uri: A database or a server.
        experiment: Name of the study.
        artifacts: Folder for artifacts when `tracking_uri` is a database.
        example: A real image, uint8 (1, height, width, 3).
        files: For the same model of picture files, registered as ``NAME-files``.
        card: The model card as plain values; goes into the model's metadata.
        card_text: The same for people; becomes the version's description.

    Returns:
        Number of the new version, to which the alias ``champion`` points now.

    Raises:
        TrackingError: If MLflow cannot be reached or refuses.
    """
    with tracking_errors(tracking_uri):
        client = connect(tracking_uri)
        import keras
        import mlflow
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        location = None if keeps_its_own_artifacts(tracking_uri) else artifacts.absolute().as_uri()
        experiment_id = open_experiment(
            client, experiment, uri=tracking_uri, location=location, on_trouble=lambda text: None
        )
        model = keras.saving.load_model(path, compile=False)
        n_classes = int(model.output.shape[-1])
        signature = ModelSignature(
            Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))]),
            Schema([TensorSpec(np.dtype(np.float32), (-1, n_classes))]),
        )
        with (
            _current(tracking_uri),
            mlflow.start_run(
                experiment_id=experiment_id, run_name=name, tags={"tuner.kind": "model"}
            ),
        ):
            # Not `mlflow.keras`, which cannot keep an example (3.17); both load the same file.
            logged = mlflow.tensorflow.log_model(
                model,
                name="model",
                signature=signature,
                input_example=example,
                registered_model_name=name,
                # What the file needs, not what this process has loaded.
                pip_requirements=_requirements(),
                metadata={"tuner": dict(card)},
            )
            served = log_file_model(
                path,
                f"{name}{FILES}",
                files=files,
                requirements=_requirements(*PACKAGES),
                card=card,
            )
            mlflow.log_text(card_text, "model_card.md")
        for title, model_info in ((f"{name}{FILES}", served), (name, logged)):
            version = str(model_info.registered_model_version)
            client.update_model_version(title, version, description=card_text)
            client.set_registered_model_alias(title, CHAMPION, version)
        return int(version)


@contextmanager
def _current(tracking_uri: str) -> Iterator[None]:
    """Let MLflow's functions without a client write there, and Keras keep silent meanwhile."""
    import keras
    import mlflow

    # MLflow runs the example, and Keras would draw a progress bar among the results.
    keras.utils.disable_interactive_logging()
    # Not `get_tracking_uri`, whose default would outlive this call in the environment.
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    finally:
        keras.utils.enable_interactive_logging()
        mlflow.set_tracking_uri(before)


def _requirements(*others: str) -> list[str]:
    """Keras and its backend, and other packages, at their versions."""
    from importlib.metadata import version

    import keras

    packages = {"tensorflow", "keras", keras.backend.backend(), "numpy", "mlflow", *others}
    return [f"{package}=={version(package)}" for package in sorted(packages)]
