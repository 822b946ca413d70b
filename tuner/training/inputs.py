"""What the search works on: arrays of the non-test images, and nothing of the sealed test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tuner.arrays import Float32, Int32, Int64, Ints
from tuner.config import StudyConfig
from tuner.data.image_table import ImageTable
from tuner.features.bank import BankRows, FeatureBank
from tuner.features.device import free_bytes, to_device
from tuner.features.wanted import Wanted, of_table
from tuner.home.baselines import baselines
from tuner.imbalance.rows import Policy, training_turns, view_order, views_needed
from tuner.process import give_back_freed
from tuner.training.images.batches import LiveImages


class LiveSource(NamedTuple):
    """What a search on images needs beside the bank: their folder and the backbone."""

    root: Path
    backbone: Any


@dataclass(frozen=True)
class Inputs:
    """Features, labels and folds of the images that the search may see.

    An image's place is its number among them; a row is one of the feature matrix, which has
    views of them, too.

    Attributes:
        X: Features on the device, float32 tensor (n_rows, n_features), or the rows in their files
            where memory does not hold them; of a live study only the first n_images rows, the
            images themselves.
        y: Class of each row, int32 (n_rows,).
        row_of: Row of each (image, view), int32 (n_images, max_view + 1); -1 where absent.
        labels: Class of each image, int64 (n_images,).
        fold: Validation fold of each image, int64 (n_images,).
        rank: Order in which views are handed out (`view_order`), int64 (n_images,).
        class_names: Class names in the order of every per-class array.
        steps: Steps an epoch, the same in every trial.
        rarer_class: The rarer of two classes; None with three or more.
        live: The images behind the rows when folds are trained on them instead of on `X`.
    """

    X: Any
    y: Int32
    row_of: Int32
    labels: Int64
    fold: Int64
    rank: Int64
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

    def features(self, rows: Ints) -> Float32:
        """Features of rows by number, float32 (n, n_features)."""
        if isinstance(self.X, BankRows):
            return self.X.take(rows)
        found = ops.take(self.X, ops.convert_to_tensor(rows, "int32"), axis=0)
        return np.asarray(ops.convert_to_numpy(found), dtype=np.float32)

    @property
    def live_images(self) -> LiveImages:
        """The images behind the rows.

        Raises:
            ValueError: If these inputs are for training on the bank.
        """
        if self.live is None:
            raise ValueError("these inputs hold features only, no images")
        return self.live

    def training_rows(
        self, places: Int64, *, multiplier: int, capped: bool, policy: Policy
    ) -> Int32:
        """Rows that the images at these places are trained on, added views and all.

        Returns:
            int32 (n,), or (n_turns, n) where who is shown as a view changes from turn to turn.
        """
        turns = training_turns(
            self.labels[places],
            self.rank[places],
            n_classes=self.n_classes,
            multiplier=multiplier,
            capped=capped,
            policy=policy,
        )
        rows = np.stack([self.row_of[places[turn.images], turn.views] for turn in turns])
        return rows[0] if len(rows) == 1 else rows


def views_wanted(
    config: StudyConfig,
    labels: Int64,
    fold: Int64,
    *,
    n_classes: int,
    other_folds: Sequence[Int64] = (),
) -> Int64:
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
    augmentation = config.augmentation
    asked = {(config.search.augmentation_multiplier[1], augmentation.policy)} | {
        (p.augmentation_multiplier, p.augmentation_policy or augmentation.policy)
        for p in baselines(n_classes=n_classes).values()
    }
    capped = augmentation.cap == "largest"
    parts = [labels[f != k] for f in (fold, *other_folds) for k in range(int(f.max()) + 1)]
    most = np.max(
        [
            views_needed(part, n_classes=n_classes, multiplier=m, capped=capped, policy=policy)
            for part in [*parts, labels]
            for m, policy in asked
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
    other_folds: Sequence[Int64] = (),
) -> Wanted:
    """Every (file, view) that the search needs, images first, then view 1, and so on."""
    place, view = _views_by_row(config, images, n_classes=n_classes, other_folds=other_folds)
    return of_table(images, images.search[place], view, root=root)


def _views_by_row(
    config: StudyConfig, images: ImageTable, *, n_classes: int, other_folds: Sequence[Int64]
) -> tuple[Int32, Int32]:
    """Place and view of each row of the feature matrix: images first, then view 1, and so on."""
    labels, fold = images.labels[images.search], images.fold[images.search]
    views = views_wanted(config, labels, fold, n_classes=n_classes, other_folds=other_folds)
    places = [
        np.flatnonzero(views >= view).astype(np.int32) for view in range(int(views.max()) + 1)
    ]
    view_of = np.repeat(np.arange(len(places), dtype=np.int32), [*map(len, places)])
    return np.concatenate(places), view_of


def load_inputs(
    config: StudyConfig,
    images: ImageTable,
    bank: FeatureBank,
    *,
    class_names: tuple[str, ...],
    other_folds: Sequence[Int64] = (),
    live: LiveSource | None = None,
) -> Inputs:
    """Read the non-test features from the bank and lay them out for the search.

    `redivided` puts one of `other_folds` in the place of the study's own. With `live` the bank
    needs the images only, not their views.
    """
    chosen = images.search
    labels, fold = images.labels[chosen], images.fold[chosen]
    give_back_freed()  # finding what to extract takes more than what is held from here on
    rank = view_order(images.sha256.take(chosen), view_seed=config.augmentation.view_seed)
    place_of, view_of = _views_by_row(
        config, images, n_classes=len(class_names), other_folds=other_folds
    )
    in_bank = slice(len(place_of) if live is None else len(chosen))
    wanted = of_table(images, chosen[place_of[in_bank]], view_of[in_bank])
    X = _in_memory(bank.open_rows(wanted.names(config.augmentation)))
    del wanted  # a million images take hundreds of megabytes in passing
    row_of = np.full((len(chosen), int(view_of.max()) + 1), -1, dtype=np.int32)
    row_of[place_of, view_of] = np.arange(len(place_of), dtype=np.int32)
    inputs = Inputs(
        X=X,
        y=labels[place_of].astype(np.int32),
        row_of=row_of,
        labels=labels,
        fold=fold,
        rank=rank,
        class_names=class_names,
        steps=_steps(fold, batch_size=config.training.batch_size),
        rarer_class=rarer_of_two(labels) if len(class_names) == 2 else None,
    )
    give_back_freed()
    return inputs if live is None else with_live(inputs, live, images, config=config)


def _in_memory(rows: BankRows) -> Any:
    """Features on the device; the rows as they are where they would fill half of its memory."""
    n_bytes, free = 4 * rows.shape[0] * rows.shape[1], free_bytes()
    if free is not None and n_bytes > free // 2:
        return rows
    return to_device(rows.take())


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
    place, view = np.nonzero(inputs.row_of >= 0)
    rows = np.argsort(inputs.row_of[place, view])
    found = LiveImages(
        files=of_table(images, images.search, root=live.root),
        row_place=place[rows],
        row_view=view[rows],
        image_px=config.data.image_px,
        augmentation=config.augmentation,
        backbone=live.backbone,
    )
    return replace(inputs, live=found)


def redivided(inputs: Inputs, fold: Int64, *, batch_size: int) -> Inputs:
    """The same images with another division into folds.

    Args:
        inputs: Loaded with `fold` among its `other_folds`.
        fold: Validation fold of each image, int64 (n_images,).
        batch_size: Of the training.
    """
    return replace(inputs, fold=fold, steps=_steps(fold, batch_size=batch_size))


def _steps(fold: Int64, *, batch_size: int) -> int:
    """Steps an epoch: the training rows of the largest fold before augmentation."""
    largest = max(int((fold != k).sum()) for k in range(int(fold.max()) + 1))
    return -(-largest // batch_size)


def rarer_of_two(labels: Int64) -> int:
    """The rarer of two classes; on a tie the later in class order."""
    counts = np.bincount(labels, minlength=2)
    return 0 if counts[0] < counts[1] else 1
