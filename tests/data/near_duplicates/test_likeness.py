from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from tuner.data.near_duplicates.likeness import agreement, without_shared
from tuner.data.near_duplicates.neighbours import Pairs
from tuner.data.near_duplicates.spectra import as_halves, spectrum

PAIR = Pairs(np.array([0]), np.array([1]))


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


def lit(picture: Image.Image) -> Image.Image:
    """The same lit from one side."""
    light = np.linspace(0.6, 1.2, picture.width)[:, None]
    return Image.fromarray((np.asarray(picture) * light).clip(0, 255).astype(np.uint8))


COPIES = {
    "re-encoded": as_jpeg,
    "cropped": lambda p: p.crop((4, 4, p.width, p.height)),
    "moved": lambda p: moved(p, 5),
    "brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.05),
    "darker": lambda p: ImageEnhance.Brightness(p).enhance(0.95),
    "smaller": lambda p: p.resize((p.width * 3 // 4, p.height * 3 // 4)),
    "mirrored": lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda p: p.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "turned by 90": lambda p: p.transpose(Image.Transpose.ROTATE_90),
    "turned by 180": lambda p: p.transpose(Image.Transpose.ROTATE_180),
    "transposed": lambda p: p.transpose(Image.Transpose.TRANSPOSE),
    "other light": lambda p: lit(p),
    "gray": lambda p: p.convert("L"),
}


def bands_of(*pictures: Image.Image) -> np.ndarray:
    """Their spectra in one array."""
    return as_halves(np.stack([spectrum(picture).band for picture in pictures]))


def likeness(bands: np.ndarray, pair: Pairs = PAIR) -> np.ndarray:
    """How far they agree with nothing taken away."""
    return agreement(bands, pair).likeness


@pytest.mark.parametrize("kind", COPIES)
def test_a_changed_copy_agrees_and_another_piece_of_the_texture_does_not(kind):
    """What people do to copies leaves most of the agreement; strangers of one kind have little."""
    picture = texture(0)
    copied = likeness(bands_of(picture, COPIES[kind](picture)))
    strange = likeness(bands_of(picture, COPIES[kind](texture(1))))
    assert copied > 0.7
    assert strange < 0.4


def test_far_shifts_do_not_count():
    """One spot on an even ground looks like any other, unless it has to be near its place."""
    near, far = (Image.new("RGB", (128, 128), "gray") for _ in range(2))
    near.paste("black", (60, 60, 70, 70))
    far.paste("black", (104, 60, 114, 70))
    assert likeness(bands_of(near, moved(near, 6))) > 0.8
    assert likeness(bands_of(near, far)) < 0.4


def test_pictures_without_structure_agree_with_nothing():
    """Flat pictures give 0 and no warning: there is nothing to compare."""
    flat = [Image.new("RGB", (40, 40), color) for color in ("white", "gray")]
    found = likeness(bands_of(*flat, texture(0)), Pairs(np.array([0, 0]), np.array([1, 2])))
    np.testing.assert_array_equal(found, 0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(2, 5))
def test_likeness_is_symmetric_and_1_with_itself(seed, n):
    """The order of two pictures does not matter, and none is above 1."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (n, 40, 50), dtype=np.uint8)
    bands = bands_of(*map(Image.fromarray, noise))
    first, second = np.array(np.triu_indices(n))
    found = likeness(bands, Pairs(first, second))
    np.testing.assert_allclose(found, likeness(bands, Pairs(second, first)), atol=0.03)
    np.testing.assert_allclose(found[first == second], 1, atol=1e-3)
    assert found.max() <= 1


TURNS = [None, *Image.Transpose]


@pytest.mark.parametrize("turn", TURNS)
def test_likeness_is_the_peak_of_a_correlation_summed_by_hand(turn):
    """The Fourier route gives the sum over pixels of two band-passed pictures, at each shift."""
    other = moved(texture(2), 20)
    bands = bands_of(texture(2), other)
    whole = np.zeros((2, 64, 33), dtype=complex)
    whole[:, np.r_[0:17, -16:0], :17] = bands[..., 0] + 1j * bands[..., 1].astype(float)
    a, b = np.fft.irfft2(whole) * 64
    shifts = range(-16, 17)

    def peak(b):
        return max((a * np.roll(b, (y, x), (0, 1))).sum() for y in shifts for x in shifts)

    ways = [b, b[::-1], b[:, ::-1], b[::-1, ::-1]]
    by_hand = max(peak(way) for way in [*ways, *(way.T for way in ways)])
    turned = bands if turn is None else bands_of(texture(2), other.transpose(turn))
    np.testing.assert_allclose(likeness(turned)[0], by_hand, atol=0.02)


def test_turns_are_counted_apart():
    """A turned copy is alike and not upright; a mirrored one is both."""
    for turn, is_upright in (
        (Image.Transpose.ROTATE_90, False),
        (Image.Transpose.FLIP_LEFT_RIGHT, True),
    ):
        found = agreement(bands_of(texture(1), texture(1).transpose(turn)), PAIR)
        assert found.likeness > 0.9
        assert (found.upright > 0.9) == is_upright


def lines(seed: int) -> Image.Image:
    """Upright lines in the same places, and grain that differs."""
    rng = np.random.default_rng(0)
    pixels = np.full((96, 96), 128.0)
    pixels[:, rng.integers(0, 96, 14)] -= 60
    return Image.fromarray(
        (pixels + np.random.default_rng(seed).normal(0, 6, (96, 96))).astype(np.uint8)
    )


def test_lines_of_one_direction_make_pictures_alike_and_not_even():
    """What a printing screen leaves agrees in one direction only; a copy agrees in all."""
    of_one_screen = agreement(bands_of(lines(1), lines(2)), PAIR)
    of_a_copy = agreement(bands_of(texture(1), as_jpeg(texture(1))), PAIR)
    assert of_one_screen.evenness < of_one_screen.likeness - 0.1
    assert of_one_screen.evenness < 0.5
    assert of_a_copy.evenness > 0.8


def test_evenness_is_asked_only_above_the_floor():
    """Below it nobody needs to know; it is 0 there."""
    bands = bands_of(texture(1), as_jpeg(texture(1)), texture(2))
    pairs = Pairs(np.array([0, 0]), np.array([1, 2]))
    found = agreement(bands, pairs, floor=0.6)
    np.testing.assert_array_equal(found.likeness, agreement(bands, pairs).likeness)
    assert found.evenness[0] > 0.6
    assert found.evenness[1] == 0


def frames(n: int) -> list[Image.Image]:
    """Different parts in one strong frame, as a camera that stands still sees them."""
    frame = np.asarray(texture(99)).astype(float)
    parts = [frame + 0.35 * (np.asarray(texture(i)).astype(float) - 128) for i in range(n)]
    return [Image.fromarray(part.clip(0, 255).astype(np.uint8)) for part in parts]


def test_what_neighbours_share_is_taken_away():
    """In one frame strangers agree and are no twins; with the frame taken away a copy still is."""
    pictures = frames(21)
    pictures.append(as_jpeg(pictures[0]))
    bands = bands_of(*pictures)
    others = np.array([[j for j in range(22) if j != i] for i in range(22)])
    pairs = Pairs(np.array([0, 0]), np.array([1, 21]))
    assert (likeness(bands, pairs) > 0.5).all()
    rest = without_shared(bands, others)
    stranger, copy = likeness(rest.bands, pairs)
    assert stranger < 0.35
    assert copy > 0.7
    assert rest.left.max() < 0.8


def test_strangers_share_nothing():
    """A mean of strangers holds what chance leaves, and nothing is taken away for that."""
    bands = bands_of(*(texture(i) for i in range(21)))
    others = np.array([[j for j in range(21) if j != i] for i in range(21)])
    rest = without_shared(bands, others)
    np.testing.assert_allclose(rest.left, 1, atol=0.05)
    alone = without_shared(bands, np.empty((21, 0), np.int64))
    np.testing.assert_allclose(alone.bands, bands, atol=1e-3)
