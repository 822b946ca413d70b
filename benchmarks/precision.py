"""What `backbone.precision: bfloat16` does to features, to macro recall and to speed.

python benchmarks/precision.py STUDY.yaml [--trials 5] [--seeds 2] [--set a.b=c] [--home DIR]

Trains the baselines and some random settings on features of either precision: same images, splits,
settings and random streams, so that values differ by the features alone. How much another seed
changes them stands beside it. Heads are float32 either way. Speed is that of the bare backbone on
pixels that are ready, alternating.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _common import alternate, emit, machine_name, median_ratio, say
from _ground import ground_elsewhere, search_without_mlflow
from extract import bare_call
from trial import Laps

from tuner.config import load_study
from tuner.features.backbone import build_backbone
from tuner.features.device import find_device
from tuner.features.source import open_features
from tuner.features.views import view_key
from tuner.features.weights.resolve import resolve_weights
from tuner.home import Home

PRECISIONS = ("float32", "bfloat16")


def values_of(options: argparse.Namespace, precision: str, seed: int) -> tuple[Any, Any]:
    """Macro recall of each setting by name, and the features of the images themselves."""
    fixed = ["search.sampler=random", "search.pruner=none", f"search.trials={options.trials}"]
    overrides = [*options.overrides, *fixed, f"backbone.precision={precision}", f"seed={seed}"]
    config = load_study(Path(options.study), overrides=overrides)
    home = Home.find(options.home)
    weights = resolve_weights(config.backbone.weights, on_progress=say)
    source = open_features(config, home, weights=weights, device=find_device())
    with tempfile.TemporaryDirectory() as place:
        ground = ground_elsewhere(source, home, Home(Path(place)))
        search_without_mlflow(ground, Laps())
        found = {r.name: r.scores["macro_recall"] for r in ground.folder.records()}
    images, augmentation = ground.table, config.augmentation
    keys = [view_key(images.sha256[i], 0, augmentation=augmentation) for i in images.search]
    return found, source.bank.read(keys)


def rows_per_s(image_px: int, *, batch_size: int, repeats: int) -> dict[str, float]:
    """Of the bare backbone in either precision, and how many times bfloat16 is faster."""
    weights, n_batches = resolve_weights("random"), 4
    bare = {
        precision: bare_call(
            build_backbone(weights, precision=precision), batch_size=batch_size, image_px=image_px
        )
        for precision in PRECISIONS
    }
    seconds = alternate(
        {name: lambda run=run: run(n_batches) for name, run in bare.items()}, repeats=repeats
    )
    n_rows = n_batches * batch_size
    found = {f"{p}_rows_per_s": n_rows / statistics.median(seconds[p]) for p in PRECISIONS}
    return {**found, "ratio_to_float32": median_ratio(seconds["float32"], seconds["bfloat16"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    options = parser.parse_args()
    device, config = find_device(), load_study(Path(options.study), overrides=options.overrides)
    speed = rows_per_s(
        config.data.image_px,
        batch_size=128 if device.kind == "gpu" else 32,
        repeats=options.repeats,
    )
    values: dict[str, list[list[float]]] = {precision: [] for precision in PRECISIONS}
    features: dict[str, Any] = {}
    for seed, precision in itertools.product(range(options.seeds), PRECISIONS):
        found, features[precision] = values_of(options, precision, seed)
        values[precision].append([found[name] for name in sorted(found)])
    exact, rough = (np.array(values[precision]) for precision in PRECISIONS)
    away = np.linalg.norm(features["bfloat16"] - features["float32"], axis=1)
    difference = rough - exact
    between_seeds = np.abs(exact[1:] - exact[:-1]).mean() if options.seeds > 1 else None
    emit(
        "precision",
        machine=machine_name(gpu=device.name if device.kind == "gpu" else ""),
        backend=device.backend,
        study=config.name,
        image_px=config.data.image_px,
        images=len(away),
        settings=exact.shape[1],
        seeds=options.seeds,
        epochs=config.training.epochs,
        relative_distance_of_features=float(
            np.median(away / np.linalg.norm(features["float32"], axis=1))
        ),
        macro_recall_float32=float(exact.mean()),
        macro_recall_bfloat16=float(rough.mean()),
        mean_difference=round(float(difference.mean()), 5),
        standard_error=float(difference.std(ddof=1) / np.sqrt(difference.size)),
        mean_size_of_difference=float(np.abs(difference).mean()),
        largest_difference=float(np.abs(difference).max()),
        mean_size_of_difference_between_seeds=between_seeds and float(between_seeds),
        **speed,
    )


if __name__ == "__main__":
    main()
