"""What a start costs, and a trial, in a study that holds many trials already.

python benchmarks/long_study.py [--known 100 10000] [--epochs 20] [--classes 5]

The trials that a study holds beforehand are synthetic: a hundred go through Optuna's store line by
line, more are copies of their lines and records. A start is what ``tuner run`` does between images
and first trial: open the journal, read the records, tell and settle what a kill has left. A trial
is asked, reported epoch by epoch, recorded and told, and trains nothing. Seconds are the
processor's; the second start is the one after a start has seen all trials. Run it with PYTHONPATH
at another tree to compare two builds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from _common import emit, machine_name, say

from tuner.config import parse_study
from tuner.data.image_table import ImageTable
from tuner.home import Home
from tuner.home.founding import create_study_folder
from tuner.home.listener import Listener
from tuner.home.recorder import NoRecorder
from tuner.home.study_folder import StudyFolder
from tuner.search.ask import next_batch
from tuner.search.batch import finish
from tuner.search.journal import open_storage
from tuner.search.resume import settle_dead_trials
from tuner.search.space import distributions
from tuner.search.state import Search, n_finished
from tuner.search.study import open_optuna_study
from tuner.search.tell import restore_trials
from tuner.training.outcome import Outcome

COPIED = 100
TRIALS = 20  # whose median is taken
N_IMAGES = 500


def open_study(home: Home, *, n_classes: int, epochs: int) -> Search:
    """As ``tuner run`` opens it, but for images and features."""
    config = parse_study(
        f"""
        name: long
        data: {{source: random}}
        search: {{trials: 1000000, batch: 1}}
        training: {{epochs: {epochs}, patience: {epochs}}}
        """,
        source="benchmarks/long_study.py",
    )
    folder = StudyFolder(home.studies / "long")
    if not folder.exists:
        labels = np.arange(N_IMAGES) % n_classes
        paths = tuple(f"{i:05d}.png" for i in range(N_IMAGES))
        sha256 = tuple(f"{i:064x}" for i in range(N_IMAGES))
        names = tuple(f"class {k}" for k in range(n_classes))
        table = ImageTable(paths, sha256, labels, names, fold=np.arange(N_IMAGES) % 3 - 1)
        create_study_folder(folder, config, table, about={})
    return Search(
        config=config,
        inputs=None,  # type: ignore[arg-type]
        folder=folder,
        study=open_optuna_study(open_storage(home), config),
        recorder=NoRecorder(),
        listener=Listener(),
        environment={},
        space=distributions(config, n_classes=n_classes),
    )


def start(home: Home, **shape: int) -> Search:
    """Open a study and settle what there is."""
    search = open_study(home, **shape)
    for record in search.folder.records():
        search.recorder.record(search.folder, record)
    {record.name for record in search.folder.records()}
    restore_trials(search)
    settle_dead_trials(search)
    n_finished(search)
    return search


def one_trial(search: Search, rng: np.random.Generator, *, n_classes: int) -> dict[str, float]:
    """Ask, report, record and tell; processor seconds of each."""
    laps = [time.process_time()]
    asked = next_batch(search)
    laps.append(time.process_time())
    epochs = search.config.training.epochs
    values = np.sort(rng.uniform(0.3, 0.9, epochs)).tolist()
    for epoch, value in enumerate(values):
        asked[0].trial.report(value, epoch)
        asked[0].trial.should_prune()
    laps.append(time.process_time())
    curves = {"objective": values, "val/recall": rng.random((epochs, n_classes)).tolist()}
    matrix = rng.integers(0, 50, (n_classes, n_classes)).tolist()
    log_prob = np.log(rng.dirichlet(np.ones(n_classes), N_IMAGES)).astype(np.float32)
    outcome = Outcome(
        "complete", value=values[-1], matrix=matrix, scores={"macro_recall": values[-1]},
        curves=curves, log_prob=log_prob,
    )  # fmt: skip
    before = time.process_time()
    finish(search, asked, [outcome], started_s=time.time())
    return {
        "ask": laps[1] - laps[0],
        "report": laps[2] - laps[1],
        "record_and_tell": time.process_time() - before,
    }


def copy_trials(home: Home, n: int) -> None:
    """Copy the lines and records of the first trials until there are `n`."""
    lines = [json.loads(line) for line in home.journal.read_bytes().splitlines()]
    of_trials = [line for line in lines if "trial_id" in line or line["op_code"] == 4]
    records = home.studies / "long" / "records"
    with home.journal.open("a") as stream:
        for k in range(1, n // COPIED):
            for line in of_trials:
                shifted = {"trial_id": line["trial_id"] + k * COPIED} if "trial_id" in line else {}
                stream.write(json.dumps(line | shifted, separators=(",", ":")) + "\n")
    for path in sorted(records.glob("trial-*.json")):
        values = json.loads(path.read_text())
        for k in range(1, n // COPIED):
            number = values["number"] + k * COPIED
            name = f"trial-{number:05d}"
            text = json.dumps(values | {"number": number, "name": name}, indent=1)
            (records / f"{name}.json").write_text(text)


def measure(known: int, *, n_classes: int, epochs: int) -> dict[str, float]:
    """Numbers of a study that holds so many trials."""
    shape = {"n_classes": n_classes, "epochs": epochs}
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        home = Home(Path(place) / "home")
        search = start(home, **shape)
        random = search.config.model_copy(
            update={"search": search.config.search.model_copy(update={"sampler": "random"})}
        )
        for _ in range(COPIED):
            one_trial(replace(search, config=random), rng, n_classes=n_classes)
        say(f"copying to {known} trials")
        copy_trials(home, known)
        numbers = {}
        for name in ("first_start", "second_start"):
            before, clock = time.process_time(), time.perf_counter()
            search = start(home, **shape)
            numbers[f"{name}_cpu_s"] = time.process_time() - before
            numbers[f"{name}_s"] = time.perf_counter() - clock
            say(f"{known} trials, {name}: {numbers[f'{name}_cpu_s']:.2f} s of the processor")
        assert n_finished(search) == known  # noqa: S101
        taken = [one_trial(search, rng, n_classes=n_classes) for _ in range(TRIALS)]
        parts = {f"{p}_ms": 1000 * statistics.median(t[p] for t in taken) for p in taken[0]}
        emit(
            "long_study", machine=machine_name(), optuna=optuna.__version__, known=known,
            classes=n_classes, epochs=epochs, **numbers, **parts,
            journal_mib=home.journal.stat().st_size / 2**20,
            record_kib=next(search.folder.records_path.glob("trial-*.json")).stat().st_size / 1024,
        )  # fmt: skip
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--known", type=int, nargs="+", default=[100, 10_000])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--classes", type=int, default=5)
    options = parser.parse_args()
    found: dict[int, Any] = {
        n: measure(n, n_classes=options.classes, epochs=options.epochs) for n in options.known
    }
    first, last = found[min(found)], found[max(found)]
    if len(found) > 1:
        ours = ("ask_ms", "record_and_tell_ms")
        ratio = sum(last[p] for p in ours) / sum(first[p] for p in ours)
        emit("long_study", ask_record_tell_ratio=ratio, known=max(found), against=min(found))


if __name__ == "__main__":
    main()
