"""One backbone with random weights for all tests of this room: building it takes seconds."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
from PIL import Image

from tuner.features.weights.resolve import resolve_weights


@pytest.fixture(scope="session")
def backbone():
    """Frozen ResNet50 with random weights."""
    from tuner.features.backbone import build_backbone

    return build_backbone(resolve_weights("random"))


@pytest.fixture(scope="session")
def extractor(backbone):
    """Compiled passes through `backbone`; every batch shape compiles anew, so keep to (8, 32)."""
    from tuner.features.backbone import Extractor

    return Extractor(backbone)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Thirty smooth colour pictures, all different, as PNG files of 40x40; leave them alone."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    paths = [folder / f"{i:03d}.png" for i in range(30)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize((40, 40), Image.Resampling.BICUBIC).save(path)
    return paths
