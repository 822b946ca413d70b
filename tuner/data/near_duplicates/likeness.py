"""Whether two pictures show the same pixels, shifted or mirrored a little: phase correlation.

Features say that two images are of one kind; a texture's are all of one kind. Where its grains lie
is in the phases of its spectrum, which another piece of the same texture does not share.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tuner.arrays import Complex64, Float32, Int64
from tuner.data.decoding.resize import resize
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.images import decode_rgb, read_bytes

_SIDE = 64  # of the small grey pictures, in pixels: half a pixel of what the band can show
_LOWEST, _HIGHEST = 2, 16  # cycles across the picture: below is lighting, above JPEG and resizing
_NOISE = 1.0  # grey levels, what rounding to 8 bits and JPEG put into a flat picture
_FARTHEST = _SIDE // 4  # shift to either side
_PAIRS_AT_ONCE = 512

# Borders are no edges of the picture.
_EDGE = np.minimum(1, 3 * np.hanning(_SIDE + 2)[1:-1])
_WINDOW = np.outer(_EDGE, _EDGE).astype(np.float32)
_NOISE_POWER = _NOISE**2 * (_WINDOW**2).sum()

# Vertical cycles in the order of NumPy's FFT, and the places of those of the mirrored picture.
_ROWS = np.r_[0 : _HIGHEST + 1, -_HIGHEST:0]
_MIRRORED = np.r_[0, 2 * _HIGHEST : 0 : -1]
_BAND = len(_ROWS), _HIGHEST + 1
_CYCLES = np.hypot(_ROWS[:, None], np.arange(_HIGHEST + 1))
_IS_MIDDLE = (_CYCLES >= _LOWEST) & (_CYCLES <= _HIGHEST)
_N_TIMES = np.where(np.arange(_HIGHEST + 1) > 0, 2, 1)  # a real picture's other half


class Spectra(NamedTuple):
    """Middle frequencies of grey pictures, all of nearly one weight.

    Attributes:
        bands: complex64 (n_images, 33, 17), vertical and horizontal cycles; of length 1, and 0
            for a picture without structure and where none was asked for.
        side: Shorter side of each file's picture in pixels, int64 (n_images,); 0 likewise.
    """

    bands: Complex64
    side: Int64


def read_spectra(
    files: Sequence[Path],
    rows: Int64,
    *,
    rule: PixelRule = EACH_FILE,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Spectra:
    """Read some of the files, on all cores; an image takes 4.5 kB.

    Args:
        files: Every image, n_images of them.
        rows: Places in `files` of those to read.
        rule: How they are read.
        on_progress: Called with (files done, files to read).

    Raises:
        DataError: If a file cannot be read any more.
    """
    bands = np.zeros((len(files), *_BAND), dtype=np.complex64)
    side = np.zeros(len(files), dtype=np.int64)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # with more, they wait for one another
        read = pool.map(lambda file: _read(file, rule), (files[row] for row in rows.tolist()))
        for done, (row, found) in enumerate(zip(rows.tolist(), read, strict=True), start=1):
            bands[row], side[row] = found
            on_progress(done, len(rows))
    return Spectra(bands, side)


def spectrum(picture: Image.Image) -> Complex64:
    """Band of one picture, complex64 (33, 17), as `Spectra` holds it."""
    pixels = np.asarray(resize(picture.convert("L"), _SIDE), dtype=np.float32)
    whole = np.fft.rfft2((pixels - pixels.mean()) * _WINDOW)
    band = whole[_ROWS, : _HIGHEST + 1] * _IS_MIDDLE
    band /= np.sqrt(np.abs(band) ** 2 + _NOISE_POWER)
    length = np.sqrt((_N_TIMES * np.abs(band) ** 2).sum())
    found: Complex64 = (band / max(length, 1e-6)).astype(np.complex64)
    return found


def likeness(bands: Complex64, first: Int64, second: Int64) -> Float32:
    """How far the pictures of each pair agree, 1 for the same and about 0.2 for strangers.

    The highest correlation over shifts of up to a quarter of the side, as they are and mirrored
    left to right. All frequencies weigh the same, so that neither lighting nor one strong edge
    decides. Under larger shifts any two spots on an even ground would agree.

    Args:
        bands: Of `Spectra`, complex64 (n_images, 33, 17).
        first: Row of one picture of each pair, int64 (n_pairs,).
        second: Row of the other.

    Returns:
        float32 (n_pairs,), in 0..1.
    """
    found = np.zeros(len(first), dtype=np.float32)
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        a, b = bands[first[part]], bands[second[part]]
        as_is, mirrored = _peak(a * b.conj()), _peak(a * b[:, _MIRRORED])
        found[part] = np.maximum(as_is, mirrored).clip(0, 1)
    return found


def _read(path: Path, rule: PixelRule) -> tuple[Complex64, int]:
    picture = decode_rgb(read_bytes(path), name=str(path), rule=rule)
    return spectrum(picture), min(picture.size)


def _peak(product: Complex64) -> Float32:
    """Highest correlation over the shifts, float32 (n_pairs,), of products of two bands."""
    padded = np.zeros((len(product), _SIDE, product.shape[2]), dtype=np.complex64)
    padded[:, _ROWS] = product
    near = np.arange(-_FARTHEST, _FARTHEST + 1)  # Python counts negative shifts from the end
    columns = np.fft.ifft(padded, axis=1)[:, near]
    correlation = np.fft.irfft(columns, n=_SIDE, axis=2)[:, :, near] * _SIDE**2
    peak: Float32 = correlation.max(axis=(1, 2)).astype(np.float32)
    return peak
