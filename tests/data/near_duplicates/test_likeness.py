from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from tuner.data.near_duplicates.likeness import likeness, read_spectra, spectrum
from tuner.errors import DataError

ROWS = np.array([0]), np.array([1])


def texture(seed: int, *, side: int = 160) -> Image.Image:
    """Grains of one kind, different for each seed: what features cannot tell apart."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(60, 200, (side // 5, side // 5, 3), dtype=np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)


def as_jpeg(picture: Image.Image) -> Image.Image:
    """Read back from a small file."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=60)
    return Image.open(file)


def moved(picture: Image.Image, by: int) -> Image.Image:
    """Down and to the right, what leaves coming in again."""
    return Image.fromarray(np.roll(np.asarray(picture), by, axis=(0, 1)))


COPIES = {
    "re-encoded": as_jpeg,
    "cropped": lambda p: p.crop((4, 4, p.width, p.height)),
    "moved": lambda p: moved(p, 5),
    "brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.05),
    "darker": lambda p: ImageEnhance.Brightness(p).enhance(0.95),
    "smaller": lambda p: p.resize((p.width * 3 // 4, p.height * 3 // 4)),
    "mirrored": lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "gray": lambda p: p.convert("L"),
}


def bands_of(*pictures: Image.Image) -> np.ndarray:
    """Their spectra in one array."""
    return np.stack([spectrum(picture) for picture in pictures])


@pytest.mark.parametrize("kind", COPIES)
def test_a_changed_copy_agrees_and_another_piece_of_the_texture_does_not(kind):
    """What people do to copies leaves most of the agreement; strangers of one kind have little."""
    picture = texture(0)
    copied = likeness(bands_of(picture, COPIES[kind](picture)), *ROWS)
    strange = likeness(bands_of(picture, COPIES[kind](texture(1))), *ROWS)
    assert copied > 0.7
    assert strange < 0.4


def test_far_shifts_do_not_count():
    """One spot on an even ground looks like any other, unless it has to be near its place."""
    near, far = (Image.new("RGB", (128, 128), "gray") for _ in range(2))
    near.paste("black", (20, 20, 30, 30))
    far.paste("black", (84, 90, 94, 100))
    assert likeness(bands_of(near, moved(near, 6)), *ROWS) > 0.8
    assert likeness(bands_of(near, far), *ROWS) < 0.4


def test_pictures_without_structure_agree_with_nothing():
    """Flat pictures give 0 and no warning: there is nothing to compare."""
    flat = [Image.new("RGB", (40, 40), color) for color in ("white", "gray")]
    found = likeness(bands_of(*flat, texture(0)), np.array([0, 0]), np.array([1, 2]))
    np.testing.assert_array_equal(found, 0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(2, 5))
def test_likeness_is_symmetric_and_1_with_itself(seed, n):
    """The order of two pictures does not matter, and none is above 1."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (n, 40, 50), dtype=np.uint8)
    bands = bands_of(*map(Image.fromarray, noise))
    first, second = np.array(np.triu_indices(n))
    found = likeness(bands, first, second)
    np.testing.assert_allclose(found, likeness(bands, second, first), atol=0.03)
    np.testing.assert_allclose(found[first == second], 1, atol=1e-5)
    assert found.max() <= 1


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_likeness_is_the_peak_of_a_correlation_summed_by_hand(is_mirrored):
    """The Fourier route gives the sum over pixels of two band-passed pictures, at each shift."""
    other = moved(texture(2), 20)
    bands = bands_of(
        texture(2), other.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if is_mirrored else other
    )
    whole = np.zeros((2, 64, 33), dtype=complex)
    whole[:, np.r_[0:17, -16:0], :17] = bands
    a, b = np.fft.irfft2(whole) * 64
    b = b[:, ::-1] if is_mirrored else b
    shifts = range(-16, 17)
    by_hand = max((a * np.roll(b, (y, x), (0, 1))).sum() for y in shifts for x in shifts)
    np.testing.assert_allclose(likeness(bands, *ROWS)[0], by_hand, rtol=1e-3)


def test_only_what_is_asked_for_is_read(tmp_path):
    """Rows that nobody compares stay zero, and progress counts the others."""
    texture(0, side=40).resize((80, 60)).save(tmp_path / "a.png")
    seen = []
    found = read_spectra(
        [tmp_path / "missing.png", tmp_path / "a.png"],
        np.array([1]),
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 1)]
    assert found.side.tolist() == [0, 60]
    assert not found.bands[0].any()
    assert found.bands[1].any()


def test_a_file_that_has_gone_is_named(tmp_path):
    """A file that was there when indexed and is not any more is one message with its path."""
    with pytest.raises(DataError) as caught:
        read_spectra([tmp_path / "gone.png"], np.array([0]))
    assert "gone.png" in str(caught.value)
