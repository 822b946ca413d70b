"""Pictures from files: RGB as a viewer shows them, or one DataError that says why not.

The door of `tuner.data.decoding`, where every pixel rule is, so that the index, the feature bank
and `predict` see the same picture.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from tuner.arrays import UInt8
from tuner.data.decoding.extras import UnreadableError
from tuner.data.decoding.picture import IMAGE_SUFFIXES, MAX_PIXELS, Decoded, decode_picture
from tuner.data.decoding.resize import resize
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.errors import DataError
from tuner.text import first_line

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "decode",
    "decode_rgb",
    "read_bytes",
    "read_image",
    "read_image_bytes",
]

MAX_FILE_BYTES = 512 * 2**20


def read_image(path: Path, *, image_px: int, rule: PixelRule = EACH_FILE) -> UInt8:
    """Read one picture as a square RGB array.

    Orientation from EXIF or XMP is applied, alpha is flattened on white, of an animation the
    first frame is taken, and the sides are resized alike (`decoding.resize`) without keeping
    their ratio. May be called from many threads.

    Args:
        path: The file.
        image_px: Side of the result, in pixels.
        rule: Of the data set.

    Returns:
        uint8 of shape (image_px, image_px, 3), 0-255, writable.

    Raises:
        DataError: If the file cannot be opened or decoded whole, or is too large.
    """
    return read_image_bytes(read_bytes(path), name=str(path), image_px=image_px, rule=rule)


def read_image_bytes(
    data: bytes, *, name: str, image_px: int, rule: PixelRule = EACH_FILE
) -> UInt8:
    """`read_image` of a file's bytes; `name` is what errors call the file."""
    picture = decode_rgb(data, name=name, rule=rule)
    return np.array(resize(picture, image_px, order=rule.order))


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


def decode_rgb(data: bytes, *, name: str, rule: PixelRule = EACH_FILE) -> Image.Image:
    """Decode a whole image file as a viewer would show it on white paper.

    Gray of more than 8 bits is scaled by the range of the rule, or else by what each file
    declares (see `decoding.gray`); of several pages, frames or windows the first is taken.

    Args:
        data: The file's bytes.
        name: What errors call the file.
        rule: Of the data set.

    Returns:
        Picture in mode RGB, upright, of the file's own size.

    Raises:
        DataError: If it is not an image, is damaged or cut off, has too many pixels, or is of a
            kind that is not read or takes a package that is not installed.
    """
    return decode(data, name=name, rule=rule).rgb


def decode(
    data: bytes, *, name: str, rule: PixelRule = EACH_FILE, is_counted: bool = False
) -> Decoded:
    """`decode_rgb`, with what is to be known of the file beside its picture.

    `is_counted` says whether its pages and frames are counted, too.
    """
    if not data:
        raise _bad_image("is empty (0 bytes)", name=name)
    try:
        return decode_picture(data, rule=rule, is_counted=is_counted)
    except Exception as error:  # hostile bytes make decoders raise nearly anything
        raise _bad_image(_reason(error), name=name) from error


def _bad_image(reason: str, *, name: str) -> DataError:
    """Error of one file; `reason` continues the sentence "image …"."""
    do = "replace or remove the file, or leave it out with data.exclude"
    return DataError(f"image {reason}", where=name, do=do)


def _reason(error: Exception) -> str:
    """Short reason, in words, from what a decoder raised."""
    if isinstance(error, UnreadableError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return f"has more than {MAX_PIXELS:,} pixels (decompression bomb?)"
    if isinstance(error, UnidentifiedImageError):  # its text holds an address in memory
        return "cannot be decoded: damaged, or not in a known image format"
    if isinstance(error, MemoryError):
        return "cannot be decoded: not enough memory"
    return f"cannot be decoded: {first_line(error)[:120]}"
