"""Near-duplicates of a study: kept as found first, and the split that they would allow."""

from __future__ import annotations

import json

import numpy as np

from tuner.config import parse_study
from tuner.data.image_table import TEST, ImageTable
from tuner.data.near_duplicates.find import NearDuplicates, linked_groups
from tuner.errors import SplitError
from tuner.home.near_duplicates import (
    conflicting_pairs,
    images_across,
    leak_of,
    load_leaks,
    parted_pairs,
    save_leaks,
    split_by_near_duplicates,
)
from tuner.home.study_folder import StudyFolder


def linked(*pairs: tuple[int, int], n_images: int) -> NearDuplicates:
    """These pairs, of images that agree entirely."""
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    ones = np.ones(len(pairs), dtype=np.float32)
    return NearDuplicates(first, second, ones, ones, linked_groups(n_images, first, second))


def test_leaks_come_back_as_they_were_found(tmp_path):
    """A later start reads them; before the first there is nothing to read."""
    folder = StudyFolder(tmp_path)
    assert load_leaks(folder) is None
    names = tuple(f"{i}.png" for i in range(6))
    fold = np.array([0, 1, TEST, 0, 0, 1])
    table = ImageTable(names, names, np.array([0, 0, 0, 1, 1, 0]), ("a", "b"), fold=fold)
    folder.images = table
    saved = save_leaks(folder, linked((0, 2), (3, 4), (4, 5), n_images=6), table)
    assert load_leaks(folder) == saved
    assert saved["images_across"] == 4
    assert images_across(folder).tolist() == [0, 2, 4, 5]
    assert parted_pairs(folder) == [(0, 2, 1.0), (4, 5, 1.0)]
    assert conflicting_pairs(folder) == [(4, 5, 1.0)]
    assert leak_of(folder).startswith("4 of 6 images have a near-twin on another side")


def test_what_an_earlier_version_counted_is_said_and_not_named(tmp_path):
    """Its file has numbers only: the sentence stands, and who needs the images looks again."""
    folder = StudyFolder(tmp_path)
    folder.images = ImageTable(("0.png",), ("x",), np.array([0]), ("a",), fold=np.array([0]))
    counts = {"images": 9, "images_across": 2, "test_images": 3, "test_images_across": 1}
    (tmp_path / "near_duplicates.json").write_text(json.dumps({"schema": 1, **counts}))
    assert leak_of(folder).startswith("2 of 9 images")
    assert images_across(folder) is None
    assert parted_pairs(folder) == []


def test_a_class_of_one_picture_cannot_be_split_by_groups():
    """Where near-duplicates swallow a class, the reason is given instead of a split."""
    config = parse_study("{name: x, data: {source: x}, split: {folds: 2}}", source="x.yaml")
    names = tuple(f"{i}.png" for i in range(20))
    table = ImageTable(names, names, np.repeat([0, 1], 10), ("a", "b"))
    chain = linked(*((i, i + 1) for i in range(10, 19)), n_images=20)
    found = split_by_near_duplicates(config, table, chain)
    assert isinstance(found, SplitError)
    assert "'b' (10 images in 1 groups)" in found.what
    split = split_by_near_duplicates(config, table, linked((0, 1), n_images=20))
    assert isinstance(split, ImageTable)
    assert split.fold[0] == split.fold[1]
