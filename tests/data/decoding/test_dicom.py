"""DICOM files as a viewer shows them, or named for what they are."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.image_table import ImageTable
from tuner.data.images import decode
from tuner.data.reading import read_image_table
from tuner.errors import DataError

pydicom = pytest.importorskip("pydicom")
RAMP = np.linspace(0, 4095, 48).astype(np.uint16).reshape(6, 8)
LEVELS = ((RAMP.astype(np.uint32) * 65535 + 2047) // 4095 + 128) // 257


def dicom(values: NDArray[Any], *, bits: int = 12, syntax: str = "", **tags: Any) -> bytes:
    """A DICOM file of these values, with other tags by their keyword."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    is_rgb = values.ndim == 3 and values.shape[-1] == 3
    file.Rows, file.Columns = values.shape[:2] if is_rgb else values.shape[-2:]
    file.SamplesPerPixel = 3 if is_rgb else 1
    file.PhotometricInterpretation = "RGB" if is_rgb else "MONOCHROME2"
    if is_rgb:
        file.PlanarConfiguration = 0
    elif values.ndim == 3:
        file.NumberOfFrames = len(values)
    file.BitsAllocated, file.BitsStored, file.HighBit = 8 * values.itemsize, bits, bits - 1
    file.PixelRepresentation = int(values.dtype.kind == "i")
    file.PixelData = values.tobytes()
    for name, value in tags.items():
        setattr(file, name, value)
    if syntax:
        file.compress(syntax)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, file, enforce_file_format=True)
    return stream.getvalue()


def shown(data: bytes, rule: PixelRule = EACH_FILE) -> NDArray[np.uint8]:
    """Gray levels."""
    rgb = np.asarray(decode(data, name="x.dcm", rule=rule).rgb)
    assert (rgb == rgb[..., :1]).all()
    return rgb[..., 0]


def test_values_are_scaled_by_the_bits_that_are_stored() -> None:
    """12 bits in 16 are the 12 that the file declares; a look-up of 1 and 0 changes nothing."""
    np.testing.assert_array_equal(shown(dicom(RAMP)), LEVELS)
    same = dicom(RAMP, RescaleSlope=1, RescaleIntercept=0)
    np.testing.assert_array_equal(shown(same), LEVELS)
    assert decode(same, name="x").span is None


def test_monochrome1_is_turned_once() -> None:
    """Without a window and with one, bright and dark change places and nothing else does."""
    for tags in ({}, {"WindowCenter": 1000, "WindowWidth": 500}):
        plain = shown(dicom(RAMP, **tags))
        turned = shown(dicom(RAMP, PhotometricInterpretation="MONOCHROME1", **tags))
        np.testing.assert_array_equal(turned, 255 - plain)


def test_a_window_is_applied_in_modality_units() -> None:
    """Slope and intercept come before the window, as a CT viewer does."""
    values = np.array([[0, 924, 1024, 1124, 4000]], np.uint16)
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 0, "WindowWidth": 200}

    found = shown(dicom(values, **tags))

    assert found[0, 0] == 0
    assert found[0, 4] == 255
    assert found[0, 1] <= 2
    assert abs(int(found[0, 2]) - 128) <= 2


def test_of_several_windows_the_first_is_taken_and_said() -> None:
    """And a range of the data set takes the place of all, for training and ever after."""
    tags = {"WindowCenter": [100, 3000], "WindowWidth": [200, 100]}
    data = dicom(RAMP, **tags)

    found = decode(data, name="x", is_counted=True)

    assert found.window == "the first of 2 windows, 100 ± 100"
    first = shown(dicom(RAMP, WindowCenter=100, WindowWidth=200))
    np.testing.assert_array_equal(np.asarray(found.rgb)[..., 0], first)
    fixed = shown(data, PixelRule((0.0, 4095.0)))
    np.testing.assert_array_equal(fixed, RAMP >> 4)


def test_modality_units_without_a_window_have_a_span() -> None:
    """Hounsfield units: what the file could hold, or the range that the data set uses."""
    values = np.array([[0, 1024, 2048]], np.uint16)
    data = dicom(values, RescaleSlope=2, RescaleIntercept=-2048)

    assert decode(data, name="x").span == ("floats", -2048.0, 2048.0)
    assert shown(data).tolist() == [[0, 64, 128]]  # of -2048 to 6142
    assert shown(data, PixelRule((0.0, 2048.0))).tolist() == [[0, 0, 255]]


def test_a_negative_slope_turns_values_once() -> None:
    """What the look-up makes dark is dark."""
    values = np.array([[0, 100, 4095]], np.uint16)

    found = shown(dicom(values, RescaleSlope=-1, RescaleIntercept=4095))

    assert found[0, 0] > found[0, 1] > found[0, 2]


def test_signed_values() -> None:
    """Negative values are darker than 0."""
    values = np.array([[-1000, 0, 1000]], np.int16)

    assert shown(dicom(values, bits=16)).tolist() == [[0, 128, 255]]


