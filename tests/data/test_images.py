from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

import tuner.data.images as images
from tuner.arrays import UInt8
from tuner.data.images import MAX_PIXELS, decode_rgb, read_image
from tuner.errors import DataError

RAMP = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
RAMP_8_BIT = np.rint(RAMP / 257).astype(np.uint8)


def encode(picture: Image.Image, suffix: str, **options: object) -> bytes:
    """Bytes of the file that Pillow writes."""
    buffer = io.BytesIO()
    picture.save(buffer, format=suffix, **options)
    return buffer.getvalue()


def decode(data: bytes) -> UInt8:
    """Decoded pixels, uint8 of shape (height, width, 3)."""
    return np.array(decode_rgb(data, name="picture"))


def gray(rgb: UInt8) -> UInt8:
    """The one channel of a picture without colour."""
    assert (rgb == rgb[..., :1]).all()
    return rgb[..., 0]


def colours(mode: str = "RGB") -> Image.Image:
    """A 24x16 picture that no flip or turn leaves alike."""
    y, x = np.mgrid[:16, :24]
    pixels = np.stack([x * 10, y * 15, (x + y) * 6], axis=-1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def png(*, size: tuple[int, int], depth: int, colour: int, rows: bytes, trns: bytes) -> bytes:
    """A PNG written by its specification, for kinds that Pillow cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"tRNS", trns) if trns else b""]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [*parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    )


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGB", "PNG"),
        ("RGB", "BMP"),
        ("RGB", "PPM"),
        ("RGB", "TIFF"),
        ("RGB", "JPEG"),
        ("RGB", "WEBP"),
        ("RGB", "JPEG2000"),
        ("L", "PNG"),
        ("L", "JPEG"),
        ("L", "PPM"),
        ("1", "PNG"),
        ("1", "PPM"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("YCbCr", "TIFF"),
    ],
)
def test_ordinary_modes(mode: str, suffix: str) -> None:
    """Pictures of 8 bits without alpha come out as Pillow's own conversion to RGB."""
    data = encode(colours(mode), suffix)

    expected = np.array(Image.open(io.BytesIO(data)).convert("RGB"))

    np.testing.assert_array_equal(decode(data), expected)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGBA", "PNG"), ("RGBA", "TIFF"), ("LA", "PNG"), ("LA", "TIFF")]
)
def test_alpha_is_flattened_on_white(mode: str, suffix: str) -> None:
    """Each value v under alpha a becomes v a + 255 (1 - a), to half a level."""
    picture = colours().convert(mode)
    alpha = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (16, 1))
    picture.putalpha(Image.fromarray(alpha))
    rgb = np.array(picture.convert("RGBA"))[..., :3].astype(float)
    share = alpha[..., None] / 255

    decoded = decode(encode(picture, suffix))

    # Pillow rounds the product and the sum: within one level of the exact value.
    np.testing.assert_allclose(decoded, rgb * share + 255 * (1 - share), atol=1.0)


def test_palette_with_an_alpha_per_entry_is_flattened() -> None:
    """A palette entry of alpha 0 is white, one of alpha 255 keeps its colour."""
    picture = Image.new("P", (2, 1))
    picture.putpalette([200, 0, 0, 0, 0, 100])
    picture.putdata([0, 1])

    decoded = decode(encode(picture, "PNG", transparency=bytes([0, 255])))

    assert decoded.tolist() == [[[255, 255, 255], [0, 0, 100]]]


@pytest.mark.parametrize(
    ("depth", "colour", "row", "trns", "expected"),
    [
        (8, 0, bytes([7, 9]), struct.pack(">H", 7), [255, 9]),
        (1, 0, bytes([0b01000000]), struct.pack(">H", 0), [255, 255]),
        (4, 0, bytes([0x30 | 0x5]), struct.pack(">H", 3), [255, 85]),
        (2, 0, bytes([0b01100000]), struct.pack(">H", 1), [255, 170]),
        (16, 0, struct.pack(">HH", 300, 25700), struct.pack(">H", 300), [255, 100]),
        (8, 2, bytes([7, 7, 7, 9, 9, 9]), struct.pack(">HHH", 7, 7, 7), [255, 9]),
        (
            16,
            2,
            struct.pack(">6H", *[1810] * 3, *[2313] * 3),
            struct.pack(">3H", *[1810] * 3),
            [255, 9],
        ),
    ],
    ids=["gray8", "gray1", "gray4", "gray2", "gray16", "rgb8", "rgb16"],
)
def test_one_transparent_colour_is_white(
    depth: int, colour: int, row: bytes, trns: bytes, expected: list[int]
) -> None:
    """The colour that a PNG's tRNS chunk names is white, in every depth; others stay."""
    data = png(size=(2, 1), depth=depth, colour=colour, rows=b"\0" + row, trns=trns)

    assert gray(decode(data)).ravel().tolist() == expected


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "big-endian TIFF", "PGM", "JPEG2000"])
def test_16_bit_gray_is_scaled_not_clipped(kind: str) -> None:
    """All of 0-65535 is spread over 0-255 by 1/257 and no value is cut off."""
    if kind == "PGM":
        data = b"P5 8 8 65535\n" + RAMP.astype(">u2").tobytes()
    elif kind == "big-endian TIFF":
        wide = Image.frombytes("I;16B", (8, 8), RAMP.astype(">u2").tobytes())
        data = encode(wide, "TIFF")
    else:
        data = encode(
            Image.fromarray(RAMP), kind, **({"irreversible": False} if kind == "JPEG2000" else {})
        )

    np.testing.assert_array_equal(gray(decode(data)), RAMP_8_BIT)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 2.0, 255.0]], np.float32), [0, 2, 255]),
        (np.array([[0.0, 257.0, 65535.0]], np.float32), [0, 1, 255]),
        (np.array([[-1.0, 0.0, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, np.inf, 1.0]], np.float32), [0, 0, 255]),
        (np.array([[7e9, 7e9, 7e9]], np.float32), [0, 0, 0]),
        (np.array([[0, 1, 255]], np.int32), [0, 1, 255]),
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[-100_000, 0, 100_000]], np.int32), [0, 128, 255]),
    ],
)
def test_wide_gray_without_declared_range(
    values: NDArray[np.generic], expected: list[int]
) -> None:
    """Floats and 32-bit integers take the narrowest of the documented ranges that fits."""
    data = encode(Image.fromarray(values), "TIFF")

    assert gray(decode(data)).ravel().tolist() == expected


