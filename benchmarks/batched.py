"""Does asking many trials at once find as good settings as asking one after another?

python benchmarks/batched.py STUDY.yaml [--batches 1 4 16] [--seeds 3] [--set a.b=c]

Runs the study's search on its own images for each batch size and seed at the same number of
trials, without MLflow and without pruning, and says the best objective after a third, two thirds
and all of the trials. The bank in `--home` is shared, so only heads are trained.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
from _common import emit, machine_name, say
from trial import Laps

from tuner.config import StudyConfig, load_study
from tuner.features.device import Device, find_device
from tuner.features.source import FeatureSource, open_features
from tuner.features.weights_source import resolve_weights
from tuner.home import Home
from tuner.search.inputs import load_inputs, rows_to_extract
from tuner.search.recorder import NoRecorder
from tuner.search.session import open_study, read_images
from tuner.search.study import open_search, open_storage, run_search


def search_once(config: StudyConfig, source: FeatureSource, home: Home) -> list[float]:
    """Best objective so far after each trial."""
    with tempfile.TemporaryDirectory() as place:
        index = read_images(config, home)
        opened = open_study(config, index, Home(Path(place)))
        images, names = opened.folder.images, index.class_names
        source.fill(rows_to_extract(config, images, index.root, n_classes=len(names)))
        search = open_search(
            open_storage(Home(Path(place))),
            config=config,
            inputs=load_inputs(config, images, source.bank, class_names=names),
            folder=opened.folder,
            recorder=NoRecorder(),
            listener=Laps(),
            environment={},
        )
        run_search(search)
        values = [r.value or 0.0 for r in opened.folder.records() if r.kind == "trial"]
    return list(np.maximum.accumulate(values))


def measure(
    options: argparse.Namespace, size: int, home: Home, source: FeatureSource, device: Device
) -> list[float]:
    finals = []
    for seed in range(options.seeds):
        overrides = [*options.overrides, f"search.batch={size}", "search.pruner=none"]
        # The same seeds for every size: splits, heads and the sampler's start are paired.
        config = load_study(Path(options.study), overrides=[*overrides, f"seed={seed}"])
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
            best_after_third=marks[0],
            best_after_two_thirds=marks[1],
            best=marks[2],
        )
        finals.append(marks[2])
    return finals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    options = parser.parse_args()
    device, home = find_device(), Home.find(options.home)
    config = load_study(Path(options.study), overrides=options.overrides)
    weights = resolve_weights(config.backbone.weights, on_progress=say)
    source = open_features(config, home, weights=weights, device=device)
    for size in options.batches:
        finals = measure(options, size, home, source, device)
        say(f"batch {size}: median of the best {statistics.median(finals):.4f}")


if __name__ == "__main__":
    main()
