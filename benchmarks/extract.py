"""Rows a second of `fill_bank` against the bare compiled ResNet50, for images and for views.

python benchmarks/extract.py [--image-px 128] [--rows 256] [--precision float32]

The floor is the backbone alone on pixels that are decoded, preprocessed and on the device
already, in batches of the same size, without fetching its results before the end.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import keras
import numpy as np
from _common import alternate, emit, image_files, machine_name, median_ratio, say
from keras import ops

from tuner.config import AugmentationConfig
from tuner.features.backbone import N_FEATURES, Extractor, build_backbone, preprocess
from tuner.features.bank import FeatureBank
from tuner.features.device import find_device
from tuner.features.extract import fill_bank
from tuner.features.wanted import ViewOf
from tuner.features.weights.resolve import resolve_weights


def bare_call(backbone: Any, *, batch_size: int, image_px: int) -> Callable[[int], None]:
    """Function of a number of batches that runs the compiled backbone on them and waits."""

    def apply(pixels: Any) -> Any:
        return backbone(pixels, training=False)

    if keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(apply)
    else:
        import tensorflow as tf

        compiled = tf.function(apply, autograph=False)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 256, (batch_size, image_px, image_px, 3), dtype=np.uint8)
    pixels = preprocess(drawn)

    def run(n_batches: int) -> None:
        outputs = [compiled(pixels) for _ in range(n_batches)]
        for output in outputs:
            ops.convert_to_numpy(output)

    return run


def rows_of(paths: list[Path], n_rows: int, *, n_views: int) -> list[ViewOf]:
    """`n_rows` images, or `n_views` views of fewer; an image counts again when all are used."""
    views = range(1, n_views + 1) if n_views else (0,)
    hashes = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    unique = list({sha256: path for path, sha256 in hashes.items()}.values())
    if n_rows > len(unique) * len(views):
        say(f"only {len(unique) * len(views)} rows in {len(unique)} different images")
    return [ViewOf(p, hashes[p], k) for k in views for p in unique[: n_rows // len(views)]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-px", type=int, default=128)
    parser.add_argument("--rows", type=int, help="default: 256 on a CPU, all on a GPU")
    parser.add_argument("--batch", type=int, help="default: 32 on a CPU, 128 on a GPU")
    parser.add_argument("--views", type=int, default=8, help="of each image, in the second part")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    options = parser.parse_args()
    device = find_device()
    batch_size = options.batch or (128 if device.kind == "gpu" else 32)
    augmentation = AugmentationConfig()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, paths = image_files("steel_xsdd", into=folder)
        backbone = build_backbone(resolve_weights("random"), precision=options.precision)
        extractor = Extractor(backbone)
        floor = bare_call(backbone, batch_size=batch_size, image_px=options.image_px)
        banks = count()
        for part, n_views in (("images", 0), ("views", options.views)):
            most = len(paths) * max(1, n_views)
            n_rows = options.rows or (most if device.kind == "gpu" else 256)
            rows = rows_of(paths, n_rows, n_views=n_views)
            n_batches = -(-len(rows) // batch_size)

            def fill(rows: list[ViewOf] = rows) -> None:
                bank = FeatureBank(folder / f"bank{next(banks)}", {}, n_features=N_FEATURES)
                fill_bank(
                    bank,
                    rows,
                    lambda: extractor,
                    image_px=options.image_px,
                    augmentation=augmentation,
                    batch_size=batch_size,
                )

            say(f"{part}: {len(rows)} rows of {data} at {options.image_px} px, {device}")
            contestants = {"floor": lambda n=n_batches: floor(n), "fill_bank": fill}
            seconds = alternate(contestants, repeats=options.repeats)
            emit(
                "extract",
                machine=machine_name(gpu=device.name if device.kind == "gpu" else ""),
                backend=device.backend,
                precision=options.precision,
                data=data,
                part=part,
                image_px=options.image_px,
                batch_size=batch_size,
                rows=len(rows),
                rows_per_s=len(rows) / statistics.median(seconds["fill_bank"]),
                floor_rows_per_s=len(rows) / statistics.median(seconds["floor"]),
                ratio_to_floor=median_ratio(seconds["floor"], seconds["fill_bank"]),
            )


if __name__ == "__main__":
    main()