def test_frames_are_counted_and_the_first_is_read() -> None:
    """Of a series the first frame is the picture."""
    frames = np.stack([RAMP, RAMP // 2, RAMP // 3])
    found = decode(dicom(frames), name="x", is_counted=True)

    assert found.n_pages == 3
    np.testing.assert_array_equal(np.asarray(found.rgb)[..., 0], LEVELS)


def test_colours_and_palettes() -> None:
    """RGB is as it is; a palette is applied."""
    rgb = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(decode(dicom(rgb, bits=8), name="x").rgb), rgb)
    tables = {
        f"{colour}PaletteColorLookupTable{part}": value
        for k, colour in enumerate(("Red", "Green", "Blue"))
        for part, value in (
            ("Descriptor", [256, 0, 16]),
            ("Data", (((np.arange(256) + k) % 256) * 257).astype("<u2").tobytes()),
        )
    }
    indices = np.arange(30, dtype=np.uint8).reshape(5, 6)
    data = dicom(indices, bits=8, PhotometricInterpretation="PALETTE COLOR", **tables)
    expected = np.stack([indices, indices + 1, indices + 2], axis=-1)
    np.testing.assert_array_equal(np.asarray(decode(data, name="x").rgb), expected)


def test_jpeg_2000_and_rle_are_read() -> None:
    """Compressed without loss, the values are the same."""
    pytest.importorskip("openjpeg")
    large = np.tile(RAMP, (16, 12))
    for syntax in ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"):
        np.testing.assert_array_equal(
            shown(dicom(large, syntax=syntax)), np.tile(LEVELS, (16, 12))
        )


def test_a_high_bit_that_readers_get_wrong_is_refused() -> None:
    """Values that do not start at bit 0 are named, not shown wrongly."""
    with pytest.raises(DataError, match="high bit is 15"):
        shown(dicom(RAMP, HighBit=15))


def test_a_file_that_unpacks_to_anything_is_refused() -> None:
    """A data set deflated as a whole has no size before it is unpacked."""
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    file = pydicom.dcmread(io.BytesIO(dicom(RAMP)))
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, file, enforce_file_format=True)

    with pytest.raises(DataError, match="deflated as a whole"):
        shown(stream.getvalue())


@settings(max_examples=100, deadline=None)
@given(
    harm=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    cut=st.floats(0, 1),
)
def test_damage_is_a_picture_or_a_data_error(harm: list[tuple[float, int]], cut: float) -> None:
    """However bytes are changed or cut off, nothing but DataError comes out, and no warning."""
    data = bytearray(dicom(RAMP, WindowCenter=100, WindowWidth=200))
    for place, value in harm:
        data[132 + int(place * (len(data) - 132))] = value

    with contextlib.suppress(DataError):
        decode(bytes(data[: int(cut * len(data)) + 1]), name="x.dcm", is_counted=True)


def test_what_holds_no_picture_is_named() -> None:
    """A report or a plan is whole, and no picture."""
    file = pydicom.dcmread(io.BytesIO(dicom(RAMP)))
    del file.PixelData
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, file)

    with pytest.raises(DataError, match="is DICOM without a picture"):
        shown(stream.getvalue())


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pydicom the command that installs it is said."""
    data = dicom(RAMP)
    monkeypatch.setitem(sys.modules, "pydicom", None)

    with pytest.raises(DataError, match=r"is DICOM, which takes: pip install .*\[dicom\]"):
        shown(data)


@pytest.fixture
def patients(tmp_path: Path) -> Callable[..., ImageTable]:
    """Reader of a folder with eight pictures of four patients, and one that is no DICOM."""
    for i in range(8):
        path = tmp_path / "data" / "ab"[i % 2] / f"{i}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = (RAMP * (i + 1) // 9).astype(np.uint16)
        path.write_bytes(dicom(values, PatientID=f"Doe^{i // 2}"))
    Image.fromarray(LEVELS.astype(np.uint8)).save(tmp_path / "data" / "a" / "photo.png")
    return lambda **how: read_image_table(str(tmp_path / "data"), home=tmp_path / "home", **how)


def test_patients_are_offered_as_groups(
    tmp_path: Path, patients: Callable[..., ImageTable]
) -> None:
    """A note says so; asked for, each patient is a group, and no file keeps a patient's name."""
    table = patients()
    assert any("4 patients" in note and "dicom_patient" in note for note in table.notes)
    assert table.groups is None

    grouped = patients(group_by="dicom_patient")

    assert grouped.groups is not None
    of = dict(zip(grouped.paths, grouped.groups.tolist(), strict=True))
    assert all(of[f"a/{2 * i}.dcm"] == of[f"b/{2 * i + 1}.dcm"] for i in range(4))
    assert len(set(of.values())) == 5
    kept = [path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert kept
    assert not any(b"Doe" in text for text in kept)


def test_patients_that_nobody_names(tmp_path: Path, picture: Callable[..., Path]) -> None:
    """Groups by patient of files that are no DICOM are one clear error."""
    for name in ("a/1.png", "b/1.png"):
        picture(tmp_path / "data" / name, 7)

    with pytest.raises(DataError, match="names its patient"):
        read_image_table(str(tmp_path / "data"), home=tmp_path / "home", group_by="dicom_patient")
