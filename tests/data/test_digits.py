from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from tuner.data.digits import N_IMAGES, write_digits
from tuner.data.reading import read_image_table

# Of the files' bytes: what the features of the digits are cached by, on every machine.
FINGERPRINT = "7993e75b8a8ed0a302fa7b94db9608cb54b87696743260e52a98e4b6315a5efc"


def test_the_digits_are_scikit_learns(tmp_path: Path) -> None:
    """Each file holds a real scan of its class, its 17 levels stretched to 0-255."""
    folder = write_digits(tmp_path / "digits")

    digits = load_digits()
    for digit in range(10):
        files = sorted((folder / f"digit_{digit}").iterdir())
        pixels = np.stack(
            [np.asarray(Image.open(io.BytesIO(file.read_bytes()))) for file in files]
        )
        source = digits.images[digits.target == digit][: len(files)]
        np.testing.assert_array_equal(pixels, np.rint(source * 255 / 16))


def test_the_digits_are_imbalanced_nine_to_one() -> None:
    """Counts fall geometrically from all 178 zeros to 20 nines."""
    expected = np.geomspace(178, 20, 10)

    np.testing.assert_array_equal(N_IMAGES, np.rint(expected))


def test_the_digits_have_the_same_bytes_everywhere(tmp_path: Path) -> None:
    """The table of the digits has one fingerprint, known beforehand."""
    assert read_image_table("digits", home=tmp_path).fingerprint == FINGERPRINT


def test_whole_digits_are_reused_and_damaged_ones_written_again(tmp_path: Path) -> None:
    """A second call leaves the files alone; with one gone, cut off or foreign it mends them."""
    folder = write_digits(tmp_path / "digits")
    path = folder / "digit_3" / "001.png"
    data, before = path.read_bytes(), path.stat().st_ino

    write_digits(folder)
    assert path.stat().st_ino == before

    for harm in (path.unlink, lambda: path.write_bytes(data[:20]), (folder / "x").mkdir):
        harm()
        (folder / "digit_0" / "foreign.png").touch()
        write_digits(folder)
        assert path.read_bytes() == data
        assert not (folder / "digit_0" / "foreign.png").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["digits"]
