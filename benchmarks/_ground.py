"""What searches of benchmarks stand on: drawn features, or a home's for a folder elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tuner.config import StudyConfig
from tuner.data.image_table import ImageTable
from tuner.features.bank import FeatureBank
from tuner.features.device import find_device
from tuner.features.extract import OnProgress
from tuner.features.source import FeatureSource
from tuner.features.views import view_key
from tuner.features.wanted import ViewOf
from tuner.features.weights.resolve import resolve_weights
from tuner.ground import Ground
from tuner.home import Home
from tuner.home.founding import open_study, read_images
from tuner.home.listener import Listener
from tuner.home.recorder import NoRecorder
from tuner.search.journal import open_storage
from tuner.study.verbs.run import search


def random_ground(
    config: StudyConfig, place: Path, *, sizes: Sequence[int], n_features: int
) -> Ground:
    """So many images of each class that nobody has, in a home named after the study.

    Their features are drawn where others are extracted.
    """
    labels = np.repeat(np.arange(len(sizes)), sizes)
    paths = tuple(f"{label}/{i:05d}.png" for i, label in enumerate(labels))
    sha256 = tuple(hashlib.sha256(path.encode()).hexdigest() for path in paths)
    class_names = tuple(f"class {k}" for k in range(len(sizes)))
    table = ImageTable(paths, sha256, labels, class_names, root=place)
    home = Home(place / config.name)
    folder = open_study(config, table, home)
    bank = FeatureBank(home.features, {"features": "random"}, n_features=n_features)

    def draw(chunks: Sequence[Sequence[ViewOf]], on_progress: OnProgress) -> int:
        rng = np.random.default_rng(0)
        for chunk in chunks:
            keys = [view_key(w.sha256, w.view, augmentation=config.augmentation) for w in chunk]
            bank.add(keys, rng.gamma(0.5, 1.0, (len(keys), n_features)).astype(np.float32))
        return sum(map(len, chunks))

    source = FeatureSource(bank, resolve_weights("random"), find_device(), config, draw)
    return Ground(config, folder, folder.images, source)


def ground_elsewhere(source: FeatureSource, home: Home, elsewhere: Home) -> Ground:
    """A home's images and features, for a study whose folder lies in another home."""
    config = source.config
    folder = open_study(config, read_images(config, home), elsewhere)
    return Ground(config, folder, folder.images, source)


def search_without_mlflow(ground: Ground, listener: Listener) -> None:
    """The whole search of a study, with its records on disk alone."""
    home = Home(ground.folder.path.parents[1])
    ground.fill(listener)
    search(
        open_storage(home),
        ground,
        listener,
        home=home,
        tracking_uri=None,
        has_others=False,
        recorder=NoRecorder(),
    )
