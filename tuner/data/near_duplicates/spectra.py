"""Middle frequencies of small grey pictures: where their grains and edges lie.

Features say that two images are of one kind; a texture's are all of one kind. Where its grains lie
is in the phases of its spectrum, which another piece of the same texture does not share.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tuner.arrays import Bool, Complex64, Float32, Int64
from tuner.data.decoding.resize import resize
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.images import decode_rgb, read_bytes

SIDE = 64  # of the small grey pictures, in pixels: half a pixel of what the band can show
LOWEST, HIGHEST = 2, 16  # cycles across the picture: below is lighting, above JPEG and resizing

_NOISE = 1.0  # grey levels, what rounding to 8 bits and JPEG put into a flat picture
_LEAST_WEIGHT = 0.2  # share of frequencies that stand out of the noise; real pictures: above 0.35

# Borders are no edges of the picture.
_EDGE = np.minimum(1, 3 * np.hanning(SIDE + 2)[1:-1])
_WINDOW = np.outer(_EDGE, _EDGE).astype(np.float32)
_NOISE_POWER = _NOISE**2 * (_WINDOW**2).sum()

# Vertical cycles in the order of NumPy's FFT.
ROWS = np.r_[0 : HIGHEST + 1, -HIGHEST:0]
COLUMNS = np.arange(HIGHEST + 1)
BAND = len(ROWS), len(COLUMNS)
_CYCLES = np.hypot(ROWS[:, None], COLUMNS)
IS_MIDDLE = (_CYCLES >= LOWEST) & (_CYCLES <= HIGHEST)
N_TIMES = np.where(COLUMNS > 0, 2, 1)  # a real picture's other half

# A quarter of the plane's half, each cell once for both diagonals.
_ACROSS, _DOWN = np.triu_indices(HIGHEST + 1)
_IN_BAND = IS_MIDDLE[_ACROSS, _DOWN]
_ACROSS, _DOWN = _ACROSS[_IN_BAND], _DOWN[_IN_BAND]
N_POWERS = len(_ACROSS)


class Spectrum(NamedTuple):
    """One picture.

    Attributes:
        band: complex64 (33, 17), vertical and horizontal cycles, all of nearly one weight; of
            length 1.
        power: Logarithm of the power, the same for a turned and a mirrored picture, float32
            (n_powers,).
        is_plain: Whether there is too little structure to compare.
    """

    band: Complex64
    power: Float32
    is_plain: bool


class Spectra(NamedTuple):
    """Those of all pictures; an image takes 2.8 kB.

    Attributes:
        bands: float16 (n_images, 33, 17, 2), real and imaginary parts (see `complex_bands`).
        power: float32 (n_images, n_powers).
        is_plain: bool (n_images,).
        side: Shorter side of each file's picture in pixels, int64 (n_images,).
    """

    bands: NDArray[np.float16]
    power: Float32
    is_plain: Bool
    side: Int64


def read_spectra(
    files: Sequence[Path],
    *,
    rule: PixelRule = EACH_FILE,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Spectra:
    """Read every file, on all cores.

    Args:
        files: Every image, n_images of them.
        rule: How they are read.
        on_progress: Called with (files done, files to read).

    Raises:
        DataError: If a file cannot be read any more.
    """
    n = len(files)
    bands = np.zeros((n, *BAND, 2), dtype=np.float16)
    power = np.zeros((n, N_POWERS), dtype=np.float32)
    is_plain, side = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.int64)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # with more, they wait for one another
        for row, (found, shorter) in enumerate(pool.map(partial(_read, rule=rule), files)):
            bands[row], power[row] = as_halves(found.band), found.power
            is_plain[row], side[row] = found.is_plain, shorter
            on_progress(row + 1, n)
    return Spectra(bands, power, is_plain, side)


def spectrum(picture: Image.Image) -> Spectrum:
    """Of one picture."""
    pixels = np.asarray(resize(picture.convert("L"), SIDE), dtype=np.float32)
    whole = np.fft.rfft2((pixels - pixels.mean()) * _WINDOW)[ROWS, : HIGHEST + 1]
    strength = np.abs(whole) ** 2 + _NOISE_POWER
    band = whole * IS_MIDDLE / np.sqrt(strength)
    weight = (N_TIMES * np.abs(band) ** 2).sum()
    logarithm = np.log(strength)
    upper, lower = logarithm[: HIGHEST + 1], logarithm[-np.arange(HIGHEST + 1)]
    quarter = upper + lower  # the same for a mirrored picture, and with its transpose when turned
    power = (quarter + quarter.T)[_ACROSS, _DOWN] / 4
    return Spectrum(
        (band / max(np.sqrt(weight), 1e-6)).astype(np.complex64),
        power.astype(np.float32),
        bool(weight < _LEAST_WEIGHT * (N_TIMES * IS_MIDDLE).sum()),
    )


def as_halves(bands: Complex64) -> NDArray[np.float16]:
    """Complex numbers in half of the memory, float16 (..., 2); they keep three digits."""
    return np.stack([bands.real, bands.imag], axis=-1).astype(np.float16)


def complex_bands(halves: NDArray[np.float16]) -> Complex64:
    """Complex numbers from `as_halves`."""
    whole = np.ascontiguousarray(halves, dtype=np.float32)
    found: Complex64 = whole.view(np.complex64)[..., 0]
    return found


def _read(path: Path, *, rule: PixelRule) -> tuple[Spectrum, int]:
    picture = decode_rgb(read_bytes(path), name=str(path), rule=rule)
    return spectrum(picture), min(picture.size)
