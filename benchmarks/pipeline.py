"""Images a second that reach the backbone in `tuner run --live`: decoded, and as affine views.

    python benchmarks/pipeline.py [--data steel_xsdd] [--image-px 224]

Against the bare decoder: Pillow reading, converting and resizing the same files on as many
threads, and nothing else. `batches` adds what the loop needs before the device: the file's hash,
the transform of a fresh view, and stacking. `views` adds the affine resample itself, where the
backend computes. Nothing is kept between rounds. On a GPU, `live` is the share of the time of
training steps in which the card waits for images.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from _common import alternate, emit, image_files, machine_name, median_ratio
from PIL import Image

from tuner.config import AugmentationConfig, TrainingConfig
from tuner.features.backbone import apply_views, build_backbone
from tuner.features.device import find_device
from tuner.features.wanted import ViewOf
from tuner.features.weights.resolve import resolve_weights
from tuner.training.head import Head
from tuner.training.images.batches import Batches, LiveImages
from tuner.training.images.loop import fit_epoch
from tuner.training.images.model import build_live_model, compile_live
from tuner.training.losses import focal_terms

N_CLASSES = 5


def bare(paths: list[Path], *, image_px: int) -> None:
    """What any loader has to do."""

    def read(path: Path) -> np.ndarray:
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((image_px, image_px), Image.Resampling.BILINEAR)
        return np.asarray(small)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(read, paths):
            pass


def views_of(live: LiveImages, *, batch_size: int) -> Batches:
    """Every image once, as a view."""
    images = np.arange(len(live.files))
    return Batches(
        live,
        images,
        images + 1,
        y=images % N_CLASSES,
        weight=np.ones(len(images)),
        batch_size=batch_size,
    )


def measure_pipeline(name: str, live: LiveImages, *, repeats: int, batch_size: int) -> None:
    """Images a second of the bare decoder, of batches, and of views."""
    paths = [file.path for file in live.files]
    pixels = keras.Input((live.image_px, live.image_px, 3), dtype="uint8")
    transforms = keras.Input((8,))
    affine = keras.Model([pixels, transforms], apply_views(pixels, transforms))
    affine.compile(jit_compile=False)

    def batches() -> Batches:
        return views_of(replace(live, kept={}), batch_size=batch_size)

    seconds = alternate(
        {
            "bare": lambda: bare(paths, image_px=live.image_px),
            "batches": lambda: list(iterate(batches())),
            "views": lambda: [affine.predict_on_batch(list(b[0])) for b in iterate(batches())],
        },
        repeats=repeats,
    )
    for part in ("batches", "views"):
        emit(
            "pipeline",
            machine=machine_name(),
            backend=keras.backend.backend(),
            data=name,
            image_px=live.image_px,
            part=part,
            images_per_s=len(paths) / statistics.median(seconds[part]),
            bare_images_per_s=len(paths) / statistics.median(seconds["bare"]),
            ratio_to_bare=median_ratio(seconds["bare"], seconds[part]),
        )


def iterate(batches: Batches) -> Iterator[tuple[Any, ...]]:
    """Batches in their order."""
    return (batches[step] for step in range(len(batches)))


def measure_loop(name: str, live: LiveImages, *, batch_size: int, gpu: str) -> None:
    """Share of the time of steps in which the device waits for images, by precision."""
    for precision in ("float32", "bfloat16"):
        backbone = build_backbone(resolve_weights("random"), precision=precision)
        mine = replace(live, backbone=backbone, kept={})
        training = TrainingConfig(batch_size=batch_size)
        rows = np.arange(len(live.files))
        head = Head(rows, 0.0, focal_terms(1.0, n_classes=N_CLASSES), np.ones(N_CLASSES), (0, 1))
        model = build_live_model(head, mine, n_classes=N_CLASSES, training=training)
        compile_live(model, head, learning_rate=1e-4)
        fit_epoch(model, views_of(mine, batch_size=batch_size), epoch=0, callbacks=None)
        warm = time.perf_counter()  # every image is in memory now: nothing to wait for
        fit_epoch(model, views_of(mine, batch_size=batch_size), epoch=1, callbacks=None)
        fed = time.perf_counter() - warm
        cold = time.perf_counter()
        mine.kept.clear()
        fit_epoch(model, views_of(mine, batch_size=batch_size), epoch=2, callbacks=None)
        read = time.perf_counter() - cold
        emit(
            "live",
            machine=machine_name(gpu=gpu),
            backend=keras.backend.backend(),
            data=name,
            image_px=live.image_px,
            batch_size=batch_size,
            precision=precision,
            images_per_s_from_memory=len(rows) / fed,
            images_per_s_from_files=len(rows) / read,
            share_of_waiting=max(0.0, 1 - fed / read),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="steel_xsdd")
    parser.add_argument("--image-px", type=int, default=224)
    parser.add_argument("--images", type=int, default=512, help="at most")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--loop", action="store_true", help="train, too; meant for a GPU")
    options = parser.parse_args()
    device = find_device()
    with tempfile.TemporaryDirectory() as folder:
        name, paths = image_files(options.data, into=Path(folder))
        files = [
            ViewOf(path, hashlib.sha256(path.read_bytes()).hexdigest(), 0)
            for path in paths[: options.images]
        ]
        rows = np.arange(len(files))
        live = LiveImages(files, rows, 0 * rows, options.image_px, AugmentationConfig(), None)
        measure_pipeline(name, live, repeats=options.repeats, batch_size=options.batch_size)
        if options.loop or device.kind == "gpu":
            gpu = device.name if device.kind == "gpu" else ""
            measure_loop(name, live, batch_size=options.batch_size, gpu=gpu)


if __name__ == "__main__":
    main()
