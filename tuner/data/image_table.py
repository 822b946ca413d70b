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
from collections.abc import Iterator
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import Path

import numpy as np

from tuner.arrays import Bool, Int64, UInt8
from tuner.columns import Column, Hashes, digests_of, hashes_of, sortable, texts_of
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.sources import Problem

TEST = -1  # value of `ImageTable.fold` for the sealed test
_BLOCK = 2**16  # images that are text at one time


@dataclass(frozen=True, eq=False)
class ImageTable:
    """Images of a study: paths, labels and folds, no pixels. Sorted by path.

    Attributes:
        paths: POSIX paths below `root`, n_images of them; kept as a `Column`.
        sha256: Hash of each file's bytes, hexadecimal; kept as a `Column`.
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
        drawn: Classes of which a sample was taken, with the number of images that there are.
        rule: How the files are read.
        mended: Files that tuner 1 read wrongly, with in what; a study does not keep them.
    """

    paths: Column
    sha256: Column
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
    drawn: tuple[tuple[str, int], ...] = ()
    rule: PixelRule = EACH_FILE
    mended: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", texts_of(self.paths))
        object.__setattr__(self, "sha256", hashes_of(self.sha256))

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
        for lines in self._lines():
            digest.update(lines.encode())
        return digest.hexdigest()

    @functools.cached_property
    def digests(self) -> UInt8:
        """Bytes of `sha256`, uint8 of shape (n_images, 32)."""
        return digests_of(self.sha256)

    @property
    def split_fingerprint(self) -> str:
        """SHA-256 over which image, known by the hash of its bytes, is in which fold."""
        fold = self._divided()
        # Lines sort by the hash, then by the fold as text.
        names = np.array([str(k) for k in range(TEST, self.n_folds)])
        place = np.argsort(np.argsort(names))[fold - TEST]
        is_packed = isinstance(self.sha256, Hashes)
        images = sortable(self.digests) if is_packed else np.array(self.sha256, dtype=np.str_)
        order = np.lexsort((place, images))
        digest = hashlib.sha256()
        for start in range(0, len(order), _BLOCK):
            rows = order[start : start + _BLOCK]
            pairs = zip(self.sha256.take(rows), names[fold[rows] - TEST].tolist(), strict=True)
            text = "\n".join([f"{sha256} {k}" for sha256, k in pairs])
            digest.update(f"\n{text}".encode() if start else text.encode())
        return digest.hexdigest()

    def _lines(self) -> Iterator[str]:
        """What the fingerprint covers of some images after others, a line of JSON each."""
        classes = [json.dumps(name) for name in self.class_names]
        for start in range(0, self.n_images, _BLOCK):
            rows = slice(start, start + _BLOCK)
            n = len(self.labels[rows])
            groups = ["null"] * n if self.groups is None else self.groups[rows].tolist()
            sides = ["null"] * n
            if self.is_shipped_test is not None:
                sides = ["true" if is_test else "false" for is_test in self.is_shipped_test[rows]]
            paths, hashes = map(_quoted, self.paths[rows]), map(_quoted, self.sha256[rows])
            columns = zip(paths, hashes, self.labels[rows].tolist(), groups, sides, strict=True)
            yield "".join(
                [
                    f"[{p}, {h}, {classes[k]}, {group}, {side}]\n"
                    for p, h, k, group, side in columns
                ]
            )

    def _divided(self) -> Int64:
        """The folds, once there are any: without them every image would look unsealed."""
        if len(self.fold) != self.n_images:
            raise ValueError("the images are not split yet")
        return self.fold

    def _counts(self, labels: Int64) -> Int64:
        return np.bincount(labels, minlength=self.n_classes).astype(np.int64)


def exact_duplicates(table: ImageTable) -> list[tuple[int, ...]]:
    """Images whose files are byte-identical, one tuple of two or more for each file."""
    keys = sortable(table.digests)
    order = np.argsort(keys, kind="stable")
    begins = np.flatnonzero(np.append(True, keys[order][1:] != keys[order][:-1]))
    sizes = np.diff(np.append(begins, len(order)))
    found = [
        tuple(order[a : a + n].tolist())
        for a, n in zip(begins[sizes > 1], sizes[sizes > 1], strict=True)
    ]
    return sorted(found)


def label_conflicts(table: ImageTable) -> list[tuple[int, ...]]:
    """Those of `exact_duplicates` that carry different labels."""
    return [same for same in exact_duplicates(table) if len(set(table.labels[list(same)])) > 1]
