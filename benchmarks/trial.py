"""Seconds of one whole trial, and what each part of it takes: ask, prepare, train, record, tell.

python benchmarks/trial.py [--data digits steel] [--trials 5] [--epochs 20] [--folds 3]

Runs a real study (journal, records on disk) on random features of 2,048 columns in the sizes of
the digits and of steel_xsdd; no images, no backbone, no MLflow. Every epoch is trained, so that
trials of two machines compare. Baselines are trained first and are not counted; compiling falls
into them. KERAS_BACKEND=jax needs no TensorFlow.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from _common import emit, machine_name, say
from _ground import random_ground
from optuna.storages import BaseStorage

from tuner.config import StudyConfig, parse_study
from tuner.data.digits import N_IMAGES
from tuner.features.device import Device, find_device
from tuner.home import Home
from tuner.home.listener import Listener
from tuner.home.recorder import NoRecorder, Recorder
from tuner.home.records import Record
from tuner.search import ask, batch
from tuner.search.study import Search, open_search, open_storage, run_search
from tuner.training.outcome import Outcome
from tuner.training.trial import ENGINES, Engine, OnEpoch, Trainer, train_settings

N_FEATURES = 2048
SIZES = {"digits": N_IMAGES, "steel": (388, 238, 203, 203, 134, 122, 63)}
PARTS = ("ask", "prepare", "train", "report", "record", "tell")

seconds: Counter[str] = Counter()  # of the batch that runs, by part


class Laps(Listener):
    """Notes the seconds of each trial, whole and by part."""

    def __init__(self) -> None:
        self.taken: list[dict[str, float]] = []
        self._start = time.perf_counter()

    def fact(self, label: str, text: str) -> None:
        """Say it."""
        say(f"{label}: {text}")

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Note what the trial took, and start the next lap."""
        now = time.perf_counter()
        parts = {part: seconds[part] for part in PARTS} | {"trial": now - self._start}
        parts["prepare"] -= parts["train"]
        parts["train"] -= parts["report"]  # reports are made while training
        if record.kind == "trial":
            self.taken.append(parts)
        say(f"  {record.name}: {parts['trial']:.2f} s, {len(record.curves['objective'])} epochs")
        seconds.clear()
        self._start = time.perf_counter()


def timed(function: Callable[..., Any], part: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def called(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **options)
        finally:
            seconds[part] += time.perf_counter() - start

    return called


def time_the_parts() -> None:
    """Put stop-watches around what else a trial is made of, where the search calls it."""
    ask.ask = timed(ask.ask, "ask")
    batch.keep = timed(batch.keep, "record")
    batch.tell = timed(batch.tell, "tell")


def timed_trainer(engine: Engine) -> Trainer:
    """Trains with this engine; `prepare` is what is around it, judging too."""

    def train(*args: Any, on_epoch: OnEpoch, **options: Any) -> list[Outcome]:
        return train_settings(
            *args, on_epoch=timed(on_epoch, "report"), engine=timed(engine, "train"), **options
        )

    return timed(train, "prepare")


def random_search(
    config: StudyConfig,
    place: Path,
    laps: Laps,
    *,
    sizes: Sequence[int],
    n_features: int = N_FEATURES,
    recorder: Recorder | None = None,
    storage: BaseStorage | None = None,
    engine: Engine = ENGINES["bank"],
) -> Search:
    """A study on features without meaning, with so many images of each class."""
    ground = random_ground(config, place, sizes=sizes, n_features=n_features)
    ground.extract(laps)
    return open_search(
        storage or open_storage(Home(place / config.name)),
        config=config,
        inputs=ground.inputs(laps),
        folder=ground.folder,
        recorder=recorder or NoRecorder(),
        listener=laps,
        environment={},
        trainer=timed_trainer(engine),
    )


def measure(name: str, options: argparse.Namespace, device: Device) -> None:
    config = parse_study(
        f"""
        name: {name}
        data: {{source: random}}
        split: {{folds: {options.folds}}}
        search: {{trials: {options.trials}, sampler: random, pruner: median}}
        training: {{epochs: {options.epochs}, patience: {options.epochs}}}
        """,
        source="benchmarks/trial.py",
    )
    laps = Laps()
    with tempfile.TemporaryDirectory() as place:
        search = random_search(config, Path(place), laps, sizes=SIZES[name])
        n_rows, n_images = len(search.inputs.y), len(search.inputs.labels)
        say(f"{name}: {n_images} images, {n_rows} rows with views, on {device}")
        run_search(search)
    parts = {
        f"{part}_s": statistics.median(taken[part] for taken in laps.taken)
        for part in ("trial", *PARTS)
    }
    emit(
        "trial",
        machine=machine_name(gpu=device.name if device.kind == "gpu" else ""),
        backend=device.backend,
        data=name,
        images=n_images,
        rows=n_rows,
        folds=options.folds,
        epochs=options.epochs,
        steps=search.inputs.steps,
        **parts,
        share_of_training=parts["train_s"] / parts["trial_s"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20, help="all of them are trained")
    parser.add_argument("--folds", type=int, default=3)
    options = parser.parse_args()
    time_the_parts()
    device = find_device()
    for name in options.data:
        measure(name, options, device)


if __name__ == "__main__":
    main()
