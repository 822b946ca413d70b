"""Where the seconds of one whole study go, and how near its floors the heavy parts are.

python benchmarks/study.py [--data steel_xsdd] [--image-px 128] [--trials 60] [--folds 3]
    [--engine auto]

Runs a study in this process on real images in a fresh home: index, feature bank, baselines,
trials, MLflow, report. Its listener hears what ends and its trainer hears the heads, so that the
wall time falls into parts; what nobody hears is the rest. The start of the process and the first
creation of mlflow.db come before and are given apart, as are the processor's seconds of the thread
that writes MLflow meanwhile.

The floors are measured while the study runs, in pauses that are not counted: of the extraction the
bare compiled ResNet50 on pixels that are ready, before and after; of the heads the matrix products
of their steps and one pass over what Adam updates (`heads.py`), before every eighth setting.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import keras
import mlflow  # noqa: F401 - a cost of the start, not of the first run that is written
import numpy as np
import psutil
from _common import emit, image_files, machine_name, say
from extract import bare_call
from heads import EPOCHS, N_FEATURES, N_ROWS, floor

import tuner.features.source
import tuner.report.page.page
import tuner.search.workers.worker
import tuner.tracking.mirror  # noqa: F401 - as `mlflow`
from tuner.features.backbone import build_backbone
from tuner.features.device import find_device
from tuner.features.weights.resolve import resolve_weights
from tuner.home import Home
from tuner.home.listener import Epoch, Listener, Progress
from tuner.home.records import Record
from tuner.study import Study
from tuner.study.verbs.run import run_study
from tuner.tracking.connection import connect
from tuner.training.inputs import Inputs
from tuner.training.outcome import Outcome, Trained
from tuner.training.trial import ENGINES, OnEpoch, Trainer, train_settings

N_PASSES = 6  # of the bare backbone at a time
SETTINGS_BETWEEN = 8  # floors of the heads
# What a fact says has ended, and what a status was shown for.
FACTS = {"weights": "weights", "images": "index", "features": "extraction"}
STATUSES = {
    "reading images": "index",
    "looking for near-duplicates": "leaks",
    "writing the report": "report_page",
}


class Watch:
    """Seconds by part: each begins where the one before has ended."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._last = time.perf_counter()

    def start(self) -> None:
        """Let the first part begin now."""
        self._last = time.perf_counter()

    def ends(self, part: str, *, began_s: float | None = None, before: str = "") -> None:
        """Count all since the last end for a part.

        Args:
            part: That has ended.
            began_s: How long ago it began, if there was something else before it.
            before: Which part that was.
        """
        now = time.perf_counter()
        taken = now - self._last
        own = taken if began_s is None else min(began_s, taken)
        self.seconds[part] += own
        if before:
            self.seconds[before] += taken - own
        self._last = now

    def paused(self, run: Callable[[], object]) -> float:
        """Seconds of something that is counted for no part."""
        start = time.perf_counter()
        run()
        taken = time.perf_counter() - start
        self._last += taken
        return taken


class Parts(Listener):
    """Hears which part of the study has ended.

    Args:
        watch: Told of it.
        floors: Measured around the extraction.
    """

    def __init__(self, watch: Watch, floors: Floors) -> None:
        self._watch, self._floors = watch, floors
        self._is_filling = False
        self._before_trial = "load"
        self.mlflow_cpu_s = 0.0

    def fact(self, label: str, text: str) -> None:
        """What has come to this; the backbone's floor is measured after it has worked."""
        self._watch.ends(FACTS.get(label, "rest"))
        if label == "features":
            self._is_filling = False
            self._floors.measure_backbone()

    def opened(self, folder: object, *, device: str, question: str) -> None:
        """The images are known; the backbone has not worked yet."""
        self._watch.ends("index")
        self._floors.measure_backbone()

    @contextmanager
    def status(self, text: str) -> Iterator[None]:
        """A part of its own, where it has a name."""
        self._watch.ends("rest")
        yield
        self._watch.ends(STATUSES.get(text, "rest"))

    def progress(self, progress: Progress) -> None:
        """With the first batch the backbone has been built."""
        if not self._is_filling:
            self._is_filling = True
            self._watch.ends("extraction", began_s=progress.seconds, before="build")
            self._floors.rows += progress.total

    @contextmanager
    def training(self, *args: Any, **options: Any) -> Iterator[None]:
        """From what trials need to the last that MLflow writes."""
        self._watch.ends("rest")
        yield
        self._watch.ends("mlflow")
        self.mlflow_cpu_s = recorder_cpu_s()

    def note(self, text: str) -> None:
        """Free baselines come next."""
        self._watch.ends("rest")
        self._before_trial = "free"

    def trial_started(self, name: str, setting: object) -> None:
        """It has been asked for; before the first of all, the features were loaded."""
        self._watch.ends(self._before_trial)

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """It is on disk, told to Optuna and handed to MLflow's thread."""
        self._watch.ends("record")
        self._before_trial = "ask"


