"""One picture from the bytes of a file, by Pillow or by what reads its kind."""

from __future__ import annotations

import functools
import io
import logging
import re
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from tuner.data.decoding import dicom, tiff
from tuner.data.decoding.extras import UnreadableError, load
from tuner.data.decoding.gray import Gray, Span, is_beyond
from tuner.data.decoding.rule import PixelRule

# Where Pillow starts to warn of a decompression bomb (about 0.25 GiB of RGB); here it is an error.
MAX_PIXELS = 89_478_485

# An allow-list, because Pillow also reads formats that run other programs (EPS through
# Ghostscript) or that open almost anything. Formats a build of Pillow lacks are passed over.
_FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "DIB", "PPM", "TIFF", "WEBP", "MPO", "JPEG2000", "AVIF", "QOI"),
    *("HEIF", "JXL"),  # of plug-ins
)
# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".ppm", ".pgm",
    ".pbm", ".pnm", ".pfm", ".tif", ".tiff", ".webp", ".jp2", ".j2k", ".jpf", ".jpx", ".j2c",
    ".jpc", ".avif", ".avifs", ".qoi", ".dcm", ".dicom", ".heic", ".heif", ".hif", ".jxl",
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
_PAGED = ("TIFF", "GIF", "PNG", "WEBP", "AVIF")
_DECODERS = r"(PIL|pydicom|tifffile|imagecodecs|openjpeg|libjpeg|pylibjpeg)\b"
_WARNINGS = ("ignore", None, Warning, re.compile(_DECODERS), 0)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_JXL_MAGICS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


@dataclass(frozen=True)
class Decoded:
    """A picture, and what is to be known of its file.

    Attributes:
        rgb: Mode RGB, upright, on white.
        span: What gray of more than 8 bits uses, where the file does not say.
        n_pages: Pages, frames or slices of the file, of which this is the first; 1 where they
            were not counted.
        patient: Whose picture it is, where the file says so; not to be shown.
        window: Which of several windows is shown, in words.
        mended: In what tuner 1 read it wrongly; empty for nearly all.
    """

    rgb: Image.Image
    span: Span | None = None
    n_pages: int = 1
    patient: str = ""
    window: str = ""
    mended: str = ""


def decode_picture(data: bytes, *, rule: PixelRule, is_counted: bool = False) -> Decoded:
    """The picture of a whole file.

    Args:
        data: Its bytes.
        rule: Of the data set.
        is_counted: Whether to count pages and frames, which may take a walk through the file.

    Raises:
        UnreadableError: If it is whole, but of a kind that is not read.
        Exception: Whatever decoders raise of damaged files.
    """
    _hush_decoders()
    if dicom.is_dicom(data):
        frame = dicom.read_frame(data, limits=rule.range, max_pixels=MAX_PIXELS)
        rgb = frame.picture.convert("RGB")
        return Decoded(
            rgb,
            span=frame.span,
            n_pages=frame.n_frames,
            patient=frame.patient,
            window=frame.window,
        )
    _load_plugin(data)
    try:
        picture = Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError:
        if tiff.is_tiff(data):
            return _other_tiff(data, rule)
        _name_kind(data)
        raise
    with picture:
        _check_size(picture)
        if picture.format == "TIFF" and tiff.is_misread(_tags(picture)):
            return _other_tiff(data, rule, mended="its layout")
        _mend_transparent_colour(picture)
        n_pages = _count_pages(picture) if is_counted else 1
        picture.load()
        return _decoded(picture, rule, n_pages)


def _decoded(picture: ImageFile.ImageFile, rule: PixelRule, n_pages: int) -> Decoded:
    """What Pillow has loaded, in 8 bits and upright."""
    span, mended = None, ""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        gray = _gray(picture)
        mended = _mended_gray(gray, rule)
        rgb = Image.fromarray(gray.levels(rule.range)).convert("RGB")
        span = gray.span
    elif _is_transparent_bmp(picture):
        rgb, mended = picture.convert("RGB"), "an empty alpha channel"
    else:
        rgb = _on_white(picture)
    turn = _TURN.get(_orientation(picture))
    rgb = rgb if turn is None else rgb.transpose(turn)
    return Decoded(rgb, span, n_pages, mended=mended)


def _other_tiff(data: bytes, rule: PixelRule, *, mended: str = "") -> Decoded:
    """A TIFF that is not for Pillow."""
    found = tiff.read_other(data, max_pixels=MAX_PIXELS)
    if isinstance(found, Gray):
        rgb = Image.fromarray(found.levels(rule.range)).convert("RGB")
        return Decoded(rgb, found.span, mended=mended)
    return Decoded(_on_white(found), mended=mended)


