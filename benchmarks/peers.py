"""The same search by this project, by plain Optuna + Keras on images, and by KerasTuner.

python benchmarks/peers.py --place DIR [--trials 60] [--image-px 128] [--peer-trials 2]
                           [--peer-epochs 2] [--python KERAS_TUNER_PYTHON]

Same images, folds, recipe, settings and MLflow; each contestant is a process of its own, and they
take turns. `tuner` runs the whole study. The peers (`peer_search.py`) train some of its settings
for a few epochs; what all trials would take them is reckoned from that, with as many epochs of
each fold as `tuner` needed, pruning and early stopping included, so equal epochs are compared:
folds x (seconds of a fold beyond its epochs) + epochs of all folds x seconds of an epoch.
`tuner`'s seconds hold everything, baselines, report and both starts of the process too.

KerasTuner gets an environment of its own in DIR (pip install, some GB), or bring one by --python.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import venv
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from _common import emit, image_files, machine_name, say

from tuner.features.weights.resolve import resolve_weights
from tuner.home import Home
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder

HERE = Path(__file__).parent
PINNED = ("tensorflow", "keras", "mlflow", "numpy", "pillow")
PEERS = {"optuna": "plain Optuna + Keras", "keras_tuner": "KerasTuner"}


@dataclass
class Measured:
    """What a peer's processes took.

    Attributes:
        start_s: From the start of the process to the first trial.
        setup_s: Of each fold, what it took beyond epochs like the later ones.
        epoch_s: Of each epoch of a fold after its first.
        values: Macro recall of each trial.
    """

    start_s: list[float] = field(default_factory=list)
    setup_s: list[float] = field(default_factory=list)
    epoch_s: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, wall_s: float, result: dict[str, Any]) -> None:
        """Count one process."""
        trials = result["trials"]
        self.start_s.append(wall_s - sum(trial["seconds"] for trial in trials))
        for trial in trials:
            between_s = trial["seconds"] - sum(fold["seconds"] for fold in trial["folds"])
            self.values.append(trial["value"])
            for fold in trial["folds"]:
                later = fold["epochs"][1:]
                beyond_s = fold["seconds"] - len(fold["epochs"]) * statistics.mean(later)
                self.epoch_s += later
                self.setup_s.append(beyond_s + between_s / len(trial["folds"]))

    def seconds(self, *, n_folds: int, n_epochs: int) -> float:
        """What so many folds with so many epochs in all would take."""
        setup_s, epoch_s = statistics.median(self.setup_s), statistics.median(self.epoch_s)
        return statistics.mean(self.start_s) + n_folds * setup_s + n_epochs * epoch_s


def keras_tuner_python(options: argparse.Namespace) -> str:
    """Python of an environment with KerasTuner, made on demand with the versions used here."""
    if options.python:
        return str(options.python)
    place = options.place / "keras_tuner"
    if not (place / "made").exists():
        say(f"making an environment in {place}")
        venv.create(place, with_pip=True)
        wanted = ["keras-tuner", *(f"{name}=={version(name)}" for name in PINNED)]
        subprocess.run([place / "bin/python", "-m", "pip", "install", "-q", *wanted], check=True)
        (place / "made").touch()
    return str(place / "bin/python")


def timed_process(arguments: list[str], *, log: Path) -> float:
    """Run to its end with everything it prints in a file; seconds."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    start = time.perf_counter()
    with log.open("a") as file:
        subprocess.run(arguments, check=True, stdout=file, stderr=file, env=environment)
    return time.perf_counter() - start


def run_tuner(options: argparse.Namespace, study: Path, *, trials: int) -> float:
    """`tuner run` up to so many trials, in a process of its own; seconds."""
    code = "from tuner.cli import main; main()"
    home = ["--home", str(options.place / "home")]
    words = [sys.executable, "-c", code, "run", str(study), "--trials", str(trials), *home]
    took = timed_process(words, log=options.place / "tuner.log")
    say(f"tuner to {trials} trials: {took:.1f} s")
    return took


def run_peer(
    options: argparse.Namespace, peer: str, python: str, job: dict[str, Any], *, turn: int
) -> tuple[float, dict[str, Any]]:
    """One process of a peer; its seconds and what it wrote down."""
    place = options.place / f"{peer}-{turn}"
    place.mkdir()
    job_file, result_file = place / "job.json", place / "result.json"
    job_file.write_text(json.dumps({**job, "place": str(place)}))
    script = [python, str(HERE / "peer_search.py"), peer, str(job_file), str(result_file)]
    took = timed_process(script, log=options.place / f"{peer}.log")
    say(f"{PEERS[peer]}: {took:.1f} s for {len(job['settings'])} trials")
    return took, json.loads(result_file.read_text())


