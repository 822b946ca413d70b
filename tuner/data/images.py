"""Pictures from files: RGB as a viewer shows them, or one DataError that says why not.

Pillow only. Every pixel rule of the design's "decode" and "resize" steps is here and nowhere
else, so the index, the feature bank and `predict` see the same picture.
"""

from __future__ import annotations

import functools
import io
import os
import re
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from tuner.arrays import UInt8
from tuner.errors import DataError
from tuner.text import first_line

# Where Pillow starts to warn of a decompression bomb (about 0.25 GiB of RGB); here it is an error.
MAX_PIXELS = 89_478_485
MAX_FILE_BYTES = 512 * 2**20

# An allow-list, because Pillow also reads formats that run other programs (EPS through
# Ghostscript) or that open almost anything. Formats a build of Pillow lacks are passed over.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "PPM", "TIFF", "WEBP", "MPO", "JPEG2000", "AVIF")
# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".ppm", ".pgm",
    ".pbm", ".pnm", ".pfm", ".tif", ".tiff", ".webp", ".jp2", ".j2k", ".jpf", ".jpx", ".avif",
})
# fmt: on

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
# PNG writes a transparent gray in the file's own bits; Pillow widens the pixels but not that.
_PNG_GRAY_STEP = {"L;2": 85, "L;4": 17}
_PILLOW_MODULES = r"PIL\."
_PILLOW_WARNINGS = ("ignore", None, Warning, re.compile(_PILLOW_MODULES), 0)


def read_image(path: Path, *, image_px: int) -> UInt8:
    """Read one picture as a square RGB array.

    Orientation from EXIF or XMP is applied, alpha is flattened on white, of an animation the
    first frame is taken, and the sides are resized alike (bilinear with antialiasing) without
    keeping their ratio. May be called from many threads.

    Args:
        path: The file.
        image_px: Side of the result, in pixels.

    Returns:
        uint8 of shape (image_px, image_px, 3), 0-255, writable.

    Raises:
        DataError: If the file cannot be opened or decoded whole, or is too large.
    """
    return read_image_bytes(read_bytes(path), name=str(path), image_px=image_px)


def read_image_bytes(data: bytes, *, name: str, image_px: int) -> UInt8:
    """`read_image` of a file's bytes; `name` is what errors call the file."""
    picture = decode_rgb(data, name=name)
    return np.array(picture.resize((image_px, image_px), Image.Resampling.BILINEAR))


