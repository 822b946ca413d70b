"""Kill a real small study again and again, and see that nothing is lost or counted twice.

    python benchmarks/endure.py --kills 60

Runs the study of five digits once without disturbance. Then it starts the same command, sends
SIGKILL, SIGTERM or SIGINT at a random moment of a random stage (start, extraction, training,
recording, export), and starts it again. A study that ends is checked against the undisturbed one:
trials, records, bank, MLflow and export; and the next begins, until so many kills have hit. Ends
with code 1 when anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml
from _common import emit, machine_name, say
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from PIL import Image

from tuner.home.study_folder import StudyFolder
from tuner.tracking.tables import FILES

PROGRAM = "import sys; from tuner.cli import main; sys.argv[0] = 'tuner'; main()"
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STAGES = ("start", "extraction", "training", "training", "recording", "export")
NAME, TRIALS, EPOCHS = "endured", 6, 6
STUDY = f"""
name: {NAME}
data: {{source: digits, image_px: 32, exclude: ["digit_[0-4]/*"]}}
split: {{folds: 2}}
backbone: {{weights: random}}
search: {{trials: {TRIALS}, retries: 100}}
training: {{epochs: {EPOCHS}, hidden_units: 64, learning_rate: 0.001}}
"""
OWN_PARAMS = {"gamma", "alpha", "augmentation_multiplier", "class_weight_mode"}
IMAGE_NAME = re.compile(r"[+]timestamp[+]\d+[+][0-9a-f-]+")  # MLflow's: time and a random name
PATIENCE_S = 600


@dataclass
class Tally:
    """What has happened so far."""

    kills: int = 0
    starts: int = 0
    rounds: int = 0
    by_signal: Counter[str] = field(default_factory=Counter)
    by_stage: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Start:
    """One process of the command line, its stderr read as it comes."""

    def __init__(self, place: Path, *words: str) -> None:
        environment = os.environ | {"TUNER_HOME": str(place / "home"), "PYTHONUNBUFFERED": "1"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words],
            cwd=place,
            env=environment,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        if self.process.stderr is None:  # it is a pipe
            return
        for line in self.process.stderr:
            self._queue.put(line)
        self._queue.put(None)

    def wait_for(self, word: str, *, times: int = 1) -> bool:
        """Wait until so many lines begin with a word; False when the process ended before."""
        while times:
            line = self._queue.get(timeout=PATIENCE_S)
            if line is None:
                self._queue.put(None)
                return False
            self.lines.append(line)
            times -= line.strip().startswith(word)
        return True

    def end(self) -> int:
        """Wait for the end; the exit code."""
        code = self.process.wait(timeout=PATIENCE_S)
        self._reader.join()
        while (line := self._queue.get()) is not None:
            self.lines.append(line)
        self._queue.put(None)
        return code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tuner-endure-") as folder:
        straight, seconds = undisturbed(Path(folder) / "straight")
        tally = Tally()
        while tally.kills < options.kills and not tally.wrong:
            place = new_place(Path(folder) / str(tally.rounds))
            disturb(place, tally, seconds=seconds, most=options.kills, rng=rng)
            tally.rounds += 1
            if not tally.wrong:  # else the study is not whole
                tally.wrong = [
                    f"study {tally.rounds}: {text}" for text in differences(place, straight)
                ]
            say(f"study {tally.rounds}: {tally.kills} kills, wrong: {tally.wrong or 'nothing'}")
    emit(
        "endure",
        machine=machine_name(),
        backend=os.environ.get("KERAS_BACKEND", "tensorflow"),
        kills=tally.kills,
        starts=tally.starts,
        studies=tally.rounds,
        trials_each=TRIALS,
        **{f"by_{name}": dict(sorted(c.items())) for name, c in
           (("signal", tally.by_signal), ("stage", tally.by_stage))},
        wrong=tally.wrong,
        seconds=time.monotonic() - began,
    )  # fmt: skip
    sys.exit(1 if tally.wrong else 0)


def new_place(place: Path) -> Path:
    """A working directory with the study file."""
    place.mkdir()
    (place / f"{NAME}.yaml").write_text(STUDY)
    return place


def undisturbed(place: Path) -> tuple[dict[str, Any], float]:
    """What the study comes to when nobody disturbs it, and how long that takes."""
    began = time.monotonic()
    for words in commands():
        start = Start(new_place(place) if not place.exists() else place, *words)
        if start.end():
            sys.exit("the undisturbed study failed:\n" + "".join(start.lines))
    seconds = time.monotonic() - began
    say(f"undisturbed: {seconds:.0f} s")
    return outcome(place), seconds


def commands() -> list[list[str]]:
    """The command that goes on with the study until it is done, and its export."""
    return [["run", f"{NAME}.yaml"], ["export", NAME, "-o", "best.yaml"]]


def disturb(
    place: Path, tally: Tally, *, seconds: float, most: int, rng: np.random.Generator
) -> None:
    """Start, kill and start again until the study and its export are done."""
    run, export = commands()
    is_searched = False
    while True:
        tally.starts += 1
        start = Start(place, *(export if is_searched else run))
        stage = "export" if is_searched else str(rng.choice(STAGES))
        number = SIGNALS[rng.integers(len(SIGNALS))]
        is_hit = tally.kills < most and hit(start, stage, number, seconds=seconds, rng=rng)
        code, text = start.end(), "".join(start.lines)
        if is_hit and code:  # else it came to its end in spite of the signal
            tally.kills += 1
            tally.by_signal[number.name] += 1
            tally.by_stage[stage] += 1
        # Before the program can catch a signal, the system ends it.
        if code not in (0, 130, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT):
            tally.wrong.append(f"exit code {code}: {text[-300:]}")
            return
        if "Traceback" in text and "tuner/" in text:
            tally.wrong.append(f"traceback: {text[-800:]}")
        say(f"  {tally.kills}/{most} kills, code {code}")
        if code == 0 and is_searched:
            return
        is_searched = is_searched or code == 0


def hit(
    start: Start, stage: str, number: int, *, seconds: float, rng: np.random.Generator
) -> bool:
    """Send a signal somewhere in a stage; False when the process ended before."""
    mark, times = {
        "extraction": ("features", 1),
        "training": ("#", int(rng.integers(0, 3))),
        "recording": ("#", TRIALS),  # the last ones are still on their way to MLflow
    }.get(stage, ("", 0))
    if stage == "training" and not times:
        mark, times = "base", 1
    if times and not start.wait_for(mark, times=times):
        return False
    # The start and the export are mostly imports; the stages behind a mark are short.
    longest = seconds / 3 if not times else 2.0
    time.sleep(float(rng.uniform(0, longest)))
    if start.process.poll() is not None:
        return False
    start.process.send_signal(number)
    return True


def outcome(place: Path) -> dict[str, Any]:
    """What must not depend on kills."""
    home = place / "home"
    folder = StudyFolder(home / "studies" / NAME)
    storage = JournalStorage(JournalFileBackend(str(home / "optuna.journal")))
    trials = optuna.load_study(study_name=NAME, storage=storage).trials
    exported = yaml.safe_load((place / "best.yaml").read_text("utf-8"))
    exported["study"] = {k: exported["study"][k] for k in ("name", "kind")}
    exported["provenance"] = None
    return {
        "trials": [
            (t.user_attrs.get("baseline"), t.state.name, t.params, t.value, t.intermediate_values)
            for t in trials
            if t.state.is_finished() and (t.state.name != "FAIL" or "failed" in t.user_attrs)
        ],
        "records": [
            (r.kind, r.state, r.params, r.value, r.matrix, r.curves) for r in folder.records()
        ],
        "bank": bank_rows(home),
        "runs": runs(home),
        "export": exported,
    }


def bank_rows(home: Path) -> list[tuple[str, bytes]]:
    """Every row of every bank by its name, bit by bit; a row computed twice is there twice."""
    rows: list[tuple[str, bytes]] = []
    for path in (home / "features").glob("*/chunk-*.json"):
        table = np.load(path.with_suffix(".npy"), allow_pickle=False)
        keys = json.loads(path.read_text())["rows"]
        rows += [(f"{path.parent.name}/{k}", table[i].tobytes()) for i, k in enumerate(keys)]
    return sorted(rows)


def runs(home: Path) -> list[Any]:
    """What MLflow has of each record: state, parameters, every epoch of each metric, files.

    In the order of the records, without their numbers: a trial whose process died is trained
    again under the next one.
    """
    client, found = live_runs(home)
    return [
        (
            run.data.tags["tuner.kind"],
            run.info.status,
            {name: value for name, value in run.data.params.items() if name in OWN_PARAMS},
            {
                name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
                for name in sorted(run.data.metrics)
                if name != "trial_number"
            },
            sorted(
                (IMAGE_NAME.sub("", path), content(client, run.info.run_id, path))
                for path in artifacts(client, run.info.run_id)
            ),
        )
        for run in sorted(found, key=lambda run: run.data.tags.get("tuner.record", ""))
    ]


def live_runs(home: Path) -> tuple[Any, list[Any]]:
    """MLflow's client and the runs of the study that are not deleted."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(NAME)
    return client, list(client.search_runs([experiment.experiment_id], max_results=1000))


