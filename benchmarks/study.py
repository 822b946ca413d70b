"""Where the seconds of one whole study go, and how near its floors the heavy parts are.

python benchmarks/study.py [--data steel_xsdd] [--image-px 128] [--trials 60] [--folds 3]

Runs `tuner run` in this process on real images in a fresh home: index, feature bank, baselines,
trials, MLflow, report. Stop-watches lie around the functions that it calls; a part inside another
is taken out of it, so parts and rest add up to the wall time. The start of the process and the
first creation of mlflow.db come before and are given apart, as is what other threads do meanwhile.

The floors are measured while the study runs, in pauses that are not counted: of the extraction the
bare compiled ResNet50 on pixels that are ready, before and after; of the heads the matrix products
of their steps and one pass over what Adam updates (`heads.py`), after every eighth setting.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import mlflow  # noqa: F401 - a cost of the start, not of the first run that is written
import numpy as np
import psutil
from _common import emit, image_files, machine_name, say
from extract import bare_call
from heads import EPOCHS, N_FEATURES, N_ROWS, floor

import tuner.cli.commands.run as cli_run
import tuner.cli.commands.twins as twins
import tuner.search.study as search_study
from tuner.cli.commands.run import RunOptions, run_study
from tuner.features import extract, source
from tuner.features.backbone import build_backbone
from tuner.features.device import find_device
from tuner.features.weights import resolve as weights_source
from tuner.features.weights.resolve import resolve_weights
from tuner.home import Home
from tuner.home import founding as session
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder
from tuner.search import batch
from tuner.tracking.background import BackgroundRecorder
from tuner.tracking.connection import connect
from tuner.tracking.mlflow_recorder import MlflowRecorder
from tuner.training import inputs

N_PASSES = 6  # of the bare backbone at a time
SETTINGS_BETWEEN = 8  # floors of the heads
METHODS = ("open_study", "record", "close_study")


class Watch:
    """Seconds by part: those that the study waits for, and those of other threads."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.beside: Counter[str] = Counter()
        self._inner = threading.local()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what runs inside, without the parts inside of it."""
        stack = self._inner.__dict__.setdefault("stack", [])
        stack.append(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            whole = time.perf_counter() - start
            own = whole - stack.pop()
            if stack:
                stack[-1] += whole
            is_main = threading.current_thread() is threading.main_thread()
            with self._lock:
                (self.seconds if is_main else self.beside)[name] += own

    def around(self, owner: Any, name: str, part: str) -> None:
        """Put a stop-watch around a function where its callers find it."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            with self.part(part):
                return function(*args, **options)

        setattr(owner, name, timed)


# Whatever has a name of its own: where its callers find it, and the part that it counts for.
WATCHED = (
    (weights_source, "resolve_weights", "weights"),
    (session, "read_images", "index"),
    (session, "open_study", "index"),
    (twins, "study_leaks", "leaks"),
    (source.FeatureSource, "fill", "extraction"),
    (source, "build_backbone", "build"),
    (extract, "read_pixels", "decode"),
    (inputs, "load_inputs", "load"),
    (search_study, "open_storage", "optuna_open"),
    (search_study, "open_search", "optuna_open"),
    (search_study, "next_batch", "ask"),
    (search_study, "teach_baseline", "tell"),
    (search_study, "evaluate_free_baselines", "free"),
    (batch, "prepare", "prepare"),
    (batch, "make_record", "record"),
    (batch, "save_record", "record"),
    (batch, "tell", "tell"),
    (batch, "n_finished", "tell"),
    (cli_run, "keep_report", "report_page"),
    *((BackgroundRecorder, method, "mlflow") for method in METHODS),
    *((MlflowRecorder, method, "mlflow") for method in METHODS),
)


def watch_everything(watch: Watch) -> None:
    """Put the stop-watches in place."""
    for owner, name, part in WATCHED:
        watch.around(owner, name, part)
    train = batch.train_prepared

    def with_timed_reports(*args: Any, on_epoch: Callable[..., bool], **options: Any) -> Any:
        def timed_on_epoch(*of_epoch: Any) -> bool:
            with watch.part("report"):
                return on_epoch(*of_epoch)

        with watch.part("heads"):
            return train(*args, on_epoch=timed_on_epoch, **options)

    batch.train_prepared = with_timed_reports