def read_bytes(path: Path) -> bytes:
    """Bytes of a regular file of bounded size.

    Raises:
        DataError: If the file is missing, forbidden, not a regular file or too large.
    """
    try:
        status = os.stat(path)  # before opening: a pipe would block
        if not stat.S_ISREG(status.st_mode):
            raise _bad_image("is not a regular file", name=str(path))
        if status.st_size > MAX_FILE_BYTES:
            size, limit = status.st_size / 2**20, MAX_FILE_BYTES // 2**20
            raise _bad_image(f"is too large: {size:,.0f} MiB, limit {limit} MiB", name=str(path))
        with open(path, "rb") as file:
            return file.read(MAX_FILE_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise _bad_image(f"cannot be opened: {reason}", name=str(path)) from error


def decode_rgb(data: bytes, *, name: str) -> Image.Image:
    """Decode a whole image file as a viewer would show it on white paper.

    16-bit gray is scaled by 1/257. Wider gray (32-bit integers and floats) declares no range,
    so the narrowest of these that holds all its finite values is taken: 0-1 (floats only),
    0-255, 0-65535, else its own minimum to maximum; values that are not finite become 0.

    Args:
        data: The file's bytes.
        name: What errors call the file.

    Returns:
        Picture in mode RGB, upright, of the file's own size.

    Raises:
        DataError: If it is not an image, is damaged or cut off, or has too many pixels.
    """
    if not data:
        raise _bad_image("is empty (0 bytes)", name=name)
    _hush_pillow()
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{width} x {height}")
            if min(width, height) < 1:
                raise ValueError(f"{width} x {height} pixels")
            _mend_transparent_colour(picture)
            picture.load()
            rgb = _to_rgb(picture)
            turn = _TURN.get(_orientation(picture))
            return rgb if turn is None else rgb.transpose(turn)
    except Exception as error:  # hostile bytes make Pillow's plugins raise nearly anything
        raise _bad_image(_reason(error), name=name) from error


def _bad_image(reason: str, *, name: str) -> DataError:
    """Error of one file; `reason` continues the sentence "image …"."""
    do = "replace or remove the file, or leave it out with data.exclude"
    return DataError(f"image {reason}", where=name, do=do)


def _reason(error: Exception) -> str:
    """Short reason, in words, from what Pillow raised."""
    if isinstance(error, Image.DecompressionBombError):
        return f"has more than {MAX_PIXELS:,} pixels (decompression bomb?)"
    if isinstance(error, UnidentifiedImageError):  # its text holds an address in memory
        return "cannot be decoded: damaged, or not in a known image format"
    if isinstance(error, MemoryError):
        return "cannot be decoded: not enough memory"
    return f"cannot be decoded: {first_line(error)[:120]}"


def _hush_pillow() -> None:
    """Ignore Pillow's warnings: a file is either decoded or an error.

    `warnings.catch_warnings` is not safe in threads, so the filter stays in place.
    """
    if _PILLOW_WARNINGS not in warnings.filters:
        warnings.filterwarnings("ignore", module=_PILLOW_MODULES)


@functools.cache
def _formats() -> tuple[str, ...]:
    """Allowed formats that this Pillow knows."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _mend_transparent_colour(picture: ImageFile.ImageFile) -> None:
    """Bring the one transparent colour of a PNG to the depth Pillow gives its pixels."""
    colour = picture.info.get("transparency")
    if picture.format != "PNG":
        return
    if isinstance(colour, tuple) and max(colour) > 255:  # a 16-bit colour of 8-bit pixels
        picture.info["transparency"] = tuple(value >> 8 for value in colour)
    elif isinstance(colour, int) and picture.mode == "L" and picture.tile:
        picture.info["transparency"] = colour * _PNG_GRAY_STEP.get(str(picture.tile[0].args), 1)


def _orientation(picture: Image.Image) -> int:
    """EXIF or XMP orientation, 1-8; 1 when there is none or it is malformed.

    Asked after loading: Pillow turns TIFF files itself and then forgets the tag.
    """
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged note beside the pixels does not make the pixels wrong
        return 1


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Loaded picture of any mode as RGB on white."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return Image.fromarray(_gray_8_bit(picture)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    paper = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(paper, picture.convert("RGBA")).convert("RGB")


def _gray_8_bit(picture: Image.Image) -> UInt8:
    """Gray of more than 8 bits as uint8 of shape (height, width); Pillow's convert clips it."""
    values = np.asarray(picture)
    if picture.mode == "F" or (picture.mode == "I" and picture.format != "PPM"):
        return _undeclared_range(values, is_float=picture.mode == "F")
    gray = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)  # round(value / 257)
    gray[values == picture.info.get("transparency", -1)] = 255
    return gray


def _undeclared_range(values: NDArray[Any], *, is_float: bool) -> UInt8:
    """Scale by the rule in `decode_rgb`."""
    is_finite = np.isfinite(values)
    if not is_finite.any():
        raise ValueError("no pixel has a finite value")
    low, high = float(values[is_finite].min()), float(values[is_finite].max())
    tops = [top for top in (1, 255, 65535)[not is_float :] if low >= 0 and high <= top]
    if tops:
        low, high = 0.0, float(tops[0])
    scale = 255.0 / (high - low) if high > low else 0.0
    scaled = (np.where(is_finite, values, low).astype(np.float64) - low) * scale
    return np.where(is_finite, np.rint(scaled), 0.0).astype(np.uint8)
