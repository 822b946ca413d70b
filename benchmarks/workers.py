"""What PostgreSQL and an MLflow server cost a trial, and how much faster several workers are.

python benchmarks/workers.py postgresql://USER:PASSWORD@HOST/postgres [--part overhead efficiency]

Needs a PostgreSQL whose user may create databases; starts an MLflow server on it. The searches
of this benchmark have a trainer of their own, which does nothing (overhead) or sleeps for a stated
length (efficiency), because two cores cannot train on four workers. All else is real: Optuna's
store, records on disk, heartbeats, MLflow, one home for all.

overhead    the same study on the local home (journal, MLflow on SQLite) and as a worker on
            PostgreSQL and the server, in turn; MLflow is written in line, so that it can be timed
            (a user's search hands it to a thread)
efficiency  studies of 1, 2 and 4 processes side by side; `ratio_to_floor` is to the sleep alone
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from _common import emit, machine_name, median_ratio, say
from _services import Databases, databases, mlflow_server, scalar, tree_cpu_s
from trial import PARTS, Laps, random_search, seconds, time_the_parts, timed

from tuner.config import StudyConfig, TrainingConfig, parse_study
from tuner.features.device import find_device
from tuner.home import Home
from tuner.home.listener import Epoch, Listener
from tuner.home.recorder import NoRecorder, Recorder
from tuner.home.records import Record
from tuner.search import study
from tuner.search.journal import open_storage
from tuner.search.state import Search
from tuner.search.workers import worker as workers
from tuner.search.workers.claims import RELEASED
from tuner.tracking.mirror import make_mirror, make_recorder
from tuner.training.head import FoldHead
from tuner.training.inputs import Inputs
from tuner.training.outcome import Trained, pooled_matrix
from tuner.training.trial import Engine, OnEpoch

SIZES = (90, 40, 20)
BANK = {"features": "random"}
ALL_PARTS = (*PARTS, "settle", "mlflow")


class Parts(Laps):
    """Notes what looking for lost workers and MLflow took, too, and the processors' seconds.

    Args:
        clocks: Processor seconds until now, by whose.
    """

    def __init__(self, clocks: Callable[[], dict[str, float]]) -> None:
        super().__init__()
        self._clocks = clocks
        self._marks: list[dict[str, float]] = []

    @property
    def cpu(self) -> dict[str, float]:
        """Processor seconds of a trial, from the end of the first to the end of the last."""
        first, last = self._marks[0], self._marks[-1]
        return {name: (last[name] - first[name]) / (len(self._marks) - 1) for name in first}

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Note the parts that a search on one machine does not have."""
        more = {part: seconds[part] for part in ("settle", "mlflow")}
        n_before = len(self.taken)
        super().trial_ended(record, n_finished=n_finished, n_trials=n_trials)
        if len(self.taken) > n_before:
            self.taken[-1] |= more
            self._marks.append(self._clocks())


class Clock(Listener):
    """Notes when the last trial of a process ended."""

    last_s = 0.0

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Note it."""
        self.last_s = time.time()


def sleeping_engine(sleep_s: float) -> Engine:
    """An engine that takes so long for a trial and always predicts the same.

    Nothing is ever pruned then, and every trial writes the same number of rows.
    """

    def sleep(
        trials: Sequence[Sequence[FoldHead]],
        inputs: Inputs,
        *,
        training: TrainingConfig,
        on_epoch: OnEpoch,
    ) -> list[Trained]:
        labels, n_classes = inputs.labels, inputs.n_classes
        hit = np.arange(len(labels)) % 4 > 0
        log_prob = np.log(np.full((len(labels), n_classes), 0.1 / (n_classes - 1)))
        log_prob[np.arange(len(labels)), np.where(hit, labels, 0)] = np.log(0.9)
        matrix = pooled_matrix(log_prob, labels, n_classes=n_classes)
        rate = training.learning_rate
        results = []
        for t, folds in enumerate(trials):
            epochs = []
            for number in range(training.epochs):
                time.sleep(sleep_s / training.epochs)
                epochs.append(Epoch(number, matrix, 1.0, 1.0, rate))
                on_epoch(t, epochs[-1])
            rates = [[rate] * training.epochs for _ in folds]
            last = [training.epochs - 1 for _ in folds]
            results.append(Trained(log_prob, last, rates, epochs=epochs))
        return results

    return sleep


def tiny_study(name: str, *, trials: int, epochs: int) -> StudyConfig:
    return parse_study(
        f"""
        name: {name}
        data: {{source: random}}
        split: {{folds: 2}}
        search: {{trials: {trials}, batch: 1}}
        training: {{epochs: {epochs}, patience: {epochs}, hidden_units: 8, batch_size: 16}}
        """,
        source="benchmarks/workers.py",
    )


def open_worker(
    config: StudyConfig,
    place: Path,
    database: str,
    listener: Any,
    recorder: Recorder,
    *,
    sleep_s: float = 0,
) -> tuple[Search, Any]:
    """A worker's search, and the store that it beats in."""
    storage: Any = open_storage(Home(place / config.name), database)
    search = random_search(
        config,
        place,
        listener,
        sizes=SIZES,
        n_features=16,
        recorder=recorder,
        storage=storage,
        engine=sleeping_engine(sleep_s),
    )
    workers.join_study(storage, config, search.folder, bank=BANK, on_message=say)
    return search, storage


