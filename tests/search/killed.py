"""Runs the small study in processes of its own that die by SIGKILL; a script for the tests.

    python -m tests.search.killed '{"place": …, "data": …, "overrides": […], "plans": […]}'

Reads everything in once and forks for each start, so that a start costs little. A plan is a list
of numbers, one for each start that is killed: at the n-th border of a write that lasts, that is,
right before or right after it. Or it is {"seed": s}: killed at random until the study is done.
Prints one JSON line for each plan: how many were killed, and what came out.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages.journal import JournalFileBackend

from tests.small_study import Small, quick_trainer, results_of, trials_of
from tuner.home import records
from tuner.home.founding import open_study
from tuner.home.study_folder import StudyFolder
from tuner.search.study import Search, open_storage, run_search


def main(spec: dict[str, Any]) -> None:
    """Run each plan in a home of its own."""
    os.fsync = lambda number: None  # a killed process loses nothing that it has written
    place, data, overrides = Path(spec["place"]), Path(spec["data"]), spec["overrides"]
    start = _starter(data, overrides, is_quick=spec["quick"])
    for number, plan in enumerate(spec["plans"]):
        home = place / str(number)
        killed = 0
        for kill_at in _kills(plan):
            status = _in_child(lambda home=home, kill_at=kill_at: start(home, kill_at))
            if status == 0:
                break
            if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
                sys.exit(f"plan {plan}: the start to be killed at {kill_at} ended by itself")
            killed += 1
        else:
            sys.exit(f"plan {plan}: was not done after {killed} kills")
        print(json.dumps({"killed": killed, **_outcome(home)}), flush=True)


def _kills(plan: Any) -> Iterator[int | None]:
    if isinstance(plan, list):
        yield from [*plan, None]
    else:
        rng = np.random.default_rng(plan["seed"])
        yield from (int(n) for n in rng.integers(1, plan["most"], size=500))


def _starter(
    data: Path, overrides: list[str], *, is_quick: bool
) -> Callable[[Path, int | None], None]:
    """What one start does. For quick training all but the search itself is done beforehand."""
    if not is_quick:
        # The backend must not have started before the fork.
        return lambda home, kill_at: _run(lambda: Small(home, data).open(*overrides), kill_at)
    ready = Small(data / "never-run", data).open(*overrides)
    inputs = replace(ready.inputs, X=np.asarray(ready.inputs.X))
    table = Small(data, data).table(ready.config)

    def start(home: Path, kill_at: int | None) -> None:
        def reopen() -> Search:
            small = Small(home, data, trainer=quick_trainer)
            return small.search(ready.config, inputs, open_study(ready.config, table, small.home))

        _run(reopen, kill_at)

    return start


def _run(make: Callable[[], Search], kill_at: int | None) -> None:
    left = kill_at

    def border() -> None:
        nonlocal left
        if left is not None:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def between_borders(write: Callable[..., Any]) -> Callable[..., Any]:
        def written(*args: Any) -> Any:
            border()
            result = write(*args)
            border()
            return result

        return written

    search = make()
    JournalFileBackend.append_logs = between_borders(JournalFileBackend.append_logs)
    records.write_whole = between_borders(records.write_whole)
    run_search(search)


def _in_child(start: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        start()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _outcome(home: Path) -> dict[str, Any]:
    small = Small(home, home)
    study = optuna.load_study(storage=open_storage(small.home), study_name="small")
    folder = StudyFolder(small.home.studies / "small")
    trials = [r for r in folder.records() if r.kind == "trial"]
    return {
        "trials": trials_of(study),
        "results": results_of(folder),
        "finished": sorted(
            t.number
            for t in study.trials
            if t.state.name in ("COMPLETE", "PRUNED") and not t.user_attrs.get("baseline")
        ),
        "recorded": sorted(r.number for r in trials if r.state != "failed"),
        "unsettled": sum(not t.state.is_finished() for t in study.trials),
        "attempts": [r.attempt for r in trials],
    }


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
