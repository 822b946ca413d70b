"""Runs the small study by several workers in processes of their own, some killed; a script.

    python -m tests.search.workers.many_workers '{"place": …, "data": …, "url": …, "workers": 3,
    "overrides": […], "kills": 5, "seed": 0}'

Reads everything in once and forks for each worker, so that a worker costs little. Training is
`quick_trainer` with a pause in each epoch, so that workers meet. A worker that is killed is
started again. Prints what came out as one JSON line.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from tests.small_study import Heard, Small, quick_trainer
from tuner.home.founding import open_study
from tuner.home.listener import Epoch
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder
from tuner.search.study import open_storage
from tuner.search.workers.worker import join_study, run_worker
from tuner.training.outcome import Outcome
from tuner.training.trial import OnEpoch

PAUSE_S = 0.1
BANK = {"features": "pixels"}


def main(spec: dict[str, Any]) -> None:
    """Run the workers until each has ended by itself."""
    os.fsync = lambda number: None  # a killed process loses nothing that it has written
    place, data = Path(spec["place"]), Path(spec["data"])
    ready = Small(data / "never-run", data).open(*spec["overrides"])
    inputs = replace(ready.inputs, X=np.asarray(ready.inputs.X))
    small = Small(place, data, storage=spec["url"], trainer=slow_trainer)
    folder = open_study(ready.config, small.table(ready.config), small.home)

    def work() -> None:
        heard = Heard()
        search = small.search(ready.config, inputs, folder, listener=heard)
        storage = search.study._storage._backend
        with folder.locked(alone=False):
            join_study(storage, ready.config, folder, bank=BANK, on_message=heard.messages.append)
            run_worker(search, storage)

    killed = _keep_working(work, spec)
    print(json.dumps({"killed": killed, **_outcome(small, folder, spec["url"])}))


def slow_trainer(*args: Any, on_epoch: OnEpoch, **options: Any) -> list[Outcome]:
    """The quick trainer with pauses."""

    def after_a_pause(i: int, report: Epoch) -> bool:
        time.sleep(PAUSE_S)
        return on_epoch(i, report)

    return quick_trainer(*args, on_epoch=after_a_pause, **options)


def _keep_working(work: Callable[[], None], spec: dict[str, Any]) -> int:
    """Start the workers, kill some at random moments and start them again."""
    rng, sent, killed = random.Random(spec["seed"]), 0, 0
    records = Small(Path(spec["place"]), Path(spec["data"])).home.studies / "small" / "records"
    alive = {_start(work) for _ in range(spec["workers"])}
    while alive:
        time.sleep(rng.uniform(0.1, 0.5))
        if sent < spec["kills"] and len(list(records.glob("trial-*.json"))) > 2 * sent:
            sent += 1
            os.kill(rng.choice(sorted(alive)), signal.SIGKILL)
        for pid in sorted(alive):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            alive.discard(pid)
            code = os.waitstatus_to_exitcode(status)
            if code == -signal.SIGKILL:
                killed += 1
                alive.add(_start(work))
            elif code:
                sys.exit(f"a worker ended with {code}")
    return killed


def _start(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _outcome(small: Small, folder: StudyFolder, url: str) -> dict[str, Any]:
    study = optuna.load_study(storage=open_storage(small.home, url), study_name="small")
    trials = [r for r in folder.records() if r.kind == "trial"]
    return {
        "finished": sorted(
            t.number
            for t in study.trials
            if t.state.name in ("COMPLETE", "PRUNED") and "baseline" not in t.user_attrs
        ),
        "recorded": sorted(r.number for r in trials if r.state != "failed"),
        "running": sum(t.state.name == "RUNNING" for t in study.trials),
        "retries": sum(r.attempt > 1 for r in trials),
        "trained_twice": _sharing_a_setting(trials, study.trials),
        "baselines": sum(r.kind == "baseline" for r in folder.records()),
    }


def _sharing_a_setting(
    records: list[Record], trials: list[optuna.trial.FrozenTrial]
) -> dict[str, list[str]]:
    """Settings that several trials have a record of, with the history of each such trial."""
    by_setting: dict[str, list[str]] = {}
    for r in records:
        history = [
            f"{t.number} {t.state.name} {t.user_attrs} {t.datetime_start} {t.datetime_complete}"
            for t in trials
            if t.number == r.number
        ]
        by_setting.setdefault(str(r.params), []).extend(history)
    return {setting: found for setting, found in by_setting.items() if len(found) > 1}


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
