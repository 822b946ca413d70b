"""Which (image, view) rows a fold trains on for a given augmentation multiplier."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tuner.arrays import Int64
from tuner.columns import sortable


class Rows(NamedTuple):
    """Training rows: which image and which of its views, each int64 of shape (n_rows,)."""

    images: Int64
    views: Int64


def view_order(sha256: Sequence[str], *, view_seed: int) -> Int64:
    """Rank of each image in the order in which views are handed out, shape (n_images,).

    The order is that of a hash of (view seed, file hash), so a cut-off last view favours no
    file name, and adding images never reorders the others.
    """
    salt = f"{view_seed}:".encode()
    digests = b"".join([hashlib.sha256(salt + own.encode()).digest() for own in sha256])
    keys = sortable(np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32))
    rank = np.empty(len(keys), dtype=np.int64)
    rank[np.argsort(keys, kind="stable")] = np.arange(len(keys))
    return rank


def n_extra(counts: Int64, *, multiplier: int, capped: bool = True) -> Int64:
    """Extra rows per class, ``min(n_k * m, n_max - n_k)``, int64 of shape (n_classes,).

    Args:
        counts: Training images per class, int64 of shape (n_classes,).
        multiplier: Views per minority image, 0 or more.
        capped: Stop a class at the largest one; False lifts the limit for all classes but the
            largest, which never grows.
    """
    wanted = counts * multiplier
    room = counts.max() - counts
    return np.minimum(wanted, room) if capped else np.where(room > 0, wanted, 0)


def training_rows(
    labels: Int64,
    rank: Int64 | None = None,
    *,
    n_classes: int,
    multiplier: int,
    capped: bool = True,
) -> Rows:
    """Originals followed by the extra views of each class, in view-major order.

    Args:
        labels: Class of each training image, int64 of shape (n_images,).
        rank: `view_order` of the same images, int64 of shape (n_images,); by default the images
            as they come.
        n_classes: Number of classes.
        multiplier: Views per minority image, 0 or more.
        capped: No class rises above the largest.

    Returns:
        Rows into `labels`; the first n_images are the originals (view 0).
    """
    labels = np.asarray(labels)
    rank = np.arange(len(labels)) if rank is None else rank
    extra = n_extra(np.bincount(labels, minlength=n_classes), multiplier=multiplier, capped=capped)
    images = [np.arange(len(labels), dtype=np.int64)]
    views = [np.zeros(len(labels), dtype=np.int64)]
    for k in np.flatnonzero(extra):
        members = np.flatnonzero(labels == k)
        members = members[np.argsort(rank[members])]
        slots = np.arange(extra[k])
        images.append(members[slots % len(members)])
        views.append(1 + slots // len(members))
    return Rows(np.concatenate(images), np.concatenate(views))


def views_needed(labels: Int64, *, n_classes: int, multiplier: int, capped: bool = True) -> Int64:
    """How many views of each class `training_rows` can touch, int64 of shape (n_classes,)."""
    counts = np.bincount(labels, minlength=n_classes)
    extra = n_extra(counts, multiplier=multiplier, capped=capped)
    return np.where(counts > 0, -(-extra // np.maximum(counts, 1)), 0)
