"""What PostgreSQL answers a second when many workers share a study, and as the study grows.

python benchmarks/scale.py postgresql://USER:PASSWORD@HOST/postgres [--known 0 1000 10000]

Workers are processes that do nothing but the storage work of a trial, by tuner's own functions:
look for lost workers and claim a trial (ask), report and ask for pruning after each epoch, tell.
No training, no records, no MLflow. They share the cores with PostgreSQL, so with more workers
than cores the numbers are those of the machine, not of PostgreSQL alone.

Trials that a study holds beforehand are synthetic: 100 are added through Optuna with random
settings and values, more are copies of these made in SQL.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sqlalchemy
from _common import emit, machine_name, say
from _services import Databases, databases, scalar

from tuner.config import parse_study
from tuner.home.listener import Listener
from tuner.home.recorder import NoRecorder
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder
from tuner.search.database import beat_every_s, open_database
from tuner.search.space import distributions
from tuner.search.state import Search, n_finished
from tuner.search.study import open_optuna_study
from tuner.search.tell import tell
from tuner.search.workers.claims import claim
from tuner.search.workers.heart import Heart
from tuner.search.workers.lost import settle_lost_trials

ADDED = 100
N_CLASSES = 5
# Tables that hang on trials, and their columns beside the key of their own.
CHILDREN = {
    "trial_params": "param_name, param_value, distribution_json",
    "trial_values": "objective, value, value_type",
    "trial_intermediate_values": "step, intermediate_value, intermediate_value_type",
}


def open_worker(url: str, place: Path, *, trials: int, epochs: int) -> tuple[Search, Any]:
    """A search without images, and the store that it beats in."""
    config = parse_study(
        f"""
        name: scale
        data: {{source: random}}
        search: {{trials: {trials}, batch: 1}}
        training: {{epochs: {epochs}, patience: {epochs}}}
        """,
        source="benchmarks/scale.py",
    )
    storage = open_database(url)
    search = Search(
        config,
        None,  # type: ignore[arg-type]
        StudyFolder(place / "scale"),
        open_optuna_study(storage, config),
        NoRecorder(),
        Listener(),
        {},
        distributions(config, n_classes=N_CLASSES),
    )
    return search, storage


def fill(url: str, n: int, *, epochs: int, seed: int = 0) -> float:
    """Give an empty study so many finished trials; returns seconds for each that Optuna added."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        search, storage = open_worker(url, Path(place), trials=max(n, 1), epochs=epochs)
        start = time.perf_counter()
        for _ in range(min(n, ADDED)):
            search.study.add_trial(_random_trial(search.space, rng, epochs=epochs))
        took = (time.perf_counter() - start) / max(1, min(n, ADDED))
        with storage.engine.begin() as connection:
            for k in range(1, n // ADDED):
                _copy_all(connection, first=k * ADDED)
            connection.execute(
                sqlalchemy.text(
                    "SELECT setval(pg_get_serial_sequence('trials', 'trial_id'), "
                    "GREATEST((SELECT max(trial_id) FROM trials), 1))"
                )
            )
        with storage.engine.connect() as connection:
            connection.execute(sqlalchemy.text("ANALYZE"))
        storage.engine.dispose()
    return took


def _random_trial(space: Any, rng: np.random.Generator, *, epochs: int) -> Any:
    params: dict[str, Any] = {}
    for name, known in space.items():
        if isinstance(known, optuna.distributions.CategoricalDistribution):
            params[name] = known.choices[rng.integers(len(known.choices))]
        elif isinstance(known, optuna.distributions.IntDistribution):
            params[name] = int(rng.integers(known.low, known.high + 1))
        else:
            params[name] = float(rng.uniform(known.low, known.high))
    values = np.sort(rng.uniform(0.3, 0.9, epochs))
    return optuna.trial.create_trial(
        value=float(values[-1]),
        params=params,
        distributions=space,
        intermediate_values=dict(enumerate(values.tolist())),
    )


def _copy_all(connection: Any, *, first: int) -> None:
    columns = "study_id, state, datetime_start, datetime_complete"
    statements = [
        f"INSERT INTO trials (trial_id, number, {columns}) SELECT trial_id + {first}, "
        f"number + {first}, {columns} FROM trials WHERE number < {ADDED}"
    ]
    for table, names in CHILDREN.items():
        statements.append(
            f"INSERT INTO {table} (trial_id, {names}) SELECT c.trial_id + {first}, "
            f"{names} FROM {table} c JOIN trials t USING (trial_id) WHERE t.number < {ADDED}"
        )
    for statement in statements:
        connection.execute(sqlalchemy.text(statement))


def work(url: str, place: Path, trials: int, epochs: int, barrier: Any, results: Any) -> None:
    """One worker: trials until the budget is met; hands over what it took."""
    search, storage = open_worker(url, place, trials=trials, epochs=epochs)
    calls: Counter[str] = Counter()
    for event in ("before_cursor_execute", "commit"):
        sqlalchemy.event.listen(storage.engine, event, _counting(calls, event))
    start = time.perf_counter()
    search.study.get_trials(deepcopy=False)
    joined_s = time.perf_counter() - start
    calls.clear()
    took: dict[str, list[float]] = {"settle": [], "ask": [], "report": [], "tell": []}
    heart = Heart(storage, every_s=beat_every_s())
    rng, done = np.random.default_rng(), 0
    barrier.wait()
    start_s, cpu_s = time.time(), _cpu_s()
    with heart.running():
        while n_finished(search) < trials:
            _lap(took["settle"], lambda: settle_lost_trials(search, heart))
            slot = _lap(took["ask"], lambda: claim(search, heart))
            if slot is None:
                break
            values = np.sort(rng.uniform(0.3, 0.9, epochs)).tolist()
            for epoch, value in enumerate(values):
                _lap(took["report"], lambda: _report(slot.trial, value, epoch))  # noqa: B023
            record = _record(slot, values)
            _lap(took["tell"], lambda: tell(search, slot.trial, record))  # noqa: B023
            heart.end(slot.trial._trial_id)
            done += 1
    results.put(
        {
            "start": start_s,
            "end": time.time(),
            "cpu_s": _cpu_s() - cpu_s,
            "join_s": joined_s,
            "done": done,
            "statements": calls["before_cursor_execute"],
            "commits": calls["commit"],
            **took,
        }
    )


def _counting(calls: Counter[str], event: str) -> Any:
    def count(*args: Any) -> None:
        calls[event] += 1

    return count


def _lap(into: list[float], run: Any) -> Any:
    start = time.perf_counter()
    result = run()
    into.append(time.perf_counter() - start)
    return result


def _report(trial: Any, value: float, epoch: int) -> None:
    trial.report(value, epoch)
    trial.should_prune()  # the answer is not followed: all trials make the same calls


def _record(slot: Any, values: list[float]) -> Record:
    return Record(
        kind="trial", name=slot.name, number=slot.trial.number, params=slot.setting,
        state="complete", reason=None, value=values[-1], matrix=[], scores={},
        curves={"objective": values}, best_epochs=[], learning_rates=[], rows=[],
        class_weights=[], constraints={}, seeds={}, environment={}, started_s=0.0, ended_s=0.0,
    )  # fmt: skip


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(url: str, known: int, n: int, options: argparse.Namespace) -> dict[str, float]:
    """Rates and times of so many workers on a study that holds so many trials."""
    # A fork shares what importing a backend takes; nothing has been computed or connected yet.
    context = multiprocessing.get_context("fork")
    more = max(options.trials, options.each * n)
    with tempfile.TemporaryDirectory(prefix="tuner-scale-") as folder:
        barrier, results = context.Barrier(n), context.Queue()
        arguments = (url, Path(folder), known + more, options.epochs, barrier, results)
        processes = [context.Process(target=work, args=arguments) for _ in range(n)]
        for process in processes:
            process.start()
        told = [results.get(timeout=600) for _ in processes]
        for process in processes:
            process.join()
    seconds = max(t["end"] for t in told) - min(t["start"] for t in told)
    found = scalar(url, "SELECT count(*) FROM trials WHERE state = 'COMPLETE'")
    if found != known + more:
        raise SystemExit(f"{found} trials are complete, not {known + more}")
    parts = {
        f"{part}_ms": 1000 * statistics.median(s for t in told for s in t[part])
        for part in ("settle", "ask", "report", "tell")
    }
    return {
        "trials": more,
        "trials_per_s": more / seconds,
        "reports_per_s": more * options.epochs / seconds,
        "statements_per_s": sum(t["statements"] for t in told) / seconds,
        "statements_per_trial": sum(t["statements"] for t in told) / more,
        "commits_per_trial": sum(t["commits"] for t in told) / more,
        "worker_cpu_ms_per_trial": 1000 * sum(t["cpu_s"] for t in told) / more,
        **parts,
        "join_s": max(t["join_s"] for t in told),
    }


def run(options: argparse.Namespace, made: Databases) -> None:
    facts = {"machine": machine_name(), **made.facts(), "epochs": options.epochs}
    for known in options.known:
        template = made.create(f"known{known}")
        start = time.monotonic()
        add_s = fill(template, known, epochs=options.epochs)
        size = scalar(template, "SELECT pg_database_size(current_database())")
        say(f"{known} trials are there after {time.monotonic() - start:.0f} s, {size} bytes")
        for n in options.workers:
            url = made.create(f"workers{n}", template=template)
            before_s = made.cpu_s()
            numbers = measure(url, known, n, options)
            server_ms = 1000 * (made.cpu_s() - before_s) / numbers["trials"]
            emit(
                "scale",
                **facts,
                known_trials=known,
                workers=n,
                **numbers,
                server_cpu_ms_per_trial=server_ms,
                add_trial_ms=1000 * add_s,
                database_mib=size / 2**20,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("postgres", help="URL of a user who may create databases")
    parser.add_argument("--known", type=int, nargs="+", default=[0, 1000, 10_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--epochs", type=int, default=50, help="reports of each trial")
    parser.add_argument("--trials", type=int, default=24, help="at least so many in all")
    parser.add_argument("--each", type=int, default=4, help="and so many for each worker")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with databases(options.postgres) as made:
        run(options, made)


if __name__ == "__main__":
    main()