def test_floats_without_a_finite_value_are_an_error() -> None:
    """A picture of nothing but NaN has no range to scale by, and says so."""
    data = encode(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF")

    with pytest.raises(DataError, match="no pixel has a finite value"):
        decode(data)


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(suffix: str, orientation: int) -> None:
    """Every EXIF orientation turns the picture as ImageOps.exif_transpose does."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(colours(), suffix, exif=exif)

    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))

    np.testing.assert_array_equal(decode(data), np.array(expected))
    assert decode(data).shape[:2] == ((16, 24) if orientation < 5 else (24, 16))


def test_malformed_exif_leaves_the_picture_as_it_is() -> None:
    """A damaged EXIF block is no reason to lose the pixels."""
    data = encode(colours(), "JPEG", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")

    assert decode(data).shape == (16, 24, 3)


@pytest.mark.parametrize("suffix", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(suffix: str) -> None:
    """Of several frames the first is the picture."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == "WEBP" else {}
    data = encode(frames[0], suffix, save_all=True, append_images=frames[1:], **options)

    assert (decode(data) == [255, 0, 0]).all()


def test_resize_is_antialiased_to_a_square(tmp_path: Path) -> None:
    """A fine checkerboard shrinks to its mean, whatever the ratio of the sides."""
    board = (np.indices((200, 400)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")

    small = read_image(tmp_path / "board.png", image_px=20)

    assert small.shape == (20, 20, 3)
    assert small.dtype == np.uint8
    assert small.flags.writeable
    assert np.abs(small[2:-2, 2:-2].astype(int) - 127).max() <= 6


def test_reading_from_many_threads_equals_reading_from_one(tmp_path: Path) -> None:
    """Pictures read by eight threads, with warnings as errors, are those read by one."""
    paths = []
    for number, suffix in enumerate(["png", "jpg", "tif", "gif", "webp"] * 8):
        paths.append(tmp_path / f"{number}.{suffix}")
        colours().rotate(number).save(paths[-1])
    alone = [read_image(path, image_px=16) for path in paths]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda path: read_image(path, image_px=16), paths))

    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("size", [(65535, 65535), (10_000, 9_000)])
def test_bombs_are_refused_unopened(size: tuple[int, int]) -> None:
    """A header that declares more pixels than the limit is an error, not an allocation."""
    data = png(size=size, depth=8, colour=0, rows=b"", trns=b"")

    with pytest.raises(DataError, match=f"more than {MAX_PIXELS:,} pixels"):
        decode(data)


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_half_a_file_is_unreadable(suffix: str) -> None:
    """A file cut off in the middle is never filled up with gray."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), suffix)

    with pytest.raises(DataError, match="cannot be decoded"):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("suffix", ["EPS", "PCX", "TGA", "ICO"])
def test_formats_not_allowed_are_refused(suffix: str) -> None:
    """What Pillow could read but datasets do not use, some through other programs, is refused."""
    with pytest.raises(DataError, match="not in a known image format"):
        decode(encode(colours(), suffix))


@pytest.mark.parametrize("data", [b"", b"no picture", b"P5 0 5 255\n"])
def test_what_is_no_picture(data: bytes) -> None:
    """Empty files, text and pictures of no width are errors."""
    with pytest.raises(DataError, match=r"image (is empty|cannot be decoded)"):
        decode(data)


@settings(max_examples=150, deadline=None)
@given(
    suffix=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000"]),
    harm=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    cut=st.floats(0, 1),
)
def test_damage_is_a_picture_or_a_data_error(
    suffix: str, harm: list[tuple[float, int]], cut: float
) -> None:
    """However bytes are changed or cut off, nothing but DataError comes out, and no warning."""
    data = bytearray(encode(colours(), suffix))
    for place, value in harm:
        data[int(place * len(data))] = value

    with contextlib.suppress(DataError):
        assert decode(bytes(data[: int(cut * len(data)) + 1])).shape[2:] == (3,)


def test_files_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, too large or no file at all: each is named with its reason and what to do."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "large.png").write_bytes(b"x" * 100)
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 99)

    for name, reason in [
        ("gone.png", "No such file"),
        ("a\0b.png", "cannot be opened"),
        (".", "not a regular file"),
        ("pipe.png", "not a regular file"),
        ("large.png", "too large"),
    ]:
        with pytest.raises(DataError, match=reason) as caught:
            read_image(tmp_path / name, image_px=8)
        assert caught.value.where == str(tmp_path / name)
        assert "data.exclude" in caught.value.do


def test_forbidden_file(tmp_path: Path) -> None:
    """A file without permission says so."""
    path = tmp_path / "secret.png"
    colours().save(path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")

    with pytest.raises(DataError, match="Permission denied"):
        read_image(path, image_px=8)
