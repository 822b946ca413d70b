"""Views against SciPy's resampler and Keras's own ImageDataGenerator, and their randomness."""

import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import ops
from PIL import Image
from scipy import ndimage, stats

from tuner.config import AugmentationConfig, StudyConfig
from tuner.features.backbone import apply_views
from tuner.features.views import (
    ViewParameters,
    affine_matrix,
    keras_transform,
    view_key,
    view_parameters,
)

# Deadline and health check would measure the machine, not the code.
quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

DEFAULT = AugmentationConfig()
SHA = hashlib.sha256(b"one picture").hexdigest()
IDENTITY = ViewParameters(0.0, 0.0, 0.0, 1.0, 1.0, is_flipped=False)
FLIP = IDENTITY._replace(is_flipped=True)

# Coordinates up to 48 in float32 are off by 4e-6 pixels, and a step from 0 to 255 between
# neighbours turns that into 1e-3; the rounding of the interpolation itself is smaller.
PIXEL_ATOL = 5e-3


def picture(side=48):
    """A picture no symmetry of which hides an error: a gradient, a disc, a bar and noise."""
    y, x = np.mgrid[:side, :side] / side
    red = 255 * x
    green = 255.0 * ((y - 0.3) ** 2 + (x - 0.6) ** 2 < 0.04)
    blue = np.random.default_rng(0).uniform(0, 255, (side, side))
    bar = (x > 0.1) & (x < 0.2) & (y > 0.5)
    return np.where(bar[..., None], [10, 200, 90], np.stack([red, green, blue], -1))


def resample(pixels, matrix, *, fill="nearest"):
    """One picture through the active backend."""
    transforms = keras_transform(matrix)[None]
    found = apply_views(pixels[None].astype(np.float32), transforms, fill=fill)
    return ops.convert_to_numpy(found)[0]


def scipy_resample(pixels, matrix, *, mode="nearest"):
    """The same by SciPy, float64, one channel at a time."""
    channels = [
        ndimage.affine_transform(pixels[..., c], matrix[:2, :2], matrix[:2, 2], order=1, mode=mode)
        for c in range(3)
    ]
    return np.stack(channels, -1)


PARAMETERS = {
    "rotation": IDENTITY._replace(rotation=math.radians(17)),
    "shift down": IDENTITY._replace(shift_y=0.13),
    "shift right": IDENTITY._replace(shift_x=-0.19),
    "zoom high": IDENTITY._replace(zoom_y=1.17),
    "zoom wide": IDENTITY._replace(zoom_x=0.83),
    "flip": FLIP,
    "all": ViewParameters(math.radians(-19), 0.2, -0.17, 0.81, 1.19, is_flipped=False),
    "all flipped": ViewParameters(math.radians(11), -0.2, 0.07, 1.2, 0.9, is_flipped=True),
    **{f"view {k}": view_parameters(SHA, k, augmentation=DEFAULT) for k in range(1, 9)},
}


@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS.keys())
def test_views_are_scipys(parameters):
    """The backend resamples as SciPy does: bilinear, edges repeated, same geometry."""
    matrix = affine_matrix(parameters, image_px=48)
    pixels = picture()
    np.testing.assert_allclose(
        resample(pixels, matrix), scipy_resample(pixels, matrix), rtol=0, atol=PIXEL_ATOL
    )


@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS.keys())
def test_reflected_views_are_scipys(parameters):
    """With ``fill: reflect`` the picture is mirrored at its sides, edge and all."""
    matrix, pixels = affine_matrix(parameters, image_px=48), picture()
    found = resample(pixels, matrix, fill="reflect")
    expected = scipy_resample(pixels, matrix, mode="reflect")
    np.testing.assert_allclose(found, expected, rtol=0, atol=PIXEL_ATOL)


@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS.keys())
def test_views_are_image_data_generators(parameters):
    """The composition is the one of Keras's ImageDataGenerator, whose axes are swapped."""
    legacy = pytest.importorskip("keras.src.legacy.preprocessing.image")
    generator = legacy.ImageDataGenerator(fill_mode="nearest", data_format="channels_last")
    p, pixels = parameters, picture()
    # It turns the other way round and calls the axes x, y: swapping them undoes both.
    expected = generator.apply_transform(
        pixels,
        {
            "theta": -math.degrees(p.rotation),
            "tx": p.shift_x * 48,
            "ty": p.shift_y * 48,
            "zx": p.zoom_x,
            "zy": p.zoom_y,
            "flip_horizontal": p.is_flipped,
        },
    )
    found = resample(pixels, affine_matrix(p, image_px=48))
    np.testing.assert_allclose(found, expected, rtol=0, atol=PIXEL_ATOL)


