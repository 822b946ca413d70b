"""The handwritten digits that scikit-learn ships, thinned until some are rare."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from tuner.arrays import UInt8
from tuner.errors import DataError
from tuner.files import replacing_folder

# Images kept of each digit, round(178 * (20 / 178) ** (digit / 9)): about 9 to 1.
N_IMAGES = (178, 140, 110, 86, 67, 53, 41, 33, 25, 20)


def write_digits(folder: Path) -> Path:
    """Write the digits as a folder per class, unless they are there whole.

    The first images of each digit in scikit-learn's order, real 8x8 scans whose values 0-16
    are stretched to 0-255. The bytes of the files are the same on every machine.

    Args:
        folder: Where ``digit_0`` to ``digit_9`` go; appears whole or not at all.

    Returns:
        `folder`.

    Raises:
        DataError: If they cannot be written.
    """
    if not _is_whole(folder):
        try:
            _put(folder)
        except OSError as error:
            raise DataError(
                f"the bundled digits cannot be written: {error.strerror or error}",
                where=str(folder),
                do="free disk space or mend permissions, or choose another --home",
            ) from error
    return folder


def _put(folder: Path) -> None:
    """Write the digits beside their place, and give them their name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing_folder(folder) as made:
            _write(made)
    except OSError:
        if not _is_whole(folder):  # whole: somebody else was faster
            raise


def _write(folder: Path) -> None:
    """Write every image file below a new folder."""
    from sklearn.datasets import load_digits  # takes a second, and only here

    digits = load_digits()
    for digit, n in enumerate(N_IMAGES):
        place = folder / f"digit_{digit}"
        place.mkdir(parents=True)
        for number, scan in enumerate(digits.images[digits.target == digit][:n]):
            pixels = np.rint(scan * (255 / 16)).astype(np.uint8)
            (place / f"{number:03d}.png").write_bytes(_png(pixels))


def _png(pixels: UInt8) -> bytes:
    """Gray pixels of shape (height, width) as a PNG file, stored without compression.

    Compressors differ between builds of zlib, and the hash of a file decides its views.
    """
    height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    length = struct.pack("<HH", len(rows), len(rows) ^ 0xFFFF)
    stored = b"\x78\x01\x01" + length + rows + struct.pack(">I", zlib.adler32(rows))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", stored), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def _is_whole(folder: Path) -> bool:
    """Whether exactly the expected files are there, none empty or cut off."""
    expected = {f"digit_{d}/{i:03d}.png" for d, n in enumerate(N_IMAGES) for i in range(n)}
    found = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.glob("*/*")
        if path.is_file()
    }
    sizes = set(found.values())
    return set(found) == expected and len(sizes) == 1 and 0 not in sizes