def overhead(
    options: argparse.Namespace,
    made: Databases,
    address: str,
    records: str,
    server: psutil.Process,
) -> None:
    """The local home and the services, in turn; one line each and one with the ratios."""
    time_the_parts()
    workers.claim = timed(workers.claim, "ask")
    workers.settle_lost_trials = timed(workers.settle_lost_trials, "settle")
    workers.check_home = timed(workers.check_home, "settle")
    clocks = functools.partial(_cpu_s, made, server)
    places = {"home": _at_home, "services": _at_services}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in places}
    rows, measured_parts = [], ("trial", *ALL_PARTS)
    with tempfile.TemporaryDirectory(prefix="tuner-workers-") as folder:
        for number in range(options.rounds + 1):
            for name, run in places.items():
                config = tiny_study(
                    f"{name}-{number}", trials=options.trials, epochs=options.epochs
                )
                parts, place = Parts(clocks), Path(folder)
                before = _count(records)
                run(config, place, parts, made, address)
                if number:  # the round before is not counted
                    taken = parts.taken
                    medians = {p: statistics.median(t[p] for t in taken) for p in measured_parts}
                    rounds[name].append(medians | parts.cpu)
                    if name == "services":
                        rows.append((_count(records) - before) / (len(taken) + 3))
                say(f"{name}, round {number}: {len(parts.taken)} trials")
    facts = {"machine": machine_name(), "backend": find_device().backend, **made.facts()}
    facts |= {"part": "overhead", "trials": options.trials, "epochs": options.epochs}
    for name, measured in rounds.items():
        ms = {f"{p}_ms": 1000 * statistics.median(m[p] for m in measured) for p in measured[0]}
        emit("workers", **facts, where=name, **ms)
    without = {
        name: [m["trial"] - m["mlflow"] for m in measured] for name, measured in rounds.items()
    }
    whole = {name: [m["trial"] for m in measured] for name, measured in rounds.items()}
    emit(
        "workers",
        **facts,
        where="services",
        mlflow_rows_per_run=statistics.median(rows),
        ratio_to_home=median_ratio(whole["home"], whole["services"]),
        ratio_to_home_without_mlflow=median_ratio(without["home"], without["services"]),
    )


def _cpu_s(made: Databases, server: psutil.Process) -> dict[str, float]:
    """Processor seconds until now of this process and of the services."""
    return {
        "worker_cpu": time.process_time(),
        "postgresql_cpu": made.cpu_s(),
        "mlflow_server_cpu": tree_cpu_s(server),
    }


def _at_home(
    config: StudyConfig, place: Path, parts: Parts, made: Databases, address: str
) -> None:
    recorder = _timed_mirror(Home(place / config.name), None)
    study.run_search(
        random_search(
            config,
            place,
            parts,
            sizes=SIZES,
            n_features=16,
            recorder=recorder,
            engine=sleeping_engine(0),
        )
    )


def _at_services(
    config: StudyConfig, place: Path, parts: Parts, made: Databases, address: str
) -> None:
    recorder = _timed_mirror(Home(place / config.name), address)
    search, storage = open_worker(config, place, made.create("optuna"), parts, recorder)
    workers.run_worker(search, storage)
    storage.engine.dispose()