def test_each_picture_of_a_batch_gets_its_own_view():
    """Transforms belong to the pictures of a batch one to one."""
    matrices = [affine_matrix(p, image_px=48) for p in PARAMETERS.values()]
    batch = np.stack([np.roll(picture(), i, axis=0) for i in range(len(matrices))])
    transforms = np.stack([keras_transform(m) for m in matrices])
    found = ops.convert_to_numpy(apply_views(batch.astype(np.float32), transforms))
    for i, matrix in enumerate(matrices):
        np.testing.assert_allclose(
            found[i], scipy_resample(batch[i], matrix), rtol=0, atol=PIXEL_ATOL
        )


def test_identity_gives_back_the_pixels():
    """No rotation, shift, zoom or flip is the unit matrix and changes no pixel."""
    np.testing.assert_array_equal(affine_matrix(IDENTITY, image_px=48), np.eye(3))
    pixels = picture().astype(np.float32)
    np.testing.assert_array_equal(resample(pixels, np.eye(3)), pixels)


@pytest.mark.parametrize("side", [47, 48])
def test_flip_is_exact(side):
    """A flip alone mirrors left and right to the last bit, for odd and even sides."""
    pixels = picture(side).astype(np.float32)
    found = resample(pixels, affine_matrix(FLIP, image_px=side))
    np.testing.assert_array_equal(found, pixels[:, ::-1])


def test_whole_pixel_shift_moves_rows():
    """A shift by a quarter of the side moves rows, not columns, and repeats the edge."""
    pixels = picture(16).astype(np.float32)
    found = resample(pixels, affine_matrix(IDENTITY._replace(shift_y=0.25), image_px=16))
    np.testing.assert_array_equal(found[:12], pixels[4:])
    np.testing.assert_array_equal(found[12:], np.repeat(pixels[-1:], 4, axis=0))


def test_keras_transform_puts_x_before_y():
    """Keras reads (x, y) where the matrix is (y, x), and ends with two zeros."""
    matrix = np.array([[1.0, 2, 3], [4, 5, 6], [0, 0, 1]])
    found = keras_transform(matrix)
    np.testing.assert_array_equal(found, [5, 4, 6, 2, 1, 3, 0, 0])
    assert found.dtype == np.float32


def test_pixels_may_be_bytes_and_stay_in_range():
    """uint8 pixels give float32 views within 0..255."""
    pixels = np.asarray(Image.fromarray(picture().astype(np.uint8)))
    for parameters in PARAMETERS.values():
        found = apply_views(
            pixels[None], keras_transform(affine_matrix(parameters, image_px=48))[None]
        )
        values = ops.convert_to_numpy(found)
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.max() <= 255 + PIXEL_ATOL


@quick
@given(
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    view=st.integers(1, 1000),
    view_seed=st.integers(0, 2**31 - 1),
)
def test_parameters_lie_within_the_settings(sha256, view, view_seed):
    """Every view turns at most 20 degrees, shifts at most 0.2 and zooms 0.8 to 1.2."""
    settings = AugmentationConfig(view_seed=view_seed)
    p = view_parameters(sha256, view, augmentation=settings)
    assert abs(math.degrees(p.rotation)) <= 20 * (1 + 1e-12)  # degrees to radians and back
    assert max(abs(p.shift_y), abs(p.shift_x)) <= 0.2
    assert min(p.zoom_y, p.zoom_x) >= 0.8
    assert max(p.zoom_y, p.zoom_x) <= 1.2 * (1 + 1e-12)


def test_parameters_are_uniform_and_independent():
    """Over many files each parameter is uniform in its range, and no two go together."""
    found = np.array(
        [
            view_parameters(hashlib.sha256(b"%d" % i).hexdigest(), k, augmentation=DEFAULT)
            for i in range(1000)
            for k in (1, 2)
        ],
        dtype=np.float64,
    )
    turn = math.radians(20)
    ranges = [(-turn, turn), (-0.2, 0.2), (-0.2, 0.2), (0.8, 1.2), (0.8, 1.2)]
    for column, (low, high) in zip(found.T, ranges, strict=False):
        # Hashes are fixed, so this never flickers; 1e-3 would still show a wrong range.
        assert stats.kstest(column, "uniform", args=(low, high - low)).pvalue > 1e-3
    n = len(found)
    assert abs(found[:, 5].mean() - 0.5) < 4 * 0.5 / math.sqrt(n)
    off_diagonal = np.corrcoef(found.T) - np.eye(6)
    assert abs(off_diagonal).max() < 4 / math.sqrt(n)
    first, second = found[0::2], found[1::2]  # views 1 and 2 of the same files
    for column in range(6):
        together = np.corrcoef(first[:, column], second[:, column])[0, 1]
        assert abs(together) < 4 / math.sqrt(n / 2)


