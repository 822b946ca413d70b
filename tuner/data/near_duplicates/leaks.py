"""What a split does to near-duplicates: which it parts, and what would keep them together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tuner.arrays import Bool, Int64
from tuner.data.image_table import ImageTable
from tuner.data.near_duplicates.find import NearDuplicates

SCHEMA = 1  # of `leak_facts`, which a study keeps

NOT_LOOKED_FOR = (
    "not looked for: crops of a tenth and more, turns between 5 degrees and a quarter, "
    "and one part photographed anew"
)
_PAIRS_KEPT = 24  # those that the split parts, for eyes; all are counted
_CONFLICTS_KEPT = 10_000


def leak_facts(found: NearDuplicates, table: ImageTable) -> dict[str, Any]:
    """What a split does to near-duplicates, as plain values.

    Args:
        found: The near-duplicates of these images.
        table: The images, split.
    """
    across = images_across(found, table.fold)
    is_conflict = table.labels[found.first] != table.labels[found.second]
    sizes = np.bincount(found.groups)
    return {
        "schema": SCHEMA,
        "images": table.n_images,
        "pairs": len(found.first),
        "images_with_twin": len(np.unique(np.concatenate([found.first, found.second]))),
        "images_across": int(across.sum()),
        "test_images": len(table.test),
        "test_images_across": int(across[table.test].sum()),
        "label_conflicts": int(is_conflict.sum()),
        "groups_of_two_or_more": int((sizes > 1).sum()),
        "largest_group": int(sizes.max(initial=0)),
        "images_to_move": n_to_move(found.groups, table.fold),
    }


def leak_places(found: NearDuplicates, table: ImageTable) -> dict[str, Any]:
    """Which images and pairs `leak_facts` counts, by the numbers of the images.

    Returns:
        ``across``: images with a near-duplicate on another side; ``parted``: the likest pairs
        that the split parts; ``conflicts``: pairs of two labels, the likest first. A pair is
        two images and their likeness.
    """

    def pairs(chosen: Int64) -> list[list[Any]]:
        return [
            [int(found.first[p]), int(found.second[p]), round(float(found.likeness[p]), 3)]
            for p in chosen
        ]

    is_parted = table.fold[found.first] != table.fold[found.second]
    is_conflict = table.labels[found.first] != table.labels[found.second]
    return {
        "across": np.flatnonzero(images_across(found, table.fold)).tolist(),
        "parted": pairs(np.flatnonzero(is_parted)[:_PAIRS_KEPT]),
        "conflicts": pairs(np.flatnonzero(is_conflict)[:_CONFLICTS_KEPT]),
    }


def pair_facts(found: NearDuplicates, table: ImageTable) -> list[dict[str, Any]]:
    """Every pair as plain values: those that the split parts first, the likest first."""
    return [
        {
            "images": [table.paths[a], table.paths[b]],
            "classes": [table.class_names[table.labels[a]], table.class_names[table.labels[b]]],
            "sides": [side_name(table, a), side_name(table, b)],
            "likeness": round(float(found.likeness[p]), 3),
            "cosine": round(float(found.cosine[p]), 3),
        }
        for p in parted_first(found, table.fold)
        for a, b in [(int(found.first[p]), int(found.second[p]))]
    ]


def side_name(table: ImageTable, image: int) -> str:
    """How people call the side of the split that an image is on."""
    return "sealed test" if table.is_test[image] else f"fold {table.fold[image]}"


def parted_first(found: NearDuplicates, fold: Int64) -> list[int]:
    """Pairs by number: those that the split parts first, the likest first."""
    is_together = fold[found.first] == fold[found.second]
    return [int(p) for p in np.argsort(is_together, kind="stable")]


def images_across(found: NearDuplicates, fold: Int64) -> Bool:
    """Images with a near-duplicate on another side of the split, bool (n_images,).

    Args:
        found: The near-duplicates of these images.
        fold: Side of each image, int64 (n_images,): its fold, or the sealed test.
    """
    is_parted = fold[found.first] != fold[found.second]
    is_across = np.zeros(len(fold), dtype=np.bool_)
    is_across[found.first[is_parted]] = True
    is_across[found.second[is_parted]] = True
    return is_across


def n_to_move(groups: Int64, fold: Int64) -> int:
    """Fewest images that must change sides so that no group has images on two of them.

    Example:
        >>> n_to_move(np.array([0, 0, 0, 1, 1]), np.array([-1, 0, 0, 1, 1]))
        1
    """
    names, group = np.unique(groups, return_inverse=True)
    sides, side = np.unique(fold, return_inverse=True)
    counts = np.zeros((len(names), len(sides)), dtype=np.int64)
    np.add.at(counts, (group, side), 1)
    return len(fold) - int(counts.max(axis=1, initial=0).sum())


def leak_sentence(facts: Mapping[str, Any]) -> str:
    """One sentence on images whose near-duplicates the split parts; empty when there are none."""
    n = facts["images_across"]
    if not n:
        return ""
    return (
        f"{n:,} of {facts['images']:,} images have a near-twin on another side of the split "
        f"({facts['test_images_across']:,} of the {facts['test_images']:,} in the sealed test): "
        "recall looks better than it is"
    )
