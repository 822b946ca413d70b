"""Which images may show the same picture: the nearest in features, in spectra and by name.

Proposals only: the pixels decide. Measured in ``docs/notes/015-what-neighbours-share.md``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from tuner.arrays import Float32, Float64, Int64

N_NEIGHBOURS = 20  # an image has a few near-duplicates, and on textures some kin that look nearer
N_BY_POWER = 5  # near in the power of their spectra, which a turn or a mirror leaves as it is

_N_DIRECTIONS = 256  # all weighing the same: the strongest say what kind of picture it is
_N_POWERS = 64
_AS_MANY = 50  # files of one stem beyond which it is no name of a picture, but of a series
_BLOCK = 4096
_NO_DIRECTION = 1e-5  # of a feature's length: what rounding leaves of one that is the mean

_RF = r"[._]rf[._][0-9a-zA-Z]{8,}"  # Roboflow: x_jpg.rf.HASH.jpg
_ROBOFLOW = re.compile(rf"{_RF}$")
# What tools append to the name of a copy. A counter in brackets is how file managers call copies,
# and how people number photographs: that the name is the same proposes, and proves nothing.
_COPY = re.compile(
    rf"""(?:
        {_RF}
      | [\s_-]*\(\d{{1,3}}\)                     # x (1).jpg
      | [\s_-]+(?:copy|kopie|copie)[\s_-]*\d*    # x - Copy.jpg, x_copy2.jpg
      | [\s_-]+aug(?:mented)?[\s_-]*\d*          # x_aug3.png
      | [\s_-]+(?:flip|flipped|mirror|mirrored|rot|rotated?|crop|cropped|hflip|vflip)[\s_-]*\d*
    )$""",
    re.VERBOSE | re.IGNORECASE,
)


class Pairs(NamedTuple):
    """Pairs of images, each once.

    Attributes:
        first: Row of one image, int64 (n_pairs,), ascending.
        second: Row of the other, always the larger.
    """

    first: Int64
    second: Int64


def nearest(
    features: Float32, *, k: int = N_NEIGHBOURS, n_directions: int = _N_DIRECTIONS
) -> Int64:
    """The nearest others of every image, int64 (n_images, k), by whitened principal components.

    Unwhitened, what kind of picture it is outweighs which one it is. Of solar cells that have a
    sister 94 % have one among their 20 nearest by centred cosine, all by the whitened one.

    Args:
        features: float32 (n_images, n_features); may be memory-mapped.
        k: Others of each image, all of them when there are fewer.
        n_directions: Principal components to keep, at most.

    Raises:
        ValueError: If features are not finite.
    """
    n_images, n_features = features.shape
    k = min(k, max(0, n_images - 1))
    if k == 0:
        return np.empty((n_images, 0), dtype=np.int64)
    directions = _whitened(features, min(n_directions, n_features, max(1, n_images // 2)))
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(directions)
    found: Int64 = search.kneighbors(return_distance=False).astype(np.int64)
    return found


def nearest_by_power(power: Float32) -> Int64:
    """The same by the power of spectra, int64 (n_images, k): turned copies are among them."""
    return nearest(power, k=N_BY_POWER, n_directions=_N_POWERS)


def of_one_name(files: Sequence[PurePath]) -> Pairs:
    """Files of one folder name whose names differ by what tools append to a copy.

    The folder's own name counts, not where it lies: tools that copy deal the copies to ``train/``
    and ``test/``, and two classes may each have a ``1.jpg``.

    Example:
        >>> of_one_name([PurePath("train/a/x.jpg"), PurePath("test/a/x (1).jpg")])
        Pairs(first=array([0]), second=array([1]))
    """
    rows: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row, file in enumerate(files):
        rows[file.parent.name, original_name(file.stem)].append(row)
    names = [file.stem for file in files]
    first: list[int] = []
    second: list[int] = []
    for (_, original), same in rows.items():
        found = {names[row] for row in same}
        # One name in two folders is no copy, and numbers without the bare name are a series;
        # Roboflow keeps no original.
        is_copied = len(found) > 1 and (original in found or all(map(_ROBOFLOW.search, found)))
        if is_copied and len(same) <= _AS_MANY:
            for place, row in enumerate(same):
                first += [row] * (len(same) - place - 1)
                second += same[place + 1 :]
    return Pairs(np.array(first, dtype=np.int64), np.array(second, dtype=np.int64))


def original_name(stem: str) -> str:
    """A file's name without what tools append to the names of copies, and without a suffix in it.

    Example:
        >>> original_name("x_jpg.rf.0123456789abcdef0123456789abcdef"), original_name("x (1)")
        ('x', 'x')
    """
    while (shorter := _COPY.sub("", stem)) and shorter != stem:
        stem = shorter
    return re.sub(r"[._](?:jpe?g|png|bmp|tiff?|webp)$", "", stem, flags=re.IGNORECASE)


def pairs_of(n_images: int, *found: Int64 | Pairs) -> Pairs:
    """Everything proposed, each pair once.

    Args:
        n_images: Rows in all.
        *found: Neighbours of every image, int64 (n_images, k), or pairs.
    """
    n, numbers = max(1, n_images), []
    for proposed in found:
        if isinstance(proposed, Pairs):
            a, b = proposed
        else:
            a, b = np.repeat(np.arange(n_images), proposed.shape[1]), proposed.ravel()
        numbers.append(np.minimum(a, b) * n + np.maximum(a, b))
    pair = np.unique(np.concatenate(numbers)) if numbers else np.empty(0, dtype=np.int64)
    return Pairs(pair // n, pair % n)


def centred_cosine(features: Float32, pairs: Pairs) -> Float32:
    """Cosine of the features of each pair, seen from the mean of all images, float32 (n_pairs,).

    Without the mean taken off, the features of any two images of one domain point the same way.
    Images that are the mean itself are alike among themselves, and like nothing else.
    """
    centre = _mean(features)
    length = np.empty(len(features), dtype=np.float32)
    for part in _parts(len(features)):
        length[part] = np.linalg.norm(features[part] - centre, axis=1)
    is_centre = length <= _NO_DIRECTION * np.linalg.norm(centre)
    found = np.empty(len(pairs.first), dtype=np.float32)
    for part in _parts(len(found)):
        a, b = pairs.first[part], pairs.second[part]
        product = np.einsum("ij,ij->i", features[a] - centre, features[b] - centre)
        neither = ~(is_centre[a] | is_centre[b])
        cosine = (is_centre[a] & is_centre[b]).astype(np.float32)
        np.divide(product, length[a] * length[b], out=cosine, where=neither)
        found[part] = cosine
    return found.clip(-1, 1)


def _whitened(features: Float32, n_directions: int) -> Float32:
    """The strongest principal components, all of variance 1, rows of length 1.

    Block by block, since features may lie on disk; scikit-learn's `PCA` copies them, and computes
    all 2,048 components where an eighth of them is asked for.
    """
    n_images, n_features = features.shape
    centre = _mean(features)
    covariance: Float64 = np.zeros((n_features, n_features))
    for part in _parts(n_images):
        centred = features[part] - centre
        covariance += centred.T @ centred
    last = n_features - 1
    variance, axes = eigh(  # in 32 bits, which takes a fifth of the time
        (covariance / n_images).astype(np.float32),
        subset_by_index=[last - n_directions + 1, last],
    )
    # Images that are all alike vary by what rounding leaves.
    scale = 1 / np.sqrt(np.maximum(variance, max(variance[-1] * 1e-7, 1e-30)))
    axes = (axes * scale).astype(np.float32)
    found = np.empty((n_images, n_directions), dtype=np.float32)
    for part in _parts(n_images):
        found[part] = normalize((features[part] - centre) @ axes)
    return found


def _mean(features: Float32) -> Float32:
    """Of all images, float32 (n_features,).

    Raises:
        ValueError: If features are not finite.
    """
    mean = features.sum(axis=0, dtype=np.float64) / max(1, len(features))
    if not np.isfinite(mean).all():
        raise ValueError("features are not finite")
    rounded: Float32 = mean.astype(np.float32)
    return rounded


def _parts(n_rows: int) -> Iterator[slice]:
    return (slice(top, top + _BLOCK) for top in range(0, n_rows, _BLOCK))