def test_settings_scale_the_parameters():
    """The study's ranges are used: none of a kind gives the identity of that kind."""
    still = AugmentationConfig(rotation_deg=0.0, shift=0.0, zoom=(1.0, 1.0), flip=False)
    assert view_parameters(SHA, 3, augmentation=still) == IDENTITY
    wide = AugmentationConfig(rotation_deg=40.0, shift=0.1, zoom=(0.5, 2.0))
    usual, other = (view_parameters(SHA, 3, augmentation=a) for a in (DEFAULT, wide))
    assert other.rotation == pytest.approx(2 * usual.rotation)
    assert other.shift_x == pytest.approx(usual.shift_x / 2)
    assert (other.zoom_y - 0.5) / 1.5 == pytest.approx((usual.zoom_y - 0.8) / 0.4)
    assert other.is_flipped == usual.is_flipped


def test_strength_scales_all_four():
    """Half of it halves angle and shift, takes the root of the zooms and half of the flips."""
    files = [hashlib.sha256(b"%d" % i).hexdigest() for i in range(400)]
    half, none = AugmentationConfig(strength=0.5), AugmentationConfig(strength=0.0)
    assert {view_parameters(file, 1, augmentation=none) for file in files} == {IDENTITY}
    pairs = [[view_parameters(f, 1, augmentation=a) for a in (DEFAULT, half)] for f in files]
    for usual, weak in pairs:
        assert weak.rotation == pytest.approx(usual.rotation / 2)
        assert weak.shift_y == pytest.approx(usual.shift_y / 2)
        assert 0.8**0.5 <= weak.zoom_x <= 1.2**0.5
        assert usual.is_flipped or not weak.is_flipped
    n_flips = np.sum([[usual.is_flipped, weak.is_flipped] for usual, weak in pairs], axis=0)
    assert n_flips[1] == pytest.approx(n_flips[0] / 2, rel=0.2)


def test_views_depend_on_file_view_and_view_seed_alone():
    """Other file, other k or other view seed is another view; the study's seed is not."""
    base = view_parameters(SHA, 1, augmentation=DEFAULT)
    assert view_parameters(SHA, 2, augmentation=DEFAULT) != base
    assert view_parameters(SHA[::-1], 1, augmentation=DEFAULT) != base
    assert view_parameters(SHA, 1, augmentation=AugmentationConfig(view_seed=1)) != base
    studies = [
        StudyConfig(name="a", seed=seed, data={"source": "digits", "image_px": 32 + seed})
        for seed in (0, 7)
    ]
    assert [view_parameters(SHA, 1, augmentation=s.augmentation) for s in studies] == [base] * 2
    assert len({view_key(SHA, 1, augmentation=s.augmentation) for s in studies}) == 1


def test_view_is_reproduced_alone_in_another_process():
    """View 5 needs neither views 1 to 4 nor this process's hash seed."""
    code = (
        "from tuner.config import AugmentationConfig as A\n"
        "from tuner.features.views import view_parameters as v\n"
        f"print(tuple(v({SHA!r}, 5, augmentation=A())))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tuple(view_parameters(SHA, 5, augmentation=DEFAULT)))


def test_parameters_of_a_known_file_are_fixed():
    """The numbers of one file, for ever: every bank on disk and every study relies on them."""
    found = view_parameters("0" * 64, 1, augmentation=DEFAULT)
    expected = (
        -0.12161731556913556,
        0.1322917420762101,
        0.18833353701277675,
        0.897023715283136,
        1.1269997290648301,
        True,
    )
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert view_key("0" * 64, 0, augmentation=DEFAULT) == "0" * 64 + ":0"
    assert view_key("0" * 64, 1, augmentation=DEFAULT) == "0" * 64 + ":1:d77e6845351bca26"


def test_key_changes_with_what_changes_the_view():
    """Every setting of the views makes another name, those of rows do not."""
    others = [
        AugmentationConfig(view_seed=1),
        AugmentationConfig(rotation_deg=10.0),
        AugmentationConfig(shift=0.1),
        AugmentationConfig(zoom=(0.9, 1.2)),
        AugmentationConfig(flip=False),
        AugmentationConfig(strength=0.5),
        AugmentationConfig(fill="reflect"),
    ]
    keys = {view_key(SHA, 1, augmentation=a) for a in [DEFAULT, *others]}
    assert len(keys) == 1 + len(others)
    for same in (AugmentationConfig(cap="none"), AugmentationConfig(policy="minority")):
        assert view_key(SHA, 1, augmentation=same) == view_key(SHA, 1, augmentation=DEFAULT)
    assert {view_key(SHA, 0, augmentation=a) for a in others} == {f"{SHA}:0"}
