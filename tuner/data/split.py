"""Folds and the sealed test: which side of each border an image is on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tuner.arrays import Bool, Int64
from tuner.data.group_folds import divide_groups
from tuner.data.image_table import TEST, ImageTable
from tuner.errors import SplitError
from tuner.text import some

MIN_IN_FOLD = 2
FEW_OUT_OF_FOLD = 20
_STREAM = 0x73706C69  # keeps draws for splits apart from other draws of the same study seed


def make_split(
    labels: Int64,
    *,
    class_names: Sequence[str],
    n_folds: int,
    test_fraction: float,
    seed: int,
    groups: Int64 | None = None,
    is_shipped_test: Bool | None = None,
) -> Int64:
    """Seal a stratified test and divide the rest into stratified folds.

    Without groups each class gives ``round(test_fraction * n)`` images to the test (at least
    one, and never so many that a fold would lack its two) and equal parts, up to one image, to
    the folds. With groups, whole groups are placed so that every class comes close to those
    shares; the best balanced of several orders is taken. The result depends on nothing but the
    arguments, and not on the order of the classes.

    To divide the images outside a sealed test anew, pass ``is_shipped_test=table.is_test``.

    Args:
        labels: int64 of shape (n_images,), places in `class_names`.
        class_names: One for each class, for messages.
        n_folds: Validation folds, 2 or more.
        test_fraction: Share of each class to seal, in (0, 1); ignored with a shipped test.
        seed: 0 or more.
        groups: int64 of shape (n_images,); no group crosses a border. None: each image alone.
        is_shipped_test: bool of shape (n_images,), a test to be kept as it is. None: draw one.

    Returns:
        Fold of each image, int64 of shape (n_images,): 0 to n_folds - 1, or `TEST`.

    Raises:
        SplitError: If a class has too few images or groups for its place in the test and in
            every fold, or if groups lie on both sides of a shipped test.
    """
    if n_folds < 2 or not 0 < test_fraction < 1:
        raise SplitError(
            f"{n_folds} folds and a test of {test_fraction:g} of the images make no split",
            where="split.folds, split.test_fraction",
            do="set split.folds to 2 or more and split.test_fraction between 0 and 1",
        )
    n_shipped = (
        None
        if is_shipped_test is None
        else _shipped_counts(
            labels, class_names=class_names, is_test=is_shipped_test, groups=groups
        )
    )
    rows = np.arange(len(labels)) if is_shipped_test is None else np.flatnonzero(~is_shipped_test)
    _check_counts(labels[rows], class_names=class_names, n_folds=n_folds, n_shipped=n_shipped)
    # Shares and least images of the test, when one is drawn, and of the folds.
    tests = [test_fraction] if is_shipped_test is None else []
    shares = [*tests, *[(1 - sum(tests)) / n_folds] * n_folds]
    least = [*[1 for _ in tests], *[MIN_IN_FOLD] * n_folds]
    fold = np.full(len(labels), TEST, dtype=np.int64)
    if groups is None:
        drawn = test_fraction if is_shipped_test is None else None
        fold[rows] = _stratified(labels[rows], n_folds=n_folds, test_fraction=drawn, seed=seed)
    else:
        bins = divide_groups(
            labels[rows],
            groups[rows],
            class_names=class_names,
            shares=shares,
            least=least,
            seeds=[seed, _STREAM],
        )
        fold[rows] = bins - len(tests)  # a drawn test is bin 0, so fold -1: `TEST`
    return fold


def small_class_warnings(table: ImageTable) -> list[str]:
    """One sentence for each class whose recall rests on fewer than 20 images, or on none."""
    untested = [
        f"the test holds no image of class {name!r}: its recall there is untested"
        for name, n in zip(table.class_names, table.test_counts.tolist(), strict=True)
        if not n
    ]
    return untested + [
        f"class {name!r} has {n} out-of-fold images, fewer than {FEW_OUT_OF_FOLD}: "
        f"one image moves its recall by {1 / n:.2f}"
        for name, n in zip(table.class_names, table.search_counts.tolist(), strict=True)
        if 0 < n < FEW_OUT_OF_FOLD
    ]


def _shipped_counts(
    labels: Int64,
    *,
    class_names: Sequence[str],
    is_test: Bool,
    groups: Int64 | None,
) -> Int64:
    """Shipped test images of each class; raises when a group crosses.

    A class without any is searched for, and its recall in the test is unknown.
    """
    counts = np.bincount(labels[is_test], minlength=len(class_names)).astype(np.int64)
    if groups is not None:
        across = np.intersect1d(groups[is_test], groups[~is_test])
        n_images = int(np.isin(groups[is_test], across).sum())
        if n_images:
            raise SplitError(
                f"{len(across)} groups lie on both sides of the shipped test, "
                f"with {n_images} of its {int(is_test.sum())} images",
                where="data.group_by",
                do="leave those images out with data.exclude, ship no test so that one is "
                "drawn by group, or set data.group_by: none and accept the leak",
            )
    return counts


def _check_counts(
    labels: Int64, *, class_names: Sequence[str], n_folds: int, n_shipped: Int64 | None
) -> None:
    """Raise when a class cannot have two images in each fold and one in the test."""
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    n_test, test = (1, " and a sealed test") if n_shipped is None else (0, "")
    need = MIN_IN_FOLD * n_folds + n_test
    small = sorted((n, name) for n, name in zip(counts, class_names, strict=True) if n < need)
    if not small:
        return
    beside = "" if n_shipped is None else " outside the shipped test"
    who = some([f"class {name!r} has {n} image{'s' * (n != 1)}" for n, name in small], n=8)
    fewer = (small[0][0] - n_test) // MIN_IN_FOLD
    lower = f"lower split.folds to {fewer}{' or fewer' * (fewer > 2)}, " if fewer >= 2 else ""
    raise SplitError(
        f"{who}{beside}, but {n_folds} folds{test} need at least {need} per class",
        where=f"split.folds: {n_folds} ({MIN_IN_FOLD} images per fold"
        + f"{', 1 in the test)' if n_test else ')'}",
        do=f"{lower}leave such classes out with data.min_images: {need} (data.rest: other merges "
        "them), or collect more images",
    )


def _stratified(labels: Int64, *, n_folds: int, test_fraction: float | None, seed: int) -> Int64:
    """Fold of every image, `TEST` for the test, each image for itself."""
    order = np.random.default_rng([seed, _STREAM]).permutation(len(labels))
    shuffled = labels[order]
    fold = np.empty(len(labels), dtype=np.int64)
    n_placed = 0
    for label in dict.fromkeys(shuffled.tolist()):  # by chance: independent of class order
        rows = order[shuffled == label]
        most = len(rows) - MIN_IN_FOLD * n_folds
        n_test = (
            0 if test_fraction is None else min(most, max(1, round(test_fraction * len(rows))))
        )
        fold[rows[:n_test]] = TEST
        # Going on where the last class ended keeps the folds equally large.
        fold[rows[n_test:]] = (n_placed + np.arange(len(rows) - n_test)) % n_folds
        n_placed += len(rows) - n_test
    return fold
