from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from sklearn.metrics.pairwise import cosine_similarity

from tuner.data.digits import write_digits
from tuner.data.images import read_image
from tuner.data.near_duplicates import find as duplicates
from tuner.data.near_duplicates.find import (
    find_near_duplicates,
    linked_groups,
    nearest_images,
)
from tuner.data.reading import read_image_table

EMPTY = np.zeros(0, dtype=np.int64)


def pixel_features(files: list[Path], *, side: int = 16) -> np.ndarray:
    """Stand-in for ResNet50: pixels of a tiny grey version, the same for a mirrored picture."""
    small = [read_image(file, image_px=side).mean(axis=2, dtype=np.float32) for file in files]
    return np.stack([(s + s[:, ::-1]).ravel() for s in small])


def hashes(files: list[Path]) -> list[str]:
    """SHA-256 of each file."""
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 30),
    seed=st.integers(0, 2**32),
    n_pairs=st.integers(0, 40),
)
def test_linked_groups_are_the_chains_of_pairs(n, seed, n_pairs):
    """Images share a group when a chain of pairs joins them; first images number the groups."""
    first, second = np.random.default_rng(seed).integers(0, n, (2, n_pairs))
    found = linked_groups(n, first, second)
    is_joined = np.eye(n, dtype=bool)
    is_joined[first, second] = is_joined[second, first] = True
    for _ in range(n):
        is_joined = is_joined @ is_joined
    assert np.array_equal(found[:, None] == found, is_joined)
    names, first_seen = np.unique(found, return_index=True)
    assert names.tolist() == list(range(len(names)))
    assert (np.diff(first_seen) > 0).all()
    assert found.dtype == np.int64


