"""What the search works on: arrays of the non-test images, and nothing of the sealed test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from numpy.typing import NDArray

from tuner.config import StudyConfig
from tuner.features.bank import BankRows, FeatureBank
from tuner.features.device import free_bytes
from tuner.features.extract import ViewOf
from tuner.features.views import view_key
from tuner.home.baselines import baselines
from tuner.home.study_folder import ImageTable
from tuner.imbalance.rows import Rows, training_rows, view_order, views_needed
from tuner.training.images.batches import LiveImages

IntArray = NDArray[np.int64]


class LiveSource(NamedTuple):
    """What a search on images needs beside the bank: their folder and the backbone."""

    root: Path
    backbone: Any


@dataclass(frozen=True)
class Inputs:
    """Features, labels and folds of the images that the search may see.

    Attributes:
        X: Features on the device, float32 tensor (n_rows, n_features), or the rows in their files
            where memory does not hold them; of a live study only the first n_images rows, the
            images themselves.
        y: Class of each row, int64 (n_rows,).
        row_of: Row of each (image, view), int64 (n_images, max_view + 1); -1 where absent.
        labels: Class of each image, int64 (n_images,).
        fold: Validation fold of each image, int64 (n_images,).
        rank: Order in which views are handed out (`view_order`), int64 (n_images,).
        class_names: Class names in the order of every per-class array.
        steps: Steps an epoch, the same in every trial.
        rarer_class: The rarer of two classes; None with three or more.
        live: The images behind the rows when folds are trained on them instead of on `X`.
    """

    X: Any
    y: IntArray
    row_of: IntArray
    labels: IntArray
    fold: IntArray
    rank: IntArray
    class_names: tuple[str, ...]
    steps: int
    rarer_class: int | None
    live: LiveImages | None = None

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def n_folds(self) -> int:
        """Number of validation folds."""
        return int(self.fold.max()) + 1

    def features(self, rows: IntArray) -> NDArray[np.float32]:
        """Features of rows by number, float32 (n, n_features)."""
        if isinstance(self.X, BankRows):
            return self.X.take(rows)
        found = ops.take(self.X, ops.convert_to_tensor(rows, "int32"), axis=0)
        return np.asarray(ops.convert_to_numpy(found), dtype=np.float32)

    def training_rows(self, images: IntArray, *, multiplier: int, capped: bool) -> Rows:
        """(image, view) rows of the given training images, as places in this table."""
        local = training_rows(
            self.labels[images],
            self.rank[images],
            n_classes=self.n_classes,
            multiplier=multiplier,
            capped=capped,
        )
        return Rows(images[local.images], local.views)


def views_wanted(
    config: StudyConfig,
    labels: IntArray,
    fold: IntArray,
    *,
    n_classes: int,
    other_folds: Sequence[IntArray] = (),
) -> IntArray:
    """Views of each non-test image that some trial, baseline or final training can ask for.

    Whole views of a class, although a fold may cut the last one off: fresh splits then need
    hardly any new extraction.

    Args:
        config: The study.
        labels: Class of each non-test image, int64 (n_images,).
        fold: Validation fold of each, int64 (n_images,).
        n_classes: Number of classes.
        other_folds: Other divisions of the same images to be trained on, each like `fold`.

    Returns:
        Number of views beside the image itself, int64 (n_images,).
    """
    multiplier = max(
        config.search.augmentation_multiplier[1],
        *(p.augmentation_multiplier for p in baselines(n_classes=n_classes).values()),
    )
    capped = config.augmentation.cap == "largest"
    parts = [labels[f != k] for f in (fold, *other_folds) for k in range(int(f.max()) + 1)]
    most = np.max(
        [
            views_needed(part, n_classes=n_classes, multiplier=multiplier, capped=capped)
            for part in [*parts, labels]
        ],
        axis=0,
    )
    return np.asarray(most[labels], dtype=np.int64)


def rows_to_extract(
    config: StudyConfig,
    images: ImageTable,
    root: Path,
    *,
    n_classes: int,
    other_folds: Sequence[IntArray] = (),
) -> list[ViewOf]:
    """Every (file, view) that the search needs, images first, then view 1, and so on."""
    chosen = images.search
    views = views_wanted(
        config,
        images.labels[chosen],
        images.fold[chosen],
        n_classes=n_classes,
        other_folds=other_folds,
    )
    return [
        ViewOf(root / images.paths[i], images.sha256[i], k)
        for k in range(int(views.max()) + 1)
        for i in chosen[views >= k]
    ]


def load_inputs(
    config: StudyConfig,
    images: ImageTable,
    bank: FeatureBank,
    *,
    class_names: tuple[str, ...],
    other_folds: Sequence[IntArray] = (),
    live: LiveSource | None = None,
) -> Inputs:
    """Read the non-test features from the bank and lay them out for the search.

    `redivided` puts one of `other_folds` in the place of the study's own. With `live` the bank
    needs the images only, not their views.
    """
    chosen = images.search
    labels, fold = images.labels[chosen], images.fold[chosen]
    sha256 = [images.sha256[i] for i in chosen]
    views = views_wanted(config, labels, fold, n_classes=len(class_names), other_folds=other_folds)
    pairs = [(i, k) for k in range(int(views.max()) + 1) for i in np.flatnonzero(views >= k)]
    row_of = np.full((len(chosen), int(views.max()) + 1), -1, dtype=np.int64)
    for row, (i, k) in enumerate(pairs):
        row_of[i, k] = row
    rows = bank.open_rows(
        [
            view_key(sha256[i], k, augmentation=config.augmentation)
            for i, k in (pairs if live is None else pairs[: len(chosen)])
        ]
    )
    inputs = Inputs(
        X=_in_memory(rows),
        y=np.array([labels[i] for i, _ in pairs], dtype=np.int64),
        row_of=row_of,
        labels=labels,
        fold=fold,
        rank=view_order(sha256, view_seed=config.augmentation.view_seed),
        class_names=class_names,
        steps=_steps(fold, batch_size=config.training.batch_size),
        rarer_class=rarer_of_two(labels) if len(class_names) == 2 else None,
    )
    return inputs if live is None else with_live(inputs, live, images, config=config)


def _in_memory(rows: BankRows) -> Any:
    """Features on the device; the rows as they are where they would fill half of its memory."""
    n_bytes, free = 4 * rows.shape[0] * rows.shape[1], free_bytes()
    if free is not None and n_bytes > free // 2:
        return rows
    return ops.convert_to_tensor(rows.take(np.arange(rows.shape[0])))


def with_live(
    inputs: Inputs, live: LiveSource, images: ImageTable, *, config: StudyConfig
) -> Inputs:
    """The same inputs, with folds and final heads trained on images.

    Args:
        inputs: Loaded from the same images.
        live: Where they lie, and the backbone.
        images: Those of the study.
        config: The study.
    """
    image, view = np.nonzero(inputs.row_of >= 0)
    rows = np.argsort(inputs.row_of[image, view])
    files = [ViewOf(live.root / images.paths[i], images.sha256[i], 0) for i in images.search]
    found = LiveImages(
        files, image[rows], view[rows], config.data.image_px, config.augmentation, live.backbone
    )
    return replace(inputs, live=found)


def redivided(inputs: Inputs, fold: IntArray, *, batch_size: int) -> Inputs:
    """The same images with another division into folds.

    Args:
        inputs: Loaded with `fold` among its `other_folds`.
        fold: Validation fold of each image, int64 (n_images,).
        batch_size: Of the training.
    """
    return replace(inputs, fold=fold, steps=_steps(fold, batch_size=batch_size))


def _steps(fold: IntArray, *, batch_size: int) -> int:
    """Steps an epoch: the training rows of the largest fold before augmentation."""
    largest = max(int((fold != k).sum()) for k in range(int(fold.max()) + 1))
    return -(-largest // batch_size)


def rarer_of_two(labels: IntArray) -> int:
    """The rarer of two classes; on a tie the later in class order."""
    counts = np.bincount(labels, minlength=2)
    return 0 if counts[0] < counts[1] else 1
