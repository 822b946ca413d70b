"""TIFF files that are not for Pillow: read by tifffile, or named for what they are."""

from __future__ import annotations

import contextlib
import io
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tuner.data.images import decode, decode_rgb
from tuner.errors import DataError

tifffile = pytest.importorskip("tifffile")
RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 65536, (7, 9, 3)).astype(np.uint16)


def tiff(values: NDArray[np.generic], **options: object) -> bytes:
    """A TIFF that tifffile writes."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def shown(data: bytes) -> NDArray[np.uint8]:
    """Decoded pixels."""
    return np.asarray(decode_rgb(data, name="x.tif"))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_colours_of_16_bits_in_every_layout(
    planarconfig: str, compression: str | None, byteorder: str
) -> None:
    """Planes together or apart, compressed or not: the high bytes of the true values."""
    values = np.moveaxis(COLOURS, -1, 0) if planarconfig == "separate" else COLOURS
    data = tiff(
        values,
        photometric="rgb",
        planarconfig=planarconfig,
        compression=compression,
        byteorder=byteorder,
    )

    np.testing.assert_array_equal(shown(data), COLOURS >> 8)


def test_colours_of_floats() -> None:
    """Floats of 0 to 1 become 0 to 255, in one scale for all three colours."""
    values = RNG.random((5, 6, 3), dtype=np.float32)
    values[0, 0] = 0, 1, 0.5

    found = shown(tiff(values, photometric="rgb"))

    np.testing.assert_array_equal(found, np.rint(values.astype(np.float64) * 255))


def test_gray_of_64_bits_and_of_turned_16() -> None:
    """Kinds of gray that Pillow does not know, read by what they declare."""
    floats = RNG.random((5, 6))
    whole = RNG.integers(0, 65536, (5, 6)).astype(np.uint16)

    found = shown(tiff(floats, photometric="minisblack"))
    turned = shown(tiff(whole, photometric="miniswhite", byteorder=">"))

    np.testing.assert_array_equal(found[..., 0], np.rint(floats * 255))
    np.testing.assert_array_equal(turned[..., 0], 255 - np.rint(whole / 257))


def test_transparent_colours_lie_on_white() -> None:
    """Alpha of a planar TIFF of 16 bits is flattened as any other."""
    values = np.zeros((4, 5, 6), np.uint16)
    values[3, :, :3] = 65535

    found = shown(
        tiff(values, photometric="rgb", planarconfig="separate", extrasamples=["unassalpha"])
    )

    assert (found[:, :3] == 0).all()
    assert (found[:, 3:] == 255).all()


@pytest.mark.parametrize("n_bands", [2, 5, 13])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_several_bands_are_named(n_bands: int, compression: str | None) -> None:
    """What is neither gray nor colour is not called damaged, nor is its first band the picture."""
    apart = tiff(
        np.zeros((n_bands, 6, 7), np.uint16),
        photometric="minisblack",
        planarconfig="separate",
        compression=compression,
    )

    with pytest.raises(DataError, match=rf"{n_bands} bands of 16 bits, unsigned, planes apart"):
        shown(apart)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tifffile the layout and the command that installs it are said."""
    monkeypatch.setitem(sys.modules, "tifffile", None)
    planar = tiff(np.moveaxis(COLOURS, -1, 0), photometric="rgb", planarconfig="separate")

    with pytest.raises(DataError) as caught:
        shown(planar)

    assert caught.value.what == (
        "image is a TIFF of 3 bands of 16 bits, unsigned, planes apart, which takes: "
        "pip install 'imbalance-tuner[tiff]'"
    )


@settings(max_examples=100, deadline=None)
@given(
    harm=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    cut=st.floats(0, 1),
)
def test_damage_is_a_picture_or_a_data_error(harm: list[tuple[float, int]], cut: float) -> None:
    """However a TIFF for tifffile is damaged, nothing but DataError comes out, and no warning."""
    values = np.moveaxis(COLOURS, -1, 0)
    data = bytearray(tiff(values, photometric="rgb", planarconfig="separate"))
    for place, value in harm:
        data[int(place * len(data))] = value

    with contextlib.suppress(DataError):
        decode(bytes(data[: int(cut * len(data)) + 1]), name="x.tif", is_counted=True)


def test_pages_are_counted_and_the_first_is_read() -> None:
    """Of a document, as of OME-TIFF, the first page is the picture."""
    pages = RNG.integers(0, 256, (3, 8, 9)).astype(np.uint8)
    for options in ({}, {"ome": True}):
        data = tiff(pages, photometric="minisblack", **options)
        found = decode(data, name="x.tif", is_counted=True)
        assert found.n_pages == 3
        np.testing.assert_array_equal(np.asarray(found.rgb)[..., 0], pages[0])


def test_a_jpeg_of_12_bits_is_named() -> None:
    """It is whole, and nothing here reads it."""
    imagecodecs = pytest.importorskip("imagecodecs")
    values = RNG.integers(0, 4096, (16, 16)).astype(np.uint16)
    try:
        data = imagecodecs.jpeg8_encode(values, bitspersample=12)
    except Exception:
        pytest.skip("this imagecodecs writes no JPEG of 12 bits")

    with pytest.raises(DataError, match="is a JPEG of 12 bits"):
        shown(data)


def test_an_empty_alpha_channel_of_a_bmp_hides_nothing() -> None:
    """A BMP of 32 bits whose alpha is 0 everywhere is opaque, as viewers show it."""
    stream = io.BytesIO()
    pixels = RNG.integers(1, 255, (6, 7, 4)).astype(np.uint8)
    pixels[..., 3] = 0
    Image.fromarray(pixels).save(stream, "BMP")
    data = bytearray(stream.getvalue())
    if data[14] == 40:  # Pillow writes no alpha mask: a header of 108 bytes declares one
        import struct

        head = struct.pack("<IiiHHIIiiII", 108, 7, -6, 1, 32, 3, 168, 0, 0, 0, 0)
        masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        body = pixels[..., [2, 1, 0, 3]].tobytes()
        rest = bytes(108 - len(head) - len(masks))
        data = bytearray(
            b"BM" + struct.pack("<IHHI", 122 + len(body), 0, 0, 122) + head + masks + rest + body
        )
    found = decode(bytes(data), name="x.bmp")

    np.testing.assert_array_equal(np.asarray(found.rgb), pixels[..., :3])
    assert found.mended == "an empty alpha channel"