def test_a_long_chain_is_one_group():
    """Links that run through every image one by one, in any order, are followed."""
    order = np.random.default_rng(0).permutation(20_000)
    assert linked_groups(20_000, order[:-1], order[1:]).max() == 0


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 40), k=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_neighbours_are_the_nearest_by_centred_cosine(n, k, seed):
    """Block by block the same pairs come out as from scikit-learn's whole matrix."""
    features = np.random.default_rng(seed).normal(size=(n, 12)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_BLOCK", 7)
        found = nearest_images(features, n_neighbours=k)
    cosine = cosine_similarity(features - features.mean(axis=0))
    np.fill_diagonal(cosine, -2)
    nearest = np.argsort(-cosine, axis=1)[:, :k]
    expected = {(min(i, j), max(i, j)) for i in range(n) for j in nearest[i, : n - 1].tolist()}
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == expected
    np.testing.assert_allclose(found.cosine, cosine[found.first, found.second], atol=1e-5)


@pytest.mark.parametrize("n", [0, 1])
def test_one_image_has_no_neighbours(n):
    """No image or one image is no special case for the caller."""
    found = nearest_images(np.ones((n, 4), np.float32))
    assert len(found.first) == 0
    near = find_near_duplicates(np.ones((n, 4), np.float32), [Path("x")] * n, sha256=["h"] * n)
    assert near.groups.tolist() == [0] * n


def test_features_that_are_all_alike_link_everything(tmp_path):
    """Where nothing parts images, not even a direction from their mean, they are one group."""
    files = [tmp_path / f"{i}.png" for i in range(50)]
    for i, file in enumerate(files):
        Image.new("L", (8, 8), 100).save(file, compress_level=i % 9)
    names = [str(i) for i in range(50)]
    near = find_near_duplicates(np.full((50, 16), 0.1, np.float32), files, sha256=names)
    assert near.groups.max() == 0


def test_an_image_at_the_mean_is_like_no_other():
    """A feature without direction raises no warning and is not near what has one."""
    features = np.array([[2, 0], [0, 0], [1, 0], [1, 0]], np.float32)  # the last two: the mean
    features[1] = 1.0, 0.0
    features[0] = 1.0, 0.0
    features = np.vstack([features, [[5, 1], [-3, -1]]]).astype(np.float32)
    found = nearest_images(features)
    cosine = {
        (a, b): c
        for a, b, c in zip(
            found.first.tolist(), found.second.tolist(), found.cosine.tolist(), strict=True
        )
    }
    assert cosine[2, 3] == pytest.approx(1)
    assert cosine[2, 4] == pytest.approx(0)


def test_features_that_are_not_finite_are_refused():
    """A NaN would silently be near nothing."""
    features = np.ones((3, 4), np.float32)
    features[1, 2] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        nearest_images(features)


def test_what_does_not_fit_is_refused():
    """Features, files and hashes are of the same images."""
    with pytest.raises(ValueError, match="3 features, 2 hashes, 2 files"):
        find_near_duplicates(np.ones((3, 4), np.float32), [Path("a")] * 2, sha256=["h"] * 2)


def planted(root: Path) -> tuple[list[Path], set[tuple[str, str]]]:
    """Real digits enlarged to 64 pixels, some of them with a changed copy; the pairs by name."""
    files = sorted(write_digits(root / "digits").glob("*/*.png"))[::6]
    folder = root / "large"
    folder.mkdir()
    changes = {
        "jpeg": lambda p, f: p.save(f.with_suffix(".jpg"), quality=70),
        "crop": lambda p, f: p.crop((1, 1, 64, 64)).save(f),
        "dark": lambda p, f: ImageEnhance.Brightness(p).enhance(0.95).save(f),
        "half": lambda p, f: p.resize((48, 48), Image.Resampling.BICUBIC).save(f),
        "turn": lambda p, f: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(f),
    }
    pairs = set()
    for i, file in enumerate(files):
        digit = Image.open(file).convert("L").resize((64, 64), Image.Resampling.BICUBIC)
        # Paper has a grain of its own, by which a copy is known from a similar digit.
        grain = np.random.default_rng(i).integers(0, 256, (20, 20), dtype=np.uint8)
        paper = Image.fromarray(grain).resize((64, 64), Image.Resampling.BICUBIC)
        picture = Image.blend(digit, paper, 0.5)
        picture.save(folder / f"{i:03d}.png")
        if i % 8 == 0:
            kind = list(changes)[(i // 8) % len(changes)]
            changes[kind](picture, folder / f"{i:03d}_{kind}.png")
            pairs.add((f"{i:03d}", f"{i:03d}_{kind}"))
    return sorted(folder.iterdir()), pairs


def test_every_planted_copy_is_found_among_real_digits(tmp_path):
    """All changed copies are paired with their originals, and nothing else is."""
    files, expected = planted(tmp_path)
    assert len(expected) > 12
    near = find_near_duplicates(pixel_features(files), files, sha256=hashes(files))
    found = {(files[a].stem, files[b].stem) for a, b in zip(near.first, near.second, strict=True)}
    assert found == expected
    assert near.groups.max() + 1 == len(files) - len(expected)


def test_the_likest_pairs_come_first(tmp_path):
    """Who reads only the beginning of the list sees the clearest pairs."""
    files, _ = planted(tmp_path)
    near = find_near_duplicates(pixel_features(files), files, sha256=hashes(files))
    assert (np.diff(near.likeness) <= 0).all()
    assert (near.first < near.second).all()


def test_small_pictures_are_judged_by_their_features(tmp_path):
    """Eight pixels hold too little: real digits of a class agree, and are not taken for copies."""
    folder = write_digits(tmp_path / "digits")
    files = sorted(folder.glob("digit_5/*.png"))
    again = tmp_path / "again.png"
    Image.open(files[0]).save(again, compress_level=1, optimize=False)
    files.append(again)
    near = find_near_duplicates(pixel_features(files), files, sha256=hashes(files))
    last = len(files) - 1
    pairs = set(zip(near.first.tolist(), near.second.tolist(), strict=True))
    assert (0, last) in pairs
    assert len(pairs) < 4


def test_files_of_the_same_bytes_share_a_group(tmp_path):
    """Whatever the features say: nobody may see a file in training and again in the test."""
    files = [tmp_path / f"{i}.png" for i in range(4)]
    rng = np.random.default_rng(0)
    for file in files:
        Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)).save(file)
    features = rng.normal(size=(4, 30)).astype(np.float32)
    near = find_near_duplicates(features, files, sha256=["a", "b", "a", "c"])
    assert len(near.first) == 0
    assert near.groups.tolist() == [0, 1, 0, 2]


@pytest.mark.shared_data
def test_photographs_under_two_labels_are_pairs(shared, tmp_path):
    """The three photographs that TrashNet files under two materials are found by their bytes."""
    table = read_image_table(str(shared("odd.tar") / "label_conflicts"), home=tmp_path)
    files = [table.root / path for path in table.paths]
    near = find_near_duplicates(pixel_features(files), files, sha256=table.sha256)
    found = {
        (table.paths[a], table.paths[b]) for a, b in zip(near.first, near.second, strict=True)
    }
    assert found == {
        ("glass/glass115.jpg", "metal/metal91.jpg"),
        ("glass/glass176.jpg", "plastic/plastic152.jpg"),
        ("glass/glass389.jpg", "plastic/plastic332.jpg"),
    }
    assert (table.labels[near.first] != table.labels[near.second]).all()


@pytest.mark.shared_data
def test_one_photograph_in_several_orientations_is_one_group(shared, tmp_path):
    """EXIF turns are undone before pictures are compared."""
    folder = shared("odd.tar") / "exif_orientation"
    files = sorted(folder.glob("*.jpg"))
    near = find_near_duplicates(pixel_features(files), files, sha256=hashes(files))
    landscape = [i for i, file in enumerate(files) if file.stem.startswith("Landscape")]
    assert len(set(near.groups[landscape].tolist())) == 1
    assert near.groups.max() == 1
