"""Near-duplicates: which images show the same picture.

Features propose and pixels decide. Features name each image's nearest others, seen from the mean
of all images; but on textures the nearest is often only of the same kind, and no threshold parts
copies from kin. Whether two pictures agree is asked of their pixels. Measured in
``docs/notes/006-near-duplicates.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tuner.arrays import Float32, Float64, Int64
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.near_duplicates.likeness import likeness, read_spectra

# Near-duplicates have pixels that agree, and a high sum of likeness and cosine: the one is high
# for round things on an even ground, the other for pieces of a texture, both only for a copy.
SAME_PICTURE = 1.45
LEAST_LIKENESS = 0.5
SAME_FEATURES = 0.98  # cosine alone: for pictures without structure or too small to compare
N_NEIGHBOURS = 20  # an image has a few near-duplicates, and on textures some kin that look nearer

_LEAST_COSINE = SAME_PICTURE - 1 - 1e-6  # below, no likeness makes the sum
_SMALLEST_PX = 32  # shorter side below which a picture holds too few details to compare
_BLOCK = 2048  # rows; a block of features and one of similarities take 16 MiB each
_NO_DIRECTION = 1e-5  # of a feature's length: what rounding leaves of one that is the mean
_NO_SIMILARITY = np.float32(-2)


class NearDuplicates(NamedTuple):
    """Pairs of near-duplicates, from the most alike to the least, and what they link.

    Attributes:
        first: Row of one image of each pair, int64 (n_pairs,).
        second: Row of the other, always the larger.
        likeness: Agreement of their pixels, float32 (n_pairs,), in 0..1.
        cosine: Of their features, float32 (n_pairs,).
        groups: Group of each image, int64 (n_images,): images joined by a chain of pairs share
            one, and so do files of the same bytes. Numbered by their first images.
    """

    first: Int64
    second: Int64
    likeness: Float32
    cosine: Float32
    groups: Int64


class Neighbours(NamedTuple):
    """Pairs of images that are near in features, each once.

    Attributes:
        first: Row of one image, int64 (n_pairs,), ascending.
        second: Row of the other, always the larger.
        cosine: Cosine of the features, seen from their mean, float32 (n_pairs,).
    """

    first: Int64
    second: Int64
    cosine: Float32


def find_near_duplicates(
    features: Float32,
    files: Sequence[Path],
    *,
    sha256: Sequence[str],
    rule: PixelRule = EACH_FILE,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> NearDuplicates:
    """Find the near-duplicates among all images; no label is asked.

    Args:
        features: Of the images themselves, float32 (n_images, n_features).
        files: Where they lie; those with a neighbour that may be their copy are read once more.
        sha256: Hash of each file; files of the same bytes share a group whatever they show.
        rule: How they are read.
        on_progress: Called with (files read, files to read).

    Raises:
        DataError: If a file cannot be read any more.
        ValueError: If features are not finite or do not fit the files.
    """
    n_images = len(files)
    if not len(features) == n_images == len(sha256):
        raise ValueError(f"{len(features)} features, {len(sha256)} hashes, {n_images} files")
    near = nearest_images(features)
    is_near = near.cosine >= _LEAST_COSINE
    near = Neighbours(near.first[is_near], near.second[is_near], near.cosine[is_near])
    rows = np.unique(np.concatenate([near.first, near.second]))
    spectra = read_spectra(files, rows, rule=rule, on_progress=on_progress)
    found = likeness(spectra.bands, near.first, near.second)
    side = np.minimum(spectra.side[near.first], spectra.side[near.second])
    is_same = (found + near.cosine >= SAME_PICTURE) & (found >= LEAST_LIKENESS)
    is_found = (is_same & (side >= _SMALLEST_PX)) | (near.cosine >= SAME_FEATURES)
    order = np.argsort(-found[is_found], kind="stable")
    first, second = near.first[is_found][order], near.second[is_found][order]
    a, b = _same_files(sha256)
    groups = linked_groups(n_images, np.concatenate([first, a]), np.concatenate([second, b]))
    return NearDuplicates(
        first, second, found[is_found][order], near.cosine[is_found][order], groups
    )


def nearest_images(features: Float32, *, n_neighbours: int = N_NEIGHBOURS) -> Neighbours:
    """Every image with its nearest others, by centred cosine, block by block.

    Each block of similarities serves its rows and its columns, which halves the work of
    scikit-learn's `NearestNeighbors`. Without the mean taken off, the features of any two images
    of one domain point the same way.
    Beside `features`, which may be memory-mapped, it takes about 150 MB and the pairs.

    Args:
        features: float32 (n_images, n_features).
        n_neighbours: Others of each image, all of them when there are fewer.

    Raises:
        ValueError: If features are not finite.
    """
    n_images = len(features)
    k = min(n_neighbours, max(0, n_images - 1))
    cosine = np.full((n_images, k), _NO_SIMILARITY, dtype=np.float32)
    other = np.zeros((n_images, k), dtype=np.int64)
    centre: Float64 = features.sum(axis=0, dtype=np.float64) / max(1, n_images)
    for top in range(0, n_images if k else 0, _BLOCK):
        rows = _directions(features[top : top + _BLOCK], centre)
        for left in range(top, n_images, _BLOCK):
            columns = rows if left == top else _directions(features[left : left + _BLOCK], centre)
            similarity = rows @ columns.T
            if left == top:
                np.fill_diagonal(similarity, _NO_SIMILARITY)
            else:
                _keep_nearest(cosine, other, similarity.T, top=left, left=top)
            _keep_nearest(cosine, other, similarity, top=top, left=left)
    row = np.repeat(np.arange(n_images), k)
    pair = np.minimum(row, other.ravel()) * n_images + np.maximum(row, other.ravel())
    pair, place = np.unique(pair, return_index=True)
    found = np.minimum(cosine.ravel()[place], np.float32(1))
    n = max(1, n_images)
    return Neighbours(pair // n, pair % n, found)


def linked_groups(n_images: int, first: Int64, second: Int64) -> Int64:
    """Group of each image when pairs link, int64 (n_images,), numbered by their first images.

    Example:
        >>> linked_groups(5, np.array([3, 0]), np.array([1, 3]))
        array([0, 0, 1, 0, 2])
    """
    links = coo_array((np.ones(len(first), np.bool_), (first, second)), shape=(n_images, n_images))
    _, group = connected_components(links, directed=False)
    _, first_row, group = np.unique(group, return_index=True, return_inverse=True)
    number: Int64 = np.empty(len(first_row), dtype=np.int64)
    number[np.argsort(first_row)] = np.arange(len(first_row))
    return number[group]


def _directions(features: Float32, centre: Float64) -> Float32:
    """Unit vectors from the centre, float32 (n_rows, n_features + 1).

    The last column stands for those that are the centre itself: alike among themselves, and
    like nothing else.
    """
    centred = features - centre.astype(np.float32)
    length = np.linalg.norm(centred, axis=1)
    if not np.isfinite(length).all():
        raise ValueError("features are not finite")
    is_centre = length <= _NO_DIRECTION * np.linalg.norm(centre)
    found = np.zeros((len(features), features.shape[1] + 1), dtype=np.float32)
    np.divide(centred, length[:, None], out=found[:, :-1], where=~is_centre[:, None])
    found[is_centre, -1] = 1
    return found


def _keep_nearest(
    cosine: Float32, other: Int64, similarity: Float32, *, top: int, left: int
) -> None:
    """Put what is nearer than the neighbours known so far into `cosine` and `other`.

    Args:
        cosine: Of the neighbours known, float32 (n_images, k).
        other: Their rows, int64 (n_images, k).
        similarity: Of a block, its rows those of the images from `top` on.
        top: First image of the block's rows.
        left: First image of its columns.
    """
    k = cosine.shape[1]
    known = cosine[top : top + len(similarity)]
    better = np.flatnonzero(similarity.max(axis=1) > known.min(axis=1))
    if not len(better):
        return
    similarity = similarity[better]
    place = np.argpartition(similarity, -min(k, similarity.shape[1]), axis=1)[:, -k:]
    values = np.hstack([known[better], np.take_along_axis(similarity, place, axis=1)])
    rows = np.hstack([other[top + better], place + left])
    best = np.argpartition(values, -k, axis=1)[:, -k:]
    cosine[top + better] = np.take_along_axis(values, best, axis=1)
    other[top + better] = np.take_along_axis(rows, best, axis=1)


def _same_files(sha256: Sequence[str]) -> tuple[Int64, Int64]:
    """The first file of the same bytes, and each later one."""
    place: dict[str, int] = {}
    first = np.array([place.setdefault(name, row) for row, name in enumerate(sha256)], np.int64)
    later = np.flatnonzero(first < np.arange(len(first)))
    return first[later], later
