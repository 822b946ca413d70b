"""Kinds of files that take a package more, and those that Pillow reads under rare suffixes."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

from tuner.data.images import IMAGE_SUFFIXES, decode_rgb
from tuner.errors import DataError

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
JXL = b"\xff\x0a" + bytes(64)


def gradient() -> Image.Image:
    """A smooth picture, which survives compression with loss."""
    y, x = np.mgrid[:32, :48]
    return Image.fromarray(np.stack([x * 5, y * 7, (x + y) * 3], axis=-1).astype(np.uint8))


def test_heic_is_read() -> None:
    """A photograph of a phone, close to what was saved."""
    heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    heif.from_pillow(gradient()).save(stream, quality=100)

    found = np.asarray(decode_rgb(stream.getvalue(), name="x.heic")).astype(int)

    assert np.abs(found - np.asarray(gradient())).mean() < 4


def test_jpeg_xl_is_read() -> None:
    """Without loss, exactly what was saved."""
    pytest.importorskip("pillow_jxl")
    stream = io.BytesIO()
    gradient().save(stream, "JXL", lossless=True)

    found = decode_rgb(stream.getvalue(), name="x.jxl")

    np.testing.assert_array_equal(np.asarray(found), np.asarray(gradient()))


@pytest.mark.parametrize(
    ("data", "package", "message"),
    [
        (HEIC, "pillow_heif", r"is HEIC, which takes: pip install 'imbalance-tuner\[heic\]'"),
        (JXL, "pillow_jxl", r"is JPEG XL, which takes: pip install 'imbalance-tuner\[jxl\]'"),
    ],
)
def test_a_missing_plugin_is_named(
    data: bytes, package: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kind of the file and the command that makes it readable are said."""
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(DataError, match=message):
        decode_rgb(data, name="x")


@pytest.mark.parametrize(
    ("suffix", "kind", "options"),
    [
        (".qoi", "QOI", {}),
        (".j2c", "JPEG2000", {"no_jp2": True}),
        (".jpc", "JPEG2000", {"no_jp2": True}),
        (".avifs", "AVIF", {"quality": 100, "subsampling": "4:4:4"}),
    ],
)
def test_rare_suffixes_are_images(suffix: str, kind: str, options: dict[str, object]) -> None:
    """Pillow reads them, so they are listed and read."""
    if kind not in Image.registered_extensions().values():
        pytest.skip(f"this Pillow knows no {kind}")
    stream = io.BytesIO()
    gradient().save(stream, kind, **options)

    found = np.asarray(decode_rgb(stream.getvalue(), name=f"x{suffix}")).astype(int)

    assert suffix in IMAGE_SUFFIXES
    assert np.abs(found - np.asarray(gradient())).mean() < 4
