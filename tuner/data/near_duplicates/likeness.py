"""Whether two pictures show the same pixels, shifted, mirrored or turned: phase correlation.

Where a camera stands still, any two pictures agree in frame, design and shading. What an image's
neighbours all share is therefore taken away before two are compared; copies, and the same part
under other light, still agree in the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuner.arrays import Complex64, Float32, Int64
from tuner.data.near_duplicates.neighbours import Pairs
from tuner.data.near_duplicates.spectra import (
    BAND,
    COLUMNS,
    HIGHEST,
    IS_MIDDLE,
    N_TIMES,
    ROWS,
    SIDE,
    as_halves,
    complex_bands,
)

_FARTHEST = SIDE // 4  # shift to either side
_SHIFTS = np.arange(-_FARTHEST, _FARTHEST + 1)  # Python counts negative shifts from the end
_PAIRS_AT_ONCE = 512
_N_UPRIGHT = 2
_IMAGES_AT_ONCE = 256
_NEXT_TO_NOTHING = 0.95  # of a length of 1: with more left, the picture stays whole

_HALF = np.r_[HIGHEST : 2 * HIGHEST + 1, 0:HIGHEST]  # of the square's rows, in the band's order
# (transposed, upside down, left to right) of the second picture: every turn and mirror image,
# the upright ones first.
_TURNS = [(t, u, m) for t in (False, True) for u in (False, True) for m in (False, True)]

_ANGLE = np.degrees(np.arctan2(np.broadcast_to(ROWS[:, None], BAND), COLUMNS)) % 180
_SECTOR = ((_ANGLE + 22.5) // 45).astype(np.int64) % 4
_IS_SECTOR = np.stack([(k == _SECTOR) & IS_MIDDLE for k in range(4)])


class Unshared(NamedTuple):
    """What is left of each picture without what its neighbours share.

    Attributes:
        bands: As those of `Spectra`, of length 1.
        left: Length before, float32 (n_images,): 1 where neighbours share nothing, 0 where they
            are all one picture.
    """

    bands: NDArray[np.float16]
    left: Float32


class Agreement(NamedTuple):
    """How far two pictures agree.

    Attributes:
        likeness: Highest correlation over shifts of up to a quarter of the side, over turns by
            quarters and mirror images; float32 (n_pairs,): 1 for the same and about 0.2 for
            strangers. All frequencies weigh the same, so that neither lighting nor one strong edge
            decides. Under larger shifts any two spots on an even ground would agree.
        upright: The same over the picture as it is and mirrored left to right: the highest of
            eight is higher for round things on an even ground, too.
        evenness: At the highest correlation, the second lowest of those in four directions of the
            plane; float32 (n_pairs,). Lines of one direction alone, as a printing screen leaves
            them, make two pictures alike and not the same.
    """

    likeness: Float32
    upright: Float32
    evenness: Float32


def without_shared(bands: NDArray[np.float16], neighbours: Int64) -> Unshared:
    """Take from each picture what its neighbours share.

    That is the mean of their bands, less what a mean of as many strangers would hold.

    Args:
        bands: Of `Spectra`, float16 (n_images, 33, 17, 2).
        neighbours: Of each image, int64 (n_images, k).
    """
    n_images, k = neighbours.shape
    rest, left = np.zeros_like(bands), np.zeros(n_images, dtype=np.float32)

    def take_away(top: int) -> None:
        part = slice(top, top + _IMAGES_AT_ONCE)
        own, others = complex_bands(bands[part]), complex_bands(bands[neighbours[part]])
        less = own
        if k:
            mean = others.mean(axis=1)
            chance = (np.abs(others) ** 2).mean(axis=1) / k
            less = own - mean * np.maximum(0, 1 - chance / np.maximum(np.abs(mean) ** 2, 1e-20))
        length = np.sqrt((N_TIMES * np.abs(less) ** 2).sum(axis=(1, 2)))
        is_whole = length >= _NEXT_TO_NOTHING
        less[is_whole] = own[is_whole]
        scale = np.where(is_whole, 1, np.maximum(length, 1e-6)).astype(np.float32)
        rest[part] = as_halves(less / scale[:, None, None])
        left[part] = length

    _on_all_cores(take_away, range(0, n_images, _IMAGES_AT_ONCE))
    return Unshared(rest, left)


def agreement(bands: NDArray[np.float16], pairs: Pairs, *, floor: float = 0.0) -> Agreement:
    """How far the pictures of each pair agree.

    Args:
        bands: Of `Spectra` or `Unshared`.
        pairs: Which.
        floor: Likeness below which nobody asks for the evenness; it is 0 there.
    """
    likeness, upright, evenness = (np.zeros(len(pairs.first), np.float32) for _ in range(3))

    def compare(top: int) -> None:
        part = slice(top, top + _PAIRS_AT_ONCE)
        first = complex_bands(bands[pairs.first[part]])
        second = complex_bands(bands[pairs.second[part]])
        found = _best(first, second)
        likeness[part], upright[part] = found.likeness.clip(0, 1), found.upright.clip(0, 1)
        rows = np.flatnonzero(likeness[part] >= floor)
        evenness[top + rows] = _evenness(first, second, found, rows).clip(0, 1)

    _on_all_cores(compare, range(0, len(likeness), _PAIRS_AT_ONCE))
    return Agreement(likeness, upright, evenness)


class _Best(NamedTuple):
    """The turn and the shift at which pairs agree best: arrays of shape (n_pairs,)."""

    likeness: Float32
    upright: Float32
    turn: Int64
    down: Int64
    right: Int64


def _best(first: Complex64, second: Complex64) -> _Best:
    n_pairs = len(first)
    rows = np.arange(n_pairs)
    highest = np.full(n_pairs, -1, dtype=np.float32)
    best = _Best(highest, highest.copy(), *(np.zeros(n_pairs, np.int64) for _ in range(3)))
    square = _square(second)
    for number, turn in enumerate(_TURNS):
        surface = _correlation(first, _turned(square, turn)).reshape(n_pairs, -1)
        place = surface.argmax(axis=1)
        peak = surface[rows, place]
        is_higher = peak > best.likeness
        best.likeness[is_higher] = peak[is_higher]
        best.turn[is_higher] = number
        best.down[is_higher] = _SHIFTS[place // len(_SHIFTS)][is_higher]
        best.right[is_higher] = _SHIFTS[place % len(_SHIFTS)][is_higher]
        if number < _N_UPRIGHT:
            best.upright[:] = best.likeness
    return best


def _evenness(first: Complex64, second: Complex64, best: _Best, rows: Int64) -> Float32:
    """Of some of the pairs, float32 (n_rows,)."""
    if not len(rows):
        return np.empty(0, dtype=np.float32)
    first, square = first[rows], _square(second[rows])
    turned = np.empty_like(first)
    for number in np.unique(best.turn[rows]):
        is_so = best.turn[rows] == number
        turned[is_so] = _turned(square[is_so], _TURNS[number])
    down, right = (x[rows].astype(np.float32)[:, None, None] for x in (best.down, best.right))
    phase = np.exp(2j * np.pi / SIDE * (ROWS[:, None] * down + COLUMNS * right))
    weights = _IS_SECTOR * N_TIMES
    product = np.einsum("prc,src->ps", (first * turned.conj() * phase).real, weights)
    power = [np.einsum("prc,src->ps", np.abs(x) ** 2, weights) for x in (first, turned)]
    found: Float32 = (product / np.sqrt(power[0] * power[1] + 1e-12)).astype(np.float32)
    return np.sort(found, axis=1)[:, 1]


def _square(bands: Complex64) -> Complex64:
    """The band with its other half, complex64 (n, 33, 33), cycles from -16 to 16 both ways."""
    n = len(bands)
    square = np.empty((n, BAND[0], BAND[0]), dtype=np.complex64)
    right = np.concatenate([bands[:, HIGHEST + 1 :], bands[:, : HIGHEST + 1]], axis=1)
    square[:, :, HIGHEST:] = right
    square[:, :, :HIGHEST] = right[:, ::-1, :0:-1].conj()
    return square


def _turned(square: Complex64, turn: tuple[bool, bool, bool]) -> Complex64:
    """The band of the picture after a turn."""
    is_transposed, is_upside_down, is_mirrored = turn
    found = square.transpose(0, 2, 1) if is_transposed else square
    found = found[:, :: -1 if is_upside_down else 1, :: -1 if is_mirrored else 1]
    return found[:, _HALF, HIGHEST:]


def _correlation(first: Complex64, second: Complex64) -> Float32:
    """Correlation of each pair at each shift, float32 (n_pairs, 33, 33)."""
    padded = np.zeros((len(first), SIDE, len(COLUMNS)), dtype=np.complex64)
    padded[:, ROWS] = first * second.conj()
    columns = np.fft.ifft(padded, axis=1)[:, _SHIFTS]
    surface = np.fft.irfft(columns, n=SIDE, axis=2)[:, :, _SHIFTS]
    return (surface * SIDE**2).astype(np.float32)


def _on_all_cores(work: Callable[[int], None], parts: range) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(work, parts):
            pass
