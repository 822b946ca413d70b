"""Images of rare classes that one setting finds and another misses, as small pictures."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tuner.data.images import decode_rgb, read_bytes
from tuner.errors import DataError
from tuner.home.study_folder import ImageTable

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_SIDE_PX = 112  # of a picture, at most
_QUALITY = 82
_A_CLASS = 3  # pictures of one class, so that others come, too


class Example(NamedTuple):
    """An image on which two settings disagree.

    Attributes:
        row: Place among the study's images.
        true: Its class.
        predicted: Class that the first and the second setting predict.
        probability: What each of them gives the true class.
    """

    row: int
    true: int
    predicted: tuple[int, int]
    probability: tuple[float, float]


class Picture(NamedTuple):
    """A thumbnail as a ``data:`` address, or "" and the reason why there is none."""

    address: str
    width: int
    height: int
    reason: str


def rare_classes(labels: IntArray, *, n_classes: int) -> list[int]:
    """Classes no larger than the median one, never all, the rarest first."""
    counts = np.bincount(labels, minlength=n_classes)
    order = [int(k) for k in np.argsort(counts, kind="stable")]
    rare = [k for k in order if counts[k] <= np.median(counts)]
    return rare[: max(1, n_classes - 1)]


def choose_examples(
    images: ImageTable,
    ours: NDArray[np.float32],
    theirs: NDArray[np.float32],
    *,
    limit: int = 12,
) -> list[Example]:
    """Rare-class images that the first setting finds and the second misses.

    Of each class those come first of whose class the first setting is surest.

    Args:
        images: The study's images.
        ours: Out-of-fold log probabilities, float32 (n_search_images, n_classes).
        theirs: Those of the other setting.
        limit: Examples at most.
    """
    rows = images.search
    labels, places = images.labels[rows], np.arange(len(rows))
    predicted = np.stack([ours.argmax(axis=1), theirs.argmax(axis=1)])
    sure = np.exp(np.stack([ours[places, labels], theirs[places, labels]]).astype(np.float64))
    disagree = (predicted[0] == labels) & (predicted[1] != labels)
    found: list[Example] = []
    for k in rare_classes(labels, n_classes=ours.shape[1]):
        here = np.flatnonzero(disagree & (labels == k))
        for i in here[np.argsort(-sure[0, here], kind="stable")][:_A_CLASS]:
            a, b = (int(predicted[m, i]) for m in (0, 1))
            chances = (float(sure[0, i]), float(sure[1, i]))
            found.append(Example(int(rows[i]), k, (a, b), chances))
    return found[:limit]


def thumbnail(root: Path | None, path: str, *, sha256: str) -> Picture:
    """A small picture of an image, or the reason why it cannot be shown.

    Args:
        root: Folder of the data, or None when it is not known.
        path: Of the image, below it.
        sha256: Hash of the bytes that the study was made from.
    """
    if root is None:
        return Picture("", 0, 0, "data not found")
    try:
        data = read_bytes(root / path)
        if hashlib.sha256(data).hexdigest() != sha256:
            return Picture("", 0, 0, "file has changed")
        picture = decode_rgb(data, name=path)
    except DataError as error:
        return Picture("", 0, 0, error.what.removeprefix("image "))
    picture.thumbnail((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    return Picture(f"data:image/jpeg;base64,{text}", picture.width, picture.height, "")


def paths_of(examples: Sequence[Example], images: ImageTable) -> list[str]:
    """Path of each example."""
    return [images.paths[example.row] for example in examples]