class Floors:
    """The floors, measured in pauses of the study.

    Attributes:
        backbone_rows_per_s: Of the bare backbone, one value a pause.
        head_step_s: Of one step of one head, one value a pause.
        rows: Rows that were extracted.
        steps: Steps of an epoch.
    """

    def __init__(self, watch: Watch, *, image_px: int, batch_size: int) -> None:
        self._watch = watch
        self.backbone_rows_per_s: list[float] = []
        self.head_step_s: list[float] = []
        self.rows = self.steps = 0
        backbone = build_backbone(resolve_weights("random"))
        self._backbone = bare_call(backbone, batch_size=batch_size, image_px=image_px)
        self._batch_size = batch_size
        self._backbone(2)

    def measure(self) -> None:
        """Put pauses around what has a floor."""
        fill, load = source.FeatureSource.fill, inputs.load_inputs
        train, n_trained = batch.train_prepared, 0

        def filled(*args: Any, **options: Any) -> int:
            self._time_backbone()
            n_new = fill(*args, **options)
            self._time_backbone()
            self.rows += n_new
            return n_new

        def loaded(*args: Any, **options: Any) -> Any:
            found = load(*args, **options)
            self.steps = found.steps
            features = np.random.default_rng(0).gamma(0.5, 1.0, (N_ROWS, N_FEATURES))
            with self._watch.part("floors"):
                X = keras.ops.convert_to_tensor(features.astype(np.float32))
                self._head = floor(X, 1, steps=self.steps)
                self._head()
            return found

        def trained(*args: Any, **options: Any) -> Any:
            nonlocal n_trained
            if n_trained % SETTINGS_BETWEEN == 0:
                self.head_step_s.append(self._paused(self._head) / (self.steps * EPOCHS))
            n_trained += 1
            return train(*args, **options)

        source.FeatureSource.fill = filled  # type: ignore[method-assign]
        inputs.load_inputs, batch.train_prepared = loaded, trained

    def _time_backbone(self) -> None:
        taken = self._paused(lambda: self._backbone(N_PASSES))
        self.backbone_rows_per_s.append(N_PASSES * self._batch_size / taken)

    def _paused(self, run: Callable[[], object]) -> float:
        with self._watch.part("floors"):
            start = time.perf_counter()
            run()
            return time.perf_counter() - start


def write_study(options: argparse.Namespace, place: Path) -> tuple[str, Path]:
    """Unpack the images and write the study file; name of the data and the file."""
    data, files = image_files(options.data, into=place / "data")
    study = place / "study.yaml"
    study.write_text(
        f"""# Where do the seconds of a study go?
name: {data}
data: {{source: '{files[0].parent.parent}', image_px: {options.image_px}}}
split: {{folds: {options.folds}}}
backbone: {{weights: {options.weights}}}
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
    """

    records: list[Record]
    data: str
    n_images: int
    database_s: float
    wall_s: float


def run_watched(options: argparse.Namespace, watch: Watch) -> Ran:
    """The whole of `tuner run` in a home of its own."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        data, study = write_study(options, place)
        home = Home(place / "home")
        home.path.mkdir()
        started = time.perf_counter()
        connect(home.tracking_uri)
        database_s = time.perf_counter() - started
        started = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            run_study(RunOptions(str(study), home=home.path, tracking_uri=home.tracking_uri))
        wall_s = time.perf_counter() - started - watch.seconds.pop("floors")
        folder = StudyFolder(home.studies / data)
        return Ran(folder.records(), data, len(folder.images.paths), database_s, wall_s)


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
    options = parser.parse_args()
    started = time.perf_counter()
    device = find_device()
    start_s += time.perf_counter() - started
    watch = Watch()
    batch_size = 128 if device.kind == "gpu" else 32
    floors = Floors(watch, image_px=options.image_px, batch_size=batch_size)
    watch_everything(watch)
    floors.measure()
    ran = run_watched(options, watch)
    watch.seconds["rest"] = ran.wall_s - sum(watch.seconds.values())
    for part, taken in watch.seconds.most_common():
        say(f"  {part:12} {taken:8.2f} s {taken / ran.wall_s:6.1%}")
    emit(
        "study",
        machine=machine_name(gpu=device.name if device.kind == "gpu" else ""),
        backend=device.backend,
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
        beside={f"{part}_s": round(taken, 3) for part, taken in watch.beside.items()},
    )


if __name__ == "__main__":
    main()
