"""Near-duplicates of a study, found by the features that its bank holds."""

from __future__ import annotations

from tuner.arrays import Float32, Int64
from tuner.data.image_table import ImageTable
from tuner.data.near_duplicates.find import NearDuplicates, find_near_duplicates
from tuner.features.extract import ViewOf
from tuner.features.source import FeatureSource


def images_themselves(table: ImageTable, images: Int64 | None = None) -> list[ViewOf]:
    """Images as rows of the bank, without views; all of them, or some by their number.

    The sealed ones, too: no label is asked.
    """
    chosen = range(table.n_images) if images is None else images
    return [ViewOf(table.root / table.paths[i], table.sha256[i], 0, table.rule) for i in chosen]


def has_features(source: FeatureSource, table: ImageTable) -> bool:
    """Whether the bank holds every image itself, the sealed ones too."""
    return not source.bank.missing(_keys(source, table))


def compare_images(source: FeatureSource, table: ImageTable) -> NearDuplicates:
    """Find the near-duplicates among all images; their features must be in the bank."""
    files = [table.root / path for path in table.paths]
    return find_near_duplicates(
        features_of(source, table), files, sha256=table.sha256, rule=table.rule
    )


def features_of(source: FeatureSource, table: ImageTable) -> Float32:
    """Features of the images themselves, float32 (n_images, n_features), out of the bank."""
    return source.bank.read(_keys(source, table))


def _keys(source: FeatureSource, table: ImageTable) -> list[str]:
    return [row.key(source.config.augmentation) for row in images_themselves(table)]
