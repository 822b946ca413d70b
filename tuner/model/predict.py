"""Classify files with a model that ``tuner train`` wrote."""

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from tuner.arrays import Float32, UInt8
from tuner.data.images import IMAGE_SUFFIXES, decode_rgb, read_bytes
from tuner.errors import DataError, ExportError
from tuner.features.engines.whole_model import compile_model
from tuner.model.archive import read_card
from tuner.text import first_line

_BATCH = 32
_MAGIC = frozenset("*?[")


class Prediction(NamedTuple):
    """What became of one file.

    Attributes:
        path: As it was found.
        probabilities: float32 (n_classes,); None where the file cannot be read.
        reason: Why it cannot be read.
    """

    path: str
    probabilities: Float32 | None
    reason: str = ""


@dataclass(frozen=True)
class Classifier:
    """A loaded model, in two parts: of the size of each image, and of one size for all.

    Attributes:
        class_names: In the order of every row of probabilities.
        resize: From uint8 (batch, height, width, 3) to float32 (batch, image_px, image_px, 3).
        classify: From there to probabilities, float32 (batch, n_classes), on the fastest engine.
    """

    class_names: tuple[str, ...]
    resize: Any
    classify: Any


def load_classifier(path: Path) -> Classifier:
    """Load a model in Keras's safe mode, which runs no code of the file.

    Raises:
        ExportError: If it is no model of tuner, or holds code.
    """
    names = read_card(path).get("class_names")
    if not isinstance(names, list) or path.suffix != ".keras":  # by another name Keras reads HDF5
        raise ExportError(
            "not a .keras model with class names",
            where=str(path),
            do="make one with: tuner train best.yaml",
        )
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        small = model.get_layer("preprocess").input
        # Sizes differ between files: compiled for each, the backbone would take seconds a file.
        found = Classifier(
            tuple(map(str, names)),
            keras.Model(model.input, small),
            compile_model(keras.Model(small, model.output)),
        )
        fits = model.output.shape[-1] == len(names)
    except Exception as error:  # Keras raises what it likes; whatever it is, nothing was run
        reason = first_line(error)[:200]
        raise ExportError(
            f"the model cannot be loaded safely: {reason}",
            where=str(path),
            do="use a file that `tuner train` wrote, from a place that you trust",
        ) from error
    if not fits:
        raise ExportError(f"the model does not have {len(names)} classes", where=str(path))
    return found


def list_images(arguments: Sequence[str]) -> tuple[list[str], list[Prediction]]:
    """Files that the arguments name, in their order, and what names nothing.

    Args:
        arguments: Files; folders, searched with all below them for files with an image's
            suffix; or patterns such as ``photos/**/*.jpg``.
    """
    files: list[str] = []
    missing: list[Prediction] = []
    for argument in arguments:
        if os.path.isdir(argument):
            inside = sorted(str(path) for path in _images_below(Path(argument)))
            lack = "the folder holds no images"
        elif os.path.lexists(argument):
            inside, lack = [argument], ""
        else:
            matches = glob.iglob(argument, recursive=True) if _MAGIC & set(argument) else ()
            inside = sorted(match for match in matches if os.path.isfile(match))
            lack = "no such file, and no pattern that matches one"
        files += inside
        missing += [] if inside else [Prediction(argument, None, lack)]
    return list(dict.fromkeys(files)), missing


def _images_below(folder: Path) -> Iterator[Path]:
    return (
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
    )


def predict_files(classifier: Classifier, files: Iterable[str]) -> Iterator[Prediction]:
    """Classify files of any size, in their order; the next ones are decoded meanwhile."""
    waiting = iter(files)
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode") as pool:
        reads = deque(_start(pool, islice(waiting, 2 * _BATCH)))
        while reads:
            part = [reads.popleft() for _ in range(min(_BATCH, len(reads)))]
            reads.extend(_start(pool, islice(waiting, len(part))))
            yield from _predict_batch(classifier, part)


_Read = tuple[str, "Future[UInt8 | str]"]


def _start(pool: ThreadPoolExecutor, paths: Iterable[str]) -> Iterator[_Read]:
    return ((path, pool.submit(_decode, path)) for path in paths)


def _decode(path: str) -> UInt8 | str:
    """Pixels of a file at its own size, or why there are none."""
    try:
        return np.asarray(decode_rgb(read_bytes(Path(path)), name=path))
    except DataError as error:
        return error.what


def _predict_batch(classifier: Classifier, part: Sequence[_Read]) -> list[Prediction]:
    decoded = [(path, read.result()) for path, read in part]
    sized = [_resized(classifier, pixels) for _, pixels in decoded if not isinstance(pixels, str)]
    rows = iter(_classified(classifier, sized))
    return [
        Prediction(path, None, pixels) if isinstance(pixels, str) else Prediction(path, next(rows))
        for path, pixels in decoded
    ]


def _resized(classifier: Classifier, pixels: UInt8) -> Float32:
    found: Float32 = keras.ops.convert_to_numpy(classifier.resize(pixels[None]))[0]
    return found


def _classified(classifier: Classifier, sized: Sequence[Float32]) -> Float32:
    """Probabilities, (n, n_classes); every batch is full, so that one compilation does."""
    if not sized:
        return np.zeros((0, len(classifier.class_names)), dtype=np.float32)
    full = np.stack([sized[i % len(sized)] for i in range(_BATCH)])
    found: Float32 = classifier.classify(full)
    return found[: len(sized)]
