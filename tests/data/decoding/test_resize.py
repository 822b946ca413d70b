"""The reader's resize is its definition in whole numbers, under every Pillow."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tuner.arrays import Int64, UInt8
from tuner.data.decoding.resize import resize

SIDES = st.integers(1, 60) | st.integers(1, 500)


def shares(n: int, m: int) -> Int64:
    """Share of each of `n` pixels in each of `m` results, int64 (m, n), of 2**22 in all."""
    j, i = np.arange(n, dtype=np.int64)[None], np.arange(m, dtype=np.int64)[:, None]
    triangle = np.maximum(0, 2 * max(n, m) - abs((2 * j + 1) * m - (2 * i + 1) * n))
    whole = triangle.sum(axis=1, keepdims=True)
    return (triangle * 2**23 + whole) // (2 * whole)


def by_definition(pixels: UInt8, image_px: int) -> UInt8:
    """Both passes, columns and then rows, in NumPy's integers."""
    height, width = pixels.shape[:2]
    wide = pixels.astype(np.int64)
    narrow = (np.einsum("hwc,iw->hic", wide, shares(width, image_px)) + 2**21) >> 22
    return ((np.einsum("hwc,ih->iwc", narrow, shares(height, image_px)) + 2**21) >> 22).astype(
        np.uint8
    )


def noise(height: int, width: int, *, seed: int, levels: int = 256) -> UInt8:
    """Pixels without any order; of two levels sums end on halves far more often."""
    drawn = np.random.default_rng(seed).integers(0, levels, (height, width, 3))
    return (drawn * (255 // (levels - 1))).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    height=SIDES,
    width=SIDES,
    image_px=st.sampled_from([32, 48, 100, 224]),
    levels=st.sampled_from([2, 256]),
    seed=st.integers(0, 99),
)
def test_the_reader_computes_the_definition(
    height: int, width: int, image_px: int, levels: int, seed: int
) -> None:
    """Enlarged and reduced, thin and tall, every value is the one that the definition says."""
    pixels = noise(height, width, seed=seed, levels=levels)

    found = np.asarray(resize(Image.fromarray(pixels), image_px))

    np.testing.assert_array_equal(found, by_definition(pixels, image_px))


def test_the_numbers_are_those_of_every_pillow() -> None:
    """One hash over pictures of many ratios, the same under Pillow 11.0, 12.3 and 13.0."""
    digest = hashlib.sha256()
    for height, width in [
        (60, 160),
        (160, 60),
        (97, 131),
        (300, 2),
        (2, 300),
        (31, 90),
        (480, 64),
    ]:
        picture = Image.fromarray(noise(height, width, seed=0))
        digest.update(np.asarray(resize(picture, 64)).tobytes())

    assert digest.hexdigest() == "5f1d5f7d8cc8c9c42eafe04329ed3f776d2fc72c45bf002f837ef43c56ae6ded"


def test_shares_make_a_whole_of_one_level() -> None:
    """A picture of one level keeps it, however large or small it becomes."""
    for level in (0, 1, 127, 254, 255):
        pixels = np.full((777, 13, 3), level, dtype=np.uint8)
        assert (np.asarray(resize(Image.fromarray(pixels), 40)) == level).all()


def test_the_order_of_an_older_study_is_pillow_13s() -> None:
    """Studies begun with one call of Pillow 13 go on with rows first in tall pictures alone."""
    wide, tall = (Image.fromarray(noise(h, w, seed=1)) for h, w in ((60, 160), (160, 60)))

    assert resize(wide, 64, order="pillow 13") == resize(wide, 64)
    rows_first = tall.resize((60, 64), Image.Resampling.BILINEAR).resize(
        (64, 64), Image.Resampling.BILINEAR
    )
    assert resize(tall, 64, order="pillow 13") == rows_first
    assert resize(tall, 64) != rows_first