def _timed_mirror(home: Home, address: str | None) -> Recorder:
    mirror = make_mirror(home, home.resolve_tracking_uri(address), on_trouble=say)
    mirror.record = timed(mirror.record, "mlflow")  # type: ignore[method-assign]
    return mirror


def _count(database: str) -> int:
    """Rows that MLflow's store holds of runs."""
    tables = ("runs", "metrics", "latest_metrics", "params", "tags", "inputs")
    return sum(scalar(database, f"SELECT count(*) FROM {table}") for table in tables)


class Team(NamedTuple):
    """The processes of one study.

    Attributes:
        search: The study.
        processes: Its workers.
        results: Where each tells when it began and ended.
    """

    search: Search
    processes: list[Any]
    results: Any


def efficiency(options: argparse.Namespace, made: Databases, address: str) -> None:
    """Studies of one, two and four workers at the same time, so many trials for each worker.

    Whoever else uses the machine, and they do each other, then slow all of them alike.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(sum(options.workers))
    with tempfile.TemporaryDirectory(prefix="tuner-workers-") as folder:
        teams = {
            n: _start_team(n, options, Path(folder), made.create("optuna"), address, barrier)
            for n in options.workers
        }
        told = {n: [team.results.get(timeout=1500) for _ in range(n)] for n, team in teams.items()}
        for team in teams.values():
            for process in team.processes:
                process.join()
        alone = 0.0
        for n, team in teams.items():
            trials = n * options.each
            finished = study.n_finished(team.search)
            if finished != trials:
                raise SystemExit(f"{finished} trials finished, not {trials}")
            start_s = min(t[0] for t in told[n])
            seconds = max(t[1] for t in told[n]) - start_s
            rate = trials / seconds
            alone = alone or rate
            emit(
                "workers",
                machine=machine_name(),
                backend=find_device().backend,
                **made.facts(),
                part="efficiency",
                note="training is a sleep: two cores do not suffice; all studies at once",
                workers=n,
                sleep_s=options.sleep,
                epochs=options.epochs,
                trials=trials,
                finished=finished,
                asks_let_go=sum(RELEASED in t.user_attrs for t in team.search.study.trials),
                seconds=seconds,
                seconds_with_mlflow=max(t[2] for t in told[n]) - start_s,
                ratio_to_floor=options.each * options.sleep / seconds,
                ratio_to_one_worker=rate / alone,
            )


def _start_team(
    n: int, options: argparse.Namespace, place: Path, database: str, address: str, barrier: Any
) -> Team:
    """Begin a study with its baselines, which one worker would train, and start its workers."""
    context = multiprocessing.get_context("spawn")
    config = tiny_study(f"workers-{n}", trials=n * options.each, epochs=options.epochs)
    search, _ = open_worker(config, place, database, Clock(), NoRecorder())
    study.run_baselines(search)
    study.evaluate_free_baselines(search)
    results = context.Queue()
    arguments = (config, place, database, address, options.sleep, barrier, results)
    processes = [context.Process(target=_work, args=arguments) for _ in range(n)]
    for process in processes:
        process.start()
    return Team(search, processes, results)


def _work(
    config: StudyConfig,
    place: Path,
    database: str,
    address: str,
    sleep_s: float,
    barrier: Any,
    results: Any,
) -> None:
    """One worker in a process of its own: seconds of its start, last trial and end."""
    clock = Clock()
    recorder = make_recorder(Home(place / config.name), address, on_trouble=say)
    search, storage = open_worker(config, place, database, clock, recorder, sleep_s=sleep_s)
    barrier.wait()
    start_s = time.time()
    with search.folder.locked(alone=False):
        workers.run_worker(search, storage)
    results.put((start_s, clock.last_s or start_s, time.time()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("postgres", help="URL of a user who may create databases")
    parser.add_argument("--part", nargs="+", default=["overhead", "efficiency"])
    parser.add_argument("--trials", type=int, default=30, help="of a study of overhead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--sleep", type=float, default=15.0, help="seconds of a trial")
    parser.add_argument("--each", type=int, default=5, help="trials for each worker")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server must not stay behind
    with databases(options.postgres) as made, tempfile.TemporaryDirectory() as folder:
        records = made.create("mlflow")
        with mlflow_server(records, Path(folder)) as (address, server):
            if "overhead" in options.part:
                overhead(options, made, address, records, server)
            if "efficiency" in options.part:
                efficiency(options, made, address)


if __name__ == "__main__":
    main()
