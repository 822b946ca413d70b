"""What opening every file shows of a data set, said once and remembered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tuner.data.scan as scanning
from tuner.data.image_table import ImageTable
from tuner.data.images import read_image
from tuner.data.reading import read_image_table

RNG = np.random.default_rng(0)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A folder of 12-bit pictures in files of 16, beside one of their 8-bit copies."""
    for i in range(6):
        values = RNG.integers(0, 4096, (9, 7)).astype(np.uint16)
        for name, pixels in (("x12", values), ("x8", (values >> 4).astype(np.uint8))):
            path = tmp_path / name / "ab"[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path


def read(folder: Path, **how: object) -> ImageTable:
    """The images of a folder, indexed beside it."""
    return read_image_table(str(folder), home=folder.parent / "home", **how)


def test_12_bits_equal_their_8_bit_copies(deep: Path) -> None:
    """The range is seen on the whole set and said, and the pixels are those of the copies."""
    table = read(deep / "x12", value_range="auto")

    assert table.rule.range == (0.0, 4095.0)
    assert any("read with 0 as black and 4095 as white" in note for note in table.notes)
    for path in table.paths:
        ours = read_image(deep / "x12" / path, image_px=32, rule=table.rule)
        np.testing.assert_array_equal(ours, read_image(deep / "x8" / path, image_px=32))
    assert read(deep / "x8", value_range="auto").rule.range is None
    assert read(deep / "x8", value_range="auto").notes == ()


def test_a_study_without_the_key_is_told_of_it(deep: Path) -> None:
    """What each file could hold stays the rule where nothing is said, with a note."""
    table = read(deep / "x12")

    assert table.rule.range is None
    assert any("data.range: auto" in note for note in table.notes)
    assert read(deep / "x12", value_range=(0.0, 1023.0)).rule.range == (0.0, 1023.0)


def test_what_was_seen_is_remembered(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look opens no file and says the same."""
    first = read(deep / "x12", value_range="auto")
    monkeypatch.delattr(scanning, "decode")

    second = read(deep / "x12", value_range="auto")

    assert (second.rule, second.notes) == (first.rule, first.notes)


def test_pictures_that_show_nothing_are_named(
    tmp_path: Path, picture: Callable[..., Path]
) -> None:
    """Pictures of one value, of 8 bits and of 16; a dark one with a spot is none of them."""
    for name in ("a/1.png", "b/1.png"):
        picture(tmp_path / "data" / name, 9)
    Image.new("RGB", (5, 5), (3, 4, 5)).save(tmp_path / "data" / "a" / "flat.png")
    dark = np.full((5, 5), 7, np.uint16)
    Image.fromarray(dark).save(tmp_path / "data" / "a" / "flat16.png")
    dark[2, 2] = 9
    Image.fromarray(dark).save(tmp_path / "data" / "a" / "spot.png")

    notes = read(tmp_path / "data", value_range="auto").notes

    assert "2 images hold one value only and show nothing: a/flat.png, a/flat16.png" in notes


def test_pages_and_frames_are_named(tmp_path: Path, picture: Callable[..., Path]) -> None:
    """Of documents and animations the first page is read, and `check` says so."""
    for name in ("a/1.png", "b/1.png"):
        picture(tmp_path / "data" / name, 9)
    frames = [Image.fromarray(RNG.integers(0, 256, (6, 6)).astype(np.uint8)) for _ in range(3)]
    for suffix in ("tif", "gif", "webp", "png"):
        path = tmp_path / "data" / "a" / f"many_{suffix}.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])

    (note,) = read(tmp_path / "data").notes

    assert note.startswith("4 images have several pages or frames, of which the first is read")
