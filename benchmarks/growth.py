"""What a trial costs as a study grows: ask, train, report, record, tell, MLflow, and memory.

python benchmarks/growth.py [--trials 1000] [--sampler tpe] [--no-mlflow]

A real study (journal, records on disk, MLflow on SQLite, written in line so that it can be timed)
with heads of eight units on sixteen random features, so that what is measured is everything but
the training. One line for each window of trials, and one with the ratios to trial 50.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import psutil
from _common import emit, machine_name, say
from trial import PARTS, Laps, random_search, seconds, time_the_parts, timed

from tuner.config import parse_study
from tuner.features.device import find_device
from tuner.home import Home
from tuner.home.records import Record
from tuner.report.figures.confusion import confusion_matrix_image
from tuner.search.study import run_search
from tuner.tracking.mlflow_recorder import MlflowRecorder

SIZES = (90, 40, 20)
WINDOW = 20  # trials whose median is taken
FIRST = 50
WATCHED = (FIRST, 200, 500, 1000, 2000, 5000)
ALL_PARTS = (*PARTS, "mlflow")


class Growth(Laps):
    """Notes memory beside the seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.rss_mb: list[float] = []

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Note what the trial took, what MLflow took for the one before, and the memory."""
        mlflow_s = seconds["mlflow"]
        n_before = len(self.taken)
        super().trial_ended(record, n_finished=n_finished, n_trials=n_trials)
        if len(self.taken) > n_before:
            self.taken[-1]["mlflow"] = mlflow_s
            self.rss_mb.append(psutil.Process().memory_info().rss / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--mlflow", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    time_the_parts()
    device, growth = find_device(), Growth()
    config = parse_study(
        f"""
        name: growth
        data: {{source: random}}
        split: {{folds: 2}}
        search: {{trials: {options.trials}, sampler: {options.sampler}}}
        training: {{epochs: 8, patience: 8, hidden_units: 8, batch_size: 16}}
        """,
        source="benchmarks/growth.py",
    )
    with tempfile.TemporaryDirectory() as place:
        home, recorder = Home(Path(place) / "growth"), None
        if options.mlflow:
            recorder = MlflowRecorder(
                home.tracking_uri,
                artifacts=home.artifacts,
                draw_confusion_matrix=confusion_matrix_image,
                on_trouble=say,
            )
            recorder.record = timed(recorder.record, "mlflow")  # type: ignore[method-assign]
        run_search(
            random_search(
                config, Path(place), growth, sizes=SIZES, n_features=16, recorder=recorder
            )
        )
    facts = {
        "machine": machine_name(),
        "backend": device.backend,
        "sampler": options.sampler,
        "mlflow": options.mlflow,
    }
    medians = {}
    for trial in (n for n in WATCHED if n <= options.trials):
        taken = growth.taken[trial - WINDOW : trial]
        medians[trial] = {p: statistics.median(t[p] for t in taken) for p in ALL_PARTS}
        parts = {f"{part}_ms": 1000 * value for part, value in medians[trial].items()}
        emit("growth", **facts, trial=trial, **parts, rss_mb=growth.rss_mb[trial - 1])
    last = max(medians)
    ratios = {
        f"{part}_ratio_to_trial_{FIRST}": medians[last][part] / medians[FIRST][part]
        for part in ALL_PARTS
        if medians[FIRST][part]
    }
    emit("growth", **facts, trial=last, **ratios)


if __name__ == "__main__":
    main()