def artifacts(client: Any, run_id: str, folder: str | None = None) -> list[str]:
    """Paths of all files of a run."""
    paths = []
    for file in client.list_artifacts(run_id, folder):
        paths += artifacts(client, run_id, file.path) if file.is_dir else [file.path]
    return paths


def content(client: Any, run_id: str, path: str) -> object:
    """Size of an image, else a hash; nothing of the study's own files, which tell the time."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(client.download_artifacts(run_id, path, place))
        if path.startswith("images/"):  # a title has the number of the trial
            with Image.open(file) as image:
                image.load()
                return image.size
        is_compared = path in {file.name for file in FILES}
        return hashlib.sha256(file.read_bytes()).hexdigest() if is_compared else None


def differences(place: Path, straight: dict[str, Any]) -> list[str]:
    """What is not as it would be without kills; nothing, when the study endures."""
    found = outcome(place)
    wrong = [f"{part} differ" for part in straight if found[part] != straight[part]]
    home = place / "home"
    folder = StudyFolder(home / "studies" / NAME)
    storage = JournalStorage(JournalFileBackend(str(home / "optuna.journal")))
    trials = optuna.load_study(study_name=NAME, storage=storage).trials
    own = [t for t in trials if "baseline" not in t.user_attrs]
    n_finished = sum(t.state.name in ("COMPLETE", "PRUNED") for t in own)
    if n_finished != TRIALS:
        wrong.append(f"{n_finished} finished trials, not {TRIALS}")
    if n_open := sum(not t.state.is_finished() for t in trials):
        wrong.append(f"{n_open} trials of Optuna are not settled")
    return wrong + mlflow_differences(home, folder)


def mlflow_differences(home: Path, folder: StudyFolder) -> list[str]:
    """What MLflow lacks, or has twice, of the study's records."""
    client, found = live_runs(home)
    wrong = [f"run {r.info.run_name} is RUNNING" for r in found if r.info.status == "RUNNING"]
    by_record = Counter(run.data.tags.get("tuner.record", "the study") for run in found)
    wrong += [f"{n} live runs of {name}" for name, n in by_record.items() if n > 1]
    records = {record.name: record for record in folder.records()}
    wrong += [f"no run of {name}" for name in records.keys() - by_record.keys()]
    for run in found:
        record = records.get(run.data.tags.get("tuner.record", ""))
        if record is None or record.state == "failed":
            continue
        wanted = {"macro_recall", *(f"recall/{name}" for name in folder.class_names)}
        if missing := wanted - run.data.metrics.keys():
            wrong.append(f"run of {record.name} lacks {sorted(missing)}")
        n_epochs = len(client.get_metric_history(run.info.run_id, "val/macro_recall"))
        if n_epochs != len(record.curves["objective"]):
            wrong.append(f"run of {record.name} has {n_epochs} epochs")
        images = [f.path for f in client.list_artifacts(run.info.run_id, "images")]
        if not any(path.endswith(".png") for path in images):
            wrong.append(f"run of {record.name} has no confusion matrix image")
    return wrong


if __name__ == "__main__":
    main()
