"""Classify files with a model that ``tuner train`` wrote."""

from __future__ import annotations

import glob
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tuner.arrays import Float32, UInt8
from tuner.data.decoding.resize import DECODE
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.folder import walk_folder
from tuner.data.images import IMAGE_SUFFIXES, decode_rgb, read_bytes, read_image_bytes
from tuner.errors import DataError, ExportError
from tuner.model.archive import read_card
from tuner.model.formats.forms import form_of
from tuner.model.formats.keras_file import any_batch, open_elsewhere, open_parts, whole_batches
from tuner.text import some

_BATCH = 32
_MOST_PIXELS = 64_000_000  # decoded and not yet resized; 256 MB, but always one picture
_MAGIC = frozenset("*?[")


class Prediction(NamedTuple):
    """What became of one file.

    Attributes:
        path: As it was found.
        probabilities: What the model answers, float32 (n_classes,), scores where it decides by
            costs; None where the file cannot be read.
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
        resize: From uint8 (1, height, width, 3) to what `classify` takes of one picture.
        classify: From pictures, float32 (n, image_px, image_px, 3), to probabilities, float32
            (n, n_classes), on the fastest engine.
        image_px: Side to which the image reader resizes, which gives the same pixels as
            `resize`; None for models of older studies, whose `resize` is another.
        rule: How files are read.
        answers: What the model's numbers are, "probability" or "score"; the largest decides.
    """

    class_names: tuple[str, ...]
    resize: Callable[[UInt8], Float32]
    classify: Callable[[Float32], Any]
    image_px: int | None = None
    rule: PixelRule = EACH_FILE
    answers: str = "probability"


def load_classifier(path: Path, *, is_compiled: bool = True) -> Classifier:
    """Load a model of any format by its own runtime; none of them runs code of the file.

    Args:
        path: The file.
        is_compiled: Whether a Keras model's `classify` is for whole batches, on the fastest
            engine; else it is Keras's own, of any batch, and gives probabilities and what decides.

    Raises:
        UsageError: If its runtime is not installed.
        ExportError: If it is no model of tuner, or holds code.
    """
    if form_of(path):
        return _by_runtime(path)
    card = read_card(path)
    if path.suffix != ".keras":  # by another name Keras reads HDF5
        raise _no_model(path)
    names, reading = _class_names(card, path), reading_of(card)
    is_resized = is_compiled and reading["image_px"] is not None
    opened = open_elsewhere(path) if is_resized else None
    if opened is None:
        if is_compiled:
            from tuner.ground import find_backend  # pandas and scikit-learn with it

            find_backend()
        make = whole_batches if is_compiled else any_batch
        opened = open_parts(path, make, is_resized=is_resized)
    resize, classify, n_classes = opened
    if n_classes != len(names):
        raise ExportError(f"the model does not have {len(names)} classes", where=str(path))
    return Classifier(names, resize, classify, **reading)


def _by_runtime(path: Path) -> Classifier:
    from tuner.model.formats.opened import open_file

    opened = open_file(path)
    names, reading = _class_names(opened.card, path), reading_of(opened.card)
    if reading["image_px"] is None:  # it resizes each picture itself, and nothing is left to do
        return Classifier(names, opened.run, lambda rows: rows, **reading)
    squares = opened.squares(reading["image_px"])
    # The reader's grey levels are whole: nothing is lost.
    return Classifier(names, opened.run, lambda x: squares(x.astype(np.uint8)), **reading)


def _class_names(card: dict[str, Any], path: Path) -> tuple[str, ...]:
    names = card.get("class_names")
    if not isinstance(names, list):
        raise _no_model(path)
    return tuple(map(str, names))


def _no_model(path: Path) -> ExportError:
    do = "make one with: tuner train best.yaml"
    return ExportError("not a .keras model with class names", where=str(path), do=do)


def reading_of(card: dict[str, Any]) -> dict[str, Any]:
    """How files are read and answers called, by the card: fields of a `Classifier`."""
    limits = card.get("range")
    is_shared = card.get("decode") == DECODE
    return {
        "image_px": int(card["image_px"]) if is_shared else None,
        "answers": "score" if card.get("answers") == "score" else "probability",
        "rule": EACH_FILE if limits is None else PixelRule((float(limits[0]), float(limits[1]))),
    }


class Listed(NamedTuple):
    """What arguments name.

    Attributes:
        files: In the order of the arguments.
        missing: Arguments that name nothing.
        notes: What lies in their folders and is not read, in sentences.
    """

    files: list[str]
    missing: list[Prediction]
    notes: list[str]


def list_images(arguments: Sequence[str]) -> Listed:
    """Files that the arguments name, what names nothing, and what is not read.

    Args:
        arguments: Files; folders, searched with all below them for files with an image's
            suffix, as a data folder is; or patterns such as ``photos/**/*.jpg``.
    """
    files: list[str] = []
    missing: list[Prediction] = []
    notes: list[str] = []
    for argument in arguments:
        if os.path.isdir(argument):
            inside, unread = _images_below(Path(argument))
            notes += unread
            lack = "the folder holds no images"
        elif os.path.lexists(argument):
            inside, lack = [argument], ""
        else:
            matches = glob.iglob(argument, recursive=True) if _MAGIC & set(argument) else ()
            inside = sorted(match for match in matches if os.path.isfile(match))
            lack = "no such file, and no pattern that matches one"
        files += inside
        missing += [] if inside else [Prediction(argument, None, lack)]
    return Listed(list(dict.fromkeys(files)), missing, notes)


