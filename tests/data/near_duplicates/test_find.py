from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from tuner.data.digits import write_digits
from tuner.data.images import read_image
from tuner.data.near_duplicates.find import (
    find_near_duplicates,
    linked_groups,
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


@pytest.mark.parametrize("n", [0, 1])
def test_one_image_has_no_near_duplicates(n, tmp_path):
    """No image or one image is no special case for the caller."""
    Image.new("L", (40, 40), 100).save(tmp_path / "x.png")
    features = np.ones((n, 4), np.float32)
    near = find_near_duplicates(features, [tmp_path / "x.png"] * n, sha256=["h"] * n)
    assert near.groups.tolist() == [0] * n


def test_features_that_are_all_alike_link_everything(tmp_path):
    """Where nothing parts images, not even a direction from their mean, they are one group."""
    files = [tmp_path / f"{i}.png" for i in range(50)]
    for i, file in enumerate(files):
        Image.new("L", (8, 8), 100).save(file, compress_level=i % 9)
    names = [str(i) for i in range(50)]
    near = find_near_duplicates(np.full((50, 16), 0.1, np.float32), files, sha256=names)
    assert near.groups.max() == 0


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
        "mirror": lambda p, f: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(f),
        "turn": lambda p, f: p.transpose(Image.Transpose.ROTATE_90).save(f),
        "head": lambda p, f: p.transpose(Image.Transpose.ROTATE_180).save(f),
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


def grained(seed: int, *, frame: np.ndarray | float = 128.0, strength: float = 90) -> np.ndarray:
    """A part of a texture in a frame, uint8 (96, 96)."""
    grain = np.random.default_rng(seed).normal(0, 1, (24, 24)).astype(np.float32)
    grain = np.asarray(Image.fromarray(grain).resize((96, 96), Image.Resampling.BICUBIC))
    return (frame + strength * grain / 3).clip(0, 255).astype(np.uint8)


def written(root: Path, pictures: dict[str, np.ndarray]) -> list[Path]:
    """Image files by name, in the order of the names."""
    for name, pixels in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)
    return [root / name for name in sorted(pictures)]


def pairs_by_name(files: list[Path]) -> set[tuple[str, str]]:
    """What is found among these, with the pixels as features."""
    near = find_near_duplicates(pixel_features(files), files, sha256=hashes(files))
    return {(files[a].stem, files[b].stem) for a, b in zip(near.first, near.second, strict=True)}


def test_a_camera_that_stands_still_makes_no_twins(tmp_path):
    """Parts of one design in one frame are strangers; the same part under other light is not."""
    frame = 30 + 0.9 * grained(999).astype(np.float32)
    pictures = {f"{i:02d}.png": grained(i, frame=frame, strength=60) for i in range(40)}
    light = np.linspace(0.8, 1.15, 96)[:, None]
    pictures["07_again.png"] = (pictures["07.png"] * light).clip(0, 255).astype(np.uint8)
    assert pairs_by_name(written(tmp_path, pictures)) == {("07", "07_again")}


def test_a_burst_of_one_scene_is_one_group(tmp_path):
    """Thirty frames of nothing but noise between them: all neighbours are the same picture."""
    rng = np.random.default_rng(0)
    pictures = {f"other_{i}.png": grained(100 + i) for i in range(30)}
    for i in range(30):
        noisy = grained(5).astype(np.float32) + rng.normal(0, 1.5, (96, 96))
        pictures[f"burst_{i:02d}.png"] = noisy.clip(0, 255).astype(np.uint8)
    files = written(tmp_path, pictures)
    near = find_near_duplicates(pixel_features(files), files, sha256=hashes(files))
    is_burst = np.array([file.stem.startswith("burst") for file in files])
    assert len(set(near.groups[is_burst].tolist())) == 1
    assert len(set(near.groups[~is_burst].tolist())) == 30


def test_a_name_that_says_copy_needs_less(tmp_path):
    """Turned by four degrees it is no near-duplicate by its pixels; named as a copy it is one."""
    pictures = {f"train/a/{i:02d}.png": grained(i) for i in range(30)}
    turned = Image.fromarray(grained(3)).rotate(4, Image.Resampling.BILINEAR, fillcolor=128)
    files = written(tmp_path, pictures | {"test/a/unnamed.png": np.asarray(turned)})
    assert pairs_by_name(files) == set()
    (tmp_path / "test/a/unnamed.png").rename(tmp_path / "test/a/03_aug1.png")
    renamed = [tmp_path / "test/a/03_aug1.png" if f.stem == "unnamed" else f for f in files]
    assert pairs_by_name(renamed) == {("03_aug1", "03")}


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
