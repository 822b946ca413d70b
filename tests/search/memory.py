"""Runs 15 trials of the small study and prints its memory in bytes after 3 and after 15.

python -m tests.search.memory HOME DATA
"""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

from tests.small_study import Heard, Small
from tuner.home.records import Record
from tuner.search.study import run_search


class _Weigher(Heard):
    """Notes the process's memory after the third and the last trial."""

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        if record.kind == "trial" and n_finished in (3, n_trials):
            print(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    small = Small(Path(sys.argv[1]), Path(sys.argv[2]))
    run_search(small.open("search.trials=15", "training.patience=2", listener=_Weigher()))
