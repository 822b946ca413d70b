from __future__ import annotations

from pathlib import PurePath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity

from tuner.data.near_duplicates import neighbours
from tuner.data.near_duplicates.neighbours import (
    Pairs,
    centred_cosine,
    nearest,
    of_one_name,
    original_name,
    pairs_of,
)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(8, 60), k=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_neighbours_are_the_nearest_by_whitened_components(n, k, seed):
    """Block by block the same come out as from scikit-learn's whitened components."""
    features = np.random.default_rng(seed).normal(size=(n, 12)).astype(np.float32)
    n_directions = min(4, n // 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_BLOCK", 7)
        found = nearest(features, k=k, n_directions=n_directions)
    white = PCA(n_directions, whiten=True, svd_solver="full").fit_transform(features)
    cosine = cosine_similarity(white)
    np.fill_diagonal(cosine, -2)
    expected = np.sort(np.take_along_axis(cosine, np.argsort(-cosine, axis=1), axis=1)[:, :k])
    got = np.sort(np.take_along_axis(cosine, found, axis=1))
    np.testing.assert_allclose(got, expected[:, ::1][:, -k:], atol=1e-3)


@pytest.mark.parametrize("n", [0, 1])
def test_one_image_has_no_neighbours(n):
    """No image or one image is no special case for the caller."""
    assert nearest(np.ones((n, 4), np.float32)).shape == (n, 0)


def test_features_that_are_not_finite_are_refused():
    """A NaN would silently be near nothing."""
    features = np.ones((3, 4), np.float32)
    features[1, 2] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        nearest(features)
    with pytest.raises(ValueError, match="not finite"):
        centred_cosine(features, Pairs(np.array([0]), np.array([1])))


def test_an_image_at_the_mean_is_like_no_other():
    """A feature without direction raises no warning and is not near what has one."""
    features = np.array([[1, 0], [1, 0], [1, 0], [1, 0], [5, 1], [-3, -1]], np.float32)
    pairs = Pairs(np.array([2, 2, 4]), np.array([3, 4, 5]))
    np.testing.assert_allclose(centred_cosine(features, pairs), [1, 0, -1], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 40), seed=st.integers(0, 2**32))
def test_cosine_is_seen_from_the_mean(n, seed):
    """Block by block the same as scikit-learn's of features without their mean."""
    features = np.random.default_rng(seed).normal(3, 1, size=(n, 9)).astype(np.float32)
    pairs = Pairs(*np.triu_indices(n, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_BLOCK", 5)
        found = centred_cosine(features, pairs)
    expected = cosine_similarity(features - features.mean(axis=0))
    np.testing.assert_allclose(found, expected[pairs.first, pairs.second], atol=1e-4)


def test_proposals_are_joined_each_pair_once():
    """Whoever proposes a pair, and in which order, it is one pair."""
    found = pairs_of(4, np.array([[1], [0], [3], [2]]), Pairs(np.array([3, 0]), np.array([2, 3])))
    assert list(zip(found.first, found.second, strict=True)) == [(0, 1), (0, 3), (2, 3)]
    assert len(pairs_of(0, np.empty((0, 0), np.int64)).first) == 0


@pytest.mark.parametrize(
    "copy",
    [
        "IMG_7_jpg.rf.3f786850e387550fdab836ed7e6dc881",
        "IMG_7 (1)",
        "IMG_7(12)",
        "IMG_7_aug3",
        "IMG_7-augmented-12",
        "IMG_7 - Copy",
        "IMG_7_copy2",
        "IMG_7_rotated_90",
        "IMG_7_flip",
        "IMG_7 (1)_aug2",
    ],
)
def test_what_tools_append_to_a_copy_is_taken_off(copy):
    """Annotation tools, file managers and scripts name copies after their original."""
    assert original_name(copy) == "IMG_7"


@pytest.mark.parametrize("name", ["IMG_7", "cell0042", "(1)", "aug3", "copy", "x_v2", "scan.2"])
def test_other_names_stay(name):
    """A name that is nothing but the addition is a name."""
    assert original_name(name) == name


def test_names_propose_within_folders_of_one_name():
    """Copies dealt to train and test are proposed; the same number in two classes is not."""
    files = [
        "train/crack/1_jpg.rf.3f786850e387",
        "test/crack/1_jpg.rf.89e6c98d9288",
        "train/rust/1_jpg.rf.aaaaaaaaaaaa",
        "train/rust/2",
        "test/rust/2",
    ]
    found = of_one_name([PurePath(f"{file}.jpg") for file in files])
    assert list(zip(found.first, found.second, strict=True)) == [(0, 1)]


def test_a_numbered_series_is_no_set_of_copies():
    """``benign (1).png`` to ``benign (437).png`` are patients, not copies."""
    files = [PurePath(f"benign/benign ({i}).png") for i in range(1, 438)]
    assert len(of_one_name(files).first) == 0
    few = [PurePath(f"weld/weld_crop_{i}.png") for i in range(5)]
    assert len(of_one_name(few).first) == 0
    assert len(of_one_name([*few, PurePath("weld/weld.png")]).first) == 15
