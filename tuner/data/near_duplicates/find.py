"""Near-duplicates: which images show the same picture.

Neighbours and names propose, pixels decide: on textures the nearest image is often only of the
same kind, and where a camera stands still every image looks like every other. No label is asked.
Measured in ``docs/notes/006-near-duplicates.md`` and ``015-what-neighbours-share.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tuner.arrays import Bool, Float32, Int64
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.near_duplicates.likeness import Agreement, Unshared, agreement, without_shared
from tuner.data.near_duplicates.neighbours import (
    Pairs,
    centred_cosine,
    nearest,
    nearest_by_power,
    of_one_name,
    pairs_of,
)
from tuner.data.near_duplicates.spectra import Spectra, read_spectra

# Near-duplicates have pixels that agree, and a high sum of likeness and cosine: the one is high
# for round things on an even ground, the other for pieces of a texture, both only for a copy.
SAME_PICTURE = 1.45
LEAST_LIKENESS = 0.5
# Features of turned copies, and under other light, part; then the pixels alone must be sure.
SURE_OF_PIXELS = 0.84
# Where neighbours share a part of the picture, what is left must agree in every direction.
SHARES_NOTHING = 0.85
EVEN_ENOUGH = 0.65
# A name that says "copy" needs less.
SAME_NAME_LIKENESS = 0.4
SAME_NAME_COSINE = 0.8
# Of pictures too small or too plain to compare, by cosine alone.
SAME_FEATURES = 0.98
# And where the neighbours are all one picture, as in a burst, nothing is left to compare: then
# the pictures as they are must agree.
SAME_AS_ALL = 0.28
SAME_IN_BURST = 0.9

_SMALLEST_PX = 32  # shorter side below which a picture holds too few details to compare


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
        files: Where they lie; each is read once more.
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
    neighbours = nearest(features)
    spectra = read_spectra(files, rule=rule, on_progress=on_progress)
    named = of_one_name(files)
    pairs = pairs_of(n_images, neighbours, nearest_by_power(spectra.power), named)
    cosine = centred_cosine(features, pairs)
    rest = without_shared(spectra.bands, neighbours)
    found = agreement(rest.bands, pairs, floor=SAME_NAME_LIKENESS)
    shared = rest.left[pairs.first] * rest.left[pairs.second]
    can_compare = _can_be_compared(spectra, pairs)
    is_same = can_compare & (_is_same(found, cosine, shared) | _in_burst(spectra, rest, pairs))
    is_same |= ~can_compare & (cosine >= SAME_FEATURES)
    is_same |= _are_among(named, pairs, n_images) & (
        (can_compare & (found.likeness >= SAME_NAME_LIKENESS)) | (cosine >= SAME_NAME_COSINE)
    )
    order = np.argsort(-found.likeness[is_same], kind="stable")
    first, second = pairs.first[is_same][order], pairs.second[is_same][order]
    a, b = _same_files(sha256)
    groups = linked_groups(n_images, np.concatenate([first, a]), np.concatenate([second, b]))
    likest = found.likeness[is_same][order]
    return NearDuplicates(first, second, likest, cosine[is_same][order], groups)


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


def _is_same(found: Agreement, cosine: Float32, shared: Float32) -> Bool:
    """Which pairs that can be compared show the same picture."""
    agrees = (found.upright >= LEAST_LIKENESS) & (found.upright + cosine >= SAME_PICTURE)
    is_even = (shared >= SHARES_NOTHING) | (found.evenness >= EVEN_ENOUGH)
    is_sure = found.evenness >= SURE_OF_PIXELS
    return (agrees & is_even) | is_sure


def _in_burst(spectra: Spectra, rest: Unshared, pairs: Pairs) -> Bool:
    """Which pairs are of one picture that all their neighbours show, too."""
    left = np.maximum(rest.left[pairs.first], rest.left[pairs.second])
    places = np.flatnonzero(left <= SAME_AS_ALL)
    some = Pairs(pairs.first[places], pairs.second[places])
    found = np.zeros(len(left), dtype=np.bool_)
    found[places] = agreement(spectra.bands, some).likeness >= SAME_IN_BURST
    return found


def _can_be_compared(spectra: Spectra, pairs: Pairs) -> Bool:
    can: Bool = (spectra.side >= _SMALLEST_PX) & ~spectra.is_plain
    return can[pairs.first] & can[pairs.second]


def _are_among(some: Pairs, pairs: Pairs, n_images: int) -> Bool:
    """Which of the pairs are among some others."""
    number = pairs.first * n_images + pairs.second
    return np.isin(number, some.first * n_images + some.second)


def _same_files(sha256: Sequence[str]) -> tuple[Int64, Int64]:
    """The first file of the same bytes, and each later one."""
    place: dict[str, int] = {}
    first = np.array([place.setdefault(name, row) for row, name in enumerate(sha256)], np.int64)
    later = np.flatnonzero(first < np.arange(len(first)))
    return first[later], later
