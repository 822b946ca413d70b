"""Which (image, view) rows a fold trains on for a given augmentation multiplier."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from tuner.arrays import Int64
from tuner.columns import sortable

Policy = Literal["shared", "minority"]  # of `augmentation.policy`: who is shown as views


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
    digests = bytearray()
    for own in sha256:
        digests += hashlib.sha256(salt + own.encode()).digest()
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


def n_themselves(counts: Int64, extra: Int64, *, policy: Policy) -> Int64:
    """How many images of each class are trained on as they are, int64 (n_classes,).

    By ``shared`` their share of the rows is the same in every class, to the row: that of the class
    which is given the most views for its size. Views then say nothing about the class. By
    ``minority`` all are, so that a row which shows the traces of resampling is of a rare class.

    Args:
        counts: Training images per class, int64 (n_classes,).
        extra: Rows added to each, `n_extra`, int64 (n_classes,).
        policy: Who is shown as views.
    """
    if policy == "minority":
        return counts
    rows = counts + extra
    least = int(np.argmin(counts / np.maximum(rows, 1) + 2 * (counts == 0)))
    of_rows = max(int(rows[least]), 1)
    share = (2 * rows * counts[least] + of_rows) // (2 * of_rows)  # to the nearest whole row
    return np.asarray(share, dtype=np.int64)


def training_rows(
    labels: Int64,
    rank: Int64 | None = None,
    *,
    n_classes: int,
    multiplier: int,
    capped: bool = True,
    policy: Policy = "minority",
    turn: int = 0,
) -> Rows:
    """Every image once, then again for the extra rows of its class, as itself or as views.

    Args:
        labels: Class of each training image, int64 of shape (n_images,).
        rank: `view_order` of the same images, int64 of shape (n_images,); by default the images
            as they come.
        n_classes: Number of classes.
        multiplier: Views per minority image, 0 or more.
        capped: No class rises above the largest.
        policy: ``minority``: each image as itself, and views in the extra rows. ``shared``: in
            every class the same share of rows are views (`n_themselves`); an image that is not
            shown as itself shows the next view instead.
        turn: With ``shared``, the images that are shown as themselves change from turn to turn.

    Returns:
        Rows into `labels`; the first n_images are those of each image in order, and the images of
        all rows are the same by either policy and in every turn. No (image, view) comes twice.
    """
    labels = np.asarray(labels)
    rank = np.arange(len(labels)) if rank is None else rank
    counts = np.bincount(labels, minlength=n_classes)
    extra = n_extra(counts, multiplier=multiplier, capped=capped)
    themselves = n_themselves(counts, extra, policy=policy)
    images = [np.arange(len(labels), dtype=np.int64)]
    views = [np.zeros(len(labels), dtype=np.int64)]
    is_moved = np.zeros(len(labels), dtype=np.int64)
    for k in np.flatnonzero(counts):
        members = np.flatnonzero(labels == k)
        members = members[np.argsort(rank[members])]
        slots, places = np.arange(extra[k]), np.arange(len(members))
        images.append(members[slots % len(members)])
        views.append(1 + slots // len(members))
        is_moved[members] = (places - turn * themselves[k]) % len(members) >= themselves[k]
    found = np.concatenate(images)
    return Rows(found, np.concatenate(views) + is_moved[found])


def training_turns(
    labels: Int64,
    rank: Int64,
    *,
    n_classes: int,
    multiplier: int,
    capped: bool,
    policy: Policy,
) -> list[Rows]:
    """`training_rows` of as many turns as it takes to show every image as itself; at least one."""
    counts = np.bincount(labels, minlength=n_classes)
    extra = n_extra(counts, multiplier=multiplier, capped=capped)
    themselves = n_themselves(counts, extra, policy=policy)
    n_turns = int((-(-counts // np.maximum(themselves, 1))).max(initial=1))
    return [
        training_rows(
            labels,
            rank,
            n_classes=n_classes,
            multiplier=multiplier,
            capped=capped,
            policy=policy,
            turn=turn,
        )
        for turn in range(n_turns)
    ]


def views_needed(
    labels: Int64,
    *,
    n_classes: int,
    multiplier: int,
    capped: bool = True,
    policy: Policy = "minority",
) -> Int64:
    """How many views of each class `training_rows` can touch, int64 of shape (n_classes,)."""
    counts = np.bincount(labels, minlength=n_classes)
    extra = n_extra(counts, multiplier=multiplier, capped=capped)
    is_moved = n_themselves(counts, extra, policy=policy) < counts
    return np.where(counts > 0, is_moved + -(-extra // np.maximum(counts, 1)), 0)