def _images_below(folder: Path) -> tuple[list[str], list[str]]:
    """Images of a folder, sorted, and sentences on what else is in it."""
    walk = walk_folder(Path(os.path.abspath(folder)))
    is_image = {path: Path(path).suffix.lower() in IMAGE_SUFFIXES for path in walk.files}
    others = sorted(path for path in walk.files if not is_image[path])
    notes = [f"{folder / problem.path}: {problem.reason}" for problem in walk.problems]
    if others:
        notes.append(f"{folder}: no images by their suffix, not read: {some(others)}")
    if walk.skipped:
        notes.append(f"{folder}: hidden or system files, not read: {some(sorted(walk.skipped))}")
    return sorted(str(folder / path) for path in walk.files if is_image[path]), notes


def predict_files(classifier: Classifier, files: Iterable[str]) -> Iterator[Prediction]:
    """Classify files of any size, in their order; the next ones are decoded meanwhile.

    Whole pictures are held only until they are resized, and only so many of them at once that
    their pixels stay below a bound: memory is the same for thumbnails and for large photographs.
    """
    part: list[_Sized] = []
    answers: deque[Future[list[Prediction]]] = deque()
    # A thread for the engine, or it would idle while this one waits for the next files.
    with ThreadPoolExecutor(1, thread_name_prefix="classify") as thread:
        for path, pixels in _decoded_ahead(files, classifier):
            sized = pixels if isinstance(pixels, str) else as_input(classifier, pixels)
            part.append((path, sized))
            del pixels  # or it would live until the next one has come
            if len(part) == _BATCH:
                answers.append(thread.submit(_predict_batch, classifier, part))
                part = []
            if len(answers) > 1:
                yield from answers.popleft().result()
        for answer in answers:
            yield from answer.result()
        yield from _predict_batch(classifier, part)


_Sized = tuple[str, "Float32 | str"]


class _Read(NamedTuple):
    """A file on its way: its pixels, or why there are none, and how many it holds."""

    path: str
    decoded: Future[UInt8 | str]
    n_pixels: int
    is_resized: bool

    @property
    def is_small(self) -> bool:
        """Whether nothing is left of it but an image of the model's size."""
        return self.is_resized and self.decoded.done()


def _decoded_ahead(
    files: Iterable[str], classifier: Classifier
) -> Iterator[tuple[str, UInt8 | str]]:
    """Files in their order with their pixels; threads are ahead by a bounded number of pixels."""
    waiting = ((path, _n_pixels(path)) for path in files)
    following = next(waiting, None)
    reads: deque[_Read] = deque()
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode") as pool:
        while following or reads:
            held = sum(read.n_pixels for read in reads if not read.is_small)
            is_room = len(reads) < 2 * _BATCH and held + (following or ("", 0))[1] <= _MOST_PIXELS
            if following and (is_room or not reads):
                path, n = following
                decoded = pool.submit(_decode, path, classifier)
                reads.append(_Read(path, decoded, n, classifier.image_px is not None))
                following = next(waiting, None)
            else:
                first = reads.popleft()
                yield first.path, first.decoded.result()


def _n_pixels(path: str) -> int:
    """Pixels that a file declares; its bytes, which are more, where nobody can read that."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                return int(picture.width * picture.height)
    except Exception:  # a hostile header raises nearly anything, and decoding names the reason
        return os.path.getsize(path) if os.path.exists(path) else 0


def _decode(path: str, classifier: Classifier) -> UInt8 | str:
    """`pixels_of` a file, or why there are none."""
    try:
        return pixels_of(classifier, read_bytes(Path(path)), name=path)
    except DataError as error:
        return error.what


def pixels_of(classifier: Classifier, data: bytes, *, name: str) -> UInt8:
    """Pixels of a file as a model reads it, at its own size where the model is to resize them.

    Args:
        classifier: The model.
        data: Bytes of the file.
        name: What errors call it.

    Returns:
        uint8 (height, width, 3).

    Raises:
        DataError: If it is no picture, is damaged or too large.
    """
    rule, image_px = classifier.rule, classifier.image_px
    if image_px is None:
        return np.asarray(decode_rgb(data, name=name, rule=rule))
    return read_image_bytes(data, name=name, image_px=image_px, rule=rule)


def _predict_batch(classifier: Classifier, part: Sequence[_Sized]) -> list[Prediction]:
    rows = iter(
        _classified(classifier, [sized for _, sized in part if not isinstance(sized, str)])
    )
    return [
        Prediction(path, None, sized) if isinstance(sized, str) else Prediction(path, next(rows))
        for path, sized in part
    ]


def as_input(classifier: Classifier, pixels: UInt8) -> Float32:
    """What `classify` takes of `pixels_of` one picture."""
    if classifier.image_px is not None:
        return pixels.astype(np.float32)
    found: Float32 = classifier.resize(pixels[None])[0]
    return found


def _classified(classifier: Classifier, sized: Sequence[Float32]) -> Float32:
    """Probabilities, (n, n_classes)."""
    if not sized:
        return np.zeros((0, len(classifier.class_names)), dtype=np.float32)
    found: Float32 = classifier.classify(np.stack(sized))
    return found