def recorder_cpu_s() -> float:
    """Processor's seconds of the thread that writes MLflow."""
    ids = {thread.native_id for thread in threading.enumerate() if thread.name == "recorder"}
    threads = psutil.Process().threads()
    return float(sum(t.user_time + t.system_time for t in threads if t.id in ids))


def watched_trainer(watch: Watch, floors: Floors) -> Trainer:
    """Trains on the bank; `prepare` is what is around the heads, judging too."""

    def train_heads(
        trials: Sequence[Any], inputs: Inputs, *, on_epoch: OnEpoch, **options: Any
    ) -> list[Trained]:
        def heard(i: int, report: Epoch) -> bool:
            watch.ends("heads")
            is_pruned = on_epoch(i, report)
            watch.ends("report")
            return is_pruned

        watch.ends("prepare")
        floors.measure_head(inputs.steps)
        trained = ENGINES["bank"](trials, inputs, on_epoch=heard, **options)
        watch.ends("heads")
        return trained

    def train(*args: Any, **options: Any) -> list[Outcome]:
        outcomes = train_settings(*args, engine=train_heads, **options)
        watch.ends("prepare")
        return outcomes

    return train


class Floors:
    """The floors, measured in pauses of the study.

    Attributes:
        backbone_rows_per_s: Of the bare backbone, one value a pause.
        head_step_s: Of one step of one head, one value a pause.
        rows: Rows that were extracted.
        steps: Steps of an epoch.
        paused_s: All pauses together.
    """

    def __init__(self, watch: Watch, *, image_px: int, batch_size: int) -> None:
        self._watch = watch
        self.backbone_rows_per_s: list[float] = []
        self.head_step_s: list[float] = []
        self.rows = self.steps = self._n_trained = 0
        self.paused_s = 0.0
        backbone = build_backbone(resolve_weights("random"))
        self._backbone = bare_call(backbone, batch_size=batch_size, image_px=image_px)
        self._batch_size = batch_size
        self._backbone(2)

    def measure_backbone(self) -> None:
        """Take the time of the bare backbone."""
        taken = self._paused(lambda: self._backbone(N_PASSES))
        self.backbone_rows_per_s.append(N_PASSES * self._batch_size / taken)

    def measure_head(self, steps: int) -> None:
        """Take the time of a head, before every eighth setting."""
        if not self._n_trained:
            self.steps = steps
            self._paused(self._compile_head)
        if self._n_trained % SETTINGS_BETWEEN == 0:
            self.head_step_s.append(self._paused(self._head) / (steps * EPOCHS))
        self._n_trained += 1

    def _compile_head(self) -> None:
        features = np.random.default_rng(0).gamma(0.5, 1.0, (N_ROWS, N_FEATURES))
        X = keras.ops.convert_to_tensor(features.astype(np.float32))
        self._head = floor(X, 1, steps=self.steps)
        self._head()

    def _paused(self, run: Callable[[], object]) -> float:
        taken = self._watch.paused(run)
        self.paused_s += taken
        return taken


def write_study(options: argparse.Namespace, place: Path) -> tuple[str, Path]:
    """Unpack the images and write the study file; name of the data and the file."""
    data, files = image_files(options.data, into=place / "data")
    study = place / "study.yaml"
    study.write_text(
        f"""# Where do the seconds of a study go?
name: {data}
data: {{source: '{files[0].parent.parent}', image_px: {options.image_px}}}
split: {{folds: {options.folds}}}
backbone: {{weights: {options.weights}, engine: {options.engine}}}
search: {{trials: {options.trials}}}
training: {{epochs: {options.epochs}}}
"""
    )
    return data, study


