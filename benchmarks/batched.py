"""Does asking many trials at once find as good settings as asking one after another?

python benchmarks/batched.py STUDY.yaml [--batches 1 4 8] [--seeds 3] [--set a.b=c]

Runs the study's search on its own images for each batch size and seed at the same number of
trials, without MLflow and without pruning, and says the best objective after a third, two thirds
and all of the trials. The bank in `--home` is shared, so only heads are trained. At the end a
line for each batch size has its differences to the first one, paired by seed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from _common import emit, machine_name, say
from _ground import ground_elsewhere, search_without_mlflow
from trial import Laps

from tuner.config import StudyConfig, load_study
from tuner.features.device import Device, find_device
from tuner.features.source import FeatureSource, open_features
from tuner.features.weights.resolve import resolve_weights
from tuner.home import Home


def search_once(config: StudyConfig, source: FeatureSource, home: Home) -> list[float]:
    """Best objective so far after each trial."""
    with tempfile.TemporaryDirectory() as place:
        ground = ground_elsewhere(replace(source, config=config), home, Home(Path(place)))
        search_without_mlflow(ground, Laps())
        values = [r.value or 0.0 for r in ground.folder.records() if r.kind == "trial"]
    return [float(value) for value in np.maximum.accumulate(values)]


def measure(
    options: argparse.Namespace, size: int, home: Home, source: FeatureSource, device: Device
) -> list[list[float]]:
    """Best objective after a third, two thirds and all of the trials, for each seed."""
    found = []
    for seed in range(options.seeds):
        overrides = [*options.overrides, f"search.batch={size}", "search.pruner=none"]
        # The same seeds for every size: splits, heads and the sampler's start are paired.
        config = load_study(Path(options.study), overrides=[*overrides, f"seed={seed}"])
        start = time.perf_counter()
        best = search_once(config, source, home)
        marks = [best[len(best) * k // 3 - 1] for k in (1, 2, 3)]
        say(f"batch {size}, seed {seed}: {marks}")
        emit(
            "batched",
            machine=machine_name(gpu=device.name if device.kind == "gpu" else ""),
            study=config.name,
            batch=size,
            seed=seed,
            trials=len(best),
            epochs=config.training.epochs,
            seconds=time.perf_counter() - start,
            best_after_third=marks[0],
            best_after_two_thirds=marks[1],
            best=marks[2],
        )
        found.append(marks)
    return found


def compare(study: str, found: dict[int, list[list[float]]]) -> None:
    """One line for each batch size: mean of the best, and how far it is from the first size."""
    first = np.array(next(iter(found.values())))
    for size, marks in found.items():
        difference = np.array(marks) - first
        emit(
            "batched",
            study=study,
            batch=size,
            seeds=len(marks),
            mean_best=[round(float(mean), 4) for mean in np.mean(marks, axis=0)],
            difference_to_first=[round(float(mean), 4) for mean in difference.mean(axis=0)],
            lowest_difference=round(float(difference[:, -1].min()), 4),
            highest_difference=round(float(difference[:, -1].max()), 4),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    options = parser.parse_args()
    device, home = find_device(), Home.find(options.home)
    config = load_study(Path(options.study), overrides=options.overrides)
    weights = resolve_weights(config.backbone.weights, on_progress=say)
    source = open_features(config, home, weights=weights, device=device)
    found = {size: measure(options, size, home, source, device) for size in options.batches}
    compare(config.name, found)


if __name__ == "__main__":
    main()
