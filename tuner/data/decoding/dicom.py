"""DICOM files by pydicom: what a viewer shows of the first frame, and whose it is."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tuner.arrays import UInt8
from tuner.data.decoding.extras import UnreadableError, load
from tuner.data.decoding.gray import Gray, Span

_MAGIC = b"DICM"
_DEFLATED, _META_BYTES = b"1.2.840.10008.1.2.1.99", 4096
_GRAY = ("MONOCHROME1", "MONOCHROME2")
_PLUGINS = {
    "JPEG-LS": "pylibjpeg-libjpeg",
    "JPEG 2000": "pylibjpeg-openjpeg",
    "High-Throughput JPEG": "pylibjpeg-openjpeg",
    "JPEG": "pylibjpeg-libjpeg",
    "RLE": "pydicom",
}


class Frame(NamedTuple):
    """The first frame of a file.

    Attributes:
        picture: Mode RGB or L.
        span: What its values are; None where the file says what it shows.
        n_frames: Frames of the file.
        patient: PatientID; empty without any.
        window: Which of several windows was used, in words; empty where there was no choice.
    """

    picture: Image.Image
    span: Span | None
    n_frames: int
    patient: str
    window: str


def is_dicom(data: bytes) -> bool:
    """Whether the bytes are a DICOM file with its preamble."""
    return data[128:132] == _MAGIC


def read_frame(data: bytes, *, limits: tuple[float, float] | None, max_pixels: int) -> Frame:
    """Decode the first frame: modality look-up, VOI look-up or window, MONOCHROME1 turned once.

    Args:
        data: The file.
        limits: Range of the data set, in modality units: it takes the place of windows.
        max_pixels: More are refused before they are decoded.

    Raises:
        UnreadableError: If pydicom or a plug-in is missing, or what it holds is not read.
    """
    if _DEFLATED in data[:_META_BYTES]:
        raise UnreadableError(
            "is DICOM that is deflated as a whole, which could unpack to anything"
        )
    load("pydicom", extra="dicom", what="DICOM")
    import pydicom

    file = pydicom.dcmread(io.BytesIO(data))
    if "PixelData" not in file:
        raise UnreadableError("is DICOM without a picture")
    if file.Rows * file.Columns > max_pixels:
        raise Image.DecompressionBombError(f"{file.Columns} x {file.Rows}")
    if file.BitsStored > 1 and file.HighBit != file.BitsStored - 1:
        raise UnreadableError(
            f"is DICOM whose high bit is {file.HighBit}, which readers get wrong"
        )
    values = _pixels(file)
    n_frames = int(file.get("NumberOfFrames", None) or 1)
    patient = str(file.get("PatientID", None) or "")
    kind = str(file.PhotometricInterpretation)
    if kind not in _GRAY:
        return Frame(_colour(file, values), None, n_frames, patient, "")
    levels, span = _gray(file, values, limits)
    picture = Image.fromarray(255 - levels if kind == "MONOCHROME1" else levels)
    return Frame(picture, span, n_frames, patient, "" if limits else _choice(file))


def _pixels(file: Any) -> Any:
    """Values of the first frame; colours are RGB."""
    from pydicom.pixels.utils import pixel_array

    try:
        return pixel_array(file, index=0)
    except (RuntimeError, NotImplementedError) as error:
        syntax = str(file.file_meta.TransferSyntaxUID.name)
        plugin = next((found for name, found in _PLUGINS.items() if name in syntax), "")
        if not plugin or "missing" not in str(error).lower():
            raise
        raise UnreadableError(
            f"is DICOM compressed as {syntax}, which takes: pip install {plugin}"
        ) from error


def _gray(file: Any, values: Any, limits: tuple[float, float] | None) -> tuple[UInt8, Span | None]:
    """Levels before MONOCHROME1 is turned, and the span where the file declares no range."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    known = apply_modality_lut(values, file)
    if limits is None and ("VOILUTSequence" in file or "WindowWidth" in file):
        shown = np.asarray(apply_voi_lut(known, file, index=0), dtype=np.float64)
        black, white = _ends(file)
        return np.rint((shown - black) * (255 / (white - black))).clip(0, 255).astype(
            np.uint8
        ), None
    if not np.array_equal(known, values):
        gray = Gray(np.asarray(known, dtype=np.float64))
        ends = _ends(file)
        return gray.levels(limits or (min(ends), max(ends))), gray.span
    if file.PixelRepresentation == 0 and file.BitsStored <= 16:
        gray = Gray(values, top=2**file.BitsStored - 1)
    else:
        gray = Gray(values)
    return gray.levels(limits), gray.span


def _ends(file: Any) -> tuple[float, float]:
    """Black and white of a VOI look-up table, or else the ends of what the file could hold.

    In modality units, as pydicom computes them for its windows.
    """
    if "VOILUTSequence" in file:
        return 0.0, float(2 ** int(file.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    if "ModalityLUTSequence" in file:
        return 0.0, float(2 ** int(file.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    bits, is_signed = int(file.BitsStored), file.PixelRepresentation == 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    slope, intercept = file.get("RescaleSlope", None), file.get("RescaleIntercept", None)
    if slope is None or intercept is None:
        return float(low), float(high)
    return float(low * slope + intercept), float(high * slope + intercept)


def _choice(file: Any) -> str:
    """Which of several windows is taken."""
    widths = file.get("WindowWidth", None)
    if "VOILUTSequence" in file or widths is None or np.ndim(widths) == 0 or len(widths) < 2:
        return ""
    centers = np.atleast_1d(file.WindowCenter)
    return f"the first of {len(widths)} windows, {centers[0]:g} ± {widths[0] / 2:g}"


def _colour(file: Any, values: Any) -> Image.Image:
    """Picture of colours that pydicom gives as RGB, or as places in a palette."""
    from pydicom.pixels.processing import apply_color_lut

    if file.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, file)
    if values.ndim != 3 or values.shape[-1] != 3:
        raise UnreadableError(f"is DICOM of {file.PhotometricInterpretation}, which is not read")
    if values.dtype != np.uint8:
        values = values >> (8 * (values.dtype.itemsize - 1))
    return Image.fromarray(np.ascontiguousarray(values.astype(np.uint8)))