def _gray(picture: ImageFile.ImageFile) -> Gray:
    """Values of gray of more than 8 bits; Pillow's own conversion clips them."""
    if picture.format == "TIFF":
        return tiff.read_gray(picture, _tags(picture))
    values = np.asarray(picture)
    if picture.mode == "F" or (picture.mode == "I" and picture.format != "PPM"):
        return Gray(values)
    return Gray(values, top=65535, clear=picture.info.get("transparency"))


def _mended_gray(gray: Gray, rule: PixelRule) -> str:
    """In what tuner 1 read such values wrongly."""
    if gray.is_inverted:
        return "white is zero"
    if gray.top is not None and gray.top != 65535:
        return "its depth"
    if gray.values.dtype == np.uint32 and gray.values.max() >= 2**31:
        return "unsigned values"
    if gray.values.dtype.kind == "f" and rule.range is None and is_beyond(gray.values):
        return "floats slightly beyond their range"
    return ""


def _check_size(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise Image.DecompressionBombError(f"{width} x {height}")
    if min(width, height) < 1:
        raise ValueError(f"{width} x {height} pixels")


def _tags(picture: Image.Image) -> dict[int, object]:
    """Tags of a TIFF that Pillow has opened; those that are damaged are left out."""
    found = {}
    for tag in (
        tiff.BITS,
        tiff.COMPRESSION,
        tiff.PHOTOMETRIC,
        tiff.SAMPLES,
        tiff.PLANES,
        tiff.SAMPLE_FORMAT,
    ):
        value = picture.tag_v2.get(tag)  # type: ignore[attr-defined]  # of TIFF pictures
        if value is not None:
            found[tag] = value
    return found


def _count_pages(picture: ImageFile.ImageFile) -> int:
    """Pages of a document or frames of an animation; 1 where they cannot be counted."""
    if picture.format not in _PAGED:
        return 1
    try:
        return int(getattr(picture, "n_frames", 1))
    except Exception:  # damage behind the first page does not make its pixels wrong
        return 1
    finally:
        picture.seek(0)


def _load_plugin(data: bytes) -> None:
    """Let Pillow know of HEIC and JPEG XL when such a file comes."""
    if data.startswith(_JXL_MAGICS):
        load("pillow_jxl", extra="jxl", what="JPEG XL")
    elif data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS and b"avif" not in data[8:64]:
        load("pillow_heif", extra="heic", what="HEIC").register_heif_opener()


def _name_kind(data: bytes) -> None:
    """Raise for a whole file of a kind that Pillow does not know."""
    if data[:2] == b"\xff\xd8" and (bits := _jpeg_bits(data)) not in (0, 8):
        raise UnreadableError(
            f"is a JPEG of {bits} bits, which Pillow cannot read: save it as PNG"
        )


def _jpeg_bits(data: bytes) -> int:
    """Bits of a colour in a JPEG, by its frame header; 0 where there is none."""
    at = 2
    while at + 4 < len(data) and data[at] == 0xFF:
        if data[at + 1] in _JPEG_FRAMES:
            return data[at + 4]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0


def _hush_decoders() -> None:
    """Ignore the decoders' warnings: a file is either decoded or an error.

    `warnings.catch_warnings` is not safe in threads, so the filter stays in place.
    """
    if _WARNINGS not in warnings.filters:
        warnings.filterwarnings("ignore", module=_DECODERS)
        for name in ("tifffile", "pydicom"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _formats() -> tuple[str, ...]:
    """Allowed formats that this Pillow knows, with its plug-ins so far."""
    _init_pillow()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@functools.cache
def _init_pillow() -> None:
    Image.init()


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


def _is_transparent_bmp(picture: Image.Image) -> bool:
    """Whether a BMP declares an alpha channel and leaves it empty, as cameras' software does."""
    if picture.format not in ("BMP", "DIB") or picture.mode != "RGBA":
        return False
    return bool(picture.getchannel("A").getextrema() == (0, 0))


def _on_white(picture: Image.Image) -> Image.Image:
    """Loaded picture of 8 bits as RGB on white."""
    if not picture.has_transparency_data:
        # Converting RGB to RGB copies, which is as much memory again as a large photograph takes.
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    paper = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(paper, picture.convert("RGBA")).convert("RGB")
