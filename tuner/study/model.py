"""A trained model: what it is, what it found, and what it says of image files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tuner.arrays import Int64
from tuner.errors import UsageError
from tuner.home.listener import Listener
from tuner.model.archive import read_card
from tuner.model.formats.forms import SAVED_MODEL, check_forms, form_of
from tuner.study.places import Auto, listener_of

if TYPE_CHECKING:
    from tuner.model.predict import Classifier, Prediction


@dataclass(frozen=True)
class SealedTest:
    """What a model found in the sealed test.

    Attributes:
        matrix: Confusion matrix, int64 (n_classes, n_classes), rows true.
        class_names: In its order.
        opening: How often the test has been opened, this time included.
    """

    matrix: Int64
    class_names: tuple[str, ...]
    opening: int


@dataclass(frozen=True)
class Model:
    """A written model, from pixels to probabilities.

    Attributes:
        path: The ``.keras`` file, or one of another format.
        test: What it found in the sealed test, where that was opened with the training.
    """

    path: Path
    test: SealedTest | None = None

    @cached_property
    def card(self) -> dict[str, Any]:
        """The model card as plain values.

        Raises:
            ExportError: If the file is no model of tuner.
        """
        return dict(read_card(self.path))

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return tuple(self.card["class_names"])

    def predict(self, files: str | Path | Sequence[str | Path]) -> pd.DataFrame:
        """Class and probabilities of image files.

        Args:
            files: One or several: files, folders with all below them, or patterns such as
                ``photos/**/*.jpg``.

        Returns:
            One row a file: ``path``, ``class``, ``probability``, ``probability/<class>``, and
            ``reason``, which says why a file could not be read and is empty elsewhere. Of a
            model that decides by costs ``score`` and ``score/<class>`` instead.
        """
        from tuner.model.predict import list_images, predict_files

        listed, classifier = list_images(_names(files)), self._classifier
        rows = [*listed.missing, *predict_files(classifier, listed.files)]
        names, word = classifier.class_names, classifier.answers
        return pd.DataFrame([_prediction_row(row, names, word) for row in rows])

    def export(
        self,
        formats: Sequence[str],
        *,
        images: str | Path | Sequence[str | Path] = (),
        listener: Listener | Auto | None = "auto",
    ) -> list[Path]:
        """Write the model beside itself in other formats, each proved equal by its own runtime.

        Args:
            formats: "onnx", "openvino", "litert", "saved_model".
            images: Files, folders or patterns to compare on; two photographs by default.
            listener: Told what happens; as for a study.

        Raises:
            UsageError: If this is no ``.keras`` file, a format is unknown or needs a package.
            ExportError: If one cannot be written or answers otherwise than Keras.
        """
        from tuner.ground import find_backend
        from tuner.model.predict import list_images, reading_of
        from tuner.study.verbs.formats import read_some, write_beside, write_saved

        forms, told = check_forms(formats), listener_of(listener)
        if form_of(self.path) or not self.path.is_file():
            do = "name the .keras file that `tuner train` wrote"
            raise UsageError(
                f"'{self.path}' is no Keras model that other formats come from", do=do
            )
        listed = list_images(_names(images))
        if listed.missing:
            raise UsageError(f"--images '{listed.missing[0].path}': {listed.missing[0].reason}")
        rule, image_px = reading_of(self.card)["rule"], int(self.card["image_px"])
        pictures = read_some(list(map(Path, listed.files)), image_px=image_px, rule=rule)
        written = write_beside(self.path, forms, pictures, told) if forms else []
        if SAVED_MODEL in formats:
            find_backend()
            written.append(write_saved(self.path, told))
        return written

    @cached_property
    def _classifier(self) -> Classifier:
        from tuner.model.predict import load_classifier

        return load_classifier(self.path)


def _names(files: str | Path | Sequence[str | Path]) -> list[str]:
    """One file or several, as text."""
    return [str(file) for file in ([files] if isinstance(files, (str, Path)) else files)]


def _prediction_row(found: Prediction, names: Sequence[str], word: str) -> dict[str, Any]:
    p = np.full(len(names), np.nan) if found.probabilities is None else found.probabilities
    best = None if found.probabilities is None else int(p.argmax())
    return {
        "path": found.path,
        "class": None if best is None else names[best],
        word: float("nan") if best is None else float(p[best]),
        **{f"{word}/{name}": float(value) for name, value in zip(names, p, strict=True)},
        "reason": found.reason,
    }
