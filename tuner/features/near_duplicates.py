"""Near-duplicates of a study, found by the features that its bank holds."""

from __future__ import annotations

import numpy as np

from tuner.arrays import Float32, Int64
from tuner.data.image_table import ImageTable
from tuner.data.near_duplicates.find import NearDuplicates, find_near_duplicates
from tuner.features.bank_index import RowNames
from tuner.features.source import FeatureSource
from tuner.features.wanted import Wanted, of_table


def images_themselves(table: ImageTable, images: Int64 | None = None) -> Wanted:
    """Images as rows of the bank, without views; all of them, or some by their number.

    The sealed ones, too: no label is asked.
    """
    return of_table(table, np.arange(table.n_images) if images is None else images)


def has_features(source: FeatureSource, table: ImageTable) -> bool:
    """Whether the bank holds every image itself, the sealed ones too."""
    return not source.bank.lacks(_names(source, table)).any()


def compare_images(source: FeatureSource, table: ImageTable) -> NearDuplicates:
    """Find the near-duplicates among all images; their features must be in the bank."""
    files = [table.root / path for path in table.paths]
    return find_near_duplicates(
        features_of(source, table), files, sha256=table.sha256, rule=table.rule
    )


def features_of(source: FeatureSource, table: ImageTable) -> Float32:
    """Features of the images themselves, float32 (n_images, n_features), out of the bank."""
    return source.bank.read(_names(source, table))


def _names(source: FeatureSource, table: ImageTable) -> RowNames:
    return images_themselves(table).names(source.config.augmentation)
