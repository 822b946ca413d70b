"""Gray of more than 8 bits: by what a file declares, or by the range of its data set."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tuner.arrays import UInt8
from tuner.data.decoding.gray import Gray, Span, common_range
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.images import decode, decode_rgb

WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1


def tiff(
    body: bytes, width: int, bits: int, *, photometric: int = 1, sample_format: int = 1
) -> bytes:
    """A TIFF of one row, by its specification, for kinds that Pillow cannot write."""
    tags = [
        *((256, 3, 1, width), (257, 3, 1, 1), (258, 3, 1, bits), (259, 3, 1, 1)),
        *((262, 3, 1, photometric), (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 1)),
        *((279, 4, 1, len(body)), (339, 3, 1, sample_format)),
    ]
    listed = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(body))
    return head + body + struct.pack("<H", len(tags)) + listed + struct.pack("<I", 0)


def packed(values: list[int], bits: int) -> bytes:
    """Values of a few bits each, most significant first."""
    text = "".join(format(value, f"0{bits}b") for value in values)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def levels(data: bytes, rule: PixelRule = EACH_FILE) -> list[int]:
    """Gray levels of a file of one row."""
    rgb: UInt8 = np.asarray(decode_rgb(data, name="picture", rule=rule))
    assert (rgb == rgb[..., :1]).all()
    return [int(level) for level in rgb[0, :, 0]]


def png(values: NDArray[np.generic]) -> bytes:
    """A PNG of 16 bits."""
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def test_twelve_bits_are_scaled_by_the_depth_that_the_file_declares() -> None:
    """A TIFF of 12 bits, the same picture as PGM of 4095 and by hand agree."""
    values = [0, 1000, 2048, 4095]
    pgm = b"P5 4 1 4095\n" + np.array(values, ">u2").tobytes()

    assert levels(tiff(packed(values, 12), 4, 12)) == levels(pgm) == [0, 62, 128, 255]


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_white_is_zero_in_every_depth(bits: int) -> None:
    """Where a TIFF says that 0 is white, small values are bright."""
    top = 2**bits - 1
    values = [0, top // 4, top]
    body = packed(values, bits) if bits == 12 else np.array(values, f"<u{bits // 8}").tobytes()

    found = levels(tiff(body, 3, bits, photometric=WHITE_IS_ZERO))

    assert found == [255 - level for level in levels(tiff(body, 3, bits))]
    assert found[0] == 255
    assert found[-1] == 0


def test_floats_of_white_is_zero() -> None:
    """Floats are turned, too."""
    body = np.array([0.0, 0.25, 1.0], "<f4").tobytes()

    found = levels(tiff(body, 3, 32, photometric=WHITE_IS_ZERO, sample_format=3))

    assert found == [255, 191, 0]


def test_unsigned_values_of_32_bits_are_not_negative() -> None:
    """Values from 2**31 on are the brightest, not the darkest."""
    values = np.array([0, 2**31, 2**32 - 1], "<u4")

    assert levels(tiff(values.tobytes(), 3, 32)) == [0, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.02], [0, 128, 255]),
        ([-0.03, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 127.0, 260.0], [0, 127, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 2.0, 255.0], [0, 2, 255]),
    ],
)
def test_a_slight_overshoot_does_not_darken_a_picture(
    values: list[float], expected: list[int]
) -> None:
    """Floats that a resize has carried a little beyond their range are cut off at it."""
    assert levels(tiff(np.array(values, "<f4").tobytes(), 3, 32, sample_format=3)) == expected


def test_what_is_mended_is_told() -> None:
    """What tuner 1 read otherwise is named; pictures that it read as now are not."""
    floats = np.array([0.0, 1.02], "<f4").tobytes()
    cases = {
        "its depth": tiff(packed([0, 4095], 12), 2, 12),
        "white is zero": tiff(b"\0\0\1\1", 2, 16, photometric=WHITE_IS_ZERO),
        "unsigned values": tiff(b"\0\0\0\0\xff\xff\xff\xff", 2, 32),
        "floats slightly beyond their range": tiff(floats, 2, 32, sample_format=3),
        "": png(np.array([[0, 65535]], np.uint16)),
    }

    assert {decode(data, name="x").mended: data for data in cases.values()} == cases


def test_a_range_gives_the_levels_of_8_bit_copies() -> None:
    """12 bits in files of 16, read with the range 0 to 4095, equal their copies of 8 bits."""
    values = np.arange(4096, dtype=np.uint16)[None]
    rule = PixelRule((0.0, 4095.0))

    assert levels(png(values), rule) == levels(png((values >> 4).astype(np.uint8)))
    assert levels(png(values)) == [round(v / 257) for v in range(4096)]
    assert max(levels(png(values))) == 16


def test_a_range_cuts_off_what_is_beyond() -> None:
    """Below the range is black, above it white; floats round."""
    rule = PixelRule((100.0, 355.0))

    assert levels(png(np.array([[0, 100, 101, 355, 9999]], np.uint16)), rule) == [
        0,
        0,
        1,
        255,
        255,
    ]
    floats = np.array([-5, 100, 227.5, np.nan, 1e9], "<f4").tobytes()
    assert levels(tiff(floats, 5, 32, sample_format=3), rule) == [0, 0, 128, 0, 255]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], None),
        ([Span("16 bits", 3, 4000), Span("16 bits", 0, 200)], (0.0, 4095.0)),
        ([Span("16 bits", 0, 200)], (0.0, 255.0)),
        ([Span("16 bits", 0, 1024)], (0.0, 2047.0)),
        ([Span("16 bits", 0, 40000), Span("16 bits", 0, 200)], None),
        ([Span("floats", 0.1, 0.9), Span("floats", 0.0, 1.01)], (0.0, 1.0)),
        ([Span("floats", -1000, 3000), Span("integers", 0, 100)], (-1000.0, 3000.0)),
        ([Span("integers", 0, 100), Span("integers", 0, 300)], (0.0, 511.0)),
        ([Span("16 bits", 0, 4000), Span("floats", 0, 1)], None),
    ],
)
def test_one_range_for_a_data_set(spans: list[Span], expected: tuple[float, float] | None) -> None:
    """The fewest bits that hold all values, the narrowest usual range, or none to share."""
    assert common_range(spans) == expected


def test_a_file_that_declares_its_depth_has_no_span() -> None:
    """12 declared bits need no guess; 16 bits and floats are looked at."""
    assert decode(tiff(packed([0, 9], 12), 2, 12), name="x").span is None
    assert decode(png(np.array([[7, 300]], np.uint16)), name="x").span == ("16 bits", 7, 300)
    assert Gray(np.array([[0.5, np.nan]])).span == ("floats", 0.5, 0.5)
