"""TIFF files that Pillow cannot read or reads wrongly: named by their layout, read by tifffile."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from tuner.data.decoding.extras import UnreadableError, load
from tuner.data.decoding.gray import Gray

BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANES, SAMPLE_FORMAT = 258, 259, 262, 277, 284, 339
_WHITE_IS_ZERO, _APART, _UNCOMPRESSED, _UNSIGNED = 0, 2, 1, 1
_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two of BigTIFF
_FORMATS = {1: "unsigned", 2: "signed", 3: "float", 5: "complex integer", 6: "complex"}
_UNASSOCIATED = 2  # of extra samples: alpha that colours are not multiplied by


def is_tiff(data: bytes) -> bool:
    """Whether the bytes begin as those of a TIFF file."""
    return data[:4] in _MAGICS


def is_misread(tags: Mapping[int, Any]) -> bool:
    """Whether Pillow reads a TIFF to other pixels than it holds, without a word.

    Planes of 16 bits that lie apart are read as 8 bits where they are not compressed, and of
    several bands that are no colours only the first is taken.
    """
    n_samples, is_deep = tags.get(SAMPLES, 1), _depth(tags) > 8
    are_apart = tags.get(PLANES, 1) == _APART and tags.get(COMPRESSION, 1) == _UNCOMPRESSED
    if tags.get(PHOTOMETRIC, 1) in (0, 1):
        return bool(n_samples > 2 or (n_samples == 2 and is_deep))  # 8 bits may be alpha
    return bool(n_samples > 1 and are_apart and is_deep)


def read_gray(picture: Image.Image, tags: Mapping[int, Any]) -> Gray:
    """Values of a gray TIFF of more than 8 bits that Pillow has loaded, by what its tags say."""
    values, depth = np.asarray(picture), _depth(tags)
    is_inverted = tags.get(PHOTOMETRIC, 1) == _WHITE_IS_ZERO
    if picture.mode.startswith("I;16"):
        return Gray(values, top=2**depth - 1, is_inverted=is_inverted)
    if picture.mode == "I" and depth == 32 and _format(tags) == _UNSIGNED:
        values = values.view(np.uint32)
    return Gray(values, is_inverted=is_inverted)


def read_tags(data: bytes) -> Mapping[int, Any]:
    """Tags of the first page.

    Raises:
        ValueError: If the header is damaged.
    """
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        stream = io.BytesIO(data)
        stream.seek(tags.next)
        tags.load(stream)
        return dict(tags)
    except Exception as error:  # whatever damage makes Pillow raise
        raise ValueError("a TIFF whose header is damaged") from error


def describe(tags: Mapping[int, Any]) -> str:
    """A TIFF in words: "a TIFF of 5 bands of 16 bits, unsigned"."""
    n_samples = tags.get(SAMPLES, 1)
    bands = "one band" if n_samples == 1 else f"{n_samples} bands"
    apart = ", planes apart" if n_samples > 1 and tags.get(PLANES, 1) == _APART else ""
    kind = _FORMATS.get(_format(tags), "unknown")
    return f"a TIFF of {bands} of {_depth(tags)} bits, {kind}{apart}"


def read_other(data: bytes, *, max_pixels: int) -> Gray | Image.Image:
    """First page of a TIFF by tifffile, which reads more than Pillow.

    Returns:
        Gray of any depth, or a picture of mode RGB or RGBA: colours of 16 bits by their high
        byte, as Pillow takes them; floats as the narrowest of 0-1, 0-255 and 0-65535 has them.

    Raises:
        UnreadableError: If it is neither gray nor colour, or tifffile is not installed.
        ValueError: If it is damaged.
    """
    tags = read_tags(data)
    what = describe(tags)
    if tags.get(SAMPLES, 1) not in (1, 3, 4):
        raise UnreadableError(f"is {what}: neither gray nor colour")
    tifffile = load("tifffile", extra="tiff", what=what)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        if page.imagewidth * page.imagelength > max_pixels:
            raise Image.DecompressionBombError(f"{page.imagewidth} x {page.imagelength}")
        if page.axes not in ("YX", "YXS", "SYX"):
            raise UnreadableError(f"is {what}: neither gray nor colour")
        values = page.asarray()
        photometric, extra = int(page.photometric), tuple(map(int, page.extrasamples or ()))
    if page.axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    if values.ndim == 2 and photometric in (0, 1) and values.dtype.kind in "iuf":
        return _gray(values, is_inverted=photometric == _WHITE_IS_ZERO, depth=page.bitspersample)
    is_colour = photometric == 2 and values.dtype.kind in "uf" and values.shape[-1] in (3, 4)
    if values.ndim != 3 or not is_colour:
        raise UnreadableError(f"is {what}: neither gray nor colour")
    return _colour(values, has_alpha=extra[:1] == (_UNASSOCIATED,))


def _gray(values: NDArray[Any], *, is_inverted: bool, depth: int) -> Gray:
    top = 2**depth - 1 if values.dtype.kind == "u" and depth <= 16 else None
    if values.dtype.kind == "f":
        values = values.astype(np.float64)
    return Gray(values, top=top, is_inverted=is_inverted)


def _colour(values: NDArray[Any], *, has_alpha: bool) -> Image.Image:
    """Picture of (height, width, 3 or 4) values."""
    if values.dtype.kind == "u":
        levels = (values >> (8 * (values.dtype.itemsize - 1))).astype(np.uint8)
    else:
        flat = values.reshape(len(values), -1).astype(np.float64)
        levels = Gray(flat).levels(None).reshape(values.shape)
    return Image.fromarray(np.ascontiguousarray(levels if has_alpha else levels[..., :3]))


def _depth(tags: Mapping[int, Any]) -> int:
    """Bits of the first band."""
    bits = tags.get(BITS, 1)
    return int(bits[0] if isinstance(bits, tuple) else bits)


def _format(tags: Mapping[int, Any]) -> int:
    kind = tags.get(SAMPLE_FORMAT, _UNSIGNED)
    return int(kind[0] if isinstance(kind, tuple) else kind)
