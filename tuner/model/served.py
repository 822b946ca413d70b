"""A model behind a server: bytes of picture files in, class and probabilities out."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from tuner.arrays import Float32
from tuner.data.images import read_bytes
from tuner.errors import DataError
from tuner.model.predict import Classifier, as_input, load_classifier, pixels_of

FOLDER = "TUNER_SERVE_FOLDER"
CODE = Path(__file__).with_name("mlflow_code.py")


class Served:
    """A loaded model that answers picture by picture.

    Each picture goes through the model alone, so that its numbers depend on no other one. May be
    called from many threads.

    Args:
        path: The ``.keras`` file; Keras's safe mode runs no code of it.

    Raises:
        ExportError: If it is no model of tuner, or holds code.
    """

    def __init__(self, path: Path) -> None:
        self._classifier: Classifier = load_classifier(path, is_compiled=False)
        self._lock = Lock()
        # Compiled now, not in the first request: a server says that it is ready after this.
        self._numbers(self._classifier.resize(np.zeros((1, 8, 8, 3), dtype=np.uint8))[0])

    @property
    def columns(self) -> list[str]:
        """Names of what `answer` gives, in order."""
        found = self._classifier
        return columns_of({"class_names": found.class_names, "answers": found.answers})

    def answer(self, data: bytes, *, name: str) -> dict[str, Any]:
        """Class and probabilities of a picture; scores, too, where the model decides by costs.

        Args:
            data: Bytes of a file, of any kind that `tuner predict` reads.
            name: What errors call it.

        Raises:
            DataError: If it is no picture, is damaged or too large.
        """
        with self._lock:  # which keeps memory at one picture, too
            pixels = pixels_of(self._classifier, data, name=name)
            probabilities, decides = self._numbers(as_input(self._classifier, pixels))
        best = int(decides.argmax())
        values: list[Any] = [self._classifier.class_names[best]]
        for numbers in [probabilities, decides][: 2 if self._classifier.answers == "score" else 1]:
            values += [float(numbers[best]), *map(float, numbers)]
        return dict(zip(self.columns, values, strict=True))

    def _numbers(self, picture: Float32) -> tuple[Float32, Float32]:
        """Probabilities, and what decides, (n_classes,) each."""
        found = [np.asarray(part)[0] for part in self._classifier.classify(picture[None])]
        return found[0], found[-1]


def columns_of(card: Mapping[str, Any]) -> list[str]:
    """Names of what a served model answers, by its card; the class first."""
    names = card["class_names"]
    scores = ["score", *(f"score/{name}" for name in names)]
    probabilities = ["probability", *(f"probability/{name}" for name in names)]
    return ["class", *probabilities, *(scores if card.get("answers") == "score" else [])]


def picture_of(
    row: Mapping[str, Any], *, name: str, environment: Mapping[str, str] = os.environ
) -> bytes:
    """Bytes of the picture that a row of a request gives or names.

    A path is a door to every file that the server may read. So it is shut unless whoever starts
    the server names a folder in ``TUNER_SERVE_FOLDER``; then it leads below that folder only.

    Args:
        row: ``image`` with bytes, or ``path`` with a name.
        name: What errors call it.
        environment: Where the folder is named.

    Raises:
        DataError: If there is neither or both, or the path may not be read.
    """
    image, path = (_given(row.get(key)) for key in ("image", "path"))
    if (image is None) == (path is None):
        what = "a row needs either 'image', the bytes of a file in base64, or 'path'"
        raise DataError(what, where=name)
    if image is not None:
        return _decoded(image)
    folder = environment.get(FOLDER)
    if not folder:
        what = "this server reads no paths: send the bytes of the file as 'image'"
        raise DataError(what, where=name, do=f"or start it with {FOLDER}=/folder/of/pictures")
    root = os.path.realpath(folder)
    try:
        found = os.path.realpath(os.path.join(root, str(path)))
        is_inside = os.path.commonpath([root, found]) == root
    except ValueError:  # a NUL in the name
        is_inside = False
    if not is_inside or not os.path.isfile(found):
        raise DataError("there is no such file in the folder of this server", where=name)
    return read_bytes(Path(found))


def _decoded(image: Any) -> bytes:
    """Bytes; of some forms of request MLflow leaves the base64, which no picture is, as it is."""
    data = image.encode() if isinstance(image, str) else bytes(image)
    try:
        return base64.b64decode(data, validate=True)
    except ValueError:
        return data


def _given(value: Any) -> Any:
    """A cell of a table, where pandas may say None or NaN of what is not there."""
    is_empty = value is None or (isinstance(value, float) and np.isnan(value))
    return None if is_empty else value
