"""Log a model of picture files into a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What the code of the model imports. Of tuner itself a copy goes along, so that files are read
# as they were when the model was trained, and that no index has to have this version of it.
PACKAGES = ("mlflow", "numpy", "pandas", "pillow", "pydantic", "pyyaml", "scipy", "h5py")
_PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True)
class FileExample:
    """What a model of picture files is described by.

    Attributes:
        code: The module that MLflow runs to load it.
        data: Bytes of a real picture.
        columns: Of an answer, the class first.
    """

    code: Path
    data: bytes
    columns: Sequence[str]


def log_file_model(
    path: Path,
    name: str,
    *,
    files: FileExample,
    requirements: Sequence[str],
    card: Mapping[str, Any],
) -> Any:
    """Log a model that takes picture files into the active run, and register it.

    Args:
        path: The ``.keras`` file.
        name: In the registry.
        files: Code, example and columns.
        requirements: Of Keras and its backend, pinned.
        card: Plain values, for the model's metadata.

    Returns:
        What MLflow says of the logged model.
    """
    import mlflow
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    from tuner.tracking.serving.file_model import ARTIFACT

    answers = [
        ColSpec(DataType.double if i else DataType.string, c) for i, c in enumerate(files.columns)
    ]
    rows = [
        ColSpec(DataType.binary, "image", required=False),
        ColSpec(DataType.string, "path", required=False),
    ]
    return mlflow.pyfunc.log_model(
        name="files",
        python_model=str(files.code),
        artifacts={ARTIFACT: str(path)},
        code_paths=[str(_PACKAGE)],
        signature=ModelSignature(Schema(rows), Schema(answers)),
        input_example=pd.DataFrame({"image": [files.data]}),
        registered_model_name=name,
        pip_requirements=list(requirements),
        metadata={"tuner": dict(card)},
    )
