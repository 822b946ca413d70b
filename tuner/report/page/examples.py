"""Images of rare classes that the winner finds and cross-entropy misses, and the reverse."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tuner.arrays import Float32, Int64
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.image_table import ImageTable
from tuner.data.images import decode_rgb, read_bytes
from tuner.errors import DataError
from tuner.report.page.contents import Contents

_SIDE_PX = 112  # of a picture, at most
_PIXELATED_BELOW = 48  # pixels
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


class Shown(NamedTuple):
    """An image in a gallery.

    Attributes:
        path: Below the folder of the data.
        picture: Small, or why there is none.
        is_small: Whether its pixels are shown as squares.
        alt: What it is, in words.
        true: Its class.
        predicted: Class that the setting predicts which misses it.
    """

    path: str
    picture: Picture
    is_small: bool
    alt: str
    true: int
    predicted: int


def galleries(contents: Contents) -> dict[str, list[Shown]]:
    """Images by the heading above them; none at all without predictions to compare."""
    if contents.predictions is None or contents.best is None:
        return {}
    ours, theirs = contents.predictions
    images, best = contents.folder.images, contents.best.title
    found = choose_examples(images, ours, theirs)
    lost = choose_examples(images, theirs, ours)
    return {
        f"{best} finds, cross-entropy misses": [_shown(contents, one) for one in found],
        f"cross-entropy finds, {best} misses": [_shown(contents, one) for one in lost],
    }


def _shown(contents: Contents, example: Example) -> Shown:
    images, names = contents.folder.images, contents.class_names
    path = images.paths[example.row]
    picture = thumbnail(contents.root, path, sha256=images.sha256[example.row], rule=images.rule)
    true, other = names[example.true], names[example.predicted[1]]
    chances = f"{example.probability[0]:.2f} against {example.probability[1]:.2f}"
    return Shown(
        path,
        picture,
        max(picture.width, picture.height) < _PIXELATED_BELOW,
        f"{true}, missed as {other}; probability of {true} {chances}; {path}",
        example.true,
        example.predicted[1],
    )


def rare_classes(labels: Int64, *, n_classes: int) -> list[int]:
    """Classes no larger than the median one, never all, the rarest first."""
    counts = np.bincount(labels, minlength=n_classes)
    order = [int(k) for k in np.argsort(counts, kind="stable")]
    rare = [k for k in order if counts[k] <= np.median(counts)]
    return rare[: max(1, n_classes - 1)]


def choose_examples(
    images: ImageTable,
    ours: Float32,
    theirs: Float32,
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


def thumbnail(
    root: Path | None, path: str, *, sha256: str, rule: PixelRule = EACH_FILE
) -> Picture:
    """A small picture of an image, or the reason why it cannot be shown.

    Args:
        root: Folder of the data, or None when it is not known.
        path: Of the image, below it.
        sha256: Hash of the bytes that the study was made from.
        rule: How the file is read.
    """
    if root is None:
        return Picture("", 0, 0, "data not found")
    try:
        data = read_bytes(root / path)
        if hashlib.sha256(data).hexdigest() != sha256:
            return Picture("", 0, 0, "file has changed")
        picture = decode_rgb(data, name=path, rule=rule)
    except DataError as error:
        return Picture("", 0, 0, error.what.removeprefix("image "))
    picture.thumbnail((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    return Picture(f"data:image/jpeg;base64,{text}", picture.width, picture.height, "")
