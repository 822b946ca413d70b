"""MLflow's side of a model of picture files; nothing here knows Keras."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from tuner.errors import DataError

ARTIFACT = "model"


class Answers(Protocol):
    """A loaded model."""

    @property
    def columns(self) -> list[str]:
        """Names of what it answers."""

    def answer(self, data: bytes, *, name: str) -> dict[str, Any]:
        """What it says of a picture; DataError if it is none."""


class Load(Protocol):
    """Loads a model from its file."""

    def __call__(self, path: Path) -> Answers:
        """The model."""


class Find(Protocol):
    """Finds the bytes of a picture in a row of a request."""

    def __call__(self, row: Mapping[str, Any], *, name: str) -> bytes:
        """The bytes; DataError if there are none."""


class FileModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # MLflow is Any to the checker
    """From rows with ``image`` or ``path`` to a row each of class and probabilities.

    Args:
        load: Loads the ``.keras`` file.
        find: Finds the bytes of a picture.
    """

    def __init__(self, load: Load, find: Find) -> None:
        self._load, self._find = load, find

    def load_context(self, context: Any) -> None:
        """Load the model once, when the server starts."""
        self._model = self._load(Path(context.artifacts[ARTIFACT]))

    # Without annotations: MLflow would make a signature of them.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """One row a picture, or an error that a server answers with 400.

        Raises:
            MlflowException: If a picture cannot be read, with its number; none is answered then.
        """
        del context, params
        rows = pd.DataFrame(model_input).to_dict("records")
        if not rows:
            raise _refused("there is no picture in this request")
        try:
            found = []
            for i, row in enumerate(rows):
                name = f"picture {i + 1} of {len(rows)}"
                data = self._find({str(key): cell for key, cell in row.items()}, name=name)
                found.append(self._model.answer(data, name=name))
        except DataError as error:
            raise _refused(f"{error.where}: {error.what}") from error
        return pd.DataFrame(found, columns=self._model.columns)


class _Refused(MlflowException):  # type: ignore[misc]
    """An error whose message stays what it was: MLflow's server puts the whole request before it.

    That would be the picture, in the answer to every bad one.
    """

    @property
    def message(self) -> str:
        """What is wrong."""
        return self._said

    @message.setter
    def message(self, text: str) -> None:
        self._said = getattr(self, "_said", text)


def _refused(what: str) -> MlflowException:
    return _Refused(what, error_code=INVALID_PARAMETER_VALUE)


def serve(load: Load, find: Find) -> None:
    """Make this the model of the code that MLflow runs."""
    mlflow.models.set_model(FileModel(load, find))
