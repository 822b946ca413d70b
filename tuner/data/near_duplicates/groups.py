"""Which images belong together: by a pattern in their paths, and several reasons joined."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tuner.arrays import Bool, Int64
from tuner.data.image_table import ImageTable
from tuner.data.near_duplicates.find import linked_groups
from tuner.errors import DataError
from tuner.text import some


def groups_of_paths(paths: Sequence[str], pattern: str) -> Int64:
    r"""Group of each image, int64 (n_images,): what the pattern's groups hold in its path.

    A pattern without groups counts as a whole. It is searched for anywhere in the path.

    Raises:
        DataError: If some paths do not match, or all are of one group.

    Example:
        >>> groups_of_paths(["a/00001_3.ppm", "a/00001_4.ppm", "b/00002_0.ppm"], r"(\d{5})_")
        array([0, 0, 1])
    """
    compiled = re.compile(pattern)
    found = [compiled.search(path) for path in paths]
    missing = [path for path, match in zip(paths, found, strict=True) if match is None]
    where = f"data.group_by: {{pattern: {pattern!r}}}"
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(paths):,} paths do not match the pattern of groups: "
            f"{some(missing, n=3)}",
            where=where,
            do="write a pattern that is in every path below the data folder, or leave those "
            "images out with data.exclude",
        )
    names = [match.groups() or match.group() for match in found if match]
    place = {name: number for number, name in enumerate(dict.fromkeys(names))}
    if len(place) < 2:
        raise DataError(
            f"the pattern finds the same in every path: {names[0]!r}",
            where=where,
            do="put brackets around what differs between groups",
        )
    return np.array([place[name] for name in names], dtype=np.int64)


def joined_groups(*groups: Int64 | None) -> Int64 | None:
    """Groups in which images are together that are in any of these; None when all are alone.

    Example:
        >>> joined_groups(np.array([0, 0, 1, 2]), np.array([5, 6, 6, 7]))
        array([0, 0, 0, 1])
    """
    known = [group for group in groups if group is not None]
    if not known:
        return None
    n_images, first, second = len(known[0]), [], []
    for group in known:
        order = np.argsort(group, kind="stable")
        is_same = group[order[1:]] == group[order[:-1]]
        first.append(order[:-1][is_same])
        second.append(order[1:][is_same])
    found = linked_groups(n_images, np.concatenate(first), np.concatenate(second))
    return found if found.max(initial=-1) + 1 < n_images else None


def linked_images(table: ImageTable) -> list[list[int]]:
    """Groups of two images and more, by the numbers of their images."""
    if table.groups is None:
        return []
    order = np.argsort(table.groups, kind="stable")
    starts = np.flatnonzero(np.diff(table.groups[order], prepend=-1))
    parts = np.split(order, starts[1:])
    return sorted(sorted(part.tolist()) for part in parts if len(part) > 1)


def groups_of_linked(linked: Sequence[Sequence[int]], n_images: int) -> Int64:
    """The groups from `linked_images`, int64 (n_images,), numbered by their first images."""
    pairs = [(one[0], other) for one in linked for other in one[1:]]
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return linked_groups(n_images, first, second)


def divided_by_side(groups: Int64 | None, is_test: Bool | None) -> Int64 | None:
    """Groups that a shipped test parts, as two: what was shipped is not divided anew."""
    if groups is None or is_test is None:
        return groups
    return np.unique(2 * groups + is_test, return_inverse=True)[1].astype(np.int64)
