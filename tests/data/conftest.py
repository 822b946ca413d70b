from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(os.environ.get("TUNER_DATA") or Path(__file__).parents[3] / "shared" / "data")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Development data by name: an archive as the folder it holds, another file as it is."""
    folder = tmp_path_factory.mktemp("shared")

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"{name} is neither in TUNER_DATA nor in ../shared/data")
        if path.suffix != ".tar":
            return path
        if not (folder / path.stem).exists():
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        return folder / path.stem

    return find


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Writer of a small picture of one gray and a corner, different for each `value`."""

    def write(path: Path, value: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((4, 4, 3), value, dtype=np.uint8)
        pixels[0, 0] ^= 128
        Image.fromarray(pixels).save(path)
        return path

    return write
