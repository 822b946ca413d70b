"""The images of a study, and the two ways in which they are numbered.

An *image* is a number in the table: the order of ``images.csv``, sorted by path. Every array of
the table has one entry for each image, those of the sealed test included.

A *place* is a number among the images outside the sealed test: ``table.search[place]`` is the
image. Whatever a search, a baseline or a confirmation on fresh splits is given and gives back
(features, labels, folds, out-of-fold probabilities) has one entry for each place.

Nobody else compares a fold with `TEST`: the table says which images are sealed.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tuner.arrays import Bool, Int64
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.sources import Problem

TEST = -1  # value of `ImageTable.fold` for the sealed test


@dataclass(frozen=True, eq=False)
class ImageTable:
    """Images of a study: paths, labels and folds, no pixels. Sorted by path.

    Attributes:
        paths: POSIX paths below `root`, n_images of them.
        sha256: Hash of each file's bytes, hexadecimal.
        labels: int64 of shape (n_images,), places in `class_names`.
        class_names: Sorted; the class order of everything that follows.
        groups: int64 of shape (n_images,), ids of images that belong together; or None.
        is_grouped: Whether `groups` holds all that a study asks for: near-duplicates are found
            late. A study does not keep it.
        listed_groups: Those that the source lists, which near-duplicates may join; or None. A
            study does not keep them.
        fold: int64 of shape (n_images,): 0 to n_folds - 1, or `TEST`. Empty until the images are
            split.
        root: Folder that paths are relative to, where the images were found; a study does not
            keep it.
        is_shipped_test: bool of shape (n_images,) when the source ships a test; or None. A study
            does not keep it.
        problems: Files left out as the images were found, with the reason.
        notes: What a reader should know of what was found, in sentences.
        rule: How the files are read.
        mended: Files that tuner 1 read wrongly, with in what; a study does not keep them.
    """

    paths: tuple[str, ...]
    sha256: tuple[str, ...]
    labels: Int64
    class_names: tuple[str, ...]
    groups: Int64 | None = None
    is_grouped: bool = False
    listed_groups: Int64 | None = None
    fold: Int64 = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    root: Path = Path()
    is_shipped_test: Bool | None = None
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    rule: PixelRule = EACH_FILE
    mended: tuple[Problem, ...] = ()

    @property
    def n_images(self) -> int:
        """Images that can be used."""
        return len(self.paths)

    @property
    def n_classes(self) -> int:
        """Classes that have such images."""
        return len(self.class_names)

    @property
    def n_folds(self) -> int:
        """Validation folds."""
        return int(self._divided().max(initial=TEST)) + 1

    @functools.cached_property
    def is_test(self) -> Bool:
        """Which images are in the sealed test, bool of shape (n_images,)."""
        is_test: Bool = self._divided() == TEST
        return is_test

    @functools.cached_property
    def search(self) -> Int64:
        """Image of each place: those outside the sealed test, ascending."""
        return np.flatnonzero(~self.is_test)

    @functools.cached_property
    def test(self) -> Int64:
        """Images of the sealed test, ascending; nothing in a search may read them."""
        return np.flatnonzero(self.is_test)

    @property
    def counts(self) -> Int64:
        """Images of each class, int64 of shape (n_classes,)."""
        return self._counts(self.labels)

    @property
    def search_counts(self) -> Int64:
        """Images of each class outside the sealed test, int64 of shape (n_classes,)."""
        return self._counts(self.labels[self.search])

    @property
    def test_counts(self) -> Int64:
        """Images of each class in the sealed test, int64 of shape (n_classes,)."""
        return self._counts(self.labels[self.test])

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over path, bytes, class, group and shipped side of every image.

        The same wherever the folder lies and on every machine. Of images as they were found: a
        study keeps it in ``about.json``.
        """
        digest = hashlib.sha256()
        for image, path in enumerate(self.paths):
            label = self.class_names[self.labels[image]]
            group = None if self.groups is None else int(self.groups[image])
            is_test = None if self.is_shipped_test is None else bool(self.is_shipped_test[image])
            line = json.dumps([path, self.sha256[image], label, group, is_test])
            digest.update(line.encode() + b"\n")
        return digest.hexdigest()

    @property
    def split_fingerprint(self) -> str:
        """SHA-256 over which image, known by the hash of its bytes, is in which fold."""
        folds = zip(self.sha256, self._divided(), strict=True)
        lines = sorted(f"{image} {fold}" for image, fold in folds)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _divided(self) -> Int64:
        """The folds, once there are any: without them every image would look unsealed."""
        if len(self.fold) != self.n_images:
            raise ValueError("the images are not split yet")
        return self.fold

    def _counts(self, labels: Int64) -> Int64:
        return np.bincount(labels, minlength=self.n_classes).astype(np.int64)


def exact_duplicates(table: ImageTable) -> list[tuple[int, ...]]:
    """Images whose files are byte-identical, one tuple of two or more for each file."""
    images = defaultdict(list)
    for image, sha256 in enumerate(table.sha256):
        images[sha256].append(image)
    return [tuple(same) for same in images.values() if len(same) > 1]


def label_conflicts(table: ImageTable) -> list[tuple[int, ...]]:
    """Those of `exact_duplicates` that carry different labels."""
    return [same for same in exact_duplicates(table) if len(set(table.labels[list(same)])) > 1]