class Ran(NamedTuple):
    """A study that has run.

    Attributes:
        records: What it trained.
        data: Name of the data.
        n_images: Images, those of the sealed test too.
        database_s: First creation of mlflow.db, before the study.
        wall_s: The study without the pauses for the floors.
        mlflow_cpu_s: Of the thread that writes MLflow.
    """

    records: list[Record]
    data: str
    n_images: int
    database_s: float
    wall_s: float
    mlflow_cpu_s: float


def run_watched(options: argparse.Namespace, watch: Watch, floors: Floors) -> Ran:
    """The whole of `tuner run` in a home of its own."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        data, file = write_study(options, place)
        home, parts = Home(place / "home"), Parts(watch, floors)
        home.path.mkdir()
        study = Study(file, home=home.path, listener=parts, tracking_uri=home.tracking_uri)
        started = time.perf_counter()
        connect(study.mlflow_uri)
        database_s = time.perf_counter() - started
        started = time.perf_counter()
        watch.start()
        run_study(
            study.config,
            study.home,
            study.listener,
            tracking_uri=study.mlflow_uri,
            trainer=watched_trainer(watch, floors),
        )
        watch.ends("rest")
        wall_s = time.perf_counter() - started - floors.paused_s
        records, n_images = study.folder.records(), study.folder.images.n_images
        return Ran(records, data, n_images, database_s, wall_s, parts.mlflow_cpu_s)


def ratios(ran: Ran, watch: Watch, floors: Floors) -> dict[str, float]:
    """How fast the heavy parts were, how near their floors, and what all else took."""
    seconds = watch.seconds
    extraction_s = seconds["extraction"] + seconds["build"]
    head_steps = head_epochs(ran.records) * floors.steps
    rows_per_s = float(np.mean(floors.backbone_rows_per_s))
    head_step_s = float(np.median(floors.head_step_s))
    return {
        "other_share": 1 - (extraction_s + seconds["heads"]) / ran.wall_s,
        "extraction_rows_per_s": floors.rows / extraction_s,
        "extraction_floor_rows_per_s": rows_per_s,
        "extraction_ratio_to_floor": floors.rows / extraction_s / rows_per_s,
        "ms_per_head_step": 1000 * seconds["heads"] / head_steps,
        "floor_ms_per_head_step": 1000 * head_step_s,
        "heads_ratio_to_floor": head_step_s * head_steps / seconds["heads"],
    }


def head_epochs(records: list[Record]) -> int:
    """Epochs of every fold of every setting."""
    return sum(len(rates) for record in records for rates in record.learning_rates)


def main() -> None:
    start_s = time.time() - psutil.Process().create_time()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="steel_xsdd")
    parser.add_argument("--image-px", type=int, default=128)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--engine", default="auto", choices=["auto", "keras", "openvino"])
    options = parser.parse_args()
    started = time.perf_counter()
    device = find_device()
    start_s += time.perf_counter() - started
    watch = Watch()
    batch_size = 128 if device.kind == "gpu" else 32
    floors = Floors(watch, image_px=options.image_px, batch_size=batch_size)
    ran = run_watched(options, watch, floors)
    for part, taken in watch.seconds.most_common():
        say(f"  {part:12} {taken:8.2f} s {taken / ran.wall_s:6.1%}")
    emit(
        "study",
        machine=machine_name(gpu=device.name if device.kind == "gpu" else ""),
        backend=device.backend,
        engine=ran.records[0].environment.get("engine"),
        data=ran.data,
        images=ran.n_images,
        image_px=options.image_px,
        rows=floors.rows,
        trials=sum(record.kind == "trial" for record in ran.records),
        pruned=sum(record.state == "pruned" for record in ran.records),
        folds=options.folds,
        head_epochs=head_epochs(ran.records),
        steps=floors.steps,
        process_start_s=start_s,
        first_database_s=ran.database_s,
        wall_s=ran.wall_s,
        **{f"{part}_s": taken for part, taken in watch.seconds.most_common()},
        **ratios(ran, watch, floors),
        seconds_per_trial=ran.wall_s / options.trials,
        beside={"mlflow_cpu_s": round(ran.mlflow_cpu_s, 3)},
    )


if __name__ == "__main__":
    main()