def make_job(
    options: argparse.Namespace, folder: StudyFolder, root: Path, chosen: list[Record]
) -> dict[str, Any]:
    """The images that the search may see, with the folds of the study."""
    images = folder.images
    rows = images.search
    weights = resolve_weights("imagenet")
    return {
        "paths": [str(root / images.paths[i]) for i in rows],
        "sha256": [images.sha256[i] for i in rows],
        "labels": images.labels[rows].tolist(),
        "fold": images.fold[rows].tolist(),
        "class_names": list(folder.class_names),
        "image_px": options.image_px,
        "weights": str(weights.path),
        "epochs": options.peer_epochs,
        "settings": [record.params.as_dict() for record in chosen],
    }


def trials_of(folder: StudyFolder) -> list[Record]:
    return [record for record in folder.records() if record.kind == "trial"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--place", type=Path, required=True, help="empty folder to work in")
    parser.add_argument("--python", type=Path, help="of an environment with KerasTuner")
    parser.add_argument("--data", default="steel_xsdd")
    parser.add_argument("--image-px", type=int, default=128)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--peer-trials", type=int, default=2, help="one in each turn")
    parser.add_argument("--peer-epochs", type=int, default=2, help="2 or more")
    options = parser.parse_args()
    options.place = options.place.absolute()
    options.place.mkdir(parents=True, exist_ok=True)
    pythons = {"optuna": sys.executable, "keras_tuner": keras_tuner_python(options)}
    data, files = image_files(options.data, into=options.place / "data")
    root, study = files[0].parent.parent, options.place / "study.yaml"
    study.write_text(
        f"# Peers\nname: {data}\ndata: {{source: '{root}', image_px: {options.image_px}}}\n"
    )
    folder = StudyFolder(Home(options.place / "home").studies / data)
    peers = {peer: Measured() for peer in PEERS}
    tuner_s, n_turns = [], options.peer_trials
    for turn in range(n_turns):
        tuner_s.append(run_tuner(options, study, trials=options.trials * (turn + 1) // n_turns))
        # The first turn trains settings that both samplers would draw at random.
        chosen = trials_of(folder)[turn : turn + 1]
        job = make_job(options, folder, root, chosen)
        for peer, measured in peers.items():
            measured.add(*run_peer(options, peer, pythons[peer], job, turn=turn))
    trials = trials_of(folder)
    n_folds = sum(len(record.learning_rates) for record in trials)
    n_epochs = sum(len(rates) for record in trials for rates in record.learning_rates)
    at_epoch = options.peer_epochs - 1
    facts = {"machine": machine_name(), "data": data, "image_px": options.image_px}
    facts |= {"trials": len(trials), "fold_epochs": n_epochs}
    ratios = {}
    for peer, measured in peers.items():
        seconds = measured.seconds(n_folds=n_folds, n_epochs=n_epochs)
        epochs_s = n_epochs * statistics.median(measured.epoch_s)
        emit(
            "peers",
            contestant=PEERS[peer],
            **facts,
            seconds=seconds,
            extrapolated_from=f"{n_turns} trials of {options.peer_epochs} epochs",
            seconds_per_trial=seconds / len(trials),
            start_s=statistics.mean(measured.start_s),
            setup_s_per_fold=statistics.median(measured.setup_s),
            seconds_per_fold_epoch=statistics.median(measured.epoch_s),
            fold_epoch_s=[round(taken, 2) for taken in measured.epoch_s],
            best_macro_recall_of_those_trials=max(measured.values),
        )
        ratios[f"ratio_to_{peer}"] = seconds / sum(tuner_s)
        ratios[f"ratio_to_epochs_of_{peer}"] = epochs_s / sum(tuner_s)
    ours = [record.curves["val/macro_recall"][at_epoch] for record in trials[:n_turns]]
    emit(
        "peers",
        contestant="tuner",
        **facts,
        seconds=sum(tuner_s),
        seconds_per_trial=sum(tuner_s) / len(trials),
        best_macro_recall_of_those_trials=max(ours),
        best_macro_recall=max(record.scores["macro_recall"] for record in trials),
        **ratios,
    )


if __name__ == "__main__":
    main()
